"""One session after another, on any event loop.

The loop over the sessions is the user's own ``for`` statement, and each session is an ``async with`` block in it. So no
nursery is open between two of them, nothing runs that could outlive the loop, and leaving it needs no care (PEP 789).

An ``async with`` statement can take back what its block raises, but not what its ``__aenter__`` raises. So the attempts
to open a session, and the waiting between them, are all in there: the block runs when there is a session for it.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from httpx2_trio_ws._session._opening import OpenSession
from httpx2_trio_ws._session._session import Session

from ._attempts import Attempts, Turn, Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from httpx2_trio_ws._handshake._asking import AsyncOpening

    from ._policy import Backoff, RetryPolicy

S = TypeVar("S", bound=Session)


class Reconnect(Turns, Generic[S]):
    """What :func:`reconnect` returns: an iterator of sessions that are to be opened, for a ``for`` statement."""

    def __init__(
        self,
        prepare: Callable[[], AsyncOpening],
        session_type: type[S],
        *,
        policy: RetryPolicy | None,
        backoff: Backoff | None,
        max_attempts: int | None,
        on_connect: Callable[[S], Awaitable[object]] | None,
        watch: Callable[[], Callable[[BaseException | None], Awaitable[object]]],
    ) -> None:
        super().__init__(Attempts(policy, backoff, max_attempts, on_connect))
        opening = prepare()  # checks the arguments now; each attempt makes a request of its own
        self._runtime = opening.runtime
        self._attempts.of(opening.request, self._runtime.now())
        self._prepare = prepare
        self._session_type = session_type
        self._on_connect = on_connect
        # Called before each attempt; gives a function that raises if the task has been cancelled since. It is passed what
        # left the block, and called where a failure, which has taken a cancellation's place perhaps, is swallowed.
        self._watch = watch

    # None, not NoReturn: else type checkers took this for an async iterable, and `async for` for right.
    def __aiter__(self) -> None:
        raise TypeError(
            "use `for connection in reconnect(...):`, not `async for`; in it, `async with connection as ws:` opens a session"
        )

    def __next__(self) -> Connecting[S]:
        """The next session to open, unless the last one has ended for good."""
        self._next_turn("async with")
        return Connecting(self)


class Connecting(Turn, AbstractAsyncContextManager[S, bool]):
    """A session that is to be opened, by ``async with``; from :class:`Reconnect`, once for each turn of its loop."""

    def __init__(self, loop: Reconnect[S]) -> None:
        self._loop = loop

    async def __aenter__(self) -> S:
        """Open the session, in as many attempts as it takes; the waiting comes before each but the first."""
        self._enter()
        try:
            while True:
                await self._loop._runtime.sleep_until(self._loop._attempts.due)
                session = await self._attempt()
                if session is not None:
                    return session
        except BaseException:
            self._loop._pending = False
            raise

    async def _attempt(self) -> S | None:
        """An open session; ``None`` if that has failed and there is another attempt."""
        loop = self._loop
        self._meet_cancellation = loop._watch()
        block = OpenSession(loop._prepare, loop._session_type)
        try:
            session = await block.__aenter__()
        except Exception as exc:
            if loop._attempts.opening_failed(exc, loop._runtime.now()):
                return None
            raise
        self._block, self._session = block, session
        loop._attempts.opened(loop._runtime.now())
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
            self._loop._pending = False
            del exc, tb  # as below
        return True

    async def _leave(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Leave the session's block. Raises what leaves it, unless there is another attempt."""
        loop, block, session = self._loop, self._block, self._session
        del self._block, self._session
        attempts, now = loop._attempts, loop._runtime.now
        # Before leaving the block ends the session.
        ended = attempts.ended(session._engine.life.receiving or session._engine.life.sending, now())
        error = exc
        failed = cancelled = None
        try:
            try:
                if await block.__aexit__(exc_type, exc, tb):
                    error = None
            except BaseException as raised:  # noqa: BLE001 (it is raised below, or swallowed)
                error = raised
            if error is None:
                if not attempts.left_normally(ended, now()):
                    assert ended is not None
                    # `async for` took it for an end, or the block did.
                    raise ExceptionGroup("no attempt is left", [ended._again()])
                return
            failed, cancelled = _split(error)
            if failed is not None and not attempts.block_failed(failed, ended, now()):
                raise error
            if cancelled is not None:
                raise cancelled
            await self._meet_cancellation(exc)
        finally:
            del error, failed, cancelled, exc, tb  # their tracebacks refer to this frame


def _split(error: BaseException) -> tuple[Exception | None, BaseException | None]:
    """What has failed, and the cancellation, Ctrl-C or the like, which may come in one group."""
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(Exception)
    return (error, None) if isinstance(error, Exception) else (None, error)
