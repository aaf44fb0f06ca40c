"""The carriers for asyncio's sockets: plain, and under one layer of TLS.

The loop's own transport holds the socket, and anyio's stream reads through it: it starts reading and stops again for
each call, which costs more than the read. Here the socket has a second descriptor that stays registered with the loop.
Writing goes past the stream, too, and never both ways: uvloop would write later what it was given first.

Reading has two phases. First comes what the stream has read already, say together with the answer to the handshake, until
it reads no more. Then the loop calls ``_on_readable`` itself, outside any task, and that hands what there is to ``take``
there and then; the task that pumps sleeps meanwhile on a future, ``_stopped``, until ``take`` wants no more, or something
fails. (Or it is woken for each read, and calls ``take`` itself: ``in_task``.)
"""

from __future__ import annotations

import asyncio
import os
import types
from typing import TYPE_CHECKING, Any

from ._base import LARGE_READ, READ_SIZE, CarrierError, own_carrier
from ._beneath import call_before_closing, is_paused, on_plain_socket, tls_beneath
from ._descriptor import write_now
from ._stream import StreamCarrier
from ._tls import SPARSE, Records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    import httpx2

    from ._base import Carrier
    from ._beneath import TLS


class LoopStreamCarrier(StreamCarrier):
    """Through the network stream itself. anyio's TLS has no checkpoint where it has read more than it handed out."""

    async def read(self) -> bytes:
        await asyncio.sleep(0)  # before, as what has been read must not be lost
        return await super().read()


class LoopCarrier(StreamCarrier):
    """Through the plain socket under the network stream.

    Args:
        response: the upgraded one.
        in_task: what was read is acted on in the task that reads. Else the loop itself does it: to wake a task for it
            would cost as much as what that does, or more.
    """

    def __init__(self, response: httpx2.Response, *, in_task: bool = False) -> None:
        super().__init__(response)
        self._loop = asyncio.get_running_loop()
        self._descriptor: int | None = None
        # Out of descriptors, or the client was closed: from then on, everything goes through the stream.
        self._none_left = False
        self._registered = False
        self._read_size = READ_SIZE
        # The end has been read, and not been told: the socket need not be ready for it any more.
        self._ended = False
        self._room: Callable[[], memoryview | None] | None = None
        self._take: Callable[[bytes | memoryview], object]
        self._stopped: asyncio.Future[None] | None = None
        self._writable: asyncio.Event | None = None
        # Read, and not acted on yet, where that is for the task to do; else ``None``.
        self._unread: list[bytes | memoryview] | None = [] if in_task else None
        self._taken_over = False
        call_before_closing(self._stream, self)

    def _own_descriptor(self) -> int | None:
        if self._descriptor is None and not self._none_left:
            try:
                self._descriptor = os.dup(self._socket.fileno())
            except OSError:
                self._none_left = True
        return self._descriptor

    # -- reading -------------------------------------------------------------------------------

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:
        self._room = room
        return True

    def pump(self, take: Callable[[bytes | memoryview], bool]) -> Awaitable[object]:
        # What an idle session waits for is no coroutine, which would hold a frame.
        if self._taken_over and self._unread is None and (descriptor := self._own_descriptor()) is not None:
            return self._call_back(descriptor, take)
        return self._pump(take)

    async def _pump(self, take: Callable[[bytes | memoryview], bool]) -> None:
        while not self._taken_over or (descriptor := self._own_descriptor()) is None:
            await asyncio.sleep(0)  # as in LoopStreamCarrier
            data = await self._read_stream()
            if data is not None and not take(data):
                return
        unread = self._unread
        while unread is not None:
            if not unread:
                await self._call_back(descriptor, unread.append)
            if not take(unread.pop()):
                return

    async def _read_stream(self) -> bytes | None:
        """Through the stream; ``None`` once that has nothing more and does not read any more.

        If it reads on all the same, as with anyio before 4.16, so does this.
        """
        try:
            if not self._taken_over:
                data = await _read_at_hand(self._stream)
                if data is not None:
                    return data
                self._taken_over = is_paused(self._stream)
                if self._taken_over:
                    return None
            return bytes(await self._stream.read(READ_SIZE))
        except Exception as exc:
            raise CarrierError("reading from the connection failed") from exc

    def _call_back(self, descriptor: int, take: Callable[[bytes | memoryview], object]) -> asyncio.Future[None]:
        """Have the loop call ``take`` itself, until the future is done: when that returned something false, or failed."""
        self._take = take
        self._stopped = self._loop.create_future()
        if not self._registered:
            self._loop.add_reader(descriptor, self._on_readable)
            self._registered = True
        if self._ended:
            self._loop.call_soon(self._on_readable)
        return self._stopped

    def _on_readable(self) -> None:
        stopped, descriptor = self._stopped, self._descriptor
        if stopped is None or stopped.done() or descriptor is None:
            self._unregister()  # nobody wants more: TCP may push back
            return
        try:
            data = self._read_now(descriptor)
        except BlockingIOError:
            return
        except OSError as exc:
            self._fail(stopped, _unreadable(exc))
            return
        try:
            if not self._take(data):
                stopped.set_result(None)
            elif self._ended:
                self._loop.call_soon(self._on_readable)
        except BaseException as exc:  # noqa: BLE001 (a bug of ours, Ctrl-C: all come out of the pump)
            self._fail(stopped, exc)

    def _fail(self, stopped: asyncio.Future[None], exc: BaseException) -> None:
        self._stopped = None  # its traceback will lead back to us: a cycle, which only the collector would free
        stopped.set_exception(exc)

    def _read_now(self, descriptor: int) -> bytes | memoryview:
        if self._room is not None and (room := self._room()) is not None:
            return room[: os.readv(descriptor, [room])]
        return self._read_bytes(descriptor)

    def _read_bytes(self, descriptor: int) -> bytes:
        data = os.read(descriptor, self._read_size)
        self._read_size = LARGE_READ if len(data) >= READ_SIZE else READ_SIZE
        return data

    def _unregister(self) -> None:
        if self._registered and self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            self._registered = False

    # -- writing and closing -------------------------------------------------------------------

    @property
    def writes_now(self) -> bool:
        return not self._none_left

    def write_now(self, data: bytes | memoryview) -> int:
        descriptor = self._descriptor or self._own_descriptor()  # 0 is asked for once more, no matter
        return 0 if descriptor is None else write_now(descriptor, data)

    async def write(self, data: memoryview) -> int:
        descriptor = self._own_descriptor()
        if descriptor is None:
            return await super().write(data)
        written = self.write_now(data)
        if not written:
            await self._wait_writable(descriptor)
        return written

    async def _wait_writable(self, descriptor: int) -> None:
        writable = self._writable = asyncio.Event()
        self._loop.add_writer(descriptor, writable.set)
        try:
            await writable.wait()
        finally:
            self._writable = None
            if self._descriptor is not None:  # else it is closed, and its number may be another's
                self._loop.remove_writer(descriptor)

    async def aclose(self) -> None:
        self._release()
        self._take = bool  # what it was leads back to us: a cycle, likewise
        await super().aclose()

    def _release(self) -> None:
        """Give the second descriptor back, and need it no more."""
        self._none_left = True
        self._unregister()
        if self._descriptor is not None:
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def client_closes(self) -> None:
        """The client closes the connection, which our descriptor would keep open."""
        self._release()
        if self._writable is not None:
            self._writable.set()
        if self._stopped is not None and not self._stopped.done():
            self._fail(self._stopped, _unreadable(ConnectionAbortedError("the client was closed")))


