"""Nothing is left behind: memory, cycles, tasks, descriptors and slots of the pool, over many sessions.

``GROWTH_ROUNDS`` is the number of sessions in memory, 300 if it is not set; there are a tenth as many over TCP:

    GROWTH_ROUNDS=10000 python -m pytest tests/test_growth.py -o faulthandler_timeout=900

How many bytes memory has grown by is a property of the tests, in what ``--junitxml=FILE`` writes. To have another
runtime measured, add it to :data:`RUNTIMES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import tracemalloc
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import anyio.abc
import httpx2
import pytest
import trio
import trio.testing

import httpx2_trio_ws
import httpx2_trio_ws.anyio
from httpx2_trio_ws import WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError

from .memory import PING, PONG, Peer, close_frame, frame, memory_client, text
from .servers import scripted_server, upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

ROUNDS = int(os.environ.get("GROWTH_ROUNDS", "300"))
# Bytes of growth that are allowed: tables of the interpreter and of the loop move by up to 4 KB, whatever the number of
# rounds. What keeps 28 bytes a session exceeds this within 300 rounds, and what keeps a byte does within 10,000.
NOISE = 8192
DESCRIPTORS = Path("/proc/self/fd")
# How a session ends, and what its block raises, inside the ExceptionGroup.
ENDINGS: dict[str, type[BaseException] | None] = {
    "left": None,
    "cancelled": None,
    "closed by the peer": None,
    "closed, and raised": WebSocketDisconnect,
    "lost": WebSocketNetworkError,
    "broken": WebSocketProtocolError,
    "error": ZeroDivisionError,
}
# What the server says at the end.
LAST = {
    "closed by the peer": close_frame(1000),
    "closed, and raised": close_frame(1000),
    "broken": bytes((0x83, 0)),  # a reserved opcode
}


# -- rounds: one session from its opening to its end -------------------------------------------------------


async def play(peer: Peer) -> None:
    """The server: greet, and play the ending that the client's ping asks for."""
    await peer.send(text("hello"))
    while (request := await peer.receive()).opcode != PING:
        pass
    ending = request.payload.decode()
    await peer.send(frame(PONG, request.payload), LAST.get(ending, b""))
    if ending != "lost":
        with contextlib.suppress(EOFError, trio.BrokenResourceError):  # a client that is cancelled does not wait
            await peer.answer_close()
    await peer.aclose()


async def talk(ws: Any, ending: str) -> None:
    """The block of a session."""
    await ws.send("x" * 1000)
    assert await ws.receive() == "hello"
    await (await ws.ping(ending.encode()))
    if ending == "error":
        raise ZeroDivisionError
    if ending == "closed by the peer":
        async for _ in ws:
            raise AssertionError
    elif ending not in ("left", "cancelled"):
        await ws.receive()


async def one_session(
    open_websocket: Callable[..., Any],
    cancel_scope: Callable[[], Any],
    client: httpx2.AsyncClient,
    url: str,
    ending: str,
) -> list[weakref.ref[Any]]:
    """A round. Returns references to what must not outlive it."""
    alive: list[weakref.ref[Any]] = []
    error = ENDINGS[ending]
    with contextlib.nullcontext() if error is None else pytest.RaisesGroup(error), cancel_scope() as scope:
        async with open_websocket(client, url) as ws:
            alive.extend(map(weakref.ref, (ws, ws._engine)))
            await talk(ws, ending)
            if ending == "cancelled":
                scope.cancel()
                await ws.receive()
    return alive


trio_session = partial(one_session, httpx2_trio_ws.open_websocket, trio.CancelScope)
anyio_session = partial(one_session, httpx2_trio_ws.anyio.open_websocket, anyio.CancelScope)


# -- runtimes ----------------------------------------------------------------------------------------------


class Rounds(NamedTuple):
    """A client that is open, and what there is to see of it."""

    client: Any
    #: Plays a session with one of :data:`ENDINGS`; returns references to what must not outlive it.
    one: Callable[[str], Awaitable[list[weakref.ref[Any]]]]
    #: Waits until the server, which is in this process too, has done its part; then counts the tasks.
    tasks: Callable[[], Awaitable[int]]


class Runtime(NamedTuple):
    """Where rounds run.

    Attributes:
        run: runs a coroutine function, as :func:`trio.run` does.
        open: gives :class:`Rounds`.
        part: one round where others have so many.
        prompt: of what a round's references are to, so many are freed without the garbage collector. On asyncio not
            the engine: anyio refers to a cancelled task's exception in a cycle, and that to the engine's loops.
    """

    run: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
    open: Callable[[], AbstractAsyncContextManager[Rounds]]
    part: int = 1
    prompt: int = 2


async def trio_tasks() -> int:
    await trio.testing.wait_all_tasks_blocked(0.001)
    return trio.lowlevel.current_statistics().tasks_living


@contextlib.asynccontextmanager
async def trio_in_memory() -> AsyncGenerator[Rounds]:
    async def serve() -> None:
        async for peer in peers:
            nursery.start_soon(play, peer)

    async with memory_client(extensions="permessage-deflate") as (client, peers), trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield Rounds(client, partial(trio_session, client, "ws://memory/"), trio_tasks)
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def trio_over_tcp() -> AsyncGenerator[Rounds]:
    async with scripted_server(play) as url, httpx2.AsyncClient(verify=False, trust_env=False) as client:
        yield Rounds(client, partial(trio_session, client, url), trio_tasks)
        assert_pool_empty(client)


