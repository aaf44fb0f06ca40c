"""Two connected byte streams in memory, on any event loop that anyio runs, and the response that hands one out.

They behave as a TCP connection does: bytes keep their order and not their chunks, a full buffer holds the writer
up, and a closed end is an end of file for the other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class _Pipe:
    """One direction: a buffer that one side writes and the other reads."""

    __slots__ = ("broken", "buffer", "capacity", "changed", "ended", "error")

    def __init__(self, capacity: float) -> None:
        self.buffer = bytearray()
        self.capacity = capacity
        self.ended = False  # no more will be written
        self.error: Exception | None = None  # what a read raises at the end, instead of telling of an end of file
        self.broken = False  # nobody reads any more, or it was reset
        self.changed = anyio.Event()

    def notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def write(self, data: bytes) -> None:
        await checkpoint()
        view = memoryview(data)
        while view:
            if self.broken or self.ended:
                raise BrokenPipeError("the other end of the connection in memory is closed")
            room = self.capacity - len(self.buffer)
            if room <= 0:
                await self.changed.wait()
                continue
            part = view if room >= len(view) else view[: int(room)]
            self.buffer += part
            view = view[len(part) :]
            self.notify()

    async def wait_room(self) -> None:
        await checkpoint()
        while len(self.buffer) >= self.capacity and not (self.broken or self.ended):
            await self.changed.wait()

    def write_now(self, data: bytes) -> None:
        if self.broken or self.ended:
            raise BrokenPipeError("the other end of the connection in memory is closed")
        self.buffer += data
        self.notify()

    async def read(self, max_bytes: int) -> bytes:
        await checkpoint()
        while not self.buffer:
            if self.broken:
                raise ConnectionResetError("the connection in memory was reset")
            if self.ended:
                if self.error is not None:
                    raise self.error
                return b""
            await self.changed.wait()
        data = bytes(self.buffer[:max_bytes])
        del self.buffer[:max_bytes]
        self.notify()
        return data


class MemoryStream:
    """One end of a connection in memory.

    It has the methods of httpx2's network streams, so that it can stand where one of these does.
    """

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, info: Mapping[str, Any]) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._info = info

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109 (httpx2's)
        """At least one byte and at most ``max_bytes``; ``b""`` at the end. Cancelling loses nothing.

        Raises:
            ConnectionResetError: the connection was reset, by either end.
        """
        return await self._incoming.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 (httpx2's)
        """Write all of ``buffer``, waiting while the other end's buffer is full. If cancelled, a part may have gone.

        Raises:
            BrokenPipeError: either end is closed.
        """
        await self._outgoing.write(buffer)

    async def wait_room(self) -> None:
        """Wait until the other end's buffer is not full, or either end is closed. Always a checkpoint."""
        await self._outgoing.wait_room()

    def write_now(self, data: bytes) -> None:
        """Write all of ``data`` at once, even if that takes more than the other end's buffer should hold.

        Raises:
            BrokenPipeError: either end is closed.
        """
        self._outgoing.write_now(data)

    @property
    def at_end(self) -> bool:
        """All that the other end has written has been read, and it will write no more."""
        return self._incoming.ended and not self._incoming.buffer

    def end(self, error: Exception | None = None) -> None:
        """Send an end of file, and go on reading: the half-close of TCP.

        Args:
            error: what the other end's reads raise, once it has read everything, instead of finding the end.
        """
        self._outgoing.ended = True
        self._outgoing.error = error
        self._outgoing.notify()

    def close(self, error: Exception | None = None) -> None:
        """Close this end: what was written can still be read at the other, which then finds the end, or ``error``."""
        self.end(error)
        self._incoming.buffer.clear()
        self._incoming.broken = True
        self._incoming.notify()

    def reset(self) -> None:
        """Break the connection, as a TCP reset does: what has not been read is lost, at both ends."""
        for pipe in (self._incoming, self._outgoing):
            pipe.buffer.clear()
            pipe.broken = True
            pipe.notify()

    async def aclose(self) -> None:
        """As :meth:`close`; httpx2's name for it."""
        self.close()
        await checkpoint()

    def get_extra_info(self, info: str) -> Any:
        """What is known of the connection, by httpx2's names (``client_addr``, …); ``None`` if it is not."""
        return self._info.get(info)


def memory_stream_pair(
    capacity: float = math.inf, info: Mapping[str, Any] | None = None
) -> tuple[MemoryStream, MemoryStream]:
    """Two ends of a connection.

    Args:
        capacity: bytes that each direction holds before a write waits.
        info: what :meth:`MemoryStream.get_extra_info` tells, at the first end.
    """
    there, back = _Pipe(capacity), _Pipe(capacity)
    return MemoryStream(back, there, info or {}), MemoryStream(there, back, {})


def upgraded(
    status: int,
    headers: list[tuple[bytes, bytes]],
    stream: MemoryStream,
    request: httpx2.Request | None = None,
    **extensions: object,
) -> httpx2.Response:
    """The answer that accepts a session, and hands out one end of its connection."""
    extensions["network_stream"] = stream
    return httpx2.Response(status, headers=headers, stream=_NoBody(stream), extensions=extensions, request=request)


class _NoBody(httpx2.AsyncByteStream):
    """Closing it closes the connection, as httpx2's own does."""

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b""

    async def aclose(self) -> None:
        await self._stream.aclose()
