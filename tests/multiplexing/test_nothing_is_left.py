"""Many rounds, many real sessions, long floods; both kinds of cancellation, and Ctrl-C: nothing is left, nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
import trio

import httpx2_trio_ws
import httpx2_trio_ws.anyio
from httpx2_trio_ws import WebSocketDisconnect
from httpx2_trio_ws._cli.demonstration import own_server
from httpx2_trio_ws._multiplexing._merge import MergedCore
from httpx2_trio_ws._multiplexing._merge import _Source as MergingSource
from httpx2_trio_ws._reconnecting._loop import Reconnect
from httpx2_trio_ws._session._session import Session
from tests.asgi.support import both_loops

from .support import Wire, by_id, drop, echo, face, leaves, listen, says, serve

if TYPE_CHECKING:
    from collections.abc import Generator

ROUNDS = int(os.environ.get("MULTIPLEX_ROUNDS", "1000"))


@contextlib.contextmanager
def no_collector() -> Generator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@both_loops
async def test_nothing_refers_to_what_has_been_left() -> None:
    async def confirmed(wire: Wire) -> None:
        while True:
            await wire.say({"id": (await wire.get()).get("id")})

    refs: list[weakref.ref[Any]] = []

    async def use() -> None:
        async with face().multiplex(server.source(), key=by_id) as mux:
            await mux.request(1, {"id": 1})
            async with mux.subscribe(2, subscribe={"id": 2}, confirm=lambda _: None, unsubscribe={"bye": 2}) as feed:
                refs.extend(map(weakref.ref, (mux, feed, mux.session)))
                with anyio.move_on_after(0.01):
                    await feed.receive()

    async with serve(confirmed) as server:
        with no_collector():
            await use()
            await anyio.sleep(1)
            assert [ref() for ref in refs] == [None] * len(refs)


@pytest.mark.parametrize("how", ["error", "cancellation"])
@pytest.mark.parametrize("kind", ["source", "session"])
@both_loops
async def test_nothing_refers_to_what_has_been_left_by_an_error(kind: str, how: str) -> None:
    refs: list[weakref.ref[Any]] = []

    async def use() -> None:
        source = server.source() if kind == "source" else server.session()
        async with face().multiplex(source, key=by_id) as mux, mux.subscribe(2, subscribe={"s": 2}) as feed:
            await mux.request(1, {"id": 1})
            refs.extend(map(weakref.ref, (source, mux, feed, mux.session)))
            del source
            if how == "error":
                raise LookupError
            scope.cancel()
            await feed.receive()

    async with serve(echo) as server:
        with no_collector():
            with anyio.CancelScope() as scope:
                try:
                    await use()
                except ExceptionGroup as group:
                    assert [type(leaf) for leaf in leaves(group)] == [LookupError]
            assert scope.cancelled_caught == (how == "cancellation")
            await anyio.sleep(1)
            assert [ref() for ref in refs] == [None] * len(refs)


async def leave_merged(server: Any, how: str) -> None:
    sources = {"a": server.source(), "b": server.session(), "c": server.session()}
    tell = {"failures": "tell"} if how == "told in place" else {}
    with anyio.CancelScope() as scope:
        async with face().merge(sources, **tell) as merged:
            for _ in sources:
                await merged.receive()
            if how == "error":
                raise LookupError
            if how == "cancellation":
                scope.cancel()
            if how == "untold failures":
                await anyio.sleep(1)
                return
            if how != "normal":
                for _ in sources:
                    with contextlib.suppress(*([WebSocketDisconnect] if how == "caught failures" else [])):
                        await merged.receive()


@pytest.mark.parametrize(
    "how",
    ["normal", "error", "cancellation", "failures", "caught failures", "untold failures", "told in place"],
)
@both_loops
async def test_nothing_refers_to_what_merge_has_left(how: str) -> None:
    def alive() -> list[Any]:
        kinds = (Session, Reconnect, MergedCore, MergingSource, ExceptionGroup, LookupError)
        return [each for each in gc.get_objects() if isinstance(each, kinds)]

    fails = "failures" in how or how == "told in place"
    async with serve(says({"n": 1}, code=4001 if fails else None)) as server:
        with no_collector():
            before = alive()
            try:
                await leave_merged(server, how)
            except ExceptionGroup as group:
                found = {type(leaf) for leaf in leaves(group)}
                assert found == {LookupError if how == "error" else WebSocketDisconnect}
            else:
                assert how in ("normal", "cancellation", "caught failures", "told in place")
            await anyio.sleep(1)
            assert len(alive()) == len(before)


def test_task_cancel_on_asyncio_while_an_error_leaves_the_block() -> None:
    """The block waits for what receives, which is slow to end here; a cancellation meanwhile is not lost."""

    async def main() -> None:
        leaving, go = asyncio.Event(), asyncio.Event()

        async def receive(ws: Any) -> Any:
            try:
                return await ws.receive_json()
            finally:
                leaving.set()
                with anyio.CancelScope(shield=True):
                    await go.wait()

        async def use() -> None:
            async with httpx2_trio_ws.anyio.multiplex(server.session(), receive=receive):
                await asyncio.sleep(0.01)
                raise LookupError

        async with serve(listen) as server:
            task = asyncio.create_task(use())
            await leaving.wait()
            task.cancel()
            await asyncio.sleep(0.01)
            assert not task.done()
            go.set()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert isinstance(caught.value.__context__, LookupError)

    asyncio.run(main())


@both_loops
async def test_many_rounds_leave_nothing() -> None:
    async with serve(echo) as server, face().multiplex(server.source(), key=by_id) as mux:
        await mux.request(0, {"id": 0})
        gc.collect()
        before = len(gc.get_objects())
        for number in range(ROUNDS):
            with anyio.move_on_after(0 if number % 3 else None):
                await mux.request(number, {"id": number})
            with anyio.move_on_after(0 if number % 2 else None):
                async with mux.subscribe(f"s{number}", subscribe={"s": 1}, unsubscribe={"u": 1}):
                    pass
        await anyio.sleep(1)
        for wire in server.wires:
            wire.heard.clear()
        gc.collect()
        assert len(gc.get_objects()) < before + 500
        assert not mux._answers
        assert not mux._subscriptions
        assert not mux._todo


async def test_hundreds_of_real_sessions_merged() -> None:
    count = 200
    limits = httpx2.Limits(max_connections=None)
    with own_server() as base:
        async with httpx2.AsyncClient(limits=limits, trust_env=False, timeout=60) as client:
            sources = {name: httpx2_trio_ws.open_websocket(client, f"{base}/count/10") for name in range(count)}
            async with httpx2_trio_ws.merge(sources) as merged:
                got: dict[int, list[str | bytes]] = {name: [] for name in range(count)}
                async for name, message in merged:
                    got[name].append(message)
    assert all(len(messages) == 10 for messages in got.values())
    assert len(set(map(tuple, got.values()))) == 1


@both_loops
async def test_wait_under_a_long_flood_is_bounded() -> None:
    """The peer floods for long; what waits is bounded by the subscription and its session, and nothing is lost."""
    count = 20_000

    async def flood(wire: Wire) -> None:
        await wire.get()
        for number in range(count):
            await wire.say({"id": "a", "n": number})

    async with serve(flood) as server:
        source = server.source(queue_size=8)
        async with (
            face().multiplex(source, key=by_id) as mux,
            mux.subscribe("a", subscribe={}, when_full="wait", capacity=8) as feed,
        ):
            expected = 0
            async for message in feed:
                assert message["n"] == expected
                expected += 1
                if expected % 1000 == 0:
                    await anyio.sleep(1)
                    assert len(feed._queue._items) <= 8
                    assert mux.session is None or mux.session.statistics().queued_messages <= 8
        assert expected == count


@pytest.mark.parametrize("where", ["multiplex", "request", "subscribe", "receive", "merge", "backoff", "opening"])
def test_task_cancel_on_asyncio(where: str) -> None:
    async def part(server: Any, inside: asyncio.Event) -> None:
        async def never(_ws: Any) -> None:
            inside.set()
            await asyncio.sleep(3600)

        face = httpx2_trio_ws.anyio
        if where == "merge":
            async with face.merge({"a": server.session(), "b": server.source()}) as merged:
                inside.set()
                await merged.receive()
        options = {"on_connect": never} if where == "opening" else {}
        async with face.multiplex(server.source(**options), key=by_id) as mux:
            inside.set()
            if where == "request":
                await mux.request(1, {"id": 1})
            elif where == "subscribe":
                async with mux.subscribe(1, subscribe={}, confirm=lambda _: None):
                    pass
            elif where in ("receive", "backoff"):
                await mux.wait_connected()
                await mux.receive()
            else:
                await asyncio.sleep(3600)

    async def main() -> None:
        async with serve(drop if where == "backoff" else listen) as server:
            inside = asyncio.Event()
            before = asyncio.all_tasks()
            task = asyncio.create_task(part(server, inside))
            await inside.wait()
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.05)
            handlers = {task for task in asyncio.all_tasks() - before if "memory_server" not in repr(task)}
            assert not {task for task in handlers if "_multiplexing" in repr(task.get_coro())}

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="signals are raised here")
@pytest.mark.parametrize("what", ["multiplex", "merge"])
def test_ctrl_c(what: str) -> None:
    async def main() -> None:
        async with serve(listen) as server:
            if what == "merge":
                async with httpx2_trio_ws.merge({"a": server.session()}) as merged:
                    signal.raise_signal(signal.SIGINT)
                    await merged.receive()
            async with httpx2_trio_ws.multiplex(server.source(), key=by_id) as mux:
                signal.raise_signal(signal.SIGINT)
                await mux.request(1, {"id": 1})

    with pytest.raises(BaseException) as caught:
        trio.run(main)
    assert [type(leaf) for leaf in leaves(caught.value)] == [KeyboardInterrupt]
