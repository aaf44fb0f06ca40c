"""Messages that are handed out as they arrive: when one is opened up, who takes it, and what if nobody does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ._control import Controlling
from ._incoming import Incoming

if TYPE_CHECKING:
    from ._late_protocol import LateProtocol
    from ._partial import PartialBytes, PartialText

Message = str | bytes


class OpeningUp(Controlling):
    """This part of the receiving half of a connection."""

    __slots__ = ("_message", "incoming", "news", "received_in_parts", "streams_large", "wanted")

    def __init__(self, protocol: LateProtocol, limit: int) -> None:
        super().__init__(protocol, limit)
        # The message of which a part has come.
        self._message: PartialText | PartialBytes | None = None
        #: The message that has been opened up: until it has ended, and somebody takes it.
        self.incoming: Incoming | None = None
        #: Something came of it, or it ended; the caller takes this back.
        self.news = False
        #: The message that begins next, and is not cut out whole, is to be opened up.
        self.wanted = False
        #: Messages that had been opened up when they ended.
        self.received_in_parts = 0
        #: A message over the limit is opened up, not refused.
        self.streams_large = False

    @property
    def _most(self) -> int:
        """How large the message in the making may become."""
        return self._limit if self.incoming is None else sys.maxsize

    @property
    def is_full(self) -> bool:
        """Of the message that has been opened up, something must be taken before more is read."""
        return self.incoming is not None and self.incoming.is_full

    def open_up(self, *, large: bool = False) -> None:
        """Hand out the message in the making as it arrives, if there is one; what has come of it is its beginning."""
        if self.incoming is None and self._message is not None:
            self.incoming = Incoming(self._message)
            self.wanted = False
            self.news = True
        if self.incoming is not None:
            self.incoming.large |= large

    def _tell(self, incoming: Incoming, message: PartialText | PartialBytes, *, ended: bool) -> None:
        """Something has come of the message that has been opened up."""
        self.news = True
        if incoming.skipped:
            message.take()
        if ended:
            message.check_end()
            incoming.ended = True
            self.received_in_parts += incoming.counts
            if incoming.held:
                self.incoming = None

    def hand_out(self) -> Incoming:
        """Somebody takes the message that has been opened up, as it comes."""
        incoming = self.incoming
        assert incoming is not None
        incoming.held = True
        if incoming.ended:
            self.incoming = None
        return incoming

    @property
    def fits(self) -> bool:
        """The message that has been opened up is, so far, no larger than a message may be."""
        return self.incoming is not None and not self.incoming.large and self.incoming.size <= self._limit

    def fold(self) -> Message | None:
        """Of the message that was opened up, and :attr:`fits`, nobody has taken anything: return it whole, if it has come."""
        incoming, self.incoming = self.incoming, None
        assert incoming is not None
        return incoming.take() if incoming.ended else None

    def refuse(self) -> None:
        """The message that has been opened up is wanted whole, and too large for that: the connection has failed."""
        self._fail_as_too_big()
