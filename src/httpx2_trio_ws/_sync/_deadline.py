"""The time limit of a whole opening, in a thread that cannot be cancelled.

httpx2's timeouts are per operation: a server that sends a byte now and then meets none of them. So, until the deadline,

* each request is sent with httpx2's own timeouts, but none beyond the deadline;
* the connections that are made for it are known from httpx2's ``trace`` extension, and shut down when the deadline
  has come, by a thread that is there for this alone and ends with the opening. Whatever waits for one of them fails;
* on a connection that was there before, httpx2 is given a read timeout that says anew before each read what is left,
  in whole seconds.

What stays is what no timeout of the standard library bounds: looking up a name, and hosts with several addresses of
which none answers: each is given what was left when the first was tried.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx2

from ._waiting import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2_trio_ws._handshake._steps import Steps

_TIMEOUTS = ("connect", "read", "write", "pool")
# A socket refuses a timeout of more milliseconds than 31 bits have room for. From so many seconds on, 24 days, it is
# given none; the deadline of the whole is held to all the same.
_LONGEST = 24 * 86400


class _Left:
    """A timeout that is shorter each time it is used.

    httpx2 gives a timeout to ``socket.settimeout()`` before each read; and that takes for a number whatever can be made a
    whole one (:meth:`object.__index__`), and has it made one each time. So several reads have one deadline.

    Args:
        at: the deadline.
        most: the timeout that was set, in seconds.
    """

    def __init__(self, at: float, most: float) -> None:
        self._at = at
        self._most = most

    def __index__(self) -> int:
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return math.ceil(min(left, self._most))


class Deadline:
    """When an opening must be over.

    Args:
        seconds: from now; ``None`` for no limit.

    Attributes:
        struck: connections have been shut down.
    """

    def __init__(self, seconds: float | None) -> None:
        self.at = math.inf if seconds is None else time.monotonic() + seconds
        self.struck = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._over = Signal()
        self._thread: threading.Thread | None = None

    def passed(self) -> bool:
        """It has come."""
        return time.monotonic() >= self.at

    def watch(self, sock: object) -> None:
        """Shut this connection down at the deadline, if it is one that can be."""
        if not isinstance(sock, socket.socket) or math.isinf(self.at):
            return
        with self._lock:
            # A duplicate: the socket itself may be closed, and its number be another's, when the time comes. Of a
            # TLS socket, its method dup() makes none.
            self._sockets.append(socket.fromfd(sock.fileno(), sock.family, sock.type))
        if self._thread is None:
            self._thread = threading.Thread(target=self._wait, name="WebSocket handshake timeout", daemon=True)
            self._thread.start()
        elif self.struck:
            self._strike()

    def shared(self, seconds: float | None) -> float | _Left | None:
        """The timeout for reading from a connection that cannot be shut down: it is the client's, and not known."""
        return seconds if seconds is None or math.isinf(self.at) else _Left(self.at, seconds)

    def _wait(self) -> None:
        if not self._over.wait(self.at - time.monotonic()):
            self._strike()

    def _strike(self) -> None:
        self.struck = True
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):  # the peer was quicker
                    sock.shutdown(socket.SHUT_RDWR)

    def end(self, late: Exception | None = None) -> None:
        """The opening is over; raise ``late`` if it has been shut down. May be called again."""
        self._over.set()
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()
        for sock in self._sockets:
            sock.close()
        if self.struck and late is not None:
            raise late


def _least(left: float, seconds: float | None) -> float | None:
    least = left if seconds is None else min(left, seconds)
    return None if least > _LONGEST else least


class TimedSteps:
    """Sees to each request of an opening, and to each step of httpx2 with it.

    Also closes the connection that httpx2 forgets when it is interrupted, or fails, before HTTP has begun.

    Args:
        steps: what takes note of them.
        deadline: of the whole opening.
        trace: the user's own trace extension.
    """

    def __init__(self, steps: Steps, deadline: Deadline, trace: Callable[[str, Any], object] | None) -> None:
        self._steps = steps
        self._deadline = deadline
        self._trace = trace
        # The timeouts of the request now sent, and what they were before they were cut.
        self._timeouts: dict[str, Any] = {}
        self._given: dict[str, float | None] = {}

    def ready(self, request: httpx2.Request) -> None:
        """Called before a request is sent.

        Raises:
            httpx2.TimeoutException: it is too late.
        """
        self._steps.ready(request)
        left = self._deadline.at - time.monotonic()
        if left <= 0:
            raise httpx2.TimeoutException("no time is left", request=request)
        given = request.extensions.get("timeout", {})
        if given is not self._timeouts:  # as they are in a request that follows a redirect
            self._given = given
        self._timeouts = {name: _least(left, self._given.get(name)) for name in _TIMEOUTS}
        request.extensions = {**request.extensions, "trace": self.trace, "timeout": self._timeouts}

    def trace(self, name: str, info: Any) -> None:
        """httpx2 has begun, done or failed a step."""
        steps = self._steps
        keep = False
        try:
            steps.note(name, info)
            if steps.step.startswith("connect_") and steps.stage == "complete":
                self._deadline.watch(info["return_value"].get_extra_info("socket"))
            elif (steps.step, steps.stage) == ("receive_response_headers", "started") and not steps.connected:
                self._timeouts["read"] = self._deadline.shared(self._timeouts["read"])
            if self._trace is not None:
                self._trace(name, info)
            keep = not steps.connecting or steps.stage != "failed"
        finally:
            if not keep and steps.half_open is not None:
                steps.half_open.close()
