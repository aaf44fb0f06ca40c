"""One session after another, in threads: see :mod:`._loop`."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from httpx2_trio_ws._exceptions import WebSocketClosedError
from httpx2_trio_ws._protocol import check_close
from httpx2_trio_ws._sync._session import SyncWebSocketSession

from ._attempts import Attempts, Turn, Turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from httpx2_trio_ws._sync._opening import OpenSession

    from ._policy import Backoff, RetryPolicy


class Reconnect(Turns):
    """What ``reconnect()`` returns: an iterator of sessions that are to be opened, for a ``for`` statement of one thread.

    :meth:`stop` may be called in any thread.
    """

    def __init__(
        self,
        prepare: Callable[[], OpenSession],
        *,
        policy: RetryPolicy | None,
        backoff: Backoff | None,
        max_attempts: int | None,
        on_connect: Callable[[SyncWebSocketSession], object] | None,
    ) -> None:
        super().__init__(Attempts(policy, backoff, max_attempts, on_connect))
        # This checks the arguments now; each attempt makes a request of its own.
        self._attempts.of(prepare()._opening.request, time.monotonic())
        self._prepare = prepare
        self._on_connect = on_connect
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._session: SyncWebSocketSession | None = None  # the open one
        self._close = (1000, "")

    def __next__(self) -> Connecting:
        """The next session to open, unless the last one has ended for good, or :meth:`stop` has been called."""
        self._next_turn("with", over=self._stopped.is_set())
        return Connecting(self)

    def stop(self, code: int = 1000, reason: str = "") -> None:
        """End the loop, from any thread. It may be called again.

        An open session is closed, as by its ``close()``, and the loop ends when its block has been left, by the
        :exc:`WebSocketClosedError` that its calls raise, too. A wait for the next attempt is cut short: entering the block
        raises :exc:`WebSocketClosedError`, as a ``with`` statement cannot pass over its block. An attempt that is being made
        is waited for, which takes ``handshake_timeout_seconds`` at most.

        Args:
            code: the close code, as for ``close()``.
            reason: the close reason.

        Raises:
            TypeError, ValueError: the code may not be sent, or the reason is too long.
        """
        check_close(code, reason)
        with self._lock:
            self._close = (code, reason)
            self._stopped.set()
            session = self._session
        if session is not None:
            session.close(code, reason)

    def _check_running(self) -> None:
        if self._stopped.is_set():
            raise WebSocketClosedError("the loop has been stopped")

    def _is_open(self, session: SyncWebSocketSession | None) -> None:
        with self._lock:
            self._session = session
            stopped = self._stopped.is_set()
        if stopped and session is not None:
            session.close(*self._close)


class Connecting(Turn, AbstractContextManager[SyncWebSocketSession, bool]):
    """A session that is to be opened, by ``with``; from :class:`Reconnect`, once for each turn of its loop."""

    def __init__(self, loop: Reconnect) -> None:
        self._loop = loop

    def __enter__(self) -> SyncWebSocketSession:
        """Open the session, in as many attempts as it takes; the waiting comes before each but the first."""
        self._enter()
        try:
            while True:
                self._wait()
                session = self._attempt()
                if session is not None:
                    return session
        except BaseException:
            self._loop._pending = False
            raise

    def _wait(self) -> None:
        stopped = self._loop._stopped
        while not stopped.is_set() and (left := self._loop._attempts.due - time.monotonic()) > 0:
            stopped.wait(min(left, threading.TIMEOUT_MAX))
        self._loop._check_running()

    def _attempt(self) -> SyncWebSocketSession | None:
        """An open session; ``None`` if that has failed and there is another attempt."""
        loop = self._loop
        block = loop._prepare()
        try:
            session = block.__enter__()
        except Exception as exc:
            if loop._attempts.opening_failed(exc, time.monotonic()):
                return None
            raise
        self._block, self._session = block, session
        try:
            loop._attempts.opened(time.monotonic())
            loop._is_open(session)
            loop._check_running()
            if loop._on_connect is not None:
                loop._on_connect(session)
                loop._check_running()
        except BaseException as exc:
            self._leave(type(exc), exc, exc.__traceback__)
            if loop._stopped.is_set():
                raise
            return None
        return session

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        try:
            return self._leave(exc_type, exc, tb)
        finally:
            self._loop._pending = False
            del exc, tb  # as below

    def _leave(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> bool:
        """Leave the session's block. Raises what leaves it, unless there is another attempt."""
        loop, attempts, block, session = self._loop, self._loop._attempts, self._block, self._session
        del self._block, self._session
        ended = attempts.ended(session._engine.life.receiving or session._engine.life.sending, time.monotonic())
        error = exc
        try:
            try:
                block.__exit__(exc_type, exc, tb)
            except BaseException as raised:  # noqa: BLE001 (it is raised below, or swallowed)
                error = raised
            finally:
                loop._is_open(None)
            if loop._stopped.is_set() and isinstance(error, (WebSocketClosedError, type(None))):
                return True
            if error is None:
                if not attempts.left_normally(ended, time.monotonic()):
                    assert ended is not None
                    raise ended._again()
            elif not isinstance(error, Exception) or not attempts.block_failed(error, ended, time.monotonic()):
                raise error
            return True
        finally:
            del error, exc, tb  # their tracebacks refer to this frame
