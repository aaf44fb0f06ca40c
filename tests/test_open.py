"""Opening through the client: what it sends, and that the client's own settings apply."""

from __future__ import annotations

import inspect
import socket
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

import httpx2_trio_ws
from httpx2_trio_ws import OpenOptions, WebSocketUpgradeError, connect_websocket, open_websocket, open_websocket_url

from .handshake_support import Request, Site, new_client, one_connection, response, site, switch
from .memory import frame, memory_client, text
from .servers import tcp_server, upgrade, websocket_server

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_request_on_the_wire(client: httpx2.AsyncClient) -> None:
    async with site() as server, open_websocket(client, f"{server.url}/chat?room=1", headers={"X-Mine": "1"}):
        pass
    (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/chat?room=1")
    key = request.headers.pop("sec-websocket-key")
    assert len(key) == 24
    assert request.headers == {
        "host": server.host,
        "accept": "*/*",
        "accept-encoding": client.headers["Accept-Encoding"],
        "user-agent": client.headers["User-Agent"],
        "x-mine": "1",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-extensions": "permessage-deflate; client_max_window_bits",
    }


async def test_each_session_has_a_key_of_its_own(client: httpx2.AsyncClient) -> None:
    async with site() as server:
        for _ in range(3):
            async with open_websocket(client, server.url):
                pass
    assert len({request.headers["sec-websocket-key"] for request in server.requests}) == 3


async def test_the_client_settings_and_the_options_are_merged() -> None:
    async with (
        site() as server,
        new_client(params={"a": "1"}, headers={"X-Client": "c", "X-Both": "c"}, cookies={"c": "1"}) as client,
        open_websocket(client, server.url, params={"b": "2"}, headers={"X-Both": "o"}, cookies={"o": "2"}) as ws,
    ):
        assert ws.response.request.url.query == b"a=1&b=2"
    (request,) = server.requests
    assert request.target == "/?a=1&b=2"
    assert request.headers["x-client"] == "c"
    assert request.headers["x-both"] == "o"
    assert request.headers["cookie"] == "c=1; o=2"


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_base_url(scheme: str) -> None:
    async with (
        site() as server,
        new_client(base_url=f"{scheme}://{server.host}/api/v1", params={"a": "1"}) as client,
    ):
        for url in ("feed", "/feed"):
            async with open_websocket(client, url) as ws:
                await ws.send("x")
                assert await ws.receive() == "x"
        async with open_websocket(client, f"ws://{server.host}/elsewhere"):
            pass
    assert [request.target for request in server.requests] == ["/api/v1/feed?a=1", "/api/v1/feed?a=1", "/elsewhere?a=1"]


async def test_cookies_are_stored_and_sent(client: httpx2.AsyncClient) -> None:
    def answer(request: Request) -> bytes:
        return switch(request, "Set-Cookie: session=1; Path=/", "Set-Cookie: safe=1; Secure")

    async with site(answer) as server:
        async with open_websocket(client, server.url) as ws:
            assert ws.response.cookies["session"] == "1"
        async with open_websocket(client, server.url):
            pass
    assert client.cookies["session"] == "1"
    # The secure one has no business on a connection without TLS; test_tls.py sees it sent.
    assert [request.headers.get("cookie") for request in server.requests] == [None, "session=1"]


async def test_event_hooks() -> None:
    seen: list[str] = []

    async def on_request(request: httpx2.Request) -> None:
        seen.append(f"{request.method} {request.url.path}")
        request.headers["X-Hook"] = "1"

    async def on_response(answer: httpx2.Response) -> None:
        seen.append(str(answer.status_code))

    hooks = {"request": [on_request], "response": [on_response]}
    async with (
        site() as server,
        new_client(event_hooks=hooks) as client,
        open_websocket(client, f"{server.url}/x"),
    ):
        assert seen == ["GET /x", "101"]
    assert server.requests[0].headers["x-hook"] == "1"


async def test_an_event_hook_that_raises_is_raised_bare() -> None:
    async def on_response(answer: httpx2.Response) -> None:
        raise RuntimeError("from the hook")

    async with site() as server, one_connection(event_hooks={"response": [on_response]}) as client:
        for _ in range(2):  # the first has left no connection
            with pytest.raises(RuntimeError, match="from the hook"):
                async with open_websocket(client, server.url):
                    raise AssertionError
        await server.idle()


async def test_an_event_hook_that_reads_the_response() -> None:
    async def on_response(answer: httpx2.Response) -> None:
        await answer.aread()

    async with site() as server, new_client(event_hooks={"response": [on_response]}) as client:
        with pytest.raises(WebSocketUpgradeError, match="an event hook or the authentication must not read"):
            async with open_websocket(client, server.url):
                raise AssertionError


async def test_the_trace_extension(client: httpx2.AsyncClient) -> None:
    events: list[str] = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        events.append(name)

    async with site() as server, open_websocket(client, server.url, extensions={"trace": trace}):
        assert "connection.connect_tcp.started" in events
        assert "http11.receive_response_headers.complete" in events


async def test_unix_sockets(tmp_path: Path) -> None:
    server = Site(switch)
    path = str(tmp_path / "socket")
    listening = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await listening.bind(path)
    listening.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, server.handle, [trio.SocketListener(listening)])
        transport = httpx2.AsyncHTTPTransport(uds=path, verify=False)
        async with new_client(transport=transport) as client, open_websocket(client, "ws://service/x") as ws:
            await ws.send("over a unix socket")
            assert await ws.receive() == "over a unix socket"
        nursery.cancel_scope.cancel()
    assert server.requests[0].headers["host"] == "service"


