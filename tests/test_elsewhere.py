"""A session that is used on another event loop than its own: a clear error, before anything has been touched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import httpx2
import pytest

from httpx2_trio_ws.anyio import open_websocket

from .memory import TEXT, Frame, text
from .sync.support import Task, listening, upgrade
from .test_tls_carriers import LOOPS, each_loop, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2_trio_ws.anyio import WebSocketSession


CALLS: dict[str, Callable[[WebSocketSession], Awaitable[object]]] = {
    "receive": lambda ws: ws.receive(),
    "receive_text": lambda ws: ws.receive_text(),
    "receive_json": lambda ws: ws.receive_json(),
    "ping": lambda ws: ws.ping(),
    "pong": lambda ws: ws.pong(),
    "wait_closed": lambda ws: ws.wait_closed(),
    "close": lambda ws: ws.close(),
    "send": lambda ws: ws.send("no"),
    "send_json": lambda ws: ws.send_json("no"),
    "wait_room": lambda ws: ws._wait_room(),
}
WRONG = r"lives on another event loop, or in another thread: its calls are made there"


@each_loop
def test_calls_in_another_thread(loop: str) -> None:
    """Each with a loop of its own there."""

    async def refused(call: Callable[[WebSocketSession], Awaitable[object]], ws: WebSocketSession) -> None:
        with anyio.fail_after(5), pytest.raises(RuntimeError, match=WRONG):
            await call(ws)

    def in_thread(ws: WebSocketSession) -> None:
        for call in CALLS.values():
            anyio.run(refused, call, ws, **LOOPS[loop])

    async def main() -> None:
        with listening() as (address, accept):
            accepting = Task(lambda: upgrade(accept()))
            async with (
                httpx2.AsyncClient() as client,
                open_websocket(client, f"ws://{address}/", compression=None) as ws,
            ):
                peer = accepting.result()
                await anyio.to_thread.run_sync(in_thread, ws)
                await ws.send("x")
                assert await anyio.to_thread.run_sync(peer.receive) == Frame(TEXT, b"x")
                peer.send(text("y"))
                assert await ws.receive() == "y"
                assert not ws.closed
                Task(peer.answer_close)

    run(loop, main)


def test_calls_on_another_loop_of_the_same_thread() -> None:
    """As when each test has a loop of its own, and a fixture has opened the session on another one."""
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def keep(address: str, opened: asyncio.Future[WebSocketSession], leave: asyncio.Event) -> None:
        async with httpx2.AsyncClient() as client, open_websocket(client, f"ws://{address}/") as ws:
            opened.set_result(ws)
            await leave.wait()

    with listening() as (address, accept):
        accepting = Task(lambda: upgrade(accept()))
        opened, leave = first.create_future(), asyncio.Event()
        kept = first.create_task(keep(address, opened, leave))
        ws = first.run_until_complete(opened)
        with pytest.raises(RuntimeError, match=WRONG):
            second.run_until_complete(ws.receive())
        Task(accepting.result().answer_close)
        leave.set()
        first.run_until_complete(kept)
    for loop in (first, second):
        loop.close()
