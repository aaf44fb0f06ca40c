"""The scope of each connection, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2

from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.testing import ASGIWebSocketTransport

from .support import accept, asgi_client, both_loops

if TYPE_CHECKING:
    from .support import Receive, Scope, Send


class Recorder:
    """An app that keeps the scopes that it is called with."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await accept(receive, send)
            await send({"type": "websocket.close"})
        else:
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})


@both_loops
async def test_every_field_of_a_websocket() -> None:
    app = Recorder()
    async with asgi_client(app, root_path="/a b") as client:
        client.headers = httpx2.Headers({"X-Client": "1"})
        headers = [("X-Twice", "one"), ("Cookie", "a=1"), ("x-twice", "two"), ("cookie", "b=2")]
        async with open_websocket(
            client,
            "wss://user:pass@ex.example:8443/a%20b/%C3%A9%2Fc?q=%20x&y",
            headers=headers,
            subprotocols=["chat", "v2.chat"],
            compression=None,
        ):
            pass
    [scope] = app.scopes
    sent = scope.pop("headers")
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "wss",
        "path": "/a b/é/c",
        "raw_path": b"/a%20b/%C3%A9%2Fc",
        "query_string": b"q=%20x&y",
        "root_path": "/a b",
        "client": ("127.0.0.1", 49152),
        "server": ("ex.example", 8443),
        "subprotocols": ["chat", "v2.chat"],
        "extensions": {"websocket.http.response": {}},
        "state": {},
    }
    assert [(name, value) for name, value in sent if name in (b"x-client", b"x-twice", b"cookie", b"host")] == [
        (b"host", b"ex.example:8443"),
        (b"x-client", b"1"),
        (b"x-twice", b"one"),
        (b"cookie", b"a=1; b=2"),
        (b"x-twice", b"two"),
    ]
    assert all(type(name) is type(value) is bytes and name == name.lower() for name, value in sent)


@both_loops
async def test_every_field_of_a_request() -> None:
    app = Recorder()
    async with asgi_client(app, client=("192.0.2.1", 1234)) as client:
        await client.request("patch", "https://ex.example/p%2Fq?x=1", headers={"Accept": "x", "Cookie": "c=3"})
    [scope] = app.scopes
    sent = dict(scope.pop("headers"))
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "PATCH",
        "scheme": "https",
        "path": "/p/q",
        "raw_path": b"/p%2Fq",
        "query_string": b"x=1",
        "root_path": "",
        "client": ("192.0.2.1", 1234),
        "server": ("ex.example", 443),
        "extensions": {},
        "state": {},
    }
    assert (sent[b"cookie"], sent[b"accept"], sent[b"host"]) == (b"c=3", b"x", b"ex.example")


@both_loops
async def test_schemes_and_default_ports() -> None:
    app = Recorder()
    async with asgi_client(app) as client:
        for scheme in ("ws", "wss"):
            async with open_websocket(client, f"{scheme}://h/"):
                pass
        for scheme in ("http", "https"):
            await client.get(f"{scheme}://[::1]/")
    assert [(scope["scheme"], *scope["server"]) for scope in app.scopes] == [
        ("ws", "h", 80),
        ("wss", "h", 443),
        ("http", "::1", 80),
        ("https", "::1", 443),
    ]


@both_loops
async def test_each_connection_comes_from_a_port_of_its_own() -> None:
    app = Recorder()
    async with asgi_client(app) as client:
        await client.get("/")
        async with open_websocket(client, "/") as ws:
            address = ws.response.extensions["network_stream"].get_extra_info("client_addr")
    assert [scope["client"] for scope in app.scopes] == [("127.0.0.1", 49152), ("127.0.0.1", 49153)]
    assert address == ("127.0.0.1", 49153)


@both_loops
async def test_subprotocols_are_stripped_and_may_be_in_several_headers() -> None:
    app = Recorder()
    async with asgi_client(app) as client:
        request = client.build_request("GET", "/")
        for name, value in [
            ("Upgrade", "WebSocket"),
            ("Connection", "keep-alive , upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]:
            request.headers[name] = value
        request.headers = httpx2.Headers(
            [*request.headers.multi_items(), ("Sec-WebSocket-Protocol", "a ,b"), ("Sec-WebSocket-Protocol", "c")]
        )
        response = await client.send(request, stream=True)
        await response.aclose()
        assert response.status_code == 101
    assert app.scopes[0]["subprotocols"] == ["a", "b", "c"]


@both_loops
async def test_the_state_is_the_lifespans_and_each_connection_has_a_copy() -> None:
    shared: list[int] = []
    seen: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["shared"] = shared
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})
            return
        seen.append(dict(scope["state"]))
        scope["state"]["own"] = True
        scope["state"]["shared"].append(1)
        scope["extensions"]["own"] = scope["asgi"]["own"] = {}
        await Recorder()(scope, receive, send)

    async with httpx2.AsyncClient(transport=ASGIWebSocketTransport(app), base_url="http://test") as client:
        await client.get("/")
        async with open_websocket(client, "/"):
            pass
    assert seen == [{"shared": shared}, {"shared": shared}]
    assert shared == [1, 1]


@both_loops
async def test_a_lifespan_that_is_not_run_has_no_state() -> None:
    app = Recorder()
    async with asgi_client(app, lifespan=False) as client:
        await client.get("/")
    assert "state" not in app.scopes[0]
