"""The cancel scope that reading stands in on asyncio: what it cancels, and what it leaves to others."""

from __future__ import annotations

import asyncio
import contextvars
import math
from typing import TYPE_CHECKING

import anyio
import pytest

from httpx2_trio_ws._runtime._asyncio_scope import TaskScope
from tests.virtual_time import VIRTUAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LONG = 10_000


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    VIRTUAL["asyncio"](main)


def scope_of(deadline: float = math.inf) -> TaskScope:
    return TaskScope(deadline, contextvars.Context())


def now() -> float:
    return asyncio.get_running_loop().time()


async def settled() -> None:
    """What was asked of the task has been told, if there was anything."""
    for _ in range(3):
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


def test_it_ends_at_its_deadline_which_may_be_moved() -> None:
    async def main() -> None:
        for moves in ([], [5.0], [20.0], [math.inf, 7.0]):
            begun = now()
            with scope_of(begun + 10) as scope:
                for seconds in moves:
                    scope.deadline = begun + seconds
                assert scope.deadline == begun + (moves or [10])[-1]
                await asyncio.sleep(LONG)
            assert scope.cancelled_caught
            assert now() == pytest.approx(begun + (moves or [10])[-1])
            scope.deadline = begun  # of no interest to anybody
            await settled()

    in_virtual_time(main)


def test_a_deadline_that_has_passed_ends_the_next_wait() -> None:
    async def main() -> None:
        with scope_of(now() - 1) as scope:
            await asyncio.sleep(LONG)
        assert scope.cancelled_caught
        await settled()

    in_virtual_time(main)


def test_what_is_left_in_time_is_not_cancelled_later() -> None:
    async def main() -> None:
        with scope_of(now() + 1) as scope:
            await asyncio.sleep(0)
        scope.cancel()
        await asyncio.sleep(5)
        assert not scope.cancelled_caught
        await settled()

    in_virtual_time(main)


@pytest.mark.parametrize("times", [1, 3])
def test_another_task_cancels_it(times: int) -> None:
    async def main() -> None:
        async def cancel() -> None:
            for _ in range(times):
                scope.cancel()

        async with anyio.create_task_group() as group:
            with scope_of() as scope:
                group.start_soon(cancel)
                await asyncio.sleep(LONG)
            assert scope.cancelled_caught
            await settled()

    in_virtual_time(main)


def test_its_own_task_cancels_it_and_the_next_wait_ends() -> None:
    async def main() -> None:
        with scope_of() as scope:
            scope.cancel()
            await asyncio.sleep(LONG)
        assert scope.cancelled_caught
        with scope_of() as scope:
            scope.cancel()  # and there is no other wait
        assert not scope.cancelled_caught
        await settled()

    in_virtual_time(main)


def test_an_error_goes_through_it() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="of the block"), scope_of() as scope:
            try:
                scope.cancel()
                await asyncio.sleep(LONG)
            finally:
                raise ValueError("of the block")
        await settled()

    in_virtual_time(main)


@pytest.mark.parametrize("first", [False, True])
def test_a_scope_around_it_that_is_cancelled_too_is_left_as_well(first: bool) -> None:
    async def main() -> None:
        begun = now()
        with anyio.CancelScope() as outer:
            with scope_of() as scope:

                def cancel() -> None:
                    for each in (scope, outer) if first else (outer, scope):
                        each.cancel()

                asyncio.get_running_loop().call_soon(cancel)
                await asyncio.sleep(LONG)
            await asyncio.sleep(LONG)
        assert outer.cancelled_caught
        assert scope.cancelled_caught is first  # anyio asks again, as often as it takes
        assert now() == begun
        await settled()

    in_virtual_time(main)


def test_a_task_that_is_cancelled_ends() -> None:
    async def main() -> None:
        async def wait() -> None:
            with scope_of() as scope:
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_soon(scope.cancel)
                asyncio.get_running_loop().call_soon(task.cancel)
                await asyncio.sleep(LONG)

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(wait())

    in_virtual_time(main)
