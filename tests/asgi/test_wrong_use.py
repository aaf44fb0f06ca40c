"""Events that an app may not send, apps that are none, and wrong use of the transport."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.testing import ASGIWebSocketTransport

from .support import HANDSHAKE, asgi_client, both_loops, echo, idle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .support import Event, Receive, Scope, Send

START = {"type": "http.response.start", "status": 200}

# -- events that may not be sent -------------------------------------------------------------------

ACCEPTED: tuple[Event, ...] = ({"type": "websocket.accept"},)
CLOSED: tuple[Event, ...] = (*ACCEPTED, {"type": "websocket.close"})
DENIED: tuple[Event, ...] = ({"type": "websocket.http.response.start", "status": 404},)
WAITING = "before it had answered; it may send 'websocket.accept', 'websocket.close' or 'websocket.http.response.start'"
OPEN = "after 'websocket.accept'; it may send 'websocket.send' or 'websocket.close' there"


@pytest.mark.parametrize(
    ("before", "event", "error", "text"),
    [
        ((), {"type": "websocket.send", "text": "x"}, RuntimeError, f"'websocket.send' {WAITING}"),
        ((), {"type": "websocket.acept"}, RuntimeError, f"'websocket.acept' {WAITING}"),
        ((), {"type": "websocket.http.response.body"}, RuntimeError, WAITING),
        ((), {"type": "http.response.start", "status": 404}, RuntimeError, WAITING),
        (ACCEPTED, {"type": "websocket.accept"}, RuntimeError, f"'websocket.accept' {OPEN}"),
        (ACCEPTED, {"type": "websocket.http.response.start", "status": 404}, RuntimeError, OPEN),
        (CLOSED, {"type": "websocket.close"}, RuntimeError, "after 'websocket.close'; it may send nothing there"),
        (CLOSED, {"type": "websocket.send", "text": "x"}, RuntimeError, "after 'websocket.close'"),
        (DENIED, {"type": "websocket.accept"}, RuntimeError, "while it was sending a response"),
        (({"type": "websocket.close"},), {"type": "websocket.close"}, RuntimeError, "after its answer was complete"),
        ((), ["websocket.accept"], TypeError, "an ASGI event is a dict"),
        ((), {}, TypeError, "has a 'type', a str"),
        ((), {"type": b"websocket.accept"}, TypeError, "has a 'type', a str"),
        (
            (),
            {**ACCEPTED[0], "subprotocol": b"x"},
            TypeError,
            "'subprotocol' of 'websocket.accept' must be str, not b'x'",
        ),
        (
            (),
            {**ACCEPTED[0], "headers": [("a", "b")]},
            TypeError,
            r"a pair of bytes, \(name, value\), not \('a', 'b'\)",
        ),
        ((), {**ACCEPTED[0], "headers": [b"a: b"]}, TypeError, "a pair of bytes"),
        ((), {**ACCEPTED[0], "headers": [1]}, TypeError, "a pair of bytes"),
        ((), {**ACCEPTED[0], "headers": [(b"Sec-WebSocket-Protocol", b"x")]}, ValueError, "the server's own"),
        ((), {**DENIED[0], "status": "404"}, TypeError, "'status' .* must be int, not '404'"),
        ((), {"type": "websocket.http.response.start"}, TypeError, "'status' .* must be int, not None"),
        ((), {**DENIED[0], "status": 101}, ValueError, "from 200 to 599, not 101"),
        (DENIED, {"type": "websocket.http.response.body", "body": "x"}, TypeError, "must be bytes or bytearray or"),
        (ACCEPTED, {"type": "websocket.send"}, TypeError, "has one of 'text' and 'bytes', and not both"),
        (ACCEPTED, {"type": "websocket.send", "text": None, "bytes": None}, TypeError, "one of"),
        (ACCEPTED, {"type": "websocket.send", "text": "", "bytes": b""}, TypeError, "and not both"),
        (
            ACCEPTED,
            {"type": "websocket.send", "text": b"x"},
            TypeError,
            "'text' of 'websocket.send' must be str, not b'x'",
        ),
        (ACCEPTED, {"type": "websocket.send", "bytes": "x"}, TypeError, "must be bytes or bytearray or memoryview"),
        (ACCEPTED, {"type": "websocket.close", "code": True}, TypeError, "'code' of 'websocket.close' must be int"),
        (ACCEPTED, {"type": "websocket.close", "code": 1006}, ValueError, "close code 1006 may not be sent"),
        (ACCEPTED, {"type": "websocket.close", "reason": "x" * 124}, ValueError, "123 bytes of UTF-8 at most"),
    ],
)
@both_loops
async def test_a_wrong_event_says_what_is_wrong_and_when(
    before: Sequence[Event], event: Any, error: type[Exception], text: str
) -> None:
    raised: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for earlier in before:
            await send(dict(earlier))
        with pytest.raises(error, match=text) as caught:
            await send(event)
        raised.append(caught.value)

    async with asgi_client(app, raise_app_exceptions=False) as client, client.stream("GET", "/", headers=HANDSHAKE):
        await idle(client)
    assert len(raised) == 1


@pytest.mark.parametrize(
    ("events", "text"),
    [
        (
            [{"type": "http.response.body"}],
            "'http.response.body' before it had answered; it may send 'http.response.start'",
        ),
        (
            [START, START],
            "'http.response.start' while it was sending a response; it may send 'http.response.body' there",
        ),
        ([START, {"type": "http.response.body"}, {"type": "http.response.body"}], "after its answer was complete"),
        ([{"type": "websocket.accept"}], "'websocket.accept' before it had answered"),
    ],
)
@both_loops
async def test_a_wrong_event_in_a_response(events: list[Event], text: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for event in events:
            await send(dict(event))

    async with asgi_client(app) as client:
        with pytest.raises(RuntimeError, match=text):
            await client.get("/")


# -- what is no app, and no use --------------------------------------------------------------------


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


def asgi2(scope: Any) -> Any:
    return None


class ASGI2:
    def __init__(self, scope: Any) -> None: ...


class Framework:
    def __init__(self, a: Any = None, b: Any = None, c: Any = None) -> None: ...


class Awaited:
    """An old kind of ASGI 3 app, a class whose instances are awaited."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.send = send

    def __await__(self) -> Any:
        return self.answer().__await__()

    async def answer(self) -> None:
        await self.send({"type": "http.response.start", "status": 200})
        await self.send({"type": "http.response.body", "body": b"awaited"})


