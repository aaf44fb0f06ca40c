"""The runtime on asyncio and uvloop: anyio's task groups and cancel scopes, asyncio's own events and turns.

asyncio has two kinds of cancellation. anyio's is of a scope, and is delivered until the scope is left. asyncio's own
(``Task.cancel()``, and with it ``asyncio.timeout`` and ``asyncio.TaskGroup``) is delivered once, and goes through
anyio's shields. The session runs in tasks of its own, which nobody can reach with the second kind; what it may meet is
in the calls of the session, and there each wait loses nothing if it is interrupted.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import sys
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import anyio
import anyio.lowlevel

from httpx2_trio_ws._carriers._asyncio import LoopCarrier, carrier_for

from ._asyncio_scope import TaskScope
from ._base import Runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from httpx2_trio_ws._carriers import Carrier, Event

    from ._base import CancelScope, MakesCarrier, Nursery


class _Event:
    """An event whose :meth:`wait` lets others run also when it is set already, as trio's does.

    One is made for each wait, so it should cost less than asyncio's own.
    """

    __slots__ = ("_first", "_is_set", "_others")

    def __init__(self) -> None:
        self._is_set = False
        # Each of those that wait has a future of its own, as to cancel a task is to cancel what it waits for. Most events
        # have one.
        self._first: asyncio.Future[None] | None = None
        self._others: dict[asyncio.Future[None], None] | None = None

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for future in (self._first, *(self._others or ())):
            if future is not None and not future.done():
                future.set_result(None)
        self._first = None

    def wait(self) -> Awaitable[None]:
        if self._is_set:
            return asyncio.sleep(0)
        future = asyncio.get_running_loop().create_future()
        if self._first is None or self._first.done():
            self._first = future
        else:
            others = self._others = {} if self._others is None else self._others
            others[future] = None
            future.add_done_callback(others.__delitem__)
        return future


async def _checkpoint() -> None:
    await asyncio.sleep(0)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


_system_tasks: set[asyncio.Task[None]] = set()


def _spawn_system_task(async_fn: Callable[[], Coroutine[Any, Any, None]]) -> None:
    # The loop itself holds no task.
    task = asyncio.get_running_loop().create_task(async_fn())
    _system_tasks.add(task)
    task.add_done_callback(_system_tasks.discard)


class AsyncioRuntime(Runtime):
    """See :class:`Runtime`. One for each event loop: :func:`running`."""

    cancelled = asyncio.CancelledError
    event: Callable[[], Event] = staticmethod(_Event)
    cancel_scope: Callable[..., CancelScope] = staticmethod(anyio.CancelScope)
    here: Callable[[], object] = staticmethod(asyncio.get_running_loop)
    checkpoint: Callable[[], Awaitable[object]] = staticmethod(_checkpoint)
    is_cancelled: Callable[[], bool] = staticmethod(_is_cancelled)
    current_task: Callable[[], object] = staticmethod(asyncio.current_task)
    sleep_until: Callable[[float], Awaitable[object]] = staticmethod(anyio.sleep_until)
    open_nursery: Callable[[], AbstractAsyncContextManager[Nursery]] = staticmethod(anyio.create_task_group)
    spawn_system_task: Callable[[Callable[[], Coroutine[Any, Any, None]]], object] = staticmethod(_spawn_system_task)
    carrier: MakesCarrier = staticmethod(carrier_for)

    def __init__(self) -> None:
        # anyio's function of this name finds the backend anew at each call, which takes longer than what it does.
        token = anyio.lowlevel.current_token()
        backend: Any = getattr(token, "backend_class", anyio.lowlevel)
        self.checkpoint_if_cancelled = backend.checkpoint_if_cancelled
        # Scopes by task. In public, anyio tells of them by a coroutine or a deadline, which takes twice as long.
        self._states: Any = getattr(sys.modules.get(getattr(backend, "__module__", "")), "_task_states", None)
        loop = asyncio.get_running_loop()
        # uvloop's clock counts in milliseconds and stands still between two turns; time.monotonic() is the same
        # clock, as it is now. asyncio's loops ask that, unless they were given another clock.
        has_its_own = getattr(loop.time, "__func__", None) is not asyncio.BaseEventLoop.time
        self.now = loop.time if isinstance(loop, asyncio.BaseEventLoop) and has_its_own else time.monotonic

        # What callbacks run in that need none of a task's variables: each timer would copy those else.
        self._context = contextvars.Context()

    def reading_scope(self, carrier: Carrier, deadline: float) -> CancelScope:
        # These end at the first cancellation, and have nothing to clean up then.
        if isinstance(carrier, LoopCarrier):
            return TaskScope(deadline, self._context)
        return super().reading_scope(carrier, deadline)

    def will_raise(self) -> bool:
        task = asyncio.current_task()
        if task is None or task.cancelling() > 0:
            return True
        if self._states is None:
            return anyio.current_effective_deadline() == -math.inf
        state = self._states.get(task)
        scope = None if state is None else state.cancel_scope
        while scope is not None and not scope.cancel_called:
            scope = None if scope.shield else scope._parent_scope
        return scope is not None

    def clock(self) -> Callable[[], float]:
        return self.now


_runtimes: WeakValueDictionary[asyncio.AbstractEventLoop, AsyncioRuntime] = WeakValueDictionary()


def running() -> AsyncioRuntime:
    """The runtime of the loop that runs here: the same one while anybody uses it. Raises :exc:`RuntimeError` if none does."""
    loop = asyncio.get_running_loop()
    runtime = _runtimes.get(loop)
    if runtime is None:
        runtime = _runtimes[loop] = AsyncioRuntime()
    return runtime
