"""An httpx2 transport that calls an ASGI app, in the event loop that it is used in."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any, Self, cast

import anyio
import httpx2
from anyio.lowlevel import EventLoopToken, checkpoint, current_token

from httpx2_trio_ws._exceptions import WebSocketNetworkError
from httpx2_trio_ws._handshake._failures import UNANSWERED
from httpx2_trio_ws._handshake._versions import HTTP1

from ._asgi_call import Call, News, logger
from ._asgi_events import check_app
from ._asgi_http import HTTPCall
from ._asgi_websocket import WebSocketCall, shake_hands
from ._group import background_task_group
from ._lifespan import Lifespan

if TYPE_CHECKING:
    from types import TracebackType

    import trio

    from ._asgi_events import App

_SECURE = ("https", "wss")
# The first port of those that no service has (RFC 6335 §6); each connection comes from one of its own.
_FIRST_PORT, _PORTS = 49152, 16384
# When the transport is closed, apps that are at something else have so many turns of the event loop to come to where
# they hear of it. That is no time: what they wait for may never come.
_TURNS = 100


class ASGIWebSocketTransport(httpx2.AsyncBaseTransport):
    """Hands the requests of an :class:`httpx2.AsyncClient` to an ASGI app: HTTP and WebSocket, without a server.

    The app runs in the event loop of the test: trio, or asyncio by way of :mod:`httpx2_trio_ws.anyio`. There is no
    socket, no thread and no timer, so mock clocks work, and an app that does not answer is waited for as long as the
    test has patience.

    ::

        async with httpx2.AsyncClient(transport=ASGIWebSocketTransport(app)) as client:
            response = await client.get("http://test/")
            async with open_websocket(client, "ws://test/echo") as ws:
                await ws.send("hello")

    Entering the client, or the transport, runs the app's startup (ASGI lifespan 2.0), leaving it the shutdown. On
    leaving, connections that are still open are dropped. Apps that learn of it, from ``receive()`` or ``send()``, may
    finish. Those that wait for something else meanwhile are cancelled; all are, if an exception leaves the block. The
    transport may be entered several times, as under several clients; the last one to leave it closes it.

    An exception of the app is raised in the request that waits for its answer or reads its response. One that leaves
    the app later, after it has accepted a WebSocket or when the client has gone, breaks the connection
    (:exc:`WebSocketNetworkError`, with the exception as the cause of its cause), and is raised in an
    :exc:`ExceptionGroup` where the block is left, or at once in ``task_group``; if the broken connection's error leaves
    the block, too, the app's own stands for it. Exceptions that only say that the client has gone are none: ``OSError``
    from our ``send()``, and what frameworks call ``WebSocketDisconnect`` or ``ClientDisconnect``. An app that closes
    before it has accepted refuses with 403; its code and reason are in ``response.extensions["websocket_close"]``.

    The scope is that of an HTTP/1.1 server with ASGI HTTP & WebSocket 2.5 and the denial response extension. What is
    up to a server's settings is left out: limits, compression, pings, default headers.

    Args:
        app: an ASGI 3 app.
        raise_app_exceptions: ``False`` shows what a client would see instead, and logs the exception: status 500,
            close code 1011, or a response that ends early.
        root_path: where the app is mounted; the paths that are requested begin with it.
        client: the client's address for ``scope["client"]``; by default 127.0.0.1 and a port of its own for each
            connection, counted from 49152.
        task_group: an anyio task group or a trio nursery that the app's calls are to be tasks of. By default the
            transport has one of its own while it is entered. With one that is given it works without being entered,
            too, and then runs no lifespan.
        lifespan: ``False`` if the test runs the lifespan itself, or none.

    Raises:
        TypeError: ``app`` is no ASGI app, or ``task_group`` is none.
    """

    def __init__(
        self,
        app: App,
        *,
        raise_app_exceptions: bool = True,
        root_path: str = "",
        client: tuple[str, int] | None = None,
        task_group: anyio.abc.TaskGroup | trio.Nursery | None = None,
        lifespan: bool = True,
    ) -> None:
        check_app(app)
        if task_group is not None and not hasattr(task_group, "start_soon"):
            raise TypeError(f"task_group is an anyio task group or a trio nursery, not {task_group!r}")
        self._app = app
        self._raising = raise_app_exceptions
        self._root_path = root_path
        self._client = client
        self._ports = itertools.count()
        self._given_group = task_group
        self._group: anyio.abc.TaskGroup | trio.Nursery | None = task_group
        self._own_group = contextlib.AsyncExitStack()
        # The event loop that runs this group.
        self._entered_in: EventLoopToken | None = None
        self._has_lifespan = lifespan
        self._lifespan: Lifespan | None = None
        self._state: dict[str, Any] | None = None
        self._entered = 0
        self._closed = False
        self._calls: set[Call] = set()
        self._call_ended = News()
        # Exceptions of the app that nobody has met.
        self._errors: list[Exception] = []

    def __repr__(self) -> str:
        state = "closed" if self._closed else "ready" if self._group is not None else "not entered"
        return f"<{type(self).__name__} of {self._app!r} ({state}, {len(self._calls)} calls running)>"

    # -- requests ------------------------------------------------------------------------------

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Call the app, and wait for its answer. Cancelling disconnects the app's client.

        Raises:
            RuntimeError: the transport is closed, or has no task group.
            Exception: what the app raises, with ``raise_app_exceptions``.
        """
        await checkpoint()
        start_soon = self._start_soon()
        if not HTTP1.lacks(request):
            answer = shake_hands(request)
            if not HTTP1.accepts(answer.status_code):
                headers = list(answer.headers.raw_items())
                return httpx2.Response(answer.status_code, headers=headers, content=bytes(answer.body or b""))
            scope = self._scope("websocket", request)
            call: Call = WebSocketCall(self._app, scope, raising=self._raising, answer=answer, start_soon=start_soon)
        else:
            call = HTTPCall(self._app, self._scope("http", request), raising=self._raising)
        self._calls.add(call)
        start_soon(self._run, call)
        try:
            if isinstance(call, HTTPCall):
                assert isinstance(request.stream, httpx2.AsyncByteStream)
                await call.send_request(request.stream)
            await call.answered.wait()
        except BaseException as exc:
            call.client_gone()
            if isinstance(exc, anyio.get_cancelled_exc_class()):
                logger.warning("cancelled: %s", call.unanswered())
                exc.add_note(call.unanswered())
                request.extensions[UNANSWERED] = call.unanswered()
            raise
        return call.response()

    def _start_soon(self) -> Any:
        if self._closed:
            raise RuntimeError("the ASGI transport is closed; use it inside its `async with` block, or make a new one")
        if self._group is None:
            raise RuntimeError(
                "the ASGI transport has no task group to run the app in: enter the client with `async with`, or give "
                "the transport a task_group"
            )
        if self._entered_in not in (None, current_token()):
            # To go on would mean to wait for ever: the app's tasks are in a loop that does not run now.
            raise RuntimeError(
                "the ASGI transport was entered in another event loop; use it in that one (in tests, one plugin has to "
                "run both the fixture that enters the client and the test)"
            )
        return self._group.start_soon

    def _scope(self, kind: str, request: httpx2.Request) -> dict[str, Any]:
        url = request.url
        secure = url.scheme in _SECURE
        scope: dict[str, Any] = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "scheme": ("https" if secure else "http") if kind == "http" else ("wss" if secure else "ws"),
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": self._root_path,
            "headers": _headers(request),
            "client": self._client or ("127.0.0.1", _FIRST_PORT + next(self._ports) % _PORTS),
            "server": (url.host, url.port or (443 if secure else 80)),
            "extensions": {},
        }
        if kind == "http":
            scope["method"] = request.method.upper()
        else:
            offered = request.headers.get_list("Sec-WebSocket-Protocol", split_commas=True)
            scope["subprotocols"] = [name.strip() for name in offered]
            scope["extensions"] = {"websocket.http.response": {}}
        if self._state is not None:
            scope["state"] = self._state.copy()
        return scope

    async def _run(self, call: Call) -> None:
        try:
            error = await call.run()
        finally:
            self._calls.discard(call)
            self._call_ended.tell()
        if error is not None:
            if self._given_group is not None:
                raise error
            self._errors.append(error)

    async def wait_idle(self) -> None:
        """Wait until every call of the app has returned, as each should soon after its connection has ended.

        So a test can look at what the app did after a disconnect. Cancelling is safe.
        """
        await checkpoint()
        while pending := [call for call in self._calls if not call.finished.is_set()]:
            await pending[0].finished.wait()

    # -- entering and leaving ------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open a task group, unless one was given, and run the app's startup.

        Raises:
            RuntimeError: the transport is closed, or the app says that its startup has failed.
            Exception: what the app raised after it said so.
        """
        if self._closed:
            raise RuntimeError("the ASGI transport has been closed; make a new one")
        self._entered += 1
        if self._entered > 1:
            return self
        try:
            if self._given_group is None:
                self._group = await self._own_group.enter_async_context(background_task_group())
                self._entered_in = current_token()
            if self._has_lifespan:
                self._lifespan = Lifespan(self._app)
                await self._lifespan.start(self._start_soon())
                self._state = self._lifespan.state
        except BaseException:
            self._closed = True
            await self._own_group.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close, if it is the last block around the transport that is left.

        Raises:
            ExceptionGroup: with exceptions of the app that were raised nowhere else, and the one that leaves the block.
        """
        self._entered -= 1
        if self._entered:
            return
        try:
            await self._close(now=exc_value is not None)
        finally:
            try:
                await self._own_group.aclose()
            finally:
                self._raise_errors(exc_value)

    async def aclose(self) -> None:
        """Drop all connections and run the app's shutdown. Cancelling cancels the app's calls."""
        await self._close(now=False)

    async def _close(self, *, now: bool) -> None:
        already, self._closed = self._closed, True
        calls = self._calls.copy()
        for call in calls:
            call.client_gone()
        try:
            turns = 0 if now else _TURNS
            while turns and not all(call.aware for call in calls):
                turns -= 1
                await checkpoint()
            for call in calls:
                if now or not call.aware:
                    call.cancel()
            await self._call_ended.wait_until(lambda: not self._calls)
            error = None if self._lifespan is None or already else await self._lifespan.stop()
        except BaseException as exc:
            # On trio, whatever cancels this may have cancelled them first.
            running = sorted(call.name for call in calls if call.cancelled or not call.finished.is_set())
            if running:
                logger.warning("cancelled: the app has not returned from %s", ", ".join(running))
                exc.add_note(f"the app has not returned from {', '.join(running)}")
            for call in calls:
                call.cancel()
            raise
        if error is not None and self._raising:
            self._errors.append(error)
        elif error is not None:
            logger.error("the app failed in its lifespan", exc_info=error)

    def _raise_errors(self, leaving: BaseException | None) -> None:
        errors: list[BaseException] = [*self._errors]
        self._errors.clear()
        if not errors:
            return
        # asyncio has no place for a cancellation in a group; what the app raised must not be lost with it.
        if leaving is not None and not isinstance(leaving, asyncio.CancelledError):
            rest = _without_what_tells_of(errors, leaving)
            errors[:0] = [] if rest is None else [rest]
        raise BaseExceptionGroup("the ASGI app has failed", errors) from None


def _without_what_tells_of(errors: list[BaseException], leaving: BaseException) -> BaseException | None:
    """What is left of ``leaving`` without the sessions' failures that one of ``errors`` is the cause of: once is enough."""

    def tells_of_one(exc: BaseException) -> bool:
        broken = exc.__cause__ if isinstance(exc, WebSocketNetworkError) else None
        return broken is not None and any(broken.__cause__ is error for error in errors)

    if isinstance(leaving, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", leaving)
        return group.split(tells_of_one)[1]
    return None if tells_of_one(leaving) else leaving


def _headers(request: httpx2.Request) -> list[tuple[bytes, bytes]]:
    """The request's headers as a server gives them: names in lower case, and one Cookie header (RFC 6265 §5.4)."""
    headers: list[tuple[bytes, bytes]] = []
    cookies = [value for name, value in request.headers.raw if name.lower() == b"cookie"]
    for name, value in request.headers.raw:
        if name.lower() != b"cookie":
            headers.append((name.lower(), value))
        elif cookies:
            headers.append((b"cookie", b"; ".join(cookies)))
            cookies = []
    return headers