async def test_subprotocols(client: httpx2.AsyncClient) -> None:
    async with (
        websocket_server(subprotocols=["superchat", "chat"]) as url,
        open_websocket(client, url, subprotocols=["chat", "other"]) as ws,
    ):
        assert ws.subprotocol == "chat"


async def test_deflate_with_a_real_server(client: httpx2.AsyncClient) -> None:
    async with websocket_server() as url:
        for compression, agreed in (("deflate", True), (None, False)):
            options: Any = {"compression": compression}
            async with open_websocket(client, url, **options) as ws:
                assert ("sec-websocket-extensions" in ws.response.headers) == agreed
                await ws.send("a" * 1000)
                assert await ws.receive() == "a" * 1000
                assert (ws.statistics().bytes_received < 100) == agreed


@pytest.mark.parametrize("size", [5, 40000])
async def test_frames_in_the_same_packet_as_the_101(client: httpx2.AsyncClient, size: int) -> None:
    glued = text("one") + frame(2, b"x" * size) + text("three")[:2]

    async def handler(stream: trio.SocketStream) -> None:
        peer = await upgrade(stream, glued=glued)
        await peer.send(text("three")[2:])
        await peer.answer_close()

    async with tcp_server(handler) as host, open_websocket(client, f"ws://{host}") as ws:
        assert [await ws.receive() for _ in range(3)] == ["one", b"x" * size, "three"]


@pytest.mark.parametrize(
    ("lines", "replaced"),
    [
        ((), {"Upgrade": None}),
        ((), {"Connection": "close"}),
        ((), {"Sec_WebSocket_Accept": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}),
        ((), {"Sec_WebSocket_Accept": None}),
        (("Sec-WebSocket-Protocol: chat",), {}),
        (("Sec-WebSocket-Extensions: bbf-usp-protocol",), {}),
        (("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",), {}),
        (("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Extensions: permessage-deflate"), {}),
    ],
)
async def test_after_an_invalid_answer_nothing_is_left(lines: tuple[str, ...], replaced: dict[str, str | None]) -> None:
    def answer(request: Request) -> bytes:
        return switch(request, *lines, **replaced) if request.target == "/bad" else switch(request)

    async with site(answer) as server, one_connection() as client:
        with pytest.raises(WebSocketUpgradeError, match="the server answered 101, but") as caught:
            async with open_websocket(client, f"{server.url}/bad"):
                raise AssertionError
        await server.idle()
        assert caught.value.response is not None
        assert (caught.value.response.status_code, caught.value.response.content) == (101, b"")
        async with open_websocket(client, server.url):
            pass


