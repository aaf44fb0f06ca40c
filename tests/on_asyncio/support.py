"""Servers and loops for the tests on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import uvloop
from websockets.asyncio.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping

    from websockets.asyncio.server import ServerConnection

# The arguments of anyio.run.
REAL_LOOPS: dict[str, Mapping[str, Any]] = {
    "asyncio": {"loop_factory": asyncio.SelectorEventLoop, "debug": True},
    "uvloop": {"loop_factory": uvloop.new_event_loop},
}


def run_real(loop: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run an async function on one of :data:`REAL_LOOPS`; afterwards no task may be left."""

    async def main() -> Any:
        result = await function(*args)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return anyio.run(main, backend="asyncio", backend_options=dict(REAL_LOOPS[loop]))


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


@contextlib.asynccontextmanager
async def server(
    handler: Callable[[ServerConnection], Awaitable[None]] = echo, **options: Any
) -> AsyncGenerator[tuple[httpx2.AsyncClient, str]]:
    """A ``websockets`` server on this loop, a client, and the server's URL."""
    async with (
        serve(handler, "127.0.0.1", 0, **options) as listening,
        httpx2.AsyncClient(verify=False, trust_env=False) as client,
    ):
        port = next(iter(listening.sockets)).getsockname()[1]
        yield client, f"{'wss' if options.get('ssl') else 'ws'}://127.0.0.1:{port}"


async def cancelled_at(step: int, operation: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
    """Run ``operation`` in a task that is cancelled, asyncio's way, after so many turns of the loop.

    Returns whether that was before its end; what it raises else is raised.
    """
    task = asyncio.ensure_future(operation())
    for _ in range(step):
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False
