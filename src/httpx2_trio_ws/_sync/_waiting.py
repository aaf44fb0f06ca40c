"""Waiting for another thread.

The standard library's conditions and events are written in Python, so that Ctrl-C may come between their steps and
leave a lock taken for good. Everything here waits on a bare lock, in one step.
"""

from __future__ import annotations

import contextlib
import math
import threading

from httpx2_trio_ws._options import _check_size


def check_timeout(seconds: float | None) -> None:
    """Refuse what is no timeout.

    Raises:
        TypeError, ValueError: saying so.
    """
    if seconds is None:
        return
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"timeout must be a number of seconds or None, not {seconds!r}")
    _check_size("timeout", seconds)
    if math.isnan(seconds):
        raise ValueError("timeout must be a number of seconds, not nan")


class Waiter:
    """What one thread waits for, once."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for :meth:`set`; false if ``seconds`` went by. ``None`` waits for ever."""
        if seconds is None:
            return self._lock.acquire()
        while seconds > threading.TIMEOUT_MAX:  # where that is short, or for ever
            if self._lock.acquire(timeout=threading.TIMEOUT_MAX):
                return True
            seconds -= threading.TIMEOUT_MAX
        return self._lock.acquire(timeout=max(seconds, 0))

    def set(self) -> None:
        """Let the thread go on. Once, by whoever took the waiter out of where others find it."""
        self._lock.release()


class Signal:
    """Something that happens once, and that any number of threads may wait for."""

    __slots__ = ("_happened", "_waiters")

    def __init__(self) -> None:
        self._happened = False
        self._waiters: dict[Waiter, None] = {}

    def is_set(self) -> bool:
        """It has happened."""
        return self._happened

    def set(self) -> None:
        """It happens now."""
        self._happened = True
        with contextlib.suppress(KeyError):  # no more of them
            while True:
                self._waiters.popitem()[0].set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for :meth:`set`; false if ``seconds`` went by. ``None`` waits for ever."""
        waiter = Waiter()
        self._waiters[waiter] = None
        try:
            # Who sets it says so first and wakes after that; so one of the two finds the other.
            return self._happened or waiter.wait(seconds)
        finally:
            self._waiters.pop(waiter, None)
