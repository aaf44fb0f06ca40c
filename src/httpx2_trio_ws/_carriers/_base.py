"""What a carrier is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

READ_SIZE = 65536
# So much is read after a read that was full: the peer sends faster than we read. It is a little less than what fills a
# queue, were each byte a character of four: so the size of what is queued need not be counted after each such read.
LARGE_READ = 15 * READ_SIZE // 4
# What glibc has free at the end of its heap, it gives back to the system once that is twice the largest block that was ever
# mapped and given back; 480 KiB, were it such a read. Then the next reads and their messages are provided page by page again.
# So a larger block comes first; no page of it is ever touched. Elsewhere, this does nothing.
bytearray(4 * LARGE_READ)
# One TLS record. A stream takes what it is given whole; in between, a pong may find its place between two frames.
WRITE_SIZE = 16384


class CarrierError(Exception):
    """Reading or writing failed; the cause is what the carrier raised."""


class Event(Protocol):
    """A flag that tasks can wait for; set once."""

    def set(self) -> object: ...
    def is_set(self) -> bool: ...
    def wait(self) -> Awaitable[object]: ...


class Carrier(Protocol):
    """Read, write, close.

    One task reads. Writes are made one at a time, by the send loop, and by any call of the session while that has
    nothing to write. What a carrier has to tell beside the bytes:

    * whether it can write without waiting (:attr:`writes_now`). Then nobody else may write to what is beneath it, and a
      write that was begun must not be needed to be finished;
    * how much of what it was given it has taken. It need not be all. What is given next begins with what was left, but
      control frames may come in between two frames; so it takes no byte that it may have to give back;
    * whether there was room (:attr:`had_room`, and the 0 of :meth:`write`): writing that waits is time that the peer took,
      and that it then took bytes is a sign of life;
    * the end, once, after all that came before it, also where the connection beneath it stays.

    :meth:`pump` is a checkpoint, and cancelling it loses no byte. Cancelling :meth:`write` may leave a part written; the
    session is dropped then. :meth:`aclose` runs in a shield, with a limit, and whatever it raises is left at that.
    """

    #: When both sides have said that it is over, the peer is given so many seconds to close the connection; ``None``
    #: for as many as is usual.
    linger_seconds: float | None
    #: Both sides have said that it is over, and what was written last is still to arrive. Set before :meth:`aclose`.
    said_all: bool
    #: The last :meth:`write` found room and left some: it did not wait for the peer. False where that cannot be told.
    had_room: bool
    #: Makes what a task is to wait for until it is its turn to take a message: so it may stand in for the one that pumps,
    #: and call ``take`` itself meanwhile. ``None`` where nobody can: then it is an event of the loop's.
    turn: Callable[[], Event] | None

    @property
    def has_unread(self) -> bool:
        """Bytes have come and :meth:`pump` has not told of them. False where that cannot be told."""
        ...

    @property
    def in_flight(self) -> int:
        """Bytes that were written and that the peer's system has not taken; 0 where that cannot be told."""
        ...

    @property
    def writes_now(self) -> bool:
        """:meth:`write_now` can write. If not, it takes nothing, from now on."""
        ...

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:
        """Ask ``room`` before each read where the bytes are to go, and call ``take`` with that part of it: false if it does not."""
        ...

    def pump(self, take: Callable[[bytes | memoryview], bool]) -> Awaitable[object]:
        """Read, and call ``take`` with what was read, with ``b""`` at the end; until that returns false, or earlier.

        It may be called from the event loop itself, outside any task, where nothing can be started.

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


def own_carrier(response: httpx2.Response) -> Carrier | None:
    """The carrier that an upgraded response's network stream brings along, if it does: what its ``websocket_carrier()`` returns."""
    make = getattr(response.extensions["network_stream"], "websocket_carrier", None)
    return None if make is None else make()
