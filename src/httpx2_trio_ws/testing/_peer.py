"""The other end of a session, played by a test."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, NoReturn, Protocol, Self

import anyio

from httpx2_trio_ws._exceptions import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketNetworkError,
    WebSocketProtocolError,
)

from ._frames import Frame, Opcode, close_payload, deflate, encode_frame, inflate, parse_close, parse_frame

if TYPE_CHECKING:
    import httpx2

_READ_SIZE = 65536
_CONTROL = 8  # opcodes from here on are those of control frames


class PeerStream(Protocol):
    """What a peer asks of the connection under it."""

    async def read(self, max_bytes: int) -> bytes:
        """At least one byte; ``b""`` at the end. Raises :exc:`OSError`."""
        ...

    async def write(self, buffer: bytes) -> None:
        """Write all of it. Raises :exc:`OSError`."""
        ...

    async def aclose(self) -> None:
        """End the connection, as a TCP socket's close does."""
        ...

    def reset(self) -> None:
        """Have :meth:`aclose`, which follows, break the connection, as a TCP reset does."""
        ...


class ScriptedPeer:
    """The server's end of one session; a handler says what it does.

    There are two levels, and both may be used on one session:

    * :meth:`receive`, :meth:`send`, :meth:`close` and iteration keep the rules: pings are answered, fragments put
      together, a close frame is answered and the connection closed.
    * :meth:`receive_frame`, :meth:`send_frame`, :meth:`send_raw`, :meth:`drop` and :meth:`reset` do what they are
      told. Nothing is answered.

    Nothing happens behind the handler's back: the peer reads only while a call of it waits to receive. So a handler
    that waits for something else, such as :func:`anyio.sleep`, is a peer that has stalled: it answers no ping, and
    once the connection is full (``capacity``), the client's writes wait. :meth:`sleep` stays awake.

    Any number of tasks may call it. Cancelling a receiving call loses nothing; a sending call may leave a part of a
    frame on the wire. Every call raises :exc:`WebSocketDisconnect` when the client has closed the session,
    :exc:`WebSocketNetworkError` when the connection is gone without a close frame, and :exc:`WebSocketClosedError`
    when the peer itself has ended it.

    Args:
        stream: the connection, after the handshake. It has ``read(max_bytes)``, ``write(data)`` and ``aclose()``, all
            async and raising :exc:`OSError`, and ``reset()``, after which ``aclose()`` breaks the connection.
        request: the handshake, as an :class:`httpx2.Request`.
        compressed: permessage-deflate was agreed on, without context takeover in either direction.

    Attributes:
        request: the handshake, as an :class:`httpx2.Request`.
        compressed: permessage-deflate was agreed on. :meth:`send` and :meth:`receive` then deflate and inflate.
        close_code: what the client's close frame said, 1005 if nothing; 1006 if the connection ended without one;
            ``None`` before.
        close_reason: likewise; empty if there was none.
    """

    def __init__(self, stream: PeerStream, request: httpx2.Request, *, compressed: bool = False) -> None:
        self.request = request
        self.compressed = compressed
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._stream = stream
        self._reading = anyio.Lock()
        self._writing = anyio.Lock()
        self._buffer = bytearray()
        self._message: list[Frame] = []
        self._kept: deque[str | bytes] = deque()
        self._close_sent = False
        self._ended: WebSocketException | None = None

    def __repr__(self) -> str:
        state = "open" if self._ended is None else str(self._ended)
        return f"<{type(self).__name__} of {self.request.url} ({state})>"

    # -- keeping the rules ---------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """The next message: ``str`` for text, ``bytes`` for binary. Pings and a close frame are answered on the way.

        Raises:
            WebSocketDisconnect: the client closed; it has been answered and the connection closed.
            WebSocketNetworkError: the connection ended without a close frame.
            WebSocketProtocolError: the client broke the protocol; the connection is closed.
            WebSocketClosedError: the peer has ended the session itself.
        """
        return self._kept.popleft() if self._kept else await self._next_message()

    async def _next_message(self) -> str | bytes:
        while True:
            frame = await self.receive_frame()
            if frame.opcode == Opcode.PING:
                await self.pong(frame.payload)
            elif frame.opcode == Opcode.CLOSE:
                await self._answer_close(frame)
            elif frame.opcode < _CONTROL:
                message = await self._put_together(frame)
                if message is not None:
                    return message

    async def send(self, message: str | bytes) -> None:
        """Send a message in one frame: text if it is a ``str``, binary if it is ``bytes``.

        Raises:
            TypeError: it is neither. Else as :meth:`receive`.
        """
        if isinstance(message, str):
            opcode, payload = Opcode.TEXT, message.encode()
        elif isinstance(message, bytes):
            opcode, payload = Opcode.BINARY, message
        else:
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        if self.compressed:
            payload = deflate(payload)
        await self.send_frame(opcode, payload, rsv1=self.compressed)

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and keep the rules meanwhile: pings are answered, messages kept for :meth:`receive`.

        Raises: as :meth:`receive`.
        """
        with anyio.move_on_after(seconds):
            while True:
                self._kept.append(await self._next_message())

    async def ping(self, payload: bytes = b"") -> None:
        """Send a ping. Its pong comes to :meth:`receive_frame`; :meth:`receive` passes over it."""
        await self.send_frame(Opcode.PING, payload)

    async def pong(self, payload: bytes = b"") -> None:
        """Send a pong, unsolicited or not."""
        await self.send_frame(Opcode.PONG, payload)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """The whole closing handshake: a close frame, the client's answer, the end of the connection.

        Messages that come before the answer are discarded. :attr:`close_code` has the answer, or 1006. Does nothing
        if the session has ended already.
        """
        try:
            if not self._close_sent:
                await self.send_close(code, reason)
            while self.close_code is None:
                await self.receive_frame()
        except WebSocketException:
            return  # it has ended; how is in close_code
        await self.drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        """The next message. Iteration ends when the client is gone; :attr:`close_code` tells how."""
        try:
            return await self.receive()
        except (WebSocketDisconnect, WebSocketNetworkError):
            raise StopAsyncIteration from None

    async def wait_closed(self) -> None:
        """Keep the rules and discard messages until the client is gone; the usual last line of a handler."""
        async for _ in self:
            pass

    async def _answer_close(self, frame: Frame) -> NoReturn:
        if not self._close_sent:
            self._close_sent = True
            with contextlib.suppress(WebSocketNetworkError):  # a client that was cancelled does not wait for it
                await self.send_frame(Opcode.CLOSE, frame.payload)
        await self._end(WebSocketDisconnect(*parse_close(frame.payload)))

    async def _put_together(self, frame: Frame) -> str | bytes | None:
        """The message that ``frame`` completes."""
        if (frame.opcode == Opcode.CONT) != bool(self._message):
            await self._violated(1002, "a message was begun inside another, or continued without one")
        self._message.append(frame)
        if not frame.fin:
            return None
        first, payload = self._message[0], b"".join(part.payload for part in self._message)
        self._message = []
        try:
            if first.rsv1:
                payload = inflate(payload)
            return payload if first.opcode == Opcode.BINARY else payload.decode()
        except ValueError as exc:
            await self._violated(1007, str(exc))

    # -- doing as told -------------------------------------------------------------------------

    async def receive_frame(self) -> Frame:
        """The next frame, of any kind. Nothing is answered.

        A close frame is handed out like any other and sets :attr:`close_code`; the end of the connection after it
        raises :exc:`WebSocketDisconnect`. Else raises as :meth:`receive`.
        """
        async with self._reading:
            while True:
                self._check()
                try:
                    parsed = parse_frame(self._buffer)
                    if parsed is None:
                        await self._read()
                        continue
                    frame, size = parsed
                    del self._buffer[:size]
                    if frame.opcode == Opcode.CLOSE:
                        self.close_code, self.close_reason = parse_close(frame.payload)
                except ValueError as exc:
                    await self._violated(1002, str(exc))
                if frame.rsv1 and not (self.compressed and frame.opcode in (Opcode.TEXT, Opcode.BINARY)):
                    await self._violated(1002, "the first reserved bit is set where no compressed message begins")
                return frame

    async def send_frame(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None:
        """Send one frame, whatever the protocol thinks of it. See :func:`encode_frame`."""
        await self.send_raw(encode_frame(opcode, payload, fin=fin, rsv1=rsv1, rsv2=rsv2, rsv3=rsv3))

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and nothing else. Any code goes."""
        self._close_sent = True
        await self.send_frame(Opcode.CLOSE, close_payload(code, reason))

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, all in one write. Waits while the connection is full."""
        async with self._writing:
            self._check()
            try:
                await self._stream.write(data)
            except OSError as exc:
                # What the client said before it went can still be received, so this is not the end yet.
                raise WebSocketNetworkError(f"the client reads no more: {exc}") from exc

    async def drop(self) -> None:
        """End the connection without a close frame, as a server that dies does. What was sent still arrives."""
        await self._closed("the peer has ended the connection")

    async def reset(self) -> None:
        """Break the connection, as a TCP reset does. What has not been read is lost, at both ends."""
        if self._ended is None:
            self._ended = WebSocketClosedError("the peer has reset the connection")
        self._stream.reset()
        await self._stream.aclose()

    @property
    def incomplete(self) -> bytes:
        """The bytes of a frame, masked, that has not come whole so far. Empty between two frames."""
        return bytes(self._buffer)

    # -- ends ----------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._ended is not None:
            raise self._ended._again()

    async def _read(self) -> None:
        try:
            data = await self._stream.read(_READ_SIZE)
        except OSError as exc:
            self._check()  # it was this peer that ended it meanwhile
            await self._lost(f": {exc}", exc)
        if not data:
            await self._lost(f", {len(self._buffer)} bytes into a frame" if self._buffer else "", None)
        self._buffer += data

    async def _lost(self, how: str, cause: OSError | None) -> NoReturn:
        if self.close_code is not None:
            await self._end(WebSocketDisconnect(self.close_code, self.close_reason or ""))
        self.close_code, self.close_reason = 1006, ""
        error = WebSocketNetworkError(f"the client ended the connection without a close frame{how}")
        error.__cause__ = cause
        await self._end(error)

    async def _violated(self, code: int, reason: str) -> NoReturn:
        await self._end(WebSocketProtocolError(code, reason))

    async def _end(self, error: WebSocketException) -> NoReturn:
        """From now on every call raises ``error``."""
        self._ended = error
        await self._stream.aclose()
        raise error

    async def _closed(self, why: str) -> None:
        """From now on every call raises :exc:`WebSocketClosedError`."""
        if self._ended is None:
            self._ended = WebSocketClosedError(why)
        await self._stream.aclose()
