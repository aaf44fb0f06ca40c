"""The carrier for asyncio's sockets.

The loop's own transport holds the socket, and anyio's stream reads through it: it starts reading and stops again for
each call, which costs more than the read. Here the socket is read through a second descriptor of it that stays
registered with the loop. What is written goes to the socket at once, and through the stream if it is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import types
from typing import TYPE_CHECKING, Any

from httpx2_trio_ws._transport import READ_SIZE, CarrierError, StreamTransport, write_now

if TYPE_CHECKING:
    from collections.abc import Generator

    import httpx2


class LoopTransport(StreamTransport):
    """Through the plain socket under the network stream."""

    writes_now = True

    def __init__(self, response: httpx2.Response, socket: Any) -> None:
        super().__init__(response)
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._descriptor: int | None = None
        self._registered = False
        self._arrived: asyncio.Future[bytes] | None = None
        self._stream_is_empty = False

    # -- reading -------------------------------------------------------------------------------

    async def read(self) -> bytes:
        try:
            if not self._stream_is_empty:
                data = await self._read_rest()
                if data is not None:
                    return data
                self._take_over()
            if self._descriptor is None:
                return bytes(await self._stream.read(READ_SIZE))
            return await self._read_descriptor(self._descriptor)
        except Exception as exc:
            raise CarrierError("reading from the connection failed") from exc

    async def _read_rest(self) -> bytes | None:
        """What the stream has read already; ``None`` if that is nothing.

        A read that finds bytes makes no more than a checkpoint of it, and one that does not waits for a future. So
        it is begun by hand, to see which; in the second case it is given up before the loop can read any more.
        """
        read: Any = self._stream.read(2 * READ_SIZE)
        try:
            waits_for = read.send(None)
        except StopIteration as done:
            return bytes(done.value)
        try:
            if waits_for is None:
                await asyncio.sleep(0)
                return bytes(await _go_on(read))
        finally:
            read.close()
        self._stream_is_empty = True
        return None

    def _take_over(self) -> None:
        with contextlib.suppress(OSError):  # out of descriptors: then it is the stream
            self._descriptor = os.dup(self._socket.fileno())

    async def _read_descriptor(self, descriptor: int) -> bytes:
        self._arrived = self._loop.create_future()
        if not self._registered:
            self._loop.add_reader(descriptor, self._on_readable, descriptor)
            self._registered = True
        try:
            return await self._arrived
        finally:
            self._arrived = None

    def _on_readable(self, descriptor: int) -> None:
        arrived = self._arrived
        if arrived is None or arrived.done():
            self._unregister()  # nobody wants more: TCP may push back
            return
        try:
            if self._socket.fileno() < 0:
                raise ConnectionAbortedError("the client was closed")
            arrived.set_result(os.read(descriptor, READ_SIZE))
        except BlockingIOError:
            return
        except OSError as exc:
            arrived.set_exception(exc)

    def _unregister(self) -> None:
        if self._registered and self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            self._registered = False

    # -- writing and closing -------------------------------------------------------------------

    def write_now(self, data: bytes | memoryview) -> int:
        return write_now(self._socket, data)

    async def write(self, data: memoryview) -> int:
        # The stream has nothing of its own to write: it returns when all has been written, and is cancelled only
        # when the session is over.
        return write_now(self._socket, data) or await super().write(data)

    async def aclose(self) -> None:
        self._unregister()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        await super().aclose()


@types.coroutine
def _go_on(coroutine: Generator[Any, Any, bytes]) -> Generator[Any, Any, bytes]:
    """Await a coroutine whose first step has been made."""
    return (yield from coroutine)
