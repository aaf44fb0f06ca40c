"""How far a large message has come, on a terminal."""

from __future__ import annotations

import time

from .streams import STDERR, write_now

_MIB = 2**20
_WIDTH = 20
# Seconds before it is shown at all, and between two pictures.
_PATIENCE, _PAUSE = 0.5, 0.1


class Progress:
    """A bar that is drawn over itself, and gone at the end.

    Args:
        what: is done.
        total: bytes in all; ``None`` if nobody knows.
        shown: there is a terminal, and nothing else is drawn on it.
    """

    def __init__(self, what: str, total: int | None, *, shown: bool) -> None:
        self._what = what
        self._total = total
        self._began = time.monotonic()
        self._next = self._began + _PATIENCE if shown else float("inf")
        self._drawn = False
        self._done = 0

    def add(self, size: int) -> None:
        """So many bytes more are done."""
        self._done += size
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PAUSE
            self._drawn = True
            write_now(STDERR, f"\r\x1b[K{self._picture(now - self._began)}".encode())

    def _picture(self, seconds: float) -> str:
        done, speed = self._done / _MIB, self._done / _MIB / seconds
        if not self._total:
            return f"{self._what} {done:.1f} MiB, {speed:.1f} MiB/s"
        part = min(1.0, self._done / self._total)
        bar = ("#" * round(part * _WIDTH)).ljust(_WIDTH)
        return f"{self._what} [{bar}] {part:4.0%} {done:.1f} of {self._total / _MIB:.1f} MiB, {speed:.1f} MiB/s"

    def end(self) -> None:
        """It is done, or not going on."""
        if self._drawn:
            write_now(STDERR, b"\r\x1b[K")
