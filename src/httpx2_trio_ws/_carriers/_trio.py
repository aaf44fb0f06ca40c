"""The carrier for trio's sockets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from ._base import READ_SIZE, CarrierError
from ._descriptor import write_now
from ._stream import StreamCarrier

if TYPE_CHECKING:
    import httpx2


class SocketCarrier(StreamCarrier):
    """Through the plain socket under the network stream."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(response)
        # The first read goes through the stream: it may hold bytes that came together with the 101.
        # It hands those out whole, as they are part of one read of 64 KiB.
        self._first = True

    async def read(self) -> bytes:
        try:
            if self._first:
                data = bytes(await self._stream.read(2 * READ_SIZE))
                self._first = False
                return data
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                try:
                    # A closed socket's descriptor is -1: never one that the system gave out again.
                    return os.read(self._socket.fileno(), READ_SIZE)
                except BlockingIOError:
                    continue
        except Exception as exc:
            raise CarrierError("reading from the connection failed") from exc

    @property
    def writes_now(self) -> bool:
        return True

    def write_now(self, data: bytes | memoryview) -> int:
        return write_now(self._socket, data)

    async def write(self, data: memoryview) -> int:
        written = write_now(self._socket, data)
        if not written:
            try:
                await trio.lowlevel.wait_writable(self._socket)
            except Exception as exc:
                raise CarrierError("writing to the connection failed") from exc
        return written
