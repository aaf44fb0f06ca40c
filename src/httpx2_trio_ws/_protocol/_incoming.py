"""A message that is handed out as it arrives, and of which little is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ._partial import PartialText

if TYPE_CHECKING:
    from ._partial import PartialBytes

# Of what has come and was not taken, so many bytes are held; then nothing more is read. A read, or one step of
# inflating, may go beyond.
HELD = 2**18


class Incoming:
    """A message in the making, opened up: what has come of it may be taken, and no limit on its size applies."""

    __slots__ = ("_partial", "counts", "ended", "held", "large", "skipped")

    def __init__(self, partial: PartialText | PartialBytes) -> None:
        self._partial = partial
        #: It counts as received.
        self.counts = True
        #: Its last byte has come.
        self.ended = False
        #: Somebody takes what comes of it. Until then, what follows it is not read.
        self.held = False
        #: It is larger than a whole message may be, or its header says that it will be.
        self.large = False
        #: Nobody wants what comes of it.
        self.skipped = False

    @property
    def kind(self) -> Literal["text", "binary"]:
        """``"text"``, which is taken as ``str``, or ``"binary"``, as ``bytes``."""
        return "text" if isinstance(self._partial, PartialText) else "binary"

    @property
    def size(self) -> int:
        """Bytes that have come and were not taken."""
        return self._partial.size

    @property
    def is_full(self) -> bool:
        """Nothing more is to be read, of the message or of those after it, until something is taken."""
        return not self.skipped and (self._partial.size > HELD or (self.ended and not self.held))

    def take(self) -> str | bytes:
        """All that has come since the last time, but for the beginning of a character."""
        return self._partial.take()

    def skip(self) -> None:
        """Forget what has come, and what will."""
        self.held = self.skipped = True
        self._partial.take()