class _TrioStream:
    """A stream of anyio's in trio's words, for :class:`Peer`."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self.aclose = stream.aclose

    async def receive_some(self) -> bytes:
        try:
            return await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return b""

    async def send_all(self, data: bytes) -> None:
        with contextlib.suppress(anyio.BrokenResourceError):
            await self._stream.send(data)


@contextlib.asynccontextmanager
async def asyncio_over_tcp() -> AsyncGenerator[Rounds]:
    playing = 0

    async def serve(stream: anyio.abc.SocketStream) -> None:
        nonlocal playing
        playing += 1
        adapted: Any = _TrioStream(stream)
        await play(await upgrade(adapted))
        playing -= 1

    async def tasks() -> int:
        while playing:  # noqa: ASYNC110 (the number matters, and it is zero soon)
            await anyio.sleep(0.001)
        await anyio.wait_all_tasks_blocked()
        return len(asyncio.all_tasks())

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        httpx2.AsyncClient(verify=False, trust_env=False) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, serve)
        url = f"ws://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        yield Rounds(client, partial(anyio_session, client, url), tasks)
        assert_pool_empty(client)
        group.cancel_scope.cancel()


def assert_pool_empty(client: httpx2.AsyncClient) -> None:
    transport: Any = client._transport
    assert "Connections: 0 active, 0 idle" in repr(transport._pool)


on_asyncio = partial(anyio.run, backend="asyncio", backend_options={"loop_factory": asyncio.SelectorEventLoop})
RUNTIMES = {
    "trio in memory": Runtime(trio.run, trio_in_memory),
    "trio over TCP": Runtime(trio.run, trio_over_tcp, part=10),
    "asyncio over TCP": Runtime(on_asyncio, asyncio_over_tcp, part=10, prompt=1),
}
OVER_TCP = [name for name in RUNTIMES if "TCP" in name]


# -- growth ------------------------------------------------------------------------------------------


def descriptors() -> int:
    return len(list(DESCRIPTORS.iterdir())) if DESCRIPTORS.is_dir() else 0


def clear_caches() -> None:
    """Empty the interpreter's cache of attributes, which holds on to names for some 200 KB."""
    clear: Any = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache  # the former since Python 3.13
    clear()


async def many(rounds: Rounds, count: int) -> tuple[int, int, int]:
    """After so many rounds: bytes, tasks, descriptors."""
    alive = []
    for number in range(count):
        alive = await rounds.one(list(ENDINGS)[number % len(ENDINGS)])
    tasks = await rounds.tasks()
    gc.collect()
    assert not [reference() for reference in alive if reference() is not None]
    assert not gc.garbage
    clear_caches()
    return tracemalloc.get_traced_memory()[0], tasks, descriptors()


async def growth(rounds: Rounds, count: int) -> int:
    """How many bytes memory has grown by in so many rounds; neither tasks nor descriptors are left.

    What a session keeps makes it grow each time. What an interpreter on a busy machine keeps, for example a table that has
    become too small, does not; so if it has grown, it is seen whether it does so again, and again.
    """
    grown: list[int] = []
    before = await many(rounds, len(ENDINGS))
    while len(grown) < 3:
        after = await many(rounds, count)
        assert after[1:] == before[1:]
        grown.append(after[0] - before[0])
        if grown[-1] < NOISE:
            break
        before = after
    return grown[-1]


@pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)
def test_sessions_leave_nothing(runtime: Runtime, record_property: Callable[[str, object], None]) -> None:
    clients: list[weakref.ref[Any]] = []

    async def measure() -> None:
        async with runtime.open() as rounds:
            clients.append(weakref.ref(rounds.client))
            await many(rounds, 10 * len(ENDINGS))
            grown = await growth(rounds, ROUNDS // runtime.part)
        record_property("bytes grown", grown)
        assert grown < NOISE

    tracemalloc.start()
    try:
        runtime.run(measure)
    finally:
        tracemalloc.stop()
    gc.collect()
    assert [client() for client in clients] == [None]


async def test_growth_is_noticed() -> None:
    """The measure itself: 100 bytes for each round are too many."""
    kept = []

    async def one(ending: str) -> list[weakref.ref[Any]]:
        kept.append(bytes(100))
        return []

    async def tasks() -> int:
        return 0

    rounds = Rounds(None, one, tasks)
    tracemalloc.start()
    try:
        grown = await growth(rounds, 300)
    finally:
        tracemalloc.stop()
    assert grown > NOISE


def cases() -> list[Any]:
    return [
        pytest.param(
            RUNTIMES[name],
            ending,
            id=f"{name}, {ending}",
        )
        for name in OVER_TCP
        for ending in ENDINGS
    ]


@pytest.mark.parametrize(("runtime", "ending"), cases())
def test_a_session_is_freed_without_the_garbage_collector(runtime: Runtime, ending: str) -> None:
    left: list[object] = []

    async def watch() -> None:
        async with runtime.open() as rounds:
            await rounds.one(ending)
            await rounds.tasks()
            gc.collect()
            gc.disable()
            alive = await rounds.one(ending)
            await rounds.tasks()
            left.extend(reference() for reference in alive[: runtime.prompt])

    try:
        runtime.run(watch)
    finally:
        gc.enable()
    assert left == [None] * runtime.prompt
