"""Exceptions of the app: where they are raised, and what a client would see instead."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from httpx2_trio_ws import WebSocketDisconnect, WebSocketNetworkError, WebSocketUpgradeError
from httpx2_trio_ws.anyio import open_websocket

from .support import HANDSHAKE, accept, asgi_client, both_loops, idle, raw_connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .support import Receive, Scope, Send

    Handler = Callable[[Receive, Send], Awaitable[None]]

START = {"type": "http.response.start", "status": 200}


class AppError(Exception):
    """What the apps here raise."""


def fail_here() -> None:
    raise AppError("boom")


def leaves_of(exc: BaseException) -> list[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for part in exc.exceptions for leaf in leaves_of(part)]
    return [exc]


def shows_where_it_failed(exc: BaseException | None) -> bool:
    assert exc is not None
    return any(frame.name == "fail_here" for frame in traceback.extract_tb(exc.__traceback__))


async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
    fail_here()


async def after_connect(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    fail_here()


@pytest.mark.parametrize("app", [at_once, after_connect])
@both_loops
async def test_before_it_has_answered_the_exception_is_raised_bare(app: Any) -> None:
    async with asgi_client(app) as client:
        with pytest.raises(AppError) as caught:
            async with open_websocket(client, "/"):
                pass
        assert shows_where_it_failed(caught.value)
        with pytest.raises(AppError):
            await client.get("/")


@pytest.mark.parametrize("app", [at_once, after_connect])
@both_loops
async def test_a_client_would_see_500(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with asgi_client(app, raise_app_exceptions=False) as client:
        response = await client.get("/http")
        assert (response.status_code, response.text) == (500, "Internal Server Error")
        with pytest.raises(WebSocketUpgradeError, match="500 Internal Server Error"):
            async with open_websocket(client, "/ws"):
                pass
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in records] == [
        "the app failed in http /http",
        "the app failed in websocket /ws",
    ]
    assert all(record.exc_info is not None and record.exc_info[0] is AppError for record in records)


async def accept_and_fail(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await send({"type": "websocket.send", "text": "last words"})
    await receive()
    fail_here()


@both_loops
async def test_after_accept_the_exception_breaks_the_connection_and_leaves_the_clients_block() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with asgi_client(accept_and_fail) as client, open_websocket(client, "/") as ws:
            await ws.send("go on")
            assert await ws.receive() == "last words"
            with pytest.raises(WebSocketNetworkError, match=r"the app raised AppError\('boom'\)") as lost:
                await ws.receive()
            assert lost.value.__cause__ is not None
            raised = lost.value.__cause__.__cause__
            assert isinstance(raised, AppError)
    assert caught.value.exceptions == (raised,)
    assert shows_where_it_failed(raised)


@both_loops
async def test_what_the_test_raises_meanwhile_is_in_the_group_too() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with asgi_client(accept_and_fail) as client, open_websocket(client, "/") as ws:
            await ws.send("go on")
            async for _ in ws:
                pass
    # The broken connection tells of the same error, so that stands for both.
    assert [type(leaf) for leaf in leaves_of(caught.value)] == [AppError]
    assert caught.value.__suppress_context__


@both_loops
async def test_what_else_the_test_raises_meanwhile_is_in_the_group_too() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with asgi_client(accept_and_fail) as client, open_websocket(client, "/") as ws:
            await ws.send("go on")
            try:
                async for _ in ws:
                    pass
            except WebSocketNetworkError as exc:
                raise ExceptionGroup("both", [exc, KeyError("mine")]) from None
    assert [type(leaf) for leaf in leaves_of(caught.value)] == [KeyError, AppError]


@both_loops
async def test_a_client_would_see_1011(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        asgi_client(accept_and_fail, raise_app_exceptions=False) as client,
        open_websocket(client, "/chat") as ws,
    ):
        await ws.send("go on")
        assert await ws.receive() == "last words"
        with pytest.raises(WebSocketDisconnect) as caught:
            await ws.receive()
    assert (caught.value.code, caught.value.reason) == (1011, "")
    assert "the app failed in websocket /chat" in caplog.text


@both_loops
async def test_an_exception_after_the_client_has_gone_is_not_lost() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        fail_here()

    with pytest.raises(ExceptionGroup, match="the ASGI app has failed") as caught:
        async with asgi_client(app) as client:
            for _ in range(2):
                async with open_websocket(client, "/"):
                    pass
    assert [type(leaf) for leaf in caught.value.exceptions] == [AppError, AppError]


@both_loops
async def test_an_exception_after_the_apps_own_close_is_not_lost() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close", "code": 4000})
        fail_here()

    with pytest.raises(ExceptionGroup) as caught:
        async with asgi_client(app) as client, open_websocket(client, "/") as ws:
            with pytest.raises(WebSocketDisconnect, match="4000"):
                await ws.receive()
    assert [type(leaf) for leaf in leaves_of(caught.value)] == [AppError]


@both_loops
async def test_an_exception_after_a_refusal_is_raised_instead_of_it() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})
        fail_here()

    async with asgi_client(app) as client:
        with pytest.raises(AppError):
            async with open_websocket(client, "/"):
                pass


async def half_a_response(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    fail_here()


async def a_response_and_then(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"whole"})
    fail_here()


async def half_a_denial(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.http.response.start", "status": 200})
    await send({"type": "websocket.http.response.body", "body": b"half", "more_body": True})
    fail_here()


CASES = [(half_a_response, {}, b"half"), (a_response_and_then, {}, b"whole"), (half_a_denial, HANDSHAKE, b"half")]


@pytest.mark.parametrize(("app", "headers", "body"), CASES)
@both_loops
async def test_in_a_response_the_exception_is_raised_where_it_is_read(
    app: Any, headers: dict[str, str], body: bytes
) -> None:
    async with asgi_client(app) as client:
        with pytest.raises(AppError):
            await client.get("/", headers=headers)
        async with client.stream("GET", "/", headers=headers) as response:
            chunks = response.aiter_raw()
            assert await anext(chunks) == body
            with pytest.raises(AppError):
                await anext(chunks)


@pytest.mark.parametrize(("app", "headers", "body"), CASES)
@both_loops
async def test_in_a_response_that_is_not_read_the_exception_leaves_the_clients_block(
    app: Any, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with asgi_client(app) as client, client.stream("GET", "/", headers=headers):
            await idle(client)
    assert [type(leaf) for leaf in leaves_of(caught.value)] == [AppError]


@pytest.mark.parametrize("app", [half_a_response, half_a_denial])
@both_loops
async def test_a_client_would_see_half_a_response(app: Any) -> None:
    headers = HANDSHAKE if app is half_a_denial else {}
    async with asgi_client(app, raise_app_exceptions=False) as client:
        with pytest.raises(httpx2.RemoteProtocolError, match="ended before its response was complete"):
            await client.get("/", headers=headers)


@both_loops
async def test_a_client_would_not_see_what_comes_after_the_response() -> None:
    async with asgi_client(a_response_and_then, raise_app_exceptions=False) as client:
        assert (await client.get("/")).text == "whole"


@both_loops
async def test_an_app_that_returns_too_early() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/half":
            await send(START)

    async with asgi_client(app) as client:
        with pytest.raises(
            RuntimeError, match=r"returned before it had answered; it may send 'http.response.start' there"
        ):
            await client.get("/")
        with pytest.raises(
            RuntimeError, match=r"returned while it was sending a response; it may send 'http.response.body'"
        ):
            await client.get("/half")
    async with asgi_client(app, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get("/half")


class WebSocketDisconnected(RuntimeError):
    """An app's complaint that it used a connection that it had been told of."""