async def test_open_websocket_url(monkeypatch: pytest.MonkeyPatch) -> None:
    clients: list[httpx2.AsyncClient] = []

    class Remembered(httpx2.AsyncClient):
        def __init__(self) -> None:
            super().__init__(verify=False, trust_env=False)  # no certificates from the disk
            clients.append(self)

    monkeypatch.setattr(httpx2, "AsyncClient", Remembered)
    async with site() as server:
        async with open_websocket_url(f"{server.url}/x", params={"a": "1"}) as ws:
            await ws.send("x")
            assert await ws.receive() == "x"
        assert server.requests[0].target == "/x?a=1"
        await server.idle()
    assert [client.is_closed for client in clients] == [True]


async def test_an_error_in_the_block_comes_out_in_a_group(client: httpx2.AsyncClient) -> None:
    async with site() as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_websocket(client, server.url):
                raise KeyError("mine")
        assert [repr(exc) for exc in caught.value.exceptions] == ["KeyError('mine')"]
        await server.idle()


async def test_connect_websocket(client: httpx2.AsyncClient) -> None:
    async with site() as server, trio.open_nursery() as nursery:
        ws = await connect_websocket(nursery, client, server.url)
        await ws.send("x")
        assert await ws.receive() == "x"
        await ws.aclose()
        await server.idle()


async def test_connect_websocket_into_a_nursery_that_is_closed() -> None:
    async with trio.open_nursery() as nursery:
        pass
    async with site() as server, one_connection() as client:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="Nursery is closed"):
                await connect_websocket(nursery, client, server.url)
        assert server.accepted == 2
        await server.idle()


async def test_connect_websocket_into_a_nursery_that_is_cancelled(client: httpx2.AsyncClient) -> None:
    async with site() as server:
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                ws = await connect_websocket(nursery, client, server.url)
        assert ws.closed
        await server.idle()


async def test_what_fails_in_the_handshake_is_no_group(client: httpx2.AsyncClient) -> None:
    async with site(lambda _: response("403 Forbidden", body=b"")) as server, trio.open_nursery() as nursery:
        with pytest.raises(WebSocketUpgradeError, match="403 Forbidden"):
            await connect_websocket(nursery, client, server.url)


async def test_a_transport_of_the_users_own() -> None:
    async with (
        trio.open_nursery() as nursery,
        memory_client() as (client, peers),
        open_websocket(client, "wss://memory/x") as ws,
    ):
        peer = await peers.receive()
        await peer.send(text("x"))
        assert await ws.receive() == "x"
        assert ws.response.request.url == httpx2.URL("https://memory/x")
        nursery.start_soon(peer.answer_close)


@pytest.mark.parametrize("name", ["open_websocket", "open_websocket_url", "connect_websocket"])
def test_the_signature_shows_the_options(name: str) -> None:
    parameters = inspect.signature(getattr(httpx2_trio_ws, name)).parameters
    options = {key: parameter for key, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    assert set(options) == set(OpenOptions.__annotations__)
    assert options["queue_size"].default == 512
    assert options["queue_size"].annotation == "int"  # as it is written; help() would show a ForwardRef otherwise
    assert options["auth"].default is httpx2.USE_CLIENT_DEFAULT
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values())
    positional = [key for key in parameters if key not in options]
    assert (
        positional
        == {
            "open_websocket": ["client", "url"],
            "open_websocket_url": ["url"],
            "connect_websocket": ["nursery", "client", "url"],
        }[name]
    )
