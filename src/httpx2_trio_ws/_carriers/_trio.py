"""The carriers for trio's sockets: plain, and under one layer of TLS."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from ._base import LARGE_READ, READ_SIZE, CarrierError, own_carrier
from ._beneath import may_hold_bytes, on_plain_socket, tls_beneath
from ._descriptor import write_now
from ._stream import StreamCarrier
from ._tls import SPARSE, Records
from ._trio_place import place_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from ._base import Carrier, Event
    from ._beneath import TLS

_UNREADABLE = "reading from the connection failed"


class SocketCarrier(StreamCarrier):
    """Through the plain socket under the network stream.

    Args:
        response: the upgraded one.
        in_task: what was read is acted on in the task that reads. Else a task that waits for it may stand in.
    """

    _take: Callable[[bytes | memoryview], bool]

    def __init__(self, response: httpx2.Response, *, in_task: bool = False) -> None:
        super().__init__(response)
        # trio's streams on sockets read nothing ahead.
        self._first = may_hold_bytes(self._stream)
        self._read_size = READ_SIZE
        self._room: Callable[[], memoryview | None] | None = None
        # The end has been read, and not been told: the socket need not be ready for it any more.
        self._ended = False
        # What the pump has come to: that it is over, or what it raises.
        self._stopped = False
        self._failure: BaseException | None = None
        self._place = None if in_task else place_for(self._socket)
        if self._place is not None:
            self.turn: Callable[[], Event] | None = self._place.turn

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:
        self._room = room
        return True

    async def pump(self, take: Callable[[bytes | memoryview], bool]) -> None:
        self._take, self._stopped = take, False
        try:
            if self._first:
                self._first = False
                await self._take_rest()
            while not self._stopped:
                try:
                    if self._ended:
                        await trio.lowlevel.checkpoint()
                    elif self._place is None:
                        await trio.lowlevel.wait_readable(self._socket)
                    else:
                        await self._place.wait(self._stand_in)
                except Exception as exc:
                    raise CarrierError(_UNREADABLE) from exc
                if self._failure is not None:
                    raise self._failure
                if not self._stopped:
                    self._step()
        finally:
            del self._take  # which leads back here, as in Place.wait()

    def _step(self) -> None:
        """Read, and have it taken."""
        try:
            data = self._read_now()
        except BlockingIOError:
            return
        except Exception as exc:
            raise CarrierError(_UNREADABLE) from exc
        self._stopped = not self._take(data)

    def _stand_in(self) -> bool:
        """Likewise, in another task than the one that pumps; false if that has something to do."""
        try:
            self._step()
        except BaseException as exc:  # noqa: BLE001 (the pump raises it)
            self._failure = exc
        return not (self._stopped or self._ended or self._failure is not None)

    async def _take_rest(self) -> None:
        try:
            data = await self._read_rest()
        except Exception as exc:
            raise CarrierError(_UNREADABLE) from exc
        self._stopped = bool(data) and not self._take(data)

    async def _read_rest(self) -> bytes:
        """What came together with the 101. The stream hands that out whole, as it is part of one read of 64 KiB.

        It reads nothing for it: trio looks for a cancellation before it does.
        """
        with trio.CancelScope() as scope:
            scope.cancel()
            return bytes(await self._stream.read(2 * READ_SIZE))
        return b""

    def _read_now(self) -> bytes | memoryview:
        if self._room is not None and (room := self._room()) is not None:
            return room[: os.readv(self._socket.fileno(), [room])]
        return self._read_bytes()

    def _read_bytes(self) -> bytes:
        data = os.read(self._socket.fileno(), self._read_size)
        self._read_size = LARGE_READ if len(data) >= READ_SIZE else READ_SIZE
        return data

    @property
    def writes_now(self) -> bool:
        return True

    def write_now(self, data: bytes | memoryview) -> int:
        # A closed socket's descriptor is -1: never one that the system gave out again.
        return write_now(self._socket.fileno(), data)

    async def write(self, data: memoryview) -> int:
        written = self.write_now(data)
        if not written:
            try:
                await self._wait_writable()
            except Exception as exc:
                raise CarrierError("writing to the connection failed") from exc
        return written

    async def _wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._socket)


class TLSCarrier(SocketCarrier):
    """Through the socket under a network stream that is one layer of TLS on it."""

    def __init__(self, response: httpx2.Response, tls: TLS, *, in_task: bool = False) -> None:
        super().__init__(response, in_task=in_task)
        self._first = True
        self._records = Records(self._socket, tls)

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:  # noqa: ARG002 (the protocol's name for it)
        return False  # what is read is records

    async def _read_rest(self) -> bytes:
        data = await super()._read_rest() + self._records.rest()
        self._ended = self._records.ended
        return data

    def _read_now(self) -> bytes:
        data = self._records.read(None if self._ended else self._read_bytes())
        self._ended = self._records.ended
        if len(data) < SPARSE:
            self._read_size = READ_SIZE
        return data

    def write_now(self, data: bytes | memoryview) -> int:
        return self._records.write(data)

    async def _wait_writable(self) -> None:
        if self._records.must_read:
            has_read = trio.Event()
            self._records.call_on_read(has_read.set)
            await has_read.wait()
        else:
            await super()._wait_writable()

    async def aclose(self) -> None:
        self._records.close()
        await super().aclose()


def carrier_for(response: httpx2.Response, *, in_task: bool = False) -> Carrier:
    """The fastest carrier for an upgraded response. ``in_task``: see :class:`SocketCarrier`."""
    if (own := own_carrier(response)) is not None:
        return own
    stream = response.extensions["network_stream"]
    if not isinstance(stream.get_extra_info("socket"), trio.socket.SocketType):
        return StreamCarrier(response)
    if on_plain_socket(stream):
        return SocketCarrier(response, in_task=in_task)
    tls = tls_beneath(stream)
    return StreamCarrier(response) if tls is None else TLSCarrier(response, tls, in_task=in_task)
