"""Event loops on which no test waits: time jumps whenever all tasks do.

trio has this in its mock clock. For asyncio, here is a loop that does the same. It holds for what happens in one
process and on one loop, such as connections in memory; bytes in a socket or work in a thread are not waited for.
"""

from __future__ import annotations

import asyncio
import selectors
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits. Where it would, it moves the loop's time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: every task waits, and none of them for a time")
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop with a mock clock that jumps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def _run_trio(main: Callable[[], Awaitable[Any]]) -> Any:
    # anyio.run() has an option for the clock, too, and older versions forget it.
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def _run_asyncio(main: Callable[[], Awaitable[Any]]) -> Any:
    return anyio.run(main, backend="asyncio", backend_options={"loop_factory": VirtualTimeLoop})


#: Run an async function, on virtual time, on each of these.
VIRTUAL: dict[str, Callable[[Callable[[], Awaitable[Any]]], Any]] = {"trio": _run_trio, "asyncio": _run_asyncio}


def run_virtual(loop: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run an async function on ``loop``, one of :data:`VIRTUAL`."""
    return VIRTUAL[loop](partial(function, *args))
