"""A task group that need not be left by the task that has entered it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import anyio
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import TaskGroup


@contextlib.asynccontextmanager
async def background_task_group() -> AsyncGenerator[TaskGroup]:
    """A task group for tasks that tell of their errors themselves; those that still run at the end are cancelled.

    On trio it is a nursery of the task that enters it. On asyncio, frameworks for tests may enter a fixture in one
    task and leave it in another, which anyio's groups refuse; so there the group lives in a task of its own.
    """
    if trio.lowlevel.in_trio_task():
        async with anyio.create_task_group() as group:
            yield group
            group.cancel_scope.cancel()
        return
    ready: asyncio.Future[TaskGroup] = asyncio.get_running_loop().create_future()
    host = asyncio.create_task(_host(ready))
    try:
        yield await ready
    finally:
        host.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([host])
        with contextlib.suppress(asyncio.CancelledError):
            host.result()


async def _host(ready: asyncio.Future[TaskGroup]) -> None:
    async with anyio.create_task_group() as group:
        ready.set_result(group)
        await anyio.sleep_forever()
