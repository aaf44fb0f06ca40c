"""A cancel scope on asyncio that takes little memory: for what one task waits in for as long as a session lasts."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from contextvars import Context
    from types import TracebackType


class TaskScope:
    """As anyio's, which holds 600 bytes more while it is waited in. It cancels the task once, as :func:`asyncio.timeout` does.

    So nothing in it may swallow that. Scopes of anyio's may stand around it, and in it.

    Args:
        deadline: on the loop's clock.
        context: for the callbacks, which need none of the task's variables. Each timer would copy it else.
    """

    __slots__ = (
        "_before",
        "_context",
        "_deadline",
        "_requested",
        "_task",
        "_timer",
        "cancelled_caught",
    )

    def __init__(self, deadline: float, context: Context) -> None:
        self._deadline = deadline
        self._context = context
        # The task, while it is inside; how often it had been asked to end before, and whether it has been by this.
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self._requested = False
        self._timer: asyncio.Handle | None = None
        self.cancelled_caught = False

    @property
    def deadline(self) -> float:
        return self._deadline

    @deadline.setter
    def deadline(self, value: float) -> None:
        self._deadline = value
        if self._task is not None:
            self._set_timer(self._task.get_loop())

    def cancel(self) -> None:
        task = self._task
        if task is None or self._requested:
            return
        if asyncio.current_task() is task:
            # If it is still inside by then: asked now, it might be told once it has left.
            asyncio.get_running_loop().call_soon(self.cancel, context=self._context)
        else:
            self._requested = True
            task.cancel()

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._stop_timer()
        if self._deadline != math.inf:
            self._timer = loop.call_at(self._deadline, TaskScope.cancel, self, context=self._context)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task()
        assert task is not None
        self._before = task.cancelling()
        self._set_timer(task.get_loop())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        assert task is not None
        self._stop_timer()
        # Who else has asked the task to end is not to be kept from it.
        alone = self._requested and task.uncancel() <= self._before
        self.cancelled_caught = alone and exc_type is asyncio.CancelledError
        return self.cancelled_caught
