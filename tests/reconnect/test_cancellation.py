"""Cancelled at any point, the loop ends at once and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
import trio
import trio.testing

from httpx2_trio_ws.anyio import reconnect as reconnect_anyio
from httpx2_trio_ws.reconnect import Backoff, reconnect
from tests.asgi.support import both_loops
from tests.checkpoints import Canceller
from tests.on_asyncio.support import cancelled_at
from tests.virtual_time import run_virtual

from .support import LONGEST, URL, close, collect, drop, hello, leaves, play, silence, stay
from .support import reconnect as reconnect_here

if TYPE_CHECKING:
    from httpx2_trio_ws import WebSocketSession

    from .support import Part

# What a session that is dropped may take to say goodbye.
FAREWELL = 0.2
PARTS: list[Part] = [httpx2.ConnectError("no"), 503, drop, close(1001), close(1012, after=1), hello]


class Timed(Canceller):
    """Also notes when it has cancelled."""

    cancelled_at = math.nan

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        super().after_task_step(task)
        if self.scope.cancel_called and math.isnan(self.cancelled_at):
            self.cancelled_at = trio.current_time()


async def greet(ws: WebSocketSession) -> None:
    await ws.send("hello")


def run_cancelled(at: float, *, any_task: bool) -> bool:
    """Run a loop over sessions that all fail in another way, cancelled at a step; whether that was before its end."""

    async def main() -> bool:
        canceller = Timed(at, any_task=any_task)
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with play(*PARTS, to_the_end=False) as server:
            with canceller.scope:
                canceller.start()
                try:
                    await collect(server, on_connect=greet)
                finally:
                    canceller.stop()
            seconds = trio.current_time() - canceller.cancelled_at
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        if at and canceller.scope.cancelled_caught:
            assert seconds <= FAREWELL
        return canceller.scope.cancelled_caught

    return bool(trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)))


@pytest.mark.parametrize("any_task", [False, True], ids=["checkpoint", "turn"])
def test_cancelled_at_every_step_on_trio(any_task: bool) -> None:
    step = 0
    while run_cancelled(step, any_task=any_task):
        step += 1
    assert step > 20


def test_cancelled_at_every_turn_on_asyncio() -> None:
    """With `Task.cancel()`, which is asyncio's own. Counting turns keeps the clock from jumping: no waits here."""

    async def main(step: int) -> bool:
        async with play(*PARTS[:4], hello, to_the_end=False) as server:
            no_waits = Backoff(max_seconds=0)
            return await cancelled_at(step, partial(collect, server, on_connect=greet, backoff=no_waits))

    step = 0
    while run_virtual("asyncio", main, step):
        step += 1
    assert step > 20


def test_a_scope_cancelled_at_every_turn_on_asyncio() -> None:
    async def main(step: int) -> bool:
        async with play(*PARTS[:4], hello, to_the_end=False) as server:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(cancel_after, step, scope)
                    await collect(server, on_connect=greet, backoff=Backoff(max_seconds=0))
                    tasks.cancel_scope.cancel()
        return scope.cancelled_caught

    async def cancel_after(step: int, scope: anyio.CancelScope) -> None:
        for _ in range(step):
            await asyncio.sleep(0)
        scope.cancel()

    step = 0
    while run_virtual("asyncio", main, step):
        step += 1
    assert step > 20


@pytest.mark.parametrize("part", [drop, silence, stay, 503])
def test_a_timeout_of_asyncios_own(part: Part) -> None:
    async def main() -> None:
        async with play(part, *[drop] * 3, to_the_end=False) as server:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2.5):
                    await collect(server)
            assert anyio.current_time() - server.began == pytest.approx(2.5)

    run_virtual("asyncio", main)


@both_loops
async def test_a_cancellation_and_an_error_of_the_blocks_own() -> None:
    async with play(stay) as server:
        with pytest.raises(ExceptionGroup) as caught, anyio.move_on_after(1):
            for connection in reconnect_here(server):
                async with connection:
                    try:
                        await anyio.sleep_forever()
                    finally:
                        raise ValueError
    assert [type(error) for error in leaves(caught.value)] == [ValueError]


@both_loops
async def test_cancelled_while_it_waits() -> None:
    async with play(503, 503) as server:
        with anyio.move_on_after(2.5) as scope:
            await collect(server)
        assert scope.cancelled_caught
        assert anyio.current_time() - server.began == pytest.approx(2.5)
        assert server.times == [0, 1]


@both_loops
async def test_cancelled_in_the_handshake() -> None:
    async with play(silence) as server:
        with anyio.move_on_after(5):
            await collect(server)
        assert anyio.current_time() - server.began == pytest.approx(5)


@pytest.mark.parametrize("where", ["handshake", "wait", "on_connect"])
@both_loops
async def test_a_turn_that_is_cancelled_while_it_opens_is_followed_by_the_next(where: str) -> None:
    """A limit around one turn is none around the loop."""
    parts: dict[str, list[Part]] = {"handshake": [silence], "wait": [503], "on_connect": [stay]}

    async def on_connect(ws: WebSocketSession) -> None:
        if where == "on_connect" and turns == 1:
            await anyio.sleep_forever()

    turns = 0
    got: list[str | bytes] = []
    async with play(*parts[where], hello) as server:
        for connection in reconnect_here(server, on_connect=on_connect):
            turns += 1
            with anyio.move_on_after(0.5 if turns == 1 else math.inf) as scope:
                async with connection as ws:
                    got.extend([message async for message in ws])
            assert scope.cancelled_caught is (turns == 1)
    assert got == ["hello"]


@both_loops
async def test_cancelled_in_the_block() -> None:
    async with play(drop, stay) as server:
        with anyio.move_on_after(5):
            await collect(server)
        assert anyio.current_time() - server.began == pytest.approx(5)
    assert server.peers[-1].close_code == 1001


@both_loops
async def test_a_session_is_freed_when_its_block_has_been_left() -> None:
    """By the last reference, without the garbage collector: also where an error came out, or was swallowed."""
    gc.collect()
    gc.disable()
    try:
        async with play(drop, close(1001), close(4000)) as server:
            sessions: list[weakref.ref[WebSocketSession]] = []

            async def note(ws: WebSocketSession) -> None:
                sessions.append(weakref.ref(ws))

            with contextlib.suppress(ExceptionGroup):
                await collect(server, on_connect=note)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            assert [session() for session in sessions] == [None] * 3
    finally:
        gc.enable()


def test_nothing_is_open_between_two_sessions() -> None:
    """A loop that is left half-way, at any place, has nothing to clean up."""

    async def main(face: Any) -> None:
        async with play(503, hello) as server:
            next(face(server.client, URL, backoff=LONGEST))
            for connection in face(server.client, URL, backoff=LONGEST):
                async with connection:
                    break

    run_virtual("trio", main, reconnect)
    run_virtual("asyncio", main, reconnect_anyio)
