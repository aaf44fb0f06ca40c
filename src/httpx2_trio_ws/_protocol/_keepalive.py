"""When to ping, and when to give up on a peer. Times are seconds on a clock that the caller passes in."""

from __future__ import annotations

import enum
import math

# Of so many bytes on their way, nothing is learnt when they have arrived.
_LITTLE = 16384


class Verdict(enum.Enum):
    """What is due now."""

    NOTHING = enum.auto()
    PING = enum.auto()
    DEAD = enum.auto()


_NEVER = -math.inf


class Keepalive:
    """A ping after each ``interval`` of silence; a peer silent for ``timeout`` after one is dead.

    Any byte from the peer is a sign of life: set :attr:`heard_at`. So is that its system has taken bytes which were on their
    way when it was pinged: a ping may be behind so many that its answer takes long. While we are not reading
    (:meth:`pause`), silence is our own doing and does not count.

    Args:
        interval: seconds of silence after which to ping.
        timeout: seconds to wait for a sign of life after a ping; ``None`` means for ever.
        now: the present time.
    """

    __slots__ = ("_in_flight", "_interval", "_paused", "_pinged", "_timeout", "heard_at")

    def __init__(self, interval: float, timeout: float | None, now: float) -> None:
        self._interval = interval
        self._timeout = math.inf if timeout is None else timeout
        #: When the peer last showed that it lives. No method, as it is told of each read.
        self.heard_at = now
        # When it was last pinged; before `heard_at`, that has been answered.
        self._pinged = _NEVER
        self._paused = False
        # Bytes that were on their way to the peer when it was pinged.
        self._in_flight = 0

    def pause(self) -> None:
        """We stop reading: until :meth:`resume`, nothing is held against the peer."""
        self._paused = True

    def resume(self, now: float) -> None:
        """We read again; the silence is counted from here."""
        self._paused = False
        self.heard_at = now

    @property
    def _waits(self) -> bool:
        """It was pinged, and has not answered. A ping is only sent after an interval of silence."""
        return self._pinged > self.heard_at

    def _took_some(self, in_flight: int) -> bool:
        """Of what was on its way before the ping, a part has been taken. A little is taken soon, whoever is there to read it."""
        return in_flight < self._in_flight and (in_flight > 0 or self._in_flight > _LITTLE)

    def next_check(self, now: float) -> float:
        """The time at which to call :meth:`check`; in the future, also while paused."""
        if self._paused:
            return now + self._interval
        if not self._waits:
            return self.heard_at + self._interval
        # If the pong comes soon, the next ping is due an interval after it, and so not before this. With no
        # timeout, go on pinging: it keeps proxies and NAT tables from forgetting us.
        again, dead = self._pinged + self._interval, self._pinged + self._timeout
        return again if math.isinf(self._timeout) or now < again < dead else dead

    def check(self, now: float, in_flight: int = 0) -> Verdict:
        """What is due at ``now``, with so many bytes on their way. A :attr:`Verdict.PING` counts as sent."""
        if self._paused or now < self.next_check(now):
            return Verdict.NOTHING
        if self._waits and math.isfinite(self._timeout):
            if not self._took_some(in_flight):
                return Verdict.DEAD
            self.heard_at = now
            return Verdict.NOTHING
        self._pinged = now
        self._in_flight = in_flight
        return Verdict.PING
