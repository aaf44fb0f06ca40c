"""What a session holds that is open and has nothing to do: no more than it needs."""

from __future__ import annotations

import asyncio
import gc
import operator
import tracemalloc
import weakref
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
import trio
import trio.testing

import httpx2_trio_ws
import httpx2_trio_ws.anyio
from httpx2_trio_ws._session import _inbox, _outbox

from .memory import PING, PONG, close_frame, frame, memory_session, text
from .sync.support import Task, listening, upgrade

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

OURS = str(Path(httpx2_trio_ws.__file__).parent / "*")
SESSIONS = 50
# Bytes for each session that are allocated in this package's own lines; it is 4,700. What other libraries hold for it is
# not counted, as that differs with their versions.
ALLOWED = 5200


def own_bytes() -> int:
    gc.collect()
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(inclusive=True, filename_pattern=OURS)])
    return sum(statistic.size for statistic in ours.statistics("filename"))


async def open_many(open_websocket: Callable[..., Any], url: str) -> float:
    """Bytes for each of many sessions that are open."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(limits=limits, trust_env=False, verify=False) as client, AsyncExitStack() as stack:

        async def some(count: int) -> None:
            for _ in range(count):
                await stack.enter_async_context(open_websocket(client, url, compression=None, close_timeout_seconds=0))
            await anyio.wait_all_tasks_blocked()

        await some(3)
        tracemalloc.start()
        try:
            before = own_bytes()
            await some(SESSIONS)
            return (own_bytes() - before) / SESSIONS
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_an_idle_session_is_small(loop: str, record_property: Callable[[str, object], None]) -> None:
    with listening() as (address, accept):
        connections: list[socket.socket] = []

        def serve() -> None:
            for _ in range(3 + SESSIONS):
                connections.append(accept())
                upgrade(connections[-1])

        serving = Task(serve)
        if loop == "trio":
            size = trio.run(open_many, httpx2_trio_ws.open_websocket, f"ws://{address}/")
        else:
            size = asyncio.run(open_many(httpx2_trio_ws.anyio.open_websocket, f"ws://{address}/"))
        serving.result()
    record_property("bytes of an idle session", size)
    assert size < ALLOWED


async def hold_one(open_websocket: Callable[..., Any], url: str) -> None:
    """The answer as httpx2 has it: gone once the session is open."""
    answers: list[weakref.ref[httpx2.Response]] = []

    async def note(response: httpx2.Response) -> None:
        answers.append(weakref.ref(response))

    hooks: dict[str, list[Callable[..., Any]]] = {"response": [note]}
    async with (
        httpx2.AsyncClient(trust_env=False, verify=False, event_hooks=hooks) as client,
        open_websocket(client, url, close_timeout_seconds=0) as ws,
    ):
        gc.collect()
        assert [answer() for answer in answers] == [None]
        assert ws.response.status_code == 101
        assert ws.response.extensions["network_stream"]


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_the_answer_is_held_as_it_is_told_only(loop: str) -> None:
    with listening() as (address, accept):
        serving = Task(lambda: upgrade(accept()))
        if loop == "trio":
            trio.run(hold_one, httpx2_trio_ws.open_websocket, f"ws://{address}/")
        else:
            asyncio.run(hold_one(httpx2_trio_ws.anyio.open_websocket, f"ws://{address}/"))
        serving.result()


async def use_one(open_websocket: Callable[..., Any], url: str) -> None:
    """It is gone once its block is left, and does not wait for the garbage collector."""
    async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
        async with open_websocket(client, url) as ws:
            assert await ws.receive() == "a"
            parts: list[weakref.ref[Any]] = [weakref.ref(ws), weakref.ref(ws._engine), weakref.ref(ws._engine.carrier)]
        del ws
        assert [part() for part in parts] == [None, None, None]


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_a_session_that_has_ended_is_in_no_cycle(loop: str) -> None:
    def serve() -> None:
        peer = upgrade(accept())
        peer.send(text("a"))
        peer.answer_close()

    with listening() as (address, accept):
        serving = Task(serve)
        gc.disable()
        try:
            if loop == "trio":
                trio.run(use_one, httpx2_trio_ws.open_websocket, f"ws://{address}/")
            else:
                asyncio.run(use_one(httpx2_trio_ws.anyio.open_websocket, f"ws://{address}/"))
        finally:
            gc.enable()
        serving.result()


async def test_what_is_needed_now_and_then_is_made_then_and_let_go_of(autojump_clock: object) -> None:
    async def answer_pings() -> None:
        while (frame_ := await peer.receive()).opcode == PING:
            await peer.send(frame(PONG, frame_.payload))
        await peer.send(close_frame(1000))

    async with (
        trio.open_nursery() as nursery,
        memory_session(keepalive_ping_interval_seconds=20, close_timeout_seconds=1) as (ws, peer),
    ):
        inbox, connection = ws._engine.inbox, ws._engine.connection

        def is_at_rest() -> bool:
            queues = (inbox.messages, inbox.waiters, inbox._streams, ws._engine.outbox._turns)
            nothing = (_inbox._NONE, _inbox._NOBODY, _inbox._NO_STREAMS, _outbox._NO_TURNS)
            return all(map(operator.is_, queues, nothing)) and not vars(connection._protocol)

        assert is_at_rest()
        await peer.send(text("a"), frame(PING))
        assert await ws.receive() == "a"
        assert (await peer.receive()).opcode == PONG
        assert not is_at_rest()
        nursery.start_soon(answer_pings)
        await trio.sleep(50)
        assert ws.statistics().pongs_received
        assert is_at_rest()
