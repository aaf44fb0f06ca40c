"""Cancelling an operation at its nth checkpoint, and finding whatever is left of it."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import httpx2

# All is still when nothing has happened for so many seconds of the real clock. If the machine is so busy that this
# comes early, an operation is cancelled a little early, which it has to bear at any time.
STILL = 0.002
# A case that ought to go on and does not, for so many seconds of the real clock, hangs.
HANG = 10


class Canceller(trio.abc.Instrument):
    """Cancels :attr:`scope` at the ``at``-th step, from :meth:`start` on, of one task, or of any.

    A step ends where a task yields to the scheduler, so a task's own steps are its checkpoints: the scope is
    cancelled when the task has just gone to sleep there. Counting the steps of all tasks cancels it in the
    midst of what it waits for, too.

    Args:
        at: the step; 0 cancels before the first, and ``math.inf`` never.
        any_task: count the steps of all tasks.
    """

    def __init__(self, at: float, *, any_task: bool = False) -> None:
        self.scope = trio.CancelScope()
        self.at = at
        self.steps = 0
        #: All was still before the step came.
        self.still = False
        #: How long the operation took, on the case's clock.
        self.seconds = 0.0
        self._any_task = any_task
        self._task: trio.lowlevel.Task | None = None
        self._watcher: trio.lowlevel.Task | None = None
        self._started = math.nan

    def start(self) -> None:
        """The operation begins, in this task."""
        self._task = trio.lowlevel.current_task()
        self._started = trio.current_time()
        trio.lowlevel.add_instrument(self)
        if self.at == 0:
            self.scope.cancel()

    def stop(self) -> None:
        """The operation is over."""
        if self._task is not None:
            self._task = None
            self.seconds = trio.current_time() - self._started
            trio.lowlevel.remove_instrument(self)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if (task is self._task or self._any_task) and task is not self._watcher:
            self.steps += 1
            if self.steps == self.at:
                self.scope.cancel()

    async def watch(self, clock: trio.testing.MockClock) -> None:
        """Run this beside an operation that may come to a stop, as its peer is stalled.

        Where all is still, the scope is cancelled; if it is already, or never is to be, time passes until the next
        deadline. So nothing waits for a real clock, and the time that passes is what the operation needed.
        """
        self._watcher = trio.lowlevel.current_task()
        while True:
            await trio.testing.wait_all_tasks_blocked(STILL)
            if self._task is None:
                return
            if self.at < math.inf and not self.scope.cancel_called:
                self.still = True
                self.scope.cancel()
                continue
            seconds = trio.lowlevel.current_statistics().seconds_to_next_deadline
            assert clock.current_time() - self._started + seconds < 60, "the operation does not end"
            clock.jump(seconds)


async def fail_if_still() -> None:
    """Run this beside a case that ought to go on without its clock."""
    await trio.testing.wait_all_tasks_blocked(HANG)
    raise AssertionError("the case hangs")


class Leftovers:
    """What there is of tasks and sockets, to find what is left later, a client's connections included.

    Sockets are told apart, and not just counted: one that went away meanwhile, as some other test's garbage was
    collected, must not make up for one that is left.
    """

    def __init__(self) -> None:
        self._tasks = trio.lowlevel.current_statistics().tasks_living
        self._sockets = _sockets()

    def check(self, client: httpx2.AsyncClient) -> None:
        transport: Any = client._transport
        pool = getattr(transport._pool, "_core", transport._pool)  # HTTP2Transport's own has httpcore2's beneath it
        assert "[Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]" in repr(pool)
        assert trio.lowlevel.current_statistics().tasks_living == self._tasks
        assert _sockets() <= self._sockets


def _sockets() -> set[str]:
    """The sockets of this process, where the system lists them; each has a number of its own in its name."""
    descriptors = Path("/proc/self/fd")
    names = set()
    for path in descriptors.iterdir() if descriptors.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            names.add(str(path.readlink()))
    return {name for name in names if name.startswith("socket:")}


async def own_steps(call: Awaitable[object]) -> float:
    """How many checkpoints an awaitable has that raises nothing."""
    counter = Canceller(math.inf)
    counter.start()
    await call
    counter.stop()
    return counter.steps
