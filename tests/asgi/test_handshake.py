"""The app's answers to a handshake: accepted, refused, denied with a response, or none."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from httpx2_trio_ws import WebSocketHandshakeTimeout, WebSocketUpgradeError
from httpx2_trio_ws.anyio import open_websocket

from .support import ACCEPT, CONNECT, HANDSHAKE, accept, asgi_client, both_loops, disconnected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

    from .support import Event, Receive, Scope, Send


@both_loops
async def test_the_apps_headers_and_its_subprotocol_reach_the_client() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"x-one", b"1"),
            (b"set-cookie", b"a=1"),
            (b"x-one", b"2"),
            (b"set-cookie", b"b=2"),
            (b"y", b"\xe9"),
        ]
        await accept(receive, send, subprotocol="v2", headers=headers)
        await send({"type": "websocket.close"})

    async with asgi_client(app) as client:
        async with open_websocket(client, "/", subprotocols=["v1", "v2"]) as ws:
            assert ws.subprotocol == "v2"
            assert ws.response.headers.get_list("x-one") == ["1", "2"]
            assert dict(ws.response.headers.raw)[b"y"] == b"\xe9"
            assert ws.response.http_version == "HTTP/1.1"
        assert dict(client.cookies) == {"a": "1", "b": "2"}


@both_loops
async def test_accept_may_come_before_connect_was_received() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        assert await receive() == CONNECT
        await send({"type": "websocket.close"})

    async with asgi_client(app) as client, open_websocket(client, "/", subprotocols=["v1"]) as ws:
        assert ws.subprotocol is None


@both_loops
async def test_a_subprotocol_that_was_not_offered_is_found_by_the_client() -> None:
    events: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send, subprotocol="other")
        events.append(await receive())

    async with asgi_client(app) as client:
        with pytest.raises(WebSocketUpgradeError, match="subprotocol"):
            async with open_websocket(client, "/", subprotocols=["chat"]):
                pass
    assert events == [disconnected(1006)]


@pytest.mark.parametrize("close", [{}, {"code": 4000}, {"code": 1008, "reason": "no"}, {"code": None, "reason": None}])
@both_loops
async def test_a_close_before_accept_is_a_403(close: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == CONNECT
        await send({"type": "websocket.close", **close})
        assert await receive() == disconnected(1006)

    async with asgi_client(app) as client:
        with pytest.raises(WebSocketUpgradeError) as caught:
            async with open_websocket(client, "/"):
                pass
        assert caught.value.response is not None
        assert (caught.value.response.status_code, caught.value.response.content) == (403, b"")
        wanted = (close.get("code") or 1000, close.get("reason") or "")
        assert caught.value.response.extensions["websocket_close"] == wanted


@both_loops
async def test_a_denial_has_status_headers_and_a_streamed_body() -> None:
    parts = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == CONNECT
        headers = [(b"www-authenticate", b"Bearer"), (b"x", b"1"), (b"x", b"2")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"log in ", "more_body": True})
        await parts.wait()
        await send({"type": "websocket.http.response.body", "body": b"first"})
        assert await receive() == disconnected(1006)

    async with asgi_client(app) as client:
        async with client.stream("GET", "/", headers=HANDSHAKE) as response:
            chunks = response.aiter_raw()
            assert await anext(chunks) == b"log in "
            parts.set()
            assert [chunk async for chunk in chunks] == [b"first"]
        with pytest.raises(WebSocketUpgradeError, match="pass auth=") as caught:
            async with open_websocket(client, "/"):
                pass
        answer = caught.value.response
        assert answer is not None
        assert (answer.status_code, answer.text, answer.headers.get_list("x")) == (401, "log in first", ["1", "2"])


@both_loops
async def test_what_a_denial_may_leave_away() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 302, "headers": [(b"location", b"/other")]})
        await send({"type": "websocket.http.response.body"})

    async with asgi_client(app) as client:
        with pytest.raises(WebSocketUpgradeError, match="redirect to '/other'"):
            async with open_websocket(client, "/"):
                pass


@both_loops
async def test_a_denial_can_redirect_to_an_endpoint_that_accepts() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/old":
            headers = [(b"location", b"wss://test/new")]
            await send({"type": "websocket.http.response.start", "status": 307, "headers": headers})
            await send({"type": "websocket.http.response.body"})
        else:
            await accept(receive, send)
            await send({"type": "websocket.send", "text": scope["scheme"]})

    async with asgi_client(app) as client, open_websocket(client, "ws://test/old", follow_redirects=True) as ws:
        assert await ws.receive() == "wss"


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Sec-WebSocket-Key", None, 400),
        ("Sec-WebSocket-Key", "short", 400),
        ("Sec-WebSocket-Version", "12", 400),
        ("Sec-WebSocket-Protocol", "\u20ac", 400),
    ],
)
@both_loops
async def test_an_invalid_handshake_does_not_reach_the_app(header: str, value: str | None, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    headers = {**HANDSHAKE, header: value}
    async with asgi_client(app) as client:
        response = await client.get(
            "/", headers={name.encode(): text.encode() for name, text in headers.items() if text}
        )
    assert response.status_code == status
    assert "WebSocket" in response.text


@pytest.mark.parametrize(
    ("method", "change"),
    [("POST", {}), ("GET", {"Connection": "close"}), ("GET", {"Upgrade": "h2c"}), ("GET", {"Upgrade": ""})],
)
@both_loops
async def test_what_does_not_ask_for_a_websocket_is_http(method: str, change: dict[str, str]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": scope["type"].encode()})

    async with asgi_client(app) as client:
        assert (await client.request(method, "/", headers=HANDSHAKE | change)).text == "http"


@both_loops
async def test_an_app_that_returns_without_an_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    async with asgi_client(app) as client:
        with pytest.raises(
            RuntimeError, match=r"the app returned before it had answered; it may send 'websocket.accept', "
        ):
            async with open_websocket(client, "/"):
                pass


async def with_its_own_timeout(client: httpx2.AsyncClient) -> None:
    with pytest.raises(WebSocketHandshakeTimeout, match=r"120 s .*: the app has not answered websocket /chat"):
        async with open_websocket(client, "/chat", handshake_timeout_seconds=120):
            pass


async def with_a_cancel_scope(client: httpx2.AsyncClient) -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(1000):
        async with open_websocket(client, "/chat", handshake_timeout_seconds=None):
            pass


@pytest.mark.parametrize("patience", [with_its_own_timeout, with_a_cancel_scope])
@both_loops
async def test_an_app_that_never_answers_is_named_when_the_tests_patience_ends(
    patience: Callable[[httpx2.AsyncClient], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.append(await receive())
        events.append(await receive())
        await send(ACCEPT)

    events: list[Event] = []
    async with asgi_client(app) as client:
        await patience(client)
    assert events == [CONNECT, disconnected(1006)]
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == (
        "cancelled: the app has not answered websocket /chat: it has not sent 'websocket.accept', 'websocket.close' or "
        "'websocket.http.response.start'"
    )


@both_loops
async def test_the_cancellation_itself_carries_a_note() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    notes: list[str] = []
    async with asgi_client(app) as client:
        with anyio.move_on_after(1):
            try:
                await client.get("/slow")
            except anyio.get_cancelled_exc_class() as exc:
                notes += exc.__notes__
                raise
    assert notes == ["the app has not answered http /slow: it has not sent 'http.response.start'"]
