"""What is known of a row of sessions, and what follows from it: for tasks and for threads. No I/O, and time is passed in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self, cast

from httpx2_trio_ws._exceptions import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketNetworkError,
    WebSocketProtocolError,
)
from httpx2_trio_ws._options import _check_count

from ._policy import Backoff, RetryPolicy, causes, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

logger = logging.getLogger("httpx2_trio_ws.reconnect")

# What a session raises when the peer, or a failure, has ended it.
_ENDS = (WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError)


class Attempts:
    """See the module's text.

    Raises:
        TypeError, ValueError: an argument of ``reconnect()`` is wrong.
    """

    def __init__(
        self, policy: RetryPolicy | None, backoff: Backoff | None, max_attempts: int | None, on_connect: object
    ) -> None:
        if not isinstance(policy, (RetryPolicy, type(None))):
            raise TypeError(f"policy must be a RetryPolicy, not {policy!r}")
        if not isinstance(backoff, (Backoff, type(None))):
            raise TypeError(f"backoff must be a Backoff, not {backoff!r}")
        if max_attempts is not None:
            _check_count("max_attempts", max_attempts)
        if on_connect is not None and not callable(on_connect):
            raise TypeError(f"on_connect must be a function, not {on_connect!r}")
        self.policy = policy or RetryPolicy()
        self._backoff = backoff or Backoff()
        self._max = max_attempts
        self._opened_at = 0.0
        #: Failures in a row.
        self.failures = 0
        #: When the next attempt is to be made.
        self.due = 0.0
        #: There is no other session.
        self.over = False
        #: The URL, for logs, so without what may be secret.
        self.where = ""

    def of(self, request: httpx2.Request, now: float) -> None:
        """Where the sessions are opened, the first one now."""
        url = request.url
        scheme = "wss" if url.scheme == "https" else "ws"
        self.where = str(url.copy_with(scheme=scheme, userinfo=b"", query=None, fragment=None))
        self.due = now

    def opened(self, now: float) -> None:
        """A session is open."""
        self._opened_at = now
        logger.debug("%s: open, after %d failures in a row", self.where, self.failures)

    def ended(self, error: WebSocketException | None, now: float) -> WebSocketException | None:
        """A session's block is being left. What had ended the session before that, ``None`` if nothing had."""
        if now - self._opened_at >= self._backoff.stable_seconds:
            self.failures = 0
        return None if isinstance(error, WebSocketClosedError) else error  # by the block itself

    def failed(self, error: Exception, now: float, *, retry: bool) -> bool:
        """Take note of a failure; whether there is another attempt after it."""
        self.failures += 1
        delay = self._backoff.delay(self.failures, max(map(retry_after, leaves(error))))
        self.due = now + delay
        if not retry or (self._max is not None and self.failures >= self._max):
            return False
        what = "; ".join(dict.fromkeys(map(_describe, leaves(error))))
        logger.info("%s: %s (%d in a row); the next attempt is in %.3f s", self.where, what, self.failures, delay)
        return True

    def opening_failed(self, error: Exception, now: float) -> bool:
        """As :meth:`failed`, of opening."""
        return self.failed(error, now, retry=self.policy.retry_opening(error))

    def block_failed(self, error: Exception, ended: WebSocketException | None, now: float) -> bool:
        """As :meth:`failed`, of what left a block, after the session had ended so; ``None`` if it was open.

        Each of the exceptions in a group has to be worth it.
        """
        policy = self.policy
        # While this session is open, such an exception is of another one that the block uses, too.
        retry = all(
            policy.retry_session(leaf) if ended is not None and isinstance(leaf, _ENDS) else policy.retry_block(leaf)
            for leaf in leaves(error)
        )
        return self.failed(error, now, retry=retry)

    def left_normally(self, ended: WebSocketException | None, now: float) -> bool:
        """The block was left after the session had ended so, ``None`` if it was open. False if no attempt is left."""
        if ended is None or not self.policy.retry_session(ended):
            self.over = True
            return True
        return self.failed(ended, now, retry=True)


class Turns:
    """The part of a loop that tasks and threads share: one session at a time."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._pending = False  # a session is to be opened, or open

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._attempts.where} ({self._attempts.failures} failures in a row)>"

    def __iter__(self) -> Self:
        return self

    def _next_turn(self, statement: str, *, over: bool = False) -> None:
        """Another session is to be opened, in such a statement; but not after the last, or once it is ``over``."""
        if self._pending:
            raise RuntimeError(
                "the session before this one has not been opened, or is still open: in the loop, write "
                f"`{statement} connection as ws:`, and leave its block before the next turn"
            )
        if over or self._attempts.over:
            raise StopIteration
        self._pending = True


class Turn:
    """A session that is to be opened, once."""

    _entered = False

    def _enter(self) -> None:
        if self._entered:
            raise RuntimeError("each session is opened once; go on to the loop's next turn")
        self._entered = True


def leaves(error: Exception) -> Iterator[Exception]:
    """The exceptions in a group and in the groups in it; the error itself if it is none."""
    if isinstance(error, ExceptionGroup):
        for inner in cast("ExceptionGroup[Exception]", error).exceptions:
            yield from leaves(inner)
    else:
        yield error


def _describe(error: Exception) -> str:
    """One line; what the server says is quoted in it."""
    texts = (str(cause) for cause in causes(error))  # httpx2 has errors without a message
    return f"{type(error).__name__}: {next(filter(None, texts), '')!r}"
