"""A WebSocket to an ASGI app: events on one side, frames on the other, and ``websockets``' protocol between."""

from __future__ import annotations

import contextlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from anyio.lowlevel import checkpoint
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from httpx2_trio_ws._handshake._versions import ACCEPTING, HTTP1
from httpx2_trio_ws._protocol import check_close

from ._asgi_call import READ_SIZE, Call, News, logger
from ._asgi_events import Stage, field, headers_of
from ._pipe import upgraded

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from ._asgi_events import App, Event

# Bytes of messages that wait for the app, before reading from the client stops.
_HIGH_WATER = 65536


def shake_hands(request: httpx2.Request) -> Response:
    """The answer to a handshake (RFC 6455 §4.2.2): a yes without what the app chooses, or a refusal if it is invalid."""
    headers = Headers()
    for name, value in request.headers.raw:
        headers[name.decode("ascii")] = value.decode("latin-1")
    return ServerProtocol(logger=logger).accept(Request(request.url.raw_path.decode("ascii"), headers))


class WebSocketCall(Call):
    """One WebSocket, from the handshake to the end of its connection."""

    start_event = "websocket.http.response.start"
    body_event = "websocket.http.response.body"
    allowed: ClassVar[dict[Stage, tuple[str, ...]]] = {
        Stage.WAITING: ("websocket.accept", "websocket.close", "websocket.http.response.start"),
        Stage.RESPONDING: ("websocket.http.response.body",),
        Stage.RESPONDED: (),
        Stage.OPEN: ("websocket.send", "websocket.close"),
        Stage.CLOSED: (),
    }

    def __init__(
        self,
        app: App,
        scope: dict[str, Any],
        *,
        raising: bool,
        answer: Response,
        start_soon: Callable[..., object],
    ) -> None:
        super().__init__(app, scope, raising=raising)
        self._answer = answer
        self._start_soon = start_soon
        self._protocol = ServerProtocol(state=OPEN, max_size=None, logger=logger)
        # The message in the making: its frames so far, and whether it is text.
        self._parts: list[bytes] = []
        self._is_text = False
        # What the app has not taken yet.
        self._events: deque[tuple[Event, int]] = deque([({"type": "websocket.connect"}, 0)])
        self._waiting_bytes = 0
        self._disconnect: Event | None = None
        self._news = News()

    # -- the app's side ------------------------------------------------------------------------

    async def receive(self) -> Event:
        """The next event. The last one is that the connection is over; who asks again is told so again."""
        await checkpoint()
        with self._in_call():
            await self._news.wait_until(lambda: bool(self._events or self._disconnect))
        if self._events:
            event, size = self._events.popleft()
            self._waiting_bytes -= size
            self._news.tell()
            return event
        self._told = True
        assert self._disconnect is not None
        return dict(self._disconnect)

    def understand(self, kind: str, event: Event) -> Callable[[], None]:
        """Check an event; return what it asks for."""
        if kind == "websocket.accept":
            headers = headers_of(event, refused=ACCEPTING)
            subprotocol = field(event, "subprotocol", (str,), None)
            if subprotocol is not None:
                headers.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
            return partial(self._accept, headers)
        if kind == "websocket.send":
            return self._understand_message(event)
        if kind == "websocket.close":
            code: int = field(event, "code", (int,), 1000)
            reason: str = field(event, "reason", (str,), "")
            if self.stage is not Stage.WAITING:
                check_close(code, reason)
            return partial(self._close, code, reason)
        return super().understand(kind, event)

    def _understand_message(self, event: Event) -> Callable[[], None]:
        text = field(event, "text", (str,), None)
        data = field(event, "bytes", (bytes, bytearray, memoryview), None)
        if (text is None) == (data is None):
            raise TypeError(f"'websocket.send' has one of 'text' and 'bytes', and not both, unlike {event!r}")
        return partial(
            self._send, Opcode.BINARY if text is None else Opcode.TEXT, bytes(data) if text is None else text.encode()
        )

    def _accept(self, headers: list[tuple[bytes, bytes]]) -> None:
        own = [(name.encode("ascii"), value.encode("latin-1")) for name, value in self._answer.headers.raw_items()]
        self.head = (self._answer.status_code, [*own, *headers])
        self.stage = Stage.OPEN
        self._start_soon(self._read)
        self.answered.set()

    def _send(self, opcode: Opcode, data: bytes) -> None:
        (self._protocol.send_text if opcode is Opcode.TEXT else self._protocol.send_binary)(data)
        self._flush()

    def _close(self, code: int, reason: str) -> None:
        if self.stage is Stage.WAITING:
            self.extensions["websocket_close"] = (code, reason)
            self.respond(403, [(b"content-length", b"0")])
            self.end_response()
        else:
            self._send_close(code, reason)
            self._over(code, reason)

    def end_response(self) -> None:
        """Instead of a WebSocket, the client has got a response."""
        super().end_response()
        self._over(1006, "")

    # -- the connection ------------------------------------------------------------------------

    def _send_close(self, code: int, reason: str) -> None:
        self.stage = Stage.CLOSED
        self._protocol.send_close(code, reason)
        self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.server.write_now(data)
            else:
                self.server.end()

    async def _read(self) -> None:
        """Read what the client sends, until the connection ends; a task of its own."""
        # The connection may break from either end, in reading and in answering a ping.
        with contextlib.suppress(ConnectionError):
            while data := await self.server.read(READ_SIZE):
                self._protocol.receive_data(data)
                for frame in self._protocol.events_received():
                    assert isinstance(frame, Frame)
                    self._take(frame)
                if self._protocol.parser_exc is not None:
                    self._lost()  # the client is told why, and what else it sends is ignored
                self._flush()
                await self._news.wait_until(self._has_room)
        self._lost()

    def _has_room(self) -> bool:
        return self._waiting_bytes < _HIGH_WATER or self.gone or self.finished.is_set()

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._lost()
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT) or self._disconnect is not None:
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._parts.append(bytes(frame.data))
        if frame.fin:
            data = b"".join(self._parts)
            self._parts.clear()
            self._message(data)

    def _message(self, data: bytes) -> None:
        text = None
        if self._is_text:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self._protocol.fail(1007, "text is not valid UTF-8")
                self._lost()
                return
        event: Event = {"type": "websocket.receive", **({"bytes": data} if text is None else {"text": text})}
        self._events.append((event, len(data)))
        self._waiting_bytes += len(data)
        self._news.tell()

    def _lost(self) -> None:
        """The client has closed the connection, or it was lost (1006)."""
        close = self._protocol.close_rcvd
        self.gone = True
        self._over(*((1006, "") if close is None else (int(close.code), close.reason)))

    def _over(self, code: int, reason: str) -> None:
        """Nothing more is received; if several reasons come together, the app hears of the first."""
        if self._disconnect is None:
            self._disconnect = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._news.tell()

    # -- the end -------------------------------------------------------------------------------

    def hang_up(self, error: Exception | None) -> None:
        """The app has ended: a connection that is open is closed, or breaks with the app's exception."""
        self._news.tell()
        if self.stage is Stage.CLOSED:
            return  # the client's answer ends it
        if self.stage is not Stage.OPEN or self.gone:
            super().hang_up(error)
        elif self._failure is not None:
            broken = ConnectionAbortedError(f"the app raised {error!r}")
            broken.__cause__ = error
            self.server.close(broken)
        else:
            with contextlib.suppress(BrokenPipeError):
                self._send_close(1011, "" if error else "the app returned without closing")

    async def _wait_heard(self) -> None:
        """Once it has been accepted, nobody waits for the call itself."""
        if self.stage in (Stage.WAITING, Stage.RESPONDING, Stage.RESPONDED):
            await super()._wait_heard()

    def client_gone(self) -> None:
        """The app's next ``receive()`` tells of it."""
        super().client_gone()
        if self.stage not in (Stage.OPEN, Stage.CLOSED):  # else what it sent before is read first
            self._lost()

    def response(self) -> httpx2.Response:
        """The answer, when there is one; that which accepts hands out the client's end of the connection."""
        if self.head is None or not HTTP1.accepts(self.head[0]):
            return super().response()
        return upgraded(*self.head, self.client, http_version=b"HTTP/1.1")
