"""One session after another, on any event loop.

The loop over the sessions is the user's own ``for`` statement, and each session is an ``async with`` block in it. So no
nursery is open between two of them, nothing runs that could outlive the loop, and leaving it needs no care (PEP 789).

An ``async with`` statement can take back what its block raises, but not what its ``__aenter__`` raises. So the attempts
to open a session, and the waiting between them, are all in there: the block runs when there is a session for it.
"""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from httpx2_trio_ws._exceptions import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketNetworkError,
    WebSocketProtocolError,
)
from httpx2_trio_ws._options import _check_count
from httpx2_trio_ws._session._opening import OpenSession
from httpx2_trio_ws._session._session import Session

from ._policy import Backoff, RetryPolicy, causes, retry_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType

    from httpx2_trio_ws._handshake._request import Opening

logger = logging.getLogger("httpx2_trio_ws.reconnect")

S = TypeVar("S", bound=Session)

# What a session raises when the peer, or a failure, has ended it.
_ENDS = (WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError)


class Reconnect(Generic[S]):
    """What :func:`reconnect` returns: an iterator of sessions that are to be opened, for a ``for`` statement."""

    def __init__(
        self,
        prepare: Callable[[], Opening],
        session_type: type[S],
        *,
        policy: RetryPolicy | None,
        backoff: Backoff | None,
        max_attempts: int | None,
        on_connect: Callable[[S], Awaitable[object]] | None,
        watch: Callable[[], Callable[[BaseException | None], Awaitable[object]]],
    ) -> None:
        if not isinstance(policy, (RetryPolicy, type(None))):
            raise TypeError(f"policy must be a RetryPolicy, not {policy!r}")
        if not isinstance(backoff, (Backoff, type(None))):
            raise TypeError(f"backoff must be a Backoff, not {backoff!r}")
        if max_attempts is not None:
            _check_count("max_attempts", max_attempts)
        if on_connect is not None and not callable(on_connect):
            raise TypeError(f"on_connect must be an async function, not {on_connect!r}")
        opening = prepare()  # checks the arguments now; each attempt makes a request of its own
        url = opening.request.url
        scheme = "wss" if url.scheme == "https" else "ws"
        # For logs, so without what may be secret.
        self._where = str(url.copy_with(scheme=scheme, userinfo=b"", query=None, fragment=None))
        self._runtime = opening.runtime
        self._prepare = prepare
        self._session_type = session_type
        self._policy = policy or RetryPolicy()
        self._backoff = backoff or Backoff()
        self._max_attempts = max_attempts
        self._on_connect = on_connect
        # Called before each attempt; gives a function that raises if the task has been cancelled since. It is passed what
        # left the block, and called where a failure, which has taken a cancellation's place perhaps, is swallowed.
        self._watch = watch
        self._failures = 0
        self._due = self._runtime.now()
        self._over = False
        self._last: Connecting[S] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._where} ({self._failures} failures in a row)>"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Connecting[S]:
        """The next session to open, unless the last one has ended for good."""
        if self._last is not None and not self._last._left:
            raise RuntimeError(
                "the session before this one has not been opened, or is still open: in the loop, write "
                "`async with connection as ws:`, and leave its block before the next turn"
            )
        if self._over:
            raise StopIteration
        self._last = Connecting(self)
        return self._last

    def _failed(self, error: Exception, *, retry: bool) -> bool:
        """Take note of a failure; whether there is another attempt after it."""
        self._failures += 1
        delay = self._backoff.delay(self._failures, retry_after(error))
        self._due = self._runtime.now() + delay
        if not retry or (self._max_attempts is not None and self._failures >= self._max_attempts):
            return False
        what = "; ".join(dict.fromkeys(map(_describe, leaves(error))))
        logger.info("%s: %s (%d in a row); the next attempt is in %.3f s", self._where, what, self._failures, delay)
        return True


