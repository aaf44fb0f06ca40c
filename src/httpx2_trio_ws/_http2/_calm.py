"""A bound on what costs us work and the server nothing."""

from __future__ import annotations

# So many frames that carry no data may come at once, and so many a second for ever after.
_AT_ONCE = 10_000
_A_SECOND = 1_000
# A frame of ours is answered by one for its stream's window, and one for the connection's; by some more, at most.
_FOR_EACH_SENT = 4


class Calm:
    """How many more frames without data are taken: PING, SETTINGS, empty DATA, resets, and all others that ask for work.

    It fills up with time, and with every frame of ours that such frames may answer.
    """

    __slots__ = ("_left", "_since")

    def __init__(self) -> None:
        self._left = float(_AT_ONCE)
        self._since: float | None = None

    def passes(self, now: float, sent: int) -> None:
        """It is ``now``, in seconds, and so many frames were sent since it last was."""
        if self._since is None:
            self._since = now
        self._left = min(_AT_ONCE, self._left + sent * _FOR_EACH_SENT + (now - self._since) * _A_SECOND)
        self._since = now

    def spend(self, frames: int = 1) -> bool:
        """Take so many frames; false if that is too much."""
        self._left -= frames
        return self._left >= 0