class TLSLoopCarrier(LoopCarrier):
    """Through the socket under a network stream that is one layer of TLS on it."""

    def __init__(self, response: httpx2.Response, tls: TLS, *, in_task: bool = False) -> None:
        super().__init__(response, in_task=in_task)
        self._records = Records(self._socket, tls)

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:  # noqa: ARG002 (the protocol's name for it)
        return False  # what is read is records

    def _read_now(self, descriptor: int) -> bytes:
        data = self._records.read(None if self._ended else self._read_bytes(descriptor))
        self._ended = self._records.ended
        if len(data) < SPARSE:
            self._read_size = READ_SIZE
        return data

    def write_now(self, data: bytes | memoryview) -> int:
        # Without a descriptor to wait with, all goes through the stream.
        return 0 if self._own_descriptor() is None else self._records.write(data)

    async def _wait_writable(self, descriptor: int) -> None:
        if self._records.must_read:
            has_read = asyncio.Event()
            self._records.call_on_read(has_read.set)
            await has_read.wait()
        else:
            await super()._wait_writable(descriptor)

    async def aclose(self) -> None:
        if self._descriptor is not None:
            self._records.close()
        await super().aclose()


def _unreadable(cause: OSError) -> CarrierError:
    error = CarrierError("reading from the connection failed")
    error.__cause__ = cause
    return error


async def _read_at_hand(stream: Any) -> bytes | None:
    """What a stream has read already and not handed out; ``None`` if that is nothing: it has read no more then.

    A read that finds bytes makes no more than a checkpoint of it, and one that does not waits for a future. So its first
    step is made by hand, to see which; in the second case it is given up before the loop can read anything for it.
    """
    reading: Any = stream.read(2 * READ_SIZE)
    try:
        waits_for = reading.send(None)
    except StopIteration as done:
        return bytes(done.value)
    try:
        if waits_for is not None:
            return None
        await asyncio.sleep(0)
        return bytes(await _go_on(reading))
    finally:
        reading.close()


@types.coroutine
def _go_on(coroutine: Generator[Any, Any, bytes]) -> Generator[Any, Any, bytes]:
    """Await a coroutine whose first step has been made."""
    return (yield from coroutine)


def carrier_for(response: httpx2.Response, *, in_task: bool = False) -> Carrier:
    """The fastest carrier for an upgraded response. ``in_task``: see :class:`LoopCarrier`."""
    if (own := own_carrier(response)) is not None:
        return own
    stream = response.extensions["network_stream"]
    if on_plain_socket(stream):
        return LoopCarrier(response, in_task=in_task)
    tls = tls_beneath(stream)
    return LoopStreamCarrier(response) if tls is None else TLSLoopCarrier(response, tls, in_task=in_task)
