"""Where the reader sleeps: in ``select``, until the connection is ready, it is time, or another thread wakes it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

# It is given no more at a time: poll() counts milliseconds in 31 bits. Who sleeps looks at the clock when it wakes.
_DAY = 86400.0
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
#: Makes a selector that needs no descriptor of its own.
new_selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Poller:
    """Waits for one socket, and to be woken.

    Args:
        sock: the connection's.
    """

    __slots__ = ("_events", "_lock", "_selector", "_socket", "_wakes", "_woken", "_writer")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._events = 0
        self._wakes, self._writer = socket.socketpair()
        self._lock = threading.Lock()
        self._woken = False
        self._selector = new_selector()
        self._selector.register(self._wakes, READ)

    def wake(self) -> None:
        """Wake the reader, now or when it next sleeps. For other threads. Does nothing after :meth:`close`."""
        with self._lock:
            if not self._woken:
                self._writer.send(b"\0")
                self._woken = True

    def wait(self, events: int, seconds: float | None) -> int:
        """Sleep until the connection has some of ``events``, which are returned, or something else is to be done.

        It may wake for nothing.
        """
        if events != self._events:
            self._watch(events)
        happened = 0
        for key, mask in self._selector.select(None if seconds is None else min(seconds, _DAY)):
            if key.fileobj is self._socket:
                happened = mask
            else:
                with self._lock:
                    self._wakes.recv(64)
                    self._woken = False
        return happened

    def _watch(self, events: int) -> None:
        before, self._events = self._events, events
        with contextlib.suppress(ValueError, KeyError):  # the client was closed, and the socket with it
            if not events:
                self._selector.unregister(self._socket)
            elif before:
                self._selector.modify(self._socket, events)
            else:
                self._selector.register(self._socket, events)

    def forked(self) -> None:
        """The reader is the parent's, and is not to be woken from here."""
        self._lock = threading.Lock()
        self.close()

    def close(self) -> None:
        """Wake nobody any more."""
        with self._lock:
            self._woken = True
            self._selector.close()
            self._wakes.close()
            self._writer.close()