class ClientDisconnect(Exception):
    """A framework's way to tell its handlers that the client has gone."""


class GoneError(ClientDisconnect):
    """And one of an app's."""


class ClientDisconnectedError(Exception):
    """An app's error with such a name."""


class OfQuart(Exception):
    """As Quart's; of the same name as the one before."""


OfQuart.__module__, OfQuart.__name__ = "quart.wrappers.base", "ClientDisconnectedError"


def of_quart(exc: Exception) -> Exception:
    """Quart leaves out what it stems from."""
    return exc if isinstance(exc, GoneError) else OfQuart()


def bare(exc: Exception) -> Exception:
    return exc


def in_a_group(exc: Exception) -> Exception:
    return ExceptionGroup("a task group's", [exc])


def wrapped_by_a_framework(exc: Exception) -> Exception:
    return as_a_cause(exc, "Caught handled exception, but response already started.")


def as_a_cause(exc: Exception, text: str = "the app's own words") -> Exception:
    wrapped = RuntimeError(text)
    wrapped.__cause__ = in_a_group(exc)
    return wrapped


@pytest.mark.parametrize("wrap", [bare, in_a_group, of_quart, wrapped_by_a_framework])
@both_loops
async def test_what_only_says_that_the_client_has_gone_is_no_error(wrap: Callable[[Exception], Exception]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        if scope["path"] == "/early":
            raise wrap(GoneError())  # before anybody has gone
        await receive()
        if scope["path"] == "/received":
            raise wrap(GoneError())
        with pytest.raises(OSError, match="the client has gone") as gone:
            await send({"type": "websocket.send", "text": "x"})
        raise wrap(gone.value)

    for path, fails in [("/received", False), ("/sent", False), ("/early", True)]:
        caught: list[BaseException] = []
        try:
            async with asgi_client(app) as client, raw_connection(client, path):
                pass
        except* (ClientDisconnect, RuntimeError) as group:
            caught += leaves_of(group)
        assert bool(caught) == fails


@both_loops
async def test_what_an_app_raises_from_a_disconnect_is_an_error_of_its_own() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        raise as_a_cause(GoneError())

    with pytest.raises(ExceptionGroup) as caught:
        async with asgi_client(app) as client, raw_connection(client):
            pass
    assert [str(leaf) for leaf in leaves_of(caught.value)] == ["the app's own words"]


@pytest.mark.parametrize("event", [{"text": "a", "bytes": b"b"}, {}, {"text": b"a"}])
@both_loops
async def test_a_wrong_event_is_one_also_when_the_client_has_gone(event: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        await send({"type": "websocket.send", **event})

    with pytest.raises(ExceptionGroup) as caught:
        async with asgi_client(app) as client, raw_connection(client):
            pass
    assert [type(leaf) for leaf in leaves_of(caught.value)] == [TypeError]


@both_loops
async def test_another_exception_after_a_disconnect_is_one() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        try:
            raise ClientDisconnectedError
        except ClientDisconnectedError:
            raise ExceptionGroup("both", [ClientDisconnectedError(), WebSocketDisconnected()])  # noqa: B904 (as a mistake would)

    with pytest.raises(ExceptionGroup) as caught:
        async with asgi_client(app) as client, raw_connection(client):
            pass
    assert [type(leaf) for leaf in leaves_of(caught.value)] == [ClientDisconnectedError, WebSocketDisconnected]


@both_loops
async def test_an_interruption_goes_through_and_leaves_nobody_waiting() -> None:
    class Interruption(BaseException):
        pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Interruption

    with pytest.raises(BaseExceptionGroup) as caught:
        async with anyio.create_task_group() as tasks, asgi_client(app, task_group=tasks) as client:
            await client.get("/")
    assert Interruption in [type(leaf) for leaf in leaves_of(caught.value)]
