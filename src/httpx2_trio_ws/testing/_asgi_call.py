"""One call of an ASGI app: its end of the connection, its response, and how it ends.

A call is in one of the stages of :class:`Stage`. The app moves it on by what it sends; what it may send in which
stage is a table. That the client has gone is no stage but a flag, as it can happen in each of them.
"""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import httpx2
from anyio.lowlevel import checkpoint

from ._asgi_events import ClientDisconnect, Stage, call_app, field, headers_of, leaves, listed, type_of
from ._pipe import memory_stream_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from ._asgi_events import App, Event, Headers

logger = logging.getLogger("httpx2_trio_ws")

# What the connection holds in each direction before a write waits; about what a socket's buffers hold.
_CAPACITY = 65536
READ_SIZE = 65536
# Starlette's and Litestar's names for that the client has gone; and Quart's, since 0.23, which is not so plain.
_GONE = ("ClientDisconnect", "WebSocketDisconnect")
_GONE_IN_QUART = ("quart.wrappers.base", "ClientDisconnectedError")
# What they make of any exception that comes too late for a response.
_WRAPPED = ("Caught handled exception, but response already started.", "Exception caught after response started")


class Call:
    """See the module's text. Subclasses are the two kinds of connection, HTTP and WebSocket."""

    #: The event types that begin and go on with a response.
    start_event: ClassVar[str]
    body_event: ClassVar[str]
    #: What the app may send in each stage, by event type.
    allowed: ClassVar[dict[Stage, tuple[str, ...]]]

    def __init__(self, app: App, scope: dict[str, Any], *, raising: bool, head_only: bool = False) -> None:
        self._app = app
        self.scope = scope
        self._raising = raising
        self._head_only = head_only
        info = {"client_addr": scope["client"], "server_addr": scope["server"]}
        self.client, self.server = memory_stream_pair(_CAPACITY, info)
        self.stage = Stage.WAITING
        #: The status and headers of the response, once the app has sent them.
        self.head: tuple[int, Headers] | None = None
        #: What else is told with it.
        self.extensions: dict[str, Any] = {}
        #: The client has gone: nothing reaches it any more.
        self.gone = False
        #: There is an answer, or there will be none.
        self.answered = anyio.Event()
        #: The app has returned.
        self.finished = anyio.Event()
        #: It was cancelled, and not by us.
        self.cancelled = False
        self._cancel_scope = anyio.CancelScope()
        # The app has been told that the client has gone; or it is in receive() or send(), where it will be.
        self._told = False
        self._in_calls = 0
        # What went wrong in the app, the same if it is to be raised in the test, and whether it was.
        self._error: Exception | None = None
        self._failure: Exception | None = None
        self._failure_raised = False
        self._heard = anyio.Event()

    @property
    def name(self) -> str:
        """What messages call it: ``websocket /path``."""
        return f"{self.scope['type']} {self.scope['path']}"

    # -- the app's side ------------------------------------------------------------------------

    async def run(self) -> Exception | None:
        """Call the app. Returns an exception of the app that is to be raised, and that the client did not raise."""
        error: Exception | None = None
        try:
            with self._cancel_scope:
                await call_app(self._app, self.scope, self.receive, self.send)
        except Exception as exc:  # noqa: BLE001 (it is raised again, in the test)
            error = exc
        except BaseException:
            self.gone = self.cancelled = True
            self._finish(None)
            raise
        self._finish(error)
        if self._failure is not None:
            await self._wait_heard()
        return None if self._failure_raised else self._failure

    async def _wait_heard(self) -> None:
        """Wait until the client has met the failure, or will not."""
        if not self.gone:
            await self._heard.wait()

    async def receive(self) -> Event:
        """What the app calls."""
        raise NotImplementedError  # pragma: no cover

    async def send(self, event: Event) -> None:
        """What the app calls. Waits while the client does not read what was sent before."""
        kind = type_of(event)
        with self._in_call():
            await self.server.wait_room()
        if kind not in self.allowed[self.stage]:
            raise RuntimeError(f"the app sent {kind!r} {self.stage.value}; {self._expected()}")
        act = self.understand(kind, event)  # also if the client has gone: a wrong event is one all the same
        if not self.gone:
            with contextlib.suppress(BrokenPipeError):
                act()
                return
        self._told = True
        if kind != "websocket.close":  # which the app may send to clean up
            raise ClientDisconnect(f"the app sent {kind!r}, and the client has gone")

    def understand(self, kind: str, event: Event) -> Callable[[], None]:
        """Check an event; return what it asks for, which raises :exc:`BrokenPipeError` if the client has gone.

        Raises:
            TypeError, ValueError: the event is not as ASGI wants it.
        """
        if kind == self.start_event:
            status: int = field(event, "status", (int,), ...)
            if not 200 <= status <= 599:
                raise ValueError(f"the 'status' of {kind!r} is from 200 to 599, not {status}")
            return partial(self.respond, int(status), headers_of(event))
        assert kind == self.body_event
        body = field(event, "body", (bytes, bytearray, memoryview), b"")
        return partial(self._body, body, more=bool(event.get("more_body")))

    def respond(self, status: int, headers: Headers) -> None:
        """Begin a response."""
        self.head = (status, headers)
        self._head_only |= status in (204, 304)
        self.stage = Stage.RESPONDING
        self.answered.set()

    def _body(self, body: bytes, *, more: bool) -> None:
        if not self._head_only:
            self.server.write_now(body)
        if not more:
            self.end_response()

    def end_response(self) -> None:
        """The response is complete."""
        self.stage = Stage.RESPONDED
        self.server.close()

    @contextlib.contextmanager
    def _in_call(self) -> Generator[None]:
        self._in_calls += 1
        try:
            yield
        finally:
            self._in_calls -= 1

    def _expected(self) -> str:
        return f"it may send {listed(self.allowed[self.stage])} there"

    # -- the end -------------------------------------------------------------------------------

    def _finish(self, error: Exception | None) -> None:
        """The app has returned, raised ``error``, or was cancelled."""
        if error is None or self._is_disconnect(error):
            error = self.ended_early()
        self._error = error
        if error is not None:
            if self._raising:
                self._failure = error
            else:
                logger.error("the app failed in %s", self.name, exc_info=error)
        self.hang_up(error)
        self.finished.set()
        self.answered.set()

    def _is_disconnect(self, error: Exception) -> bool:
        """``error`` only says that the client has gone, and the app has been told so."""
        return self._told and all(map(_says_gone, leaves(error)))

    def ended_early(self) -> Exception | None:
        """What is wrong if the app returns now."""
        if self.gone or self.stage not in (Stage.WAITING, Stage.RESPONDING):
            return None
        return RuntimeError(f"the app returned {self.stage.value}; {self._expected()}")

    def hang_up(self, error: Exception | None) -> None:  # noqa: ARG002 (the WebSocket's tells of it)
        """The app has ended, with or without an error: end the connection."""
        self.server.close()

    def client_gone(self) -> None:
        """The client has closed the connection, or was cancelled."""
        self.gone = True
        self._heard.set()
        self.client.close()

    @property
    def aware(self) -> bool:
        """The app has returned, has been told that the client has gone, or is where it will be told."""
        return self.finished.is_set() or self._told or self._in_calls > 0

    def cancel(self) -> None:
        """Cancel the app, if it still runs."""
        self._cancel_scope.cancel()

    # -- the client's side ---------------------------------------------------------------------

    def response(self) -> httpx2.Response:
        """The answer, when :attr:`answered` is set.

        Raises:
            Exception: the app's own, if exceptions are to be raised.
            httpx2.RemoteProtocolError: the call was cancelled.
        """
        if self.head is None:
            self.raise_failure()
            if self._error is None:
                raise httpx2.RemoteProtocolError("the call of the app was cancelled before it had answered")
            return httpx2.Response(500, text="Internal Server Error")
        status, headers = self.head
        extensions = {"http_version": b"HTTP/1.1", **self.extensions}
        return httpx2.Response(status, headers=headers, stream=_Body(self), extensions=extensions)

    def raise_failure(self) -> None:
        """Raise the app's exception, if it is to be raised."""
        if self._failure is not None:
            self._failure_raised = True
            self._heard.set()
            raise self._failure

    def unanswered(self) -> str:
        """Whose answer the client waits for; told when it stops waiting."""
        return f"the app has not answered {self.name}: it has not sent {listed(self.allowed[self.stage])}"


def _says_gone(error: BaseException) -> bool:
    """It is our own exception, or what a framework makes of it or of the event, which goes by one of few names.

    What an app itself raises from one of them, or calls by another name, is an error of its own.
    """
    if str(error) in _WRAPPED and error.__cause__ is not None:
        return all(map(_says_gone, leaves(error.__cause__)))
    kinds = type(error).__mro__
    return isinstance(error, ClientDisconnect) or any(
        kind.__name__ in _GONE or (kind.__module__, kind.__name__) == _GONE_IN_QUART for kind in kinds
    )


class _Body(httpx2.AsyncByteStream):
    """The body of a response."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        call = self._call
        while data := await call.client.read(READ_SIZE):
            yield data
        # The end comes when the app has returned, so that a test can look at what it did after it had answered.
        await call.finished.wait()
        call.raise_failure()
        if call.stage is not Stage.RESPONDED:
            raise httpx2.RemoteProtocolError("the app ended before its response was complete")

    async def aclose(self) -> None:
        self._call.client_gone()
        await checkpoint()


class News:
    """Wakes all tasks that wait for something to have changed."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self._event.set()
        self._event = anyio.Event()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds. Not a checkpoint if it does."""
        while not condition():
            await self._event.wait()