class Connecting(AbstractAsyncContextManager[S, bool]):
    """A session that is to be opened, by ``async with``; from :class:`Reconnect`, once for each turn of its loop."""

    def __init__(self, loop: Reconnect[S]) -> None:
        self._loop = loop
        self._entered = self._left = False

    async def __aenter__(self) -> S:
        """Open the session, in as many attempts as it takes; the waiting comes before each but the first."""
        if self._entered:
            raise RuntimeError("each session is opened once; go on to the loop's next turn")
        self._entered = True
        try:
            while True:
                await self._loop._runtime.sleep_until(self._loop._due)
                session = await self._attempt()
                if session is not None:
                    return session
        except BaseException:
            self._left = True
            raise

    async def _attempt(self) -> S | None:
        """An open session; ``None`` if that has failed and there is another attempt."""
        loop = self._loop
        self._meet_cancellation = loop._watch()
        block = OpenSession(loop._prepare, loop._session_type)
        try:
            session = await block.__aenter__()
        except Exception as exc:
            if loop._failed(exc, retry=loop._policy.retry_opening(exc)):
                return None
            raise
        self._block, self._session, self._opened_at = block, session, loop._runtime.now()
        logger.debug("%s: open, after %d failures in a row", loop._where, loop._failures)
        if loop._on_connect is not None:
            try:
                await loop._on_connect(session)
            except BaseException as exc:  # noqa: BLE001 (what is to come out is raised by leaving)
                await self._leave(type(exc), exc, exc.__traceback__)
                return None
        return session

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        try:
            await self._leave(exc_type, exc, tb)
        finally:
            self._left = True
            del exc, tb  # as below
        return True

    async def _leave(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Leave the session's block. Raises what leaves it, unless there is another attempt."""
        loop, block, session = self._loop, self._block, self._session
        del self._block, self._session
        ended = (
            session._engine.life.receiving or session._engine.life.sending
        )  # before leaving the block ends the session
        if isinstance(ended, WebSocketClosedError):
            ended = None  # by the block itself
        if loop._runtime.now() - self._opened_at >= loop._backoff.stable_seconds:
            loop._failures = 0
        error = exc
        failed = cancelled = None
        try:
            try:
                if await block.__aexit__(exc_type, exc, tb):
                    error = None
            except BaseException as raised:  # noqa: BLE001 (it is raised below, or swallowed)
                error = raised
            if error is None:
                self._left_normally(ended)
                return
            failed, cancelled = _split(error)
            if failed is not None and not loop._failed(failed, retry=self._worth_retrying(failed, ended)):
                raise error
            if cancelled is not None:
                raise cancelled
            await self._meet_cancellation(exc)
        finally:
            del error, failed, cancelled, exc, tb  # their tracebacks refer to this frame

    def _left_normally(self, ended: WebSocketException | None) -> None:
        """The block was left after the session had ended so, ``None`` if it was open."""
        loop = self._loop
        if ended is None or not loop._policy.retry_session(ended):
            loop._over = True
        elif not loop._failed(ended, retry=True):
            # `async for` took it for an end, or the block did.
            raise ExceptionGroup("no attempt is left", [ended._again()])

    def _worth_retrying(self, failed: Exception, ended: WebSocketException | None) -> bool:
        """Each of the exceptions in a group has to be."""
        policy = self._loop._policy
        # While this session is open, such an exception is of another one that the block uses, too.
        return all(
            policy.retry_session(leaf) if ended is not None and isinstance(leaf, _ENDS) else policy.retry_block(leaf)
            for leaf in leaves(failed)
        )


def leaves(error: Exception) -> Iterator[Exception]:
    """The exceptions in a group and in the groups in it; the error itself if it is none."""
    if isinstance(error, ExceptionGroup):
        for inner in cast("ExceptionGroup[Exception]", error).exceptions:
            yield from leaves(inner)
    else:
        yield error


def _split(error: BaseException) -> tuple[Exception | None, BaseException | None]:
    """What has failed, and the cancellation, Ctrl-C or the like, which may come in one group."""
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(Exception)
    return (error, None) if isinstance(error, Exception) else (None, error)


def _describe(error: Exception) -> str:
    """One line; what the server says is quoted in it."""
    texts = (str(cause) for cause in causes(error))  # httpx2 has errors without a message
    return f"{type(error).__name__}: {next(filter(None, texts), '')!r}"
