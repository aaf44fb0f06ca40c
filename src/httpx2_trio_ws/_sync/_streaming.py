"""Messages in parts, for threads: sent as they are made, received as they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from httpx2_trio_ws._core._parts import PartsBlock, ReadingBlock, check_part, kind_of
from httpx2_trio_ws._protocol import Outgoing

from ._inbox import Stream

if TYPE_CHECKING:
    from types import TracebackType

    from ._engine import Engine


class SyncMessageWriter(PartsBlock):
    """A message that is sent in parts, of a length that need not be known; from :meth:`SyncWebSocketSession.send_stream`.

    It is a context manager. Entering waits for its turn, first come first served with the other sending calls. Those wait
    until the block has been left; pings, pongs and close frames go between the parts. When the block is left normally, the
    message is complete; that does not wait. A message that is short, or empty, leaves as one frame, like any other.

    If the block is left by an error, the message can neither be ended nor taken back. If :meth:`send` has taken any part,
    the session is closed, with 1011, or with 1001 by Ctrl-C. If it has not, nothing was sent, and the session goes on.

    Raises:
        RuntimeError: where it is entered, it was entered before, or this thread is in the block of another.
        WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: where it is entered, or
            left normally: the session has ended, before the message was complete.
    """

    __slots__ = ("_engine", "_kind", "_outgoing")

    def __init__(self, engine: Engine, kind: Literal["text", "binary"]) -> None:
        super().__init__()
        self._engine = engine
        self._kind: Literal["text", "binary"] = kind
        self._outgoing = Outgoing(engine.connection, kind_of(kind))

    def __enter__(self) -> Self:
        self._check_new("send_stream")
        error = self._engine.outbox.begin(self._outgoing)
        if error is not None:
            self._engine.raise_ended(error)
        self._state = "was entered"
        return self

    def send(self, part: str | bytes | bytearray | memoryview) -> None:
        """Send a part: ``str`` of a text, bytes of a binary message. Above 64 KiB unsent, this waits first.

        It goes out with those that follow at once, in frames of up to 64 KiB; no part waits for the next. If it is
        interrupted, the part has been taken whole, or not at all.

        Raises:
            TypeError: it is not of the message's kind.
            UnicodeEncodeError: the text has lone surrogates; nothing of it has been taken.
            RuntimeError: the block has not been entered or was left, or another thread is sending a part.
            WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: the session has
                ended.
        """
        data = check_part(part, self._kind)
        self._check_entered("thread is sending")
        self._busy = True
        try:
            error = self._engine.outbox.add(self._outgoing, data)
        finally:
            self._busy = False
        if error is not None:
            self._engine.raise_ended(error)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._state = "was left"
        engine, outgoing = self._engine, self._outgoing
        if exc is None:
            try:
                error = engine.outbox.complete(outgoing)
            except BaseException:  # Ctrl-C
                if not outgoing.complete:
                    self._break_off(1001)
                raise
            if error is not None:
                engine.raise_ended(error)
        else:
            self._break_off(1011 if isinstance(exc, Exception) else 1001)

    def _break_off(self, code: int) -> None:
        engine = self._engine
        if not engine.outbox.withdraw(self._outgoing) and not engine.closed:
            engine.break_off(code)


class SyncMessageReader(ReadingBlock):
    """A message that is received in parts, as it arrives; from :meth:`SyncWebSocketSession.receive_stream`.

    It is a context manager, and an iterator of parts. Entering waits for the next message to begin, first come first
    served with the other receiving calls. Those wait until it has ended here, or the block has been left. A message that
    is there already is one part. No limit on its size applies, and little of it is held: when 256 KiB wait to be taken,
    reading stops, so that TCP pushes back on the peer.

    What has not been taken when the block is left is skipped as it comes. If the session ends in the middle of the message,
    what had come is handed out first, and then that is raised; a message that was cut off never ends like a whole one. Closed
    on our side, it is raised at once, and what was not taken is discarded.

    Raises:
        TimeoutError: where it is entered, no message began in time.
        RuntimeError: where it is entered, it was entered before, or this thread is in the block of another.
        WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: where it is entered, or a
            part is waited for: the session has ended, whatever the close code.
    """

    __slots__ = ("_engine", "_stream", "_timeout")

    def __init__(self, engine: Engine, timeout: float | None) -> None:
        super().__init__()
        self._engine = engine
        self._timeout = timeout
        self._stream: Stream | None = None

    def __enter__(self) -> Self:
        self._check_new("receive_stream")
        engine = self._engine
        message = engine.inbox.wait_in_parts(self._timeout)
        try:
            engine.outbox.calm()
            if isinstance(message, Stream):
                self._stream = message
                self._kind = message.incoming.kind
            elif message is not None:
                self._begin_whole(message)
        except BaseException:  # Ctrl-C
            engine.inbox.give_back(message)
            raise
        if message is None:
            engine.raise_ended(engine.inbox.error)
        self._state = "was entered"
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str | bytes:
        """The next part, which is not empty. It is all that has come since the last."""
        self._check_entered("thread is receiving")
        self._busy = True
        try:
            part = self._next()
        finally:
            self._busy = False
        if not part:
            raise StopIteration
        return part

    def _next(self) -> str | bytes:
        """The next part; empty at the end of the message."""
        stream, engine = self._stream, self._engine
        if stream is None:
            if self._whole and engine.life.closed_here:  # what was not taken by then is discarded, as in the queue
                engine.raise_ended(engine.inbox.error)
            whole, self._whole = self._whole, b""
            return whole
        part = engine.inbox.next_part(stream)
        engine.outbox.calm()
        if part is None and not stream.ended:
            engine.raise_ended(engine.inbox.error)
        if stream.ended and not stream.parts:
            self._end()
        return part or b""

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.asked = True
            self._engine.inbox.leave(self._stream)
            self._stream = None

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._state = "was left"
        self._whole = b""
        self._end()