@pytest.mark.parametrize(
    ("app", "text"),
    [
        ("module:app", "an ASGI app is a callable, async def app"),
        (None, "an ASGI app is a callable"),
        (wsgi, "looks like a WSGI app"),
        (asgi2, "looks like an ASGI 2 app.*guarantee_single_callable"),
        (ASGI2, "looks like an ASGI 2 app"),
        (Framework, r"is a class; pass an instance, Framework\(\)"),
        (lambda: None, "is called with three arguments"),
    ],
)
def test_what_is_no_asgi_app(app: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        ASGIWebSocketTransport(app)


@both_loops
async def test_an_app_that_turns_out_to_be_none_when_it_is_called() -> None:
    def app(scope: Scope, receive: Receive, send: Send) -> list[bytes]:
        return [b"no"]

    broken: Any = app
    async with httpx2.AsyncClient(transport=ASGIWebSocketTransport(broken)) as client:
        with pytest.raises(TypeError, match=r"is no ASGI app.* gave \[b'no'\], which cannot be awaited"):
            await client.get("http://test")


class Unknown:
    """As what is written in C may be: nothing is known of its arguments."""

    __signature__ = "unknown"

    def __call__(self) -> None: ...


@both_loops
async def test_apps_that_only_calling_can_tell_about() -> None:
    unknown: Any = Unknown()
    ASGIWebSocketTransport(unknown)
    awaited: Any = Awaited
    async with httpx2.AsyncClient(transport=ASGIWebSocketTransport(awaited, lifespan=False)) as client:
        assert (await client.get("http://test")).text == "awaited"


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError


@both_loops
async def test_wrong_use_of_the_transport() -> None:
    not_a_group: Any = "tasks"
    with pytest.raises(TypeError, match="task_group is an anyio task group or a trio nursery, not 'tasks'"):
        ASGIWebSocketTransport(nothing, task_group=not_a_group)
    transport = ASGIWebSocketTransport(nothing)
    client = httpx2.AsyncClient(transport=transport)
    with pytest.raises(RuntimeError, match="enter the client with `async with`, or give the transport a task_group"):
        async with open_websocket(client, "ws://test"):
            pass
    async with transport:
        pass
    with pytest.raises(RuntimeError, match="the ASGI transport is closed"):
        await client.get("http://test")
    with pytest.raises(RuntimeError, match="has been closed; make a new one"):
        async with transport:
            pass


def test_entered_in_another_event_loop() -> None:
    """As when one plugin of pytest runs the fixture, and another one the test."""
    client = httpx2.AsyncClient(transport=ASGIWebSocketTransport(echo, lifespan=False), base_url="http://test")

    async def use() -> None:
        with pytest.raises(RuntimeError, match="was entered in another event loop; use it in that one"):
            await client.get("/")
        with pytest.raises(RuntimeError, match="was entered in another event loop; use it in that one"):
            async with open_websocket(client, "/"):
                pass

    with asyncio.Runner() as runner:
        runner.run(client.__aenter__())
        trio.run(use)
        runner.run(client.__aexit__())
