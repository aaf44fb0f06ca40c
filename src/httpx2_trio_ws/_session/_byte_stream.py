"""A session as a stream of bytes, to tunnel TLS, SSH, VNC or a database's protocol through a WebSocket.

What the streams of trio and of anyio share; the two faces are :class:`httpx2_trio_ws.WebSocketStream` and
:class:`httpx2_trio_ws.anyio.WebSocketStream`.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from httpx2_trio_ws._exceptions import (
    QUIET_ENDS,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketNetworkError,
    WebSocketProtocolError,
)

from ._streaming import MessageReader

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._session import Session

# Bytes are sent in messages of at most so many: what servers take without being asked to.
_MESSAGE_SIZE = 65536


class ByteTunnel:
    """The bytes of a session's binary messages, whose boundaries mean nothing, nor does their size.

    Args:
        session: an open session; nothing else should send to it or receive from it.
        busy: the exception of the loop's streams for a second task in the same call.
    """

    def __init__(self, session: Session, busy: type[Exception]) -> None:
        self.session = session
        self._busy = busy
        self._in_use: set[str] = set()
        self._closed = False
        # The message that is being received, as it arrives; a part of it, and how much of that has been handed out.
        self._message: MessageReader | None = None
        self._part: bytes = b""
        self._taken = 0
        self._end: WebSocketNetworkError | WebSocketProtocolError | None = None
        session._engine.connection.streams_large = True

    async def receive(self, max_bytes: int) -> bytes:
        """At least one byte; ``b""`` once the peer has closed with 1000, 1001 or no code. Always a schedule point."""
        with self._alone("receiving"):
            await self._ready()
            while self._taken == len(self._part):
                if self._end is not None:
                    raise self._end._again()
                self._part, self._taken = b"", 0
                try:
                    self._part = await self._next_part()
                except WebSocketDisconnect as exc:
                    if exc.code in QUIET_ENDS and self._message is None:
                        return b""
                    # Whatever else it says, the data is cut short.
                    self._end = WebSocketNetworkError(str(exc))
                    self._end.__cause__ = exc
            start = self._taken
            self._taken = min(start + max_bytes, len(self._part))
            return self._part[start : self._taken]

    async def _next_part(self) -> bytes:
        """What comes next; nothing at a message's end."""
        message, waiting = self._message, self.session._inbox.messages
        if message is None:
            if waiting and isinstance(waiting[0], bytes):
                return await self.session.receive_bytes()  # whole, which costs less
            message = MessageReader(self.session, owned=False)  # tasks may take turns
            await message.__aenter__()
            self._message = message
        if message.kind == "text":
            self._end = WebSocketProtocolError(1003, "a text message among bytes")
            self.session._engine.begin_close(1003, self._end.reason)
            return b""
        try:
            part = await message.__anext__()
        except StopAsyncIteration:
            self._message = None
            return b""
        assert isinstance(part, bytes)
        return part

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it. If cancelled, a part may have been sent. Always a schedule point."""
        with self._alone("sending"):
            await self._ready()
            view = memoryview(data).cast("B")
            for start in range(0, len(view), _MESSAGE_SIZE):
                await self.session.send_bytes(view[start : start + _MESSAGE_SIZE])

    async def wait_room(self) -> None:
        """Wait until :meth:`send` might not wait."""
        with self._alone("sending"):
            await self._ready()
            await self.session._wait_room()

    async def aclose(self) -> None:
        """Close the session with 1000; when cancelled, drop its connection at once.

        A failure that no call has told stays untold: closing a broken stream is no error.
        """
        self._closed = True
        self.session._engine.told()
        await self.session.aclose()

    async def _ready(self) -> None:
        self._check_open()
        await self.session._runtime.checkpoint()
        self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise WebSocketClosedError("the stream was closed on our side, by aclose()")

    @contextlib.contextmanager
    def _alone(self, what: str) -> Generator[None]:
        if what in self._in_use:
            raise self._busy(f"another task is {what} on this stream already")
        self._in_use.add(what)
        try:
            yield
        finally:
            self._in_use.discard(what)


def check_max_bytes(max_bytes: int | None) -> int:
    """``max_bytes`` of a receiving call; ``None`` is no limit."""
    if max_bytes is None:
        return sys.maxsize
    if not isinstance(max_bytes, int):
        raise TypeError(f"max_bytes must be an int or None, not {max_bytes!r}")
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
    return max_bytes
