"""Messages in parts: sent as they are made, received as they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, Self

from httpx2_trio_ws._core._parts import BROKEN_OFF, PartsBlock, ReadingBlock, check_part, kind_of
from httpx2_trio_ws._core._watermarks import HIGH_WATER
from httpx2_trio_ws._protocol import Incoming, Outgoing

if TYPE_CHECKING:
    from types import TracebackType

    from ._engine import Engine


class Calls(Protocol):
    """What is asked of a session: its engine, and when others must have their turns."""

    _engine: Engine

    def _turn_is_due(self) -> bool: ...
    def _new_turn(self) -> None: ...


class MessageWriter(PartsBlock):
    """A message that is sent in parts, of a length that need not be known; from :meth:`WebSocketSession.send_stream`.

    It is a context manager. Entering waits for its turn, first come first served with the other sending calls. Those wait
    until the block has been left; pings, pongs and close frames go between the parts. When the block is left normally, the
    message is complete; that does not wait. A message that is short, or empty, leaves as one frame, like any other.

    If the block is left by an error or a cancellation, the message can neither be ended nor taken back. If :meth:`send`
    has taken any part, the session is closed, with 1011, or with 1001 by a cancellation or Ctrl-C. If it has not, nothing
    was sent, and the session goes on.

    Raises:
        RuntimeError: where it is entered, it was entered before, or this task is in the block of another.
        WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: where it is entered, or
            left normally: the session has ended, before the message was complete.
    """

    __slots__ = ("_kind", "_outgoing", "_session")

    def __init__(self, session: Calls, kind: Literal["text", "binary"]) -> None:
        super().__init__()
        self._session = session
        self._kind: Literal["text", "binary"] = kind
        self._outgoing = Outgoing(session._engine.connection, kind_of(kind))

    async def __aenter__(self) -> Self:
        self._check_new("send_stream")
        session = self._session
        engine, outbox = session._engine, session._engine.outbox
        session._new_turn()
        if engine.life.sending is None:
            await outbox.begin(self._outgoing, engine.runtime.current_task())
        else:
            await engine.runtime.checkpoint()
        if engine.life.sending is not None:
            engine.raise_ended(engine.life.sending)
        self._state = "was entered"
        return self

    async def send(self, part: str | bytes | bytearray | memoryview) -> None:
        """Send a part: ``str`` of a text, bytes of a binary message. Above 64 KiB unsent, this waits first.

        It goes out with those that follow at once, in frames of up to 64 KiB; no part waits for the next. If cancelled,
        nothing of the part has been taken, and the message can go on.

        Raises:
            TypeError: it is not of the message's kind.
            UnicodeEncodeError: the text has lone surrogates; nothing of it has been taken.
            RuntimeError: the block has not been entered or was left, or another task is sending a part.
            WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: the session has
                ended.
        """
        data = check_part(part, self._kind)
        self._check_entered("task is sending")
        session = self._session
        engine, outbox = session._engine, session._engine.outbox
        self._busy = True
        try:
            if session._turn_is_due() or outbox.gathered > HIGH_WATER:
                session._new_turn()
                await outbox.wait_room()
        finally:
            self._busy = False
        if engine.life.sending is not None:
            engine.raise_ended(engine.life.sending)
        self._check_entered()
        if data:
            outbox.add(self._outgoing, data)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._state = "was left"
        engine, outgoing = self._session._engine, self._outgoing
        outbox = engine.outbox
        if engine.life.sending is not None:
            if exc is None:
                engine.raise_ended(engine.life.sending)
        elif exc is None:
            outbox.complete(outgoing)
        elif outgoing.begun:
            outgoing.drop()
            is_error = isinstance(exc, Exception) and not engine.runtime.is_cancellation(exc)
            engine.begin_close(1011 if is_error else 1001, BROKEN_OFF)
        else:
            outbox.withdraw(outgoing)


class MessageReader(ReadingBlock):
    """A message that is received in parts, as it arrives; from :meth:`WebSocketSession.receive_stream`.

    It is a context manager, and an iterator of parts. Entering waits for the next message to begin, first come first
    served with the other receiving calls. Those wait until it has ended here, or the block has been left. A message that
    is there already is one part. No limit on its size applies, and little of it is held: when 256 KiB wait to be taken,
    reading stops, so that TCP pushes back on the peer.

    What has not been taken when the block is left is skipped as it comes. If the session ends in the middle of the message,
    what had come is handed out first, and then that is raised; a message that was cut off never ends like a whole one. Closed
    on our side, it is raised at once, and what was not taken is discarded.
    Cancelling loses nothing, neither where the block is entered nor where a part is waited for.

    Raises:
        RuntimeError: where it is entered, it was entered before, or this task is in the block of another.
        WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: where it is entered, or a
            part is waited for: the session has ended, whatever the close code.
    """

    __slots__ = ("_incoming", "_owned", "_session")

    def __init__(self, session: Calls, *, owned: bool = True) -> None:
        super().__init__()
        self._session = session
        self._owned = owned
        self._incoming: Incoming | None = None

    async def __aenter__(self) -> Self:
        self._check_new("receive_stream")
        session = self._session
        session._new_turn()
        message = await session._engine.inbox.wait_in_parts(
            session._engine.runtime.current_task() if self._owned else None
        )
        if message is None:
            session._engine.raise_ended(session._engine.life.receiving)
        self._state = "was entered"
        if isinstance(message, Incoming):
            self._incoming = message
            self._kind = message.kind
        else:
            self._begin_whole(message)
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        """The next part, which is not empty. It is all that has come since the last."""
        self._check_entered("task is receiving")
        session = self._session
        self._busy = True
        try:
            if session._turn_is_due():
                session._new_turn()
                await session._engine.runtime.checkpoint()
            part = await self._next()
        finally:
            self._busy = False
        if not part:
            raise StopAsyncIteration
        return part

    async def _next(self) -> str | bytes:
        """The next part; empty at the end of the message."""
        session = self._session
        engine, inbox = session._engine, session._engine.inbox
        while self._whole or self._incoming is not None:
            if engine.life.closed_here:  # what was not taken by then is discarded, as in the queue
                engine.raise_ended(engine.life.receiving)
            incoming = self._incoming
            if incoming is None:
                part, self._whole = self._whole, b""
                return part
            part = incoming.take()
            ended = incoming.ended
            if ended:
                self._end()
            elif part and inbox.is_paused:
                inbox.taken()
            if part:
                return part
            if not ended:
                if engine.life.receiving is not None:
                    engine.raise_ended(engine.life.receiving)
                session._new_turn()
                await inbox.wait_part()
        return b""

    def _end(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            self._session._engine.inbox.end_turn(incoming)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._state = "was left"
        self._whole = b""
        self._end()
