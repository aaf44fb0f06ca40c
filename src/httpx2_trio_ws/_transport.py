"""What carries a session: a byte stream that the httpx2 client opened.

:class:`StreamTransport` works over any ``network_stream`` that an httpx2 transport hands out (TLS, proxies,
ASGI, memory). Where there is a plain socket underneath, the event loop's runtime has a transport that goes to it,
and so pays the stream's timeouts and exception mapping never instead of once per read. It can also write without
waiting, which saves a trip through the scheduler for each lone message.
"""

from __future__ import annotations

import contextlib
import os
import select
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from ._runtime import Runtime

READ_SIZE = 65536
# One TLS record. A stream takes what it is given whole; in between, a pong may find its place between two frames.
WRITE_SIZE = 16384


class CarrierError(Exception):
    """Reading or writing failed; the cause is what the carrier raised."""


class Transport(Protocol):
    """Read, write, close."""

    #: The last :meth:`write` found room and left some: it did not wait for the peer. False where that cannot be told.
    had_room: bool

    @property
    def writes_now(self) -> bool:
        """:meth:`write_now` can write. If not, it takes nothing, from now on."""
        ...

    async def pump(self, take: Callable[[bytes], bool]) -> None:
        """Read, and call ``take`` with what was read, with ``b""`` at the end; until that returns false.

        Always a checkpoint. Raises :exc:`CarrierError`.
        """
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

    @property
    def writes_now(self) -> bool:
        return False

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._stream: Any = response.extensions["network_stream"]
        self._socket: Any = self._stream.get_extra_info("socket")
        self.had_room = False

    async def pump(self, take: Callable[[bytes], bool]) -> None:
        while take(await self.read()):
            pass

    async def read(self) -> bytes:
        """Some bytes, at least one; ``b""`` at the end. Always a checkpoint."""
        # Whatever a carrier raises, the connection is of no more use; what it was is kept as the cause.
        try:
            return bytes(await self._stream.read(READ_SIZE))
        except Exception as exc:
            raise CarrierError("reading from the connection failed") from exc

    def write_now(self, data: bytes | memoryview) -> int:  # noqa: ARG002 (the protocol's name for it)
        return 0

    async def write(self, data: memoryview) -> int:
        part = data[:WRITE_SIZE]
        had_room = has_room(self._socket)
        try:
            await self._stream.write(bytes(part))
        except Exception as exc:
            raise CarrierError("writing to the connection failed") from exc
        self.had_room = had_room and has_room(self._socket)
        return len(part)

    async def aclose(self) -> None:
        await self._response.aclose()


def has_room(socket: Any) -> bool:
    """Whether a socket takes bytes without waiting; false also where that cannot be told."""
    if not hasattr(socket, "fileno") or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    with contextlib.suppress(ValueError):  # it has been closed
        poll.register(socket.fileno(), select.POLLOUT)
    return bool(poll.poll(0))


def write_now(socket: Any, data: bytes | memoryview) -> int:
    """Write to a socket's descriptor what goes without waiting. Raises :exc:`CarrierError`."""
    try:
        # A closed socket's descriptor is -1: never one that the system gave out again.
        return os.write(socket.fileno(), data)
    except BlockingIOError:
        return 0
    except OSError as exc:
        raise CarrierError("writing to the connection failed") from exc


def transport_for(response: httpx2.Response, runtime: Runtime) -> Transport:
    """The fastest carrier for an upgraded response."""
    stream = response.extensions["network_stream"]
    # Reading and writing a file descriptor with os.read and os.write is for POSIX. A TLS stream's socket carries
    # ciphertext, so it must not be touched.
    if os.name == "posix" and stream.get_extra_info("ssl_object") is None:
        socket = stream.get_extra_info("socket")
        if hasattr(socket, "fileno"):
            return runtime.socket_transport(response, socket)
    return StreamTransport(response)
