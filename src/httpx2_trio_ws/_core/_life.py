"""How a session ends: one state machine, without I/O, clock or event loop, for tasks and for threads.

=========  ======================================  ====================================================================
state      :attr:`Life.receiving` / ``.sending``   left by
=========  ======================================  ====================================================================
open       ``None`` / ``None``                     anything below
draining   ``None`` / the failed write's error     all but another failed write: what had arrived is read to its end
ended      an error / an error                     nothing; a close of ours still changes what is raised, once
=========  ======================================  ====================================================================

What ends a session is what every later call raises:

======================  ==========================  ======================================================
what happened           calls raise                 then
======================  ==========================  ======================================================
the peer's close frame  WebSocketDisconnect         it is answered; the peer closes the connection
our ``close()``         WebSocketClosedError        what was sent before it is flushed; the peer answers
the connection broke    WebSocketNetworkError       nothing more to do
the peer broke rules    WebSocketProtocolError      it is sent a close frame that says so
======================  ==========================  ======================================================

The last two are *failures*: they are told to the user once, by a call or by the block.

Each input returns :class:`Do`, what its caller has to do, in the order of the flags; where it is not told when, it is at
once. :meth:`Life.deadline` is the only one there is: whatever the peer does, all is over by then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from httpx2_trio_ws._exceptions import (
    SendDisconnect,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
)

if TYPE_CHECKING:
    from httpx2_trio_ws._options import SessionOptions
    from httpx2_trio_ws._protocol import Connection

# When the session is cancelled, a close frame on a carrier that cannot write without waiting is given so many seconds.
FAREWELL = 0.1
# When both close frames have gone their ways, the server should close the connection (RFC 6455 §7.1.1): so many seconds.
LINGER = 1.0
# When nothing can be sent any more, what has arrived is read until nothing came for so many seconds.
DRAIN = 1.0

CLOSED = "the session was closed on our side, by close() or by leaving its block"


class Do:
    """What an input asks for: a sum of these. Plain numbers, as Python's own flags take a dozen calls for each question."""

    NOTHING = 0
    CLOSE_FRAME = 1  #: Queue our close frame, after the messages.
    BREAK_OUT = 2  #: Drop all that is to be written.
    DISCARD_OUT = 4  #: Drop all messages but the one that is part written.
    WAKE = 8  #: Wake who waits for messages, for room of any kind, for the end.
    FORGET_PINGS = 16  #: No pong will come.
    DISCARD_IN = 32  #: Drop what was received, and do not wait for room.


_END = Do.WAKE | Do.FORGET_PINGS


