"""What carries a session: a byte stream that the httpx2 client opened.

Two carriers. :class:`StreamTransport` works over any ``network_stream`` that an httpx2 transport hands out
(TLS, proxies, ASGI, memory). :class:`SocketTransport` goes to the plain socket underneath, where there is
one, and so pays the stream's timeouts and exception mapping never instead of once per read. It can also
write without waiting, which saves a trip through the scheduler for each lone message.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import httpx2

    from ._runtime import Runtime

READ_SIZE = 65536
# One TLS record. A stream takes what it is given whole; in between, a pong may find its place between two frames.
WRITE_SIZE = 16384


class CarrierError(Exception):
    """Reading or writing failed; the cause is what the carrier raised."""


class Transport(Protocol):
    """Read, write, close."""

    #: :meth:`write_now` can write. If not, it takes nothing, ever.
    writes_now: bool

    async def read(self) -> bytes:
        """Some bytes, at least one; ``b""`` at the end. Always a checkpoint. Raises :exc:`CarrierError`."""
        ...

    def write_now(self, data: bytes | memoryview) -> int:
        """Write what can be written without waiting; return how much that was. Raises :exc:`CarrierError`."""
        ...

    async def write(self, data: memoryview) -> int:
        """Write some bytes; return how many. Raises :exc:`CarrierError`.

        0 after waiting for room: by now, something more urgent may have come to be written first.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection and free the client's slot for it."""
        ...


class StreamTransport:
    """Through the network stream itself."""

    writes_now = False

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._stream: Any = response.extensions["network_stream"]

    async def read(self) -> bytes:
        # Whatever a carrier raises, the connection is of no more use; what it was is kept as the cause.
        try:
            return bytes(await self._stream.read(READ_SIZE))
        except Exception as exc:
            raise CarrierError("reading from the connection failed") from exc

    def write_now(self, data: bytes | memoryview) -> int:  # noqa: ARG002 (the protocol's name for it)
        return 0

    async def write(self, data: memoryview) -> int:
        part = data[:WRITE_SIZE]
        try:
            await self._stream.write(bytes(part))
        except Exception as exc:
            raise CarrierError("writing to the connection failed") from exc
        return len(part)

    async def aclose(self) -> None:
        await self._response.aclose()


class SocketTransport:
    """Through the plain socket under the network stream."""

    writes_now = True

    def __init__(self, response: httpx2.Response, runtime: Runtime, socket: Any) -> None:
        self._response = response
        self._runtime = runtime
        self._socket = socket
        # The first read goes through the stream: it may hold bytes that came together with the 101.
        # It hands those out whole, as they are part of one read of 64 KiB.
        self._first = True

    async def read(self) -> bytes:
        try:
            if self._first:
                data = bytes(await self._response.extensions["network_stream"].read(2 * READ_SIZE))
                self._first = False
                return data
            while True:
                await self._runtime.wait_readable(self._socket)
                try:
                    # A closed socket's descriptor is -1: never one that the system gave out again.
                    return os.read(self._socket.fileno(), READ_SIZE)
                except BlockingIOError:
                    continue
        except Exception as exc:
            raise CarrierError("reading from the connection failed") from exc

    def write_now(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise CarrierError("writing to the connection failed") from exc

    async def write(self, data: memoryview) -> int:
        written = self.write_now(data)
        if not written:
            try:
                await self._runtime.wait_writable(self._socket)
            except Exception as exc:
                raise CarrierError("writing to the connection failed") from exc
        return written

    async def aclose(self) -> None:
        await self._response.aclose()


def transport_for(response: httpx2.Response, runtime: Runtime) -> Transport:
    """The fastest carrier for an upgraded response."""
    socket = runtime.socket_of(response.extensions["network_stream"])
    if socket is None:
        return StreamTransport(response)
    return SocketTransport(response, runtime, socket)
