"""A stream of a connection: what has arrived on it, how it ended, and the network stream of its answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import httpcore2

from httpx2_trio_ws._carriers import CarrierError
from httpx2_trio_ws._http2 import ErrorCode, error_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2_trio_ws._carriers import Carrier
    from httpx2_trio_ws._http2 import Headers, Stream
    from httpx2_trio_ws._runtime import Event, Runtime

    from ._turns import Turns


class UnprocessedError(Exception):
    """The server has done nothing with the request: it may be sent again (RFC 9113 §8.7)."""


class Beneath(Protocol):
    """What a stream asks of its connection, and all that it knows of it."""

    number: int
    runtime: Runtime
    turns: Turns
    turn: Callable[[], Event] | None
    get_extra_info: Callable[[str], Any]

    def send(self, stream: Stream, data: bytes | memoryview) -> int:
        """Write what there is room for."""
        ...

    def credit(self, stream: Stream, size: int) -> None:
        """So many bytes of a stream were taken."""
        ...

    def reset(self, stream: Stream) -> None:
        """Nobody is interested in a stream any more."""
        ...

    def leave(self, stream: Stream) -> None:
        """Nobody is interested in a stream any more, but what was sent on it is to arrive."""
        ...

    def forget(self, stream: Stream) -> None:
        """A stream is no more."""
        ...

    def refused(self) -> None:
        """The server takes no more than there are now, whatever its settings say; until one ends."""
        ...


class HTTP2Stream:
    """Bytes both ways over one stream, as any network stream of httpcore2's; and :meth:`websocket_carrier`, for a session.

    The connection's reader hands over what arrives by calling what :meth:`pump` was given. What nobody takes is kept, and
    is never more than the stream's window; the server may send more as it is taken.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_changed",
        "_closed",
        "_connection",
        "_error",
        "_failed_in_take",
        "_owed",
        "_take",
        "answer",
        "http2",
    )

    def __init__(self, connection: Beneath) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._take: Callable[[bytes], bool] | None = None
        self._failed_in_take: BaseException | None = None
        # Bytes of which who took them may still keep some. Their part of the window is handed back when more is asked for.
        self._owed = 0
        # Set once when anything happens that a task may wait for.
        self._changed: Event | None = None
        self._error: Exception | None = None
        self._closed = False
        self.http2: Stream
        #: The server's answer.
        self.answer: Headers | None = None

    @property
    def id(self) -> int:
        """The stream's number on its connection."""
        return self.http2.id

    def websocket_carrier(self) -> Carrier:
        """What carries a session over this."""
        return HTTP2Carrier(self)

    # -- for the connection's reader -----------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """Bytes came."""
        if self._closed:
            return
        if self._take is None:
            self._buffer += data
            self._notify()
            return
        try:
            keeps_on = self._take(data)
        except BaseException as exc:  # noqa: BLE001 (a bug of the session's, or of a hook of the user's: its task raises it)
            self._failed_in_take = exc
            keeps_on = False
        if keeps_on:
            stream = self.http2
            stream.consumed += len(data)
            if stream.consumed * 2 >= stream.window:
                self._connection.credit(stream, 0)
        else:
            self._owed = len(data)
            self._take = None
            self._notify()

    def on_headers(self, event: Headers) -> None:
        """The answer came."""
        self.answer = event
        self._notify()

    def on_end(self) -> None:
        """The server sends nothing more."""
        if self._closed:
            self._connection.reset(self.http2)
        self._notify()

    def on_reset(self, code: int) -> None:
        """The server forgot the stream. After a whole answer that is in order (RFC 9113 §8.1)."""
        if self.http2.ended:
            self._connection.forget(self.http2)
        elif code == ErrorCode.REFUSED_STREAM and self.answer is None:
            self.fail(UnprocessedError())
            self._connection.refused()
        else:
            self.fail(httpcore2.RemoteProtocolError(f"the server reset the stream with {error_name(code)}"))

    def fail(self, error: Exception) -> None:
        """Nothing more comes, and nothing goes. Called once at most: the connection has forgotten it by now."""
        self._error = error
        self._connection.forget(self.http2)
        self._notify()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _change(self, deadline: float = math.inf) -> None:
        """Wait until something has happened, or ``deadline`` has come."""
        if self._changed is None:
            self._changed = self._connection.runtime.event()
        if deadline == math.inf:
            await self._changed.wait()
            return
        with self._connection.runtime.cancel_scope(deadline=deadline):
            await self._changed.wait()

    @property
    def turn(self) -> Callable[[], Event] | None:
        """As a carrier's."""
        return self._connection.turn

    # -- for the handshake ---------------------------------------------------------------------

    async def wait_answer(self, timeout: float | None) -> Headers:
        """The server's answer.

        Raises:
            UnprocessedError: it has done nothing with the request.
            httpcore2.ReadTimeout: it took more than ``timeout`` seconds.
            httpcore2.RemoteProtocolError, httpcore2.ReadError: there is none.
        """
        runtime = self._connection.runtime
        deadline = math.inf if timeout is None else runtime.now() + timeout
        while self.answer is None:
            if self._error is not None:
                raise self._error
            if runtime.now() >= deadline:
                raise httpcore2.ReadTimeout("the server did not answer the extended CONNECT")
            await self._change(deadline)
        return self.answer

    # -- for all of them -----------------------------------------------------------------------

    @property
    def has_unread(self) -> bool:
        """Something has come that nobody has taken."""
        return bool(self._buffer)

    async def pump(self, take: Callable[[bytes], bool]) -> None:
        """Call ``take`` with what arrives, until that returns false, or with ``b""`` at the end.

        Always a checkpoint. Raises :exc:`CarrierError`, and what ``take`` raises.
        """
        await self._connection.runtime.checkpoint()
        self._pay()
        while True:
            if self._failed_in_take is not None:
                raise self._failed_in_take
            if self._buffer:
                data = self._take_buffer(len(self._buffer))
                self._owed = len(data)
                if not take(data):
                    return
                self._pay()
            elif self._error is not None:
                raise CarrierError("reading from the connection failed") from self._error
            elif self.http2.ended:
                take(b"")
                return
            elif await self._hand_over_to(take):
                return

    async def _hand_over_to(self, take: Callable[[bytes], bool]) -> bool:
        """Let the connection's reader call ``take``; whether it returned false."""
        self._take = take
        try:
            await self._change()
        finally:
            stopped, self._take = self._take is None, None
        return stopped and self._failed_in_take is None

    def _take_buffer(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _pay(self) -> None:
        """What was taken has been used: hand its part of the window back."""
        owed, self._owed = self._owed, 0
        if owed:
            self._connection.credit(self.http2, owed)

    def send(self, data: bytes | memoryview) -> int:
        """Write what there is room for; return how much that was.

        Raises:
            CarrierError: from what ended the stream.
        """
        stream = self.http2
        if stream.forgotten or self._closed or self._error is not None:
            self._refuse()
        return self._connection.send(stream, data)

    async def send_in_turn(self, data: bytes | memoryview) -> int:
        """Wait for room, and write what there is room for, or more; return how much that was.

        Raises:
            CarrierError: from what ended the stream.
        """
        written = await self._connection.turns.write(self.http2, data)
        if not written and (self._error is not None or self._closed or self.http2.forgotten):
            self._refuse()
        return written

    def _refuse(self) -> NoReturn:
        error = self._error or ConnectionAbortedError("the stream was closed")
        raise CarrierError("writing to the connection failed") from error

    def reset(self) -> None:
        """Have the server forget the stream, if it has not yet. Idempotent."""
        self._close(self._connection.reset)

    def leave(self) -> None:
        """:meth:`reset` it, once the server has had time to take all that was sent. Does not wait. Idempotent."""
        self._close(self._connection.leave)

    def _close(self, tell: Callable[[Stream], None]) -> None:
        if not self._closed:
            self._closed = True
            self._buffer.clear()
            tell(self.http2)
            self._notify()

    async def aclose(self) -> None:
        """:meth:`reset` it. Idempotent."""
        self.reset()
        await self._connection.runtime.checkpoint()

    # -- as a network stream -------------------------------------------------------------------

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes; ``b""`` at the end.

        Raises:
            httpcore2.ReadTimeout, httpcore2.ReadError: as from any network stream.
        """
        runtime = self._connection.runtime
        deadline = math.inf if timeout is None else runtime.now() + timeout
        await runtime.checkpoint()
        while not self._buffer:
            if self._error is not None:
                raise httpcore2.ReadError(str(self._error)) from self._error
            if self.http2.ended:
                return b""
            if runtime.now() >= deadline:
                raise httpcore2.ReadTimeout
            await self._change(deadline)
        data = self._take_buffer(max_bytes)
        self._connection.credit(self.http2, len(data))
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it.

        Raises:
            httpcore2.WriteTimeout, httpcore2.WriteError: as from any network stream.
        """
        runtime = self._connection.runtime
        left = memoryview(bytes(buffer))  # whoever has another buffer may change it once this returns
        with runtime.cancel_scope(deadline=math.inf if timeout is None else runtime.now() + timeout):
            await runtime.checkpoint()
            try:
                while left:
                    left = left[self.send(left) or await self.send_in_turn(left) :]
            except CarrierError as exc:
                raise httpcore2.WriteError(str(exc.__cause__)) from exc
        if left:
            raise httpcore2.WriteTimeout

    def get_extra_info(self, info: str) -> Any:
        """What is known of the connection beneath; not its socket, as that is not this stream's own."""
        if info == "http2_stream_id":
            return self.id
        if info == "http2_connection_id":
            return self._connection.number
        return None if info == "socket" else self._connection.get_extra_info(info)


class HTTP2Carrier:
    """See :class:`httpx2_trio_ws._carriers.Carrier`."""

    __slots__ = ("_stream", "had_room", "said_all", "turn")
    #: The connection waits for the server's end, not the session.
    linger_seconds: float | None = 0.0
    #: What there is no room for is not taken.
    writes_now = True

    def __init__(self, stream: HTTP2Stream) -> None:
        self._stream = stream
        self.had_room = True
        self.said_all = False
        #: A task that waits may stand in for the one that reads the connection, and so for all its streams.
        self.turn = stream.turn

    @property
    def has_unread(self) -> bool:
        """Something has come that nobody has taken."""
        return self._stream.has_unread

    @property
    def in_flight(self) -> int:
        return 0

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:  # noqa: ARG002 (the protocol's name for it)
        return False

    async def pump(self, take: Callable[[bytes], bool]) -> None:
        """Read."""
        await self._stream.pump(take)

    def write_now(self, data: bytes | memoryview) -> int:
        """Write without waiting. A part of it may be all that there is room for."""
        return self._stream.send(data)

    async def write(self, data: memoryview) -> int:
        """Write; in turns with the other streams of the connection."""
        written = self._stream.send(data)
        self.had_room = bool(written)
        return written or await self._stream.send_in_turn(data)

    async def aclose(self) -> None:
        """Reset the stream: now, or if all has been said, soon."""
        if self.said_all:
            self._stream.leave()
        await self._stream.aclose()
