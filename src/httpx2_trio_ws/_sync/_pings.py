"""Pings on their way, and the threads that wait for their pongs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from httpx2_trio_ws._protocol import PingBook

from ._waiting import Signal

if TYPE_CHECKING:
    from collections.abc import Callable


class Ping:
    """A ping on its way."""

    __slots__ = ("answered", "round_trip", "sent_at")

    def __init__(self) -> None:
        self.sent_at = time.monotonic()
        #: Set by the pong, or by the end.
        self.answered = Signal()
        self.round_trip: float | None = None


class Pings:
    """The pings of one session. For any thread."""

    __slots__ = ("_book", "_lock", "latency")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._book: PingBook[Ping] = PingBook()
        self.latency: float | None = None

    def new(self, payload: bytes, check: Callable[[], None]) -> tuple[bytes, Ping]:
        """A ping to be sent, and its payload: as wanted, or random where that is empty.

        Raises:
            ValueError: the payload waits for its pong already. Else what ``check`` raises: after :meth:`forget`, it
                has to.
        """
        with self._lock:
            check()
            payload, ping = self._book.payload(payload), Ping()
            self._book.sent(payload, ping)
            return payload, ping

    def answered(self, payloads: list[bytes]) -> list[float]:
        """Pongs came with these payloads, which are taken out. Gives the round trips of the pings that they answer."""
        now = time.monotonic()
        with self._lock:
            answered = [ping for payload in payloads for ping in self._book.answered(payload)]
        payloads.clear()
        for ping in answered:
            self.latency = ping.round_trip = now - ping.sent_at
            ping.answered.set()
        return [now - ping.sent_at for ping in answered]

    def forked(self) -> None:
        """The pongs come to the parent."""
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """No pong will come any more."""
        with self._lock:
            forgotten = self._book.forget()
        for ping in forgotten:
            ping.answered.set()