class Life:
    """See the module's text.

    Args:
        close_timeout: seconds for an end in good order.
        grace: seconds for a call to tell of a failure; ``math.inf`` where nobody else does.
        linger: seconds for the peer to close the connection once both sides have said that it is over; ``None``
            for as many as is usual.
    """

    __slots__ = (
        "_close_timeout",
        "_drained_at",
        "_ended_at",
        "_grace",
        "_linger",
        "_said_at",
        "closed_here",
        "failed_at",
        "failure",
        "receiving",
        "sending",
        "told",
    )

    def __init__(self, close_timeout: float, grace: float = math.inf, linger: float | None = None) -> None:
        self._close_timeout = close_timeout
        self._grace = max(grace, FAREWELL)
        self._linger = LINGER if linger is None else linger
        self._ended_at = self._said_at = self._drained_at = math.inf
        #: What receiving calls raise once the queue is empty, and what sending calls raise.
        self.receiving: WebSocketException | None = None
        self.sending: WebSocketException | None = None
        self.failure: WebSocketException | None = None
        self.failed_at = math.inf
        #: A call has raised the failure, or nobody wants to know.
        self.told = False
        self.closed_here = False

    @property
    def draining(self) -> bool:
        """A write has failed, and what has arrived is being read to its end."""
        return self.sending is not None and self.receiving is None

    # -- inputs --------------------------------------------------------------------------------

    def write_failed(self, cause: BaseException | None, now: float) -> int:
        """Nothing can be sent any more. What has arrived is still read, as far as it comes soon."""
        if self.sending is not None:
            return Do.BREAK_OUT
        self.sending = WebSocketNetworkError(f"the connection was lost while sending: {_how(cause)}")
        self.sending.__cause__ = cause
        self.failed_at = self._drained_at = now
        return Do.BREAK_OUT | Do.FORGET_PINGS

    def eof(self, cause: BaseException | None, now: float) -> int:
        """Nothing more will be received, and there is nothing to wait for."""
        self._said_at = -math.inf
        if self.draining:
            assert self.sending is not None
            return self.failed(self.sending, self.sending.__cause__, now)
        how = "the peer ended it" if cause is None else _how(cause)
        return self.failed(WebSocketNetworkError(f"the connection was lost without a close frame: {how}"), cause, now)

    def peer_closed(self, code: int, reason: str, now: float) -> int:
        """The peer's close frame came."""
        if self.receiving is not None:
            return Do.NOTHING
        return self._end(WebSocketDisconnect(code, reason), now) | Do.DISCARD_OUT

    def heard(self, connection: Connection, now: float) -> int:
        """The peer has ended the session, as the connection tells: by its close frame, or by breaking the rules."""
        failure, peer_close = connection.failure, connection.peer_close
        if failure is not None:
            return self.peer_violated(failure.code, failure.reason, now)
        assert peer_close is not None
        return self.peer_closed(int(peer_close.code), peer_close.reason, now)

    def peer_violated(self, code: int, reason: str, now: float) -> int:
        """The peer broke the protocol, and has been told so."""
        return self.failed(WebSocketProtocolError(code, reason), None, now)

    def failed(self, error: WebSocketException, cause: BaseException | None, now: float) -> int:
        """The session has failed, unless it has ended already."""
        if self.receiving is not None:
            return Do.NOTHING
        error.__cause__ = cause
        self.failure = error
        self.failed_at = min(self.failed_at, now)
        return self._end(error, now) | Do.DISCARD_OUT

    def close(self, now: float, *, can_say: bool) -> int:
        """Close from our side: flush what was sent, then the close frame, if it can be said."""
        if self.closed_here:
            return Do.NOTHING
        do = self.eof(None, now) if self.draining else Do.NOTHING
        self.closed_here = True
        if can_say and self.sending is None:
            do |= Do.CLOSE_FRAME
        return do | self._end(self.failure or WebSocketClosedError(CLOSED), now) | Do.DISCARD_IN

    def drop(self, why: str, now: float) -> int:
        """The connection is about to be dropped. With :attr:`Do.CLOSE_FRAME`, a goodbye may be tried."""
        if self.draining:
            return self.eof(None, now)  # a write had failed, and nothing more came
        if self.sending is not None:
            return Do.NOTHING
        return Do.CLOSE_FRAME | self._end(WebSocketClosedError(why), now)

    def bug(self, exc: BaseException, now: float) -> int:
        """An error of our own, or of a hook. Who waits is woken anew: it may have come in the middle of an end."""
        if self.receiving is not None:
            return _END
        return self._end(WebSocketClosedError(f"the session was ended by an internal error: {exc!r}"), now)

    def progress(self, now: float) -> None:
        """Something came, or there is room again: draining goes on from here."""
        if self.draining:
            self._drained_at = now

    def said(self, now: float) -> None:
        """Both sides have said that it is over, and nothing is left to be written."""
        self._said_at = min(self._said_at, now)

    # -- outputs -------------------------------------------------------------------------------

    def deadline(self, *, paused: bool) -> float:
        """When all is over, whatever the peer does. ``paused``: the queue is full."""
        if self.draining:
            if paused:
                return math.inf if self.told else self.failed_at + self._grace
            return self._drained_at + DRAIN
        return min(
            self._ended_at + self._close_timeout,
            self.failed_at + self._grace,
            self._said_at + self._linger,
            self._drained_at + DRAIN,
        )

    def _end(self, error: WebSocketException, now: float) -> int:
        self.receiving = self.sending = error
        if isinstance(error, WebSocketDisconnect):
            self.sending = SendDisconnect(error.code, error.reason)
        self._ended_at = min(self._ended_at, now)
        return _END


def keepalive_timeout(options: SessionOptions) -> WebSocketKeepaliveTimeout:
    """The failure of a session whose peer has been silent for too long."""
    return WebSocketKeepaliveTimeout(
        f"no sign of life from the peer within {options.keepalive_ping_timeout_seconds} s of a ping, sent "
        f"after {options.keepalive_ping_interval_seconds} s of silence (keepalive_ping_timeout_seconds)"
    )


def _how(cause: BaseException | None) -> str:
    return str(cause) or type(cause).__name__
