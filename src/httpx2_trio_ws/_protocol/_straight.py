"""Large frames, read straight to where they are decoded: one buffer, which all connections of the process share.

The parts of a large message would each be decoded, and then joined; in here they come next to each other, and are decoded at
once. A buffer of its own for each would take longer than that saves, as the system would have to provide it page by page. So
there is one; whoever finds it taken does without. Nobody is given it before :data:`LEAST` bytes of a frame have come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import finalize

from ._opening_up import Message, OpeningUp

if TYPE_CHECKING:
    from ._late_protocol import LateProtocol

SIZE = 2**20
# A read that brings less than this comes slowly: it is not worth it, and is looked at without delay.
LEAST = 61440

# The buffer while nobody has it; it is made for the first who wants it. Taking it is one step, so no two threads get it.
_free: list[bytearray | None] = [None]


def borrow() -> memoryview | None:
    """The buffer, until nobody knows what this returns any more; ``None`` if somebody has it."""
    try:
        buffer = _free.pop()
    except IndexError:
        return None
    if buffer is None:
        buffer = bytearray(SIZE)
    view = memoryview(buffer)
    finalize(view, _free.append, buffer).atexit = False
    return view


class ReadingStraight(OpeningUp):
    """This part of the receiving half of a connection."""

    __slots__ = ("_buffer", "_compressed", "_filled", "_left", "reads_straight")

    def __init__(self, protocol: LateProtocol, limit: int) -> None:
        super().__init__(protocol, limit)
        # Whether the message of which a part has come is compressed.
        self._compressed = False
        # How many bytes have not come of the frame that has been opened.
        self._left = 0
        # The buffer, if it is ours, and how much it holds of that frame.
        self._buffer: memoryview | None = None
        self._filled = 0
        #: The caller asks :meth:`room` before each read.
        self.reads_straight = False

    def _add(self, part: bytes | memoryview, messages: list[Message], *, ends: bool) -> None:
        """One more part of the message in the making; and if its frame ends, and is the last, the message."""

    def room(self) -> memoryview | None:
        """Where to read to next; ``None``: it does not matter.

        If something is read to there, a slice of this, which holds that and no more, is the argument of the next
        ``receive_data()``.
        """
        return None if self._buffer is None else self._buffer[self._filled : self._filled + self._left]

    def _begin_straight(self, part: bytes) -> bool:
        """A part of a frame has come fast: true if it is in the buffer now, and more of it can be read to there."""
        if self._compressed or self.incoming is not None or self._left < LEAST:
            return False
        buffer = self._buffer = borrow()
        if buffer is None:
            return False
        self._filled = len(part)
        buffer[: self._filled] = part
        return True

    def _arrived(self, count: int, messages: list[Message]) -> None:
        """So many bytes have been read to the buffer."""
        buffer = self._buffer
        if buffer is None or self.failure is not None:
            return
        self._filled += count
        self._left -= count
        if count < LEAST or not self._left or self._filled == len(buffer):
            self._give_back(buffer, messages)

    def _give_back(self, buffer: memoryview, messages: list[Message]) -> None:
        """What the buffer holds is the next part of the message."""
        self._buffer = None
        self._add(buffer[: self._filled], messages, ends=not self._left)

    def open_up(self, *, large: bool = False) -> None:
        if self._buffer is not None:
            self._give_back(self._buffer, [])
        super().open_up(large=large)
