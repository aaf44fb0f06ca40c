"""Through any ``network_stream`` that an httpx2 transport hands out: TLS within TLS, ASGI, memory.

Where there is a socket underneath, or one layer of TLS on one, another carrier goes to it, and so pays the stream's
timeouts and exception mapping never instead of once per read. It can also write without waiting, which saves a trip
through the scheduler for each lone message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._base import READ_SIZE, WRITE_SIZE, CarrierError
from ._descriptor import has_bytes, has_room, in_flight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

    from ._base import Event


# So much is given to a stream that may have to wait for room, or of which that is not known. It does not tell of parts, so
# each write that returns is the sign of life of a peer that is slow.
_LITTLE = 2048


class StreamCarrier:
    """Through the network stream itself."""

    linger_seconds: float | None = None
    #: The peer was given time to close, as :attr:`linger_seconds` says.
    said_all = False
    turn: Callable[[], Event] | None = None

    @property
    def writes_now(self) -> bool:
        return False

    def __init__(self, response: httpx2.Response) -> None:
        # Not the response, which would be held for nothing else.
        self._body: Any = response.stream
        self._made_closed = response.is_closed
        self._stream: Any = response.extensions["network_stream"]
        self._socket: Any = self._stream.get_extra_info("socket")
        self.had_room = False

    @property
    def has_unread(self) -> bool:
        return has_bytes(self._socket)

    @property
    def in_flight(self) -> int:
        return in_flight(self._socket)

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:  # noqa: ARG002 (the protocol's name for it)
        return False

    def pump(self, take: Callable[[bytes | memoryview], bool]) -> Awaitable[object]:
        return self._pump(take)

    async def _pump(self, take: Callable[[bytes | memoryview], bool]) -> None:
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
        had_room = has_room(self._socket)
        part = data[: WRITE_SIZE if had_room else _LITTLE]
        try:
            await self._stream.write(bytes(part))
        except Exception as exc:
            raise CarrierError("writing to the connection failed") from exc
        self.had_room = had_room and has_room(self._socket)
        return len(part)

    async def aclose(self) -> None:
        if self._made_closed:  # a mock's, made so, has nothing to close the stream with
            await self._stream.aclose()
        else:
            await self._body.aclose()
