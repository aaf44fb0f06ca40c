"""Subscribers that are slow, and those that share: what is dropped and told, what waits, and whose turn it is."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from httpx2_trio_ws import (
    SubscriptionOverflow,
)
from tests.asgi.support import both_loops

from .support import Wire, by_id, echo, face, says, serve


@both_loops
async def test_overflow_is_told_in_its_place() -> None:
    more = anyio.Event()

    async def floods(wire: Wire) -> None:
        await wire.get()
        await wire.say(*[{"id": "a", "n": number} for number in range(10)])
        await more.wait()
        await wire.say(*[{"id": "a", "n": number} for number in range(10, 12)])
        await wire.listen()

    async with serve(floods) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with mux.subscribe("a", subscribe={}, capacity=3) as feed:
            await anyio.sleep(1)
            assert feed.dropped == 7
            got: list[Any] = []
            for _ in range(4):
                try:
                    got.append(((await feed.receive())["n"], feed.gap))
                except SubscriptionOverflow as exc:
                    assert exc.dropped == 7
                    assert str(exc).startswith("7 messages were dropped")
            more.set()
            got += [((await feed.receive())["n"], feed.gap) for _ in range(2)]
        assert got == [(0, True), (1, False), (2, False), (10, True), (11, False)]


@both_loops
async def test_what_came_after_an_overflow_is_dropped_until_it_is_told() -> None:
    async def floods(wire: Wire) -> None:
        while True:
            message = await wire.get()
            await wire.say(*[{"id": "a", "n": number} for number in message])

    async with (
        serve(floods) as server,
        face().multiplex(server.source(), key=by_id) as mux,
        mux.subscribe("a", capacity=2) as feed,
    ):
        await mux.send([1, 2, 3])
        await anyio.sleep(1)
        assert (await feed.receive())["n"] == 1
        await mux.send([4])  # there is room, but it would come before the telling
        await anyio.sleep(1)
        assert (await feed.receive())["n"] == 2
        with pytest.raises(SubscriptionOverflow) as caught:
            await feed.receive()
        assert caught.value.dropped == 2
        await mux.send([5])
        assert ((await feed.receive())["n"], feed.gap) == (5, True)


@both_loops
async def test_the_oldest_may_be_dropped() -> None:
    messages = [{"id": "a", "n": number} for number in range(10)]
    async with serve(says(*messages)) as server, face().multiplex(server.source(), key=by_id) as mux:
        for capacity in (3, 1):
            server.handlers = [says(*messages)]
            async with mux.subscribe("a", capacity=capacity, when_full="drop_oldest", subscribe={}) as feed:
                if capacity == 1:
                    await server.wires[0].say(*messages)
                await anyio.sleep(1)
                got = [((await feed.receive())["n"], feed.gap) for _ in range(capacity)]
                assert got == [(n, n == 10 - capacity) for n in range(10 - capacity, 10)]
                assert feed.dropped == 10 - capacity


@both_loops
async def test_wait_drops_nothing_and_holds_everything_back(caplog: pytest.LogCaptureFixture) -> None:
    async def floods(wire: Wire) -> None:
        await wire.say(*[{"id": "a", "n": number} for number in range(100)])
        await echo(wire)

    async with serve(floods) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with mux.subscribe("a", capacity=3, when_full="wait") as feed:
            with anyio.move_on_after(60) as scope:
                await mux.request(1, {"id": 1})
            assert scope.cancelled_caught
            warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
            assert [record.getMessage() for record in warnings] == [
                "the subscription 'a' has been full for 10 s, and holds back everything behind it: it is not being read"
            ]
            assert [(await feed.receive())["n"] for _ in range(100)] == list(range(100))
            assert feed.dropped == 0
        assert (await mux.request(2, {"id": 2}))["id"] == 2


@both_loops
async def test_wait_deadlocks_where_fail_does_not() -> None:
    async def floods(wire: Wire) -> None:
        await wire.say(*[{"id": "a", "n": number} for number in range(100)])
        await echo(wire)

    for when_full in ("wait", "fail"):
        async with (
            serve(floods) as server,
            face().multiplex(server.source(), key=by_id) as mux,
            mux.subscribe("a", capacity=3, when_full=when_full) as feed,
        ):
            with anyio.move_on_after(60) as scope:
                async for _ in feed:
                    await mux.request(1, {"id": 1})
                    break
            assert scope.cancelled_caught == (when_full == "wait")


@both_loops
async def test_leaving_lets_the_dispatcher_go_on() -> None:
    async def floods(wire: Wire) -> None:
        await wire.get()
        await wire.say(*[{"id": "a", "n": number} for number in range(100)])
        await echo(wire)

    async with serve(floods) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with mux.subscribe("a", subscribe={}, unsubscribe={"bye": 1}, capacity=3, when_full="wait"):
            await anyio.sleep(1)
        assert (await mux.request(1, {"id": 1}))["id"] == 1
        assert {"bye": 1} in server.wires[0].heard


@both_loops
async def test_what_belongs_to_nobody_is_kept_until_it_is_asked_for() -> None:
    numbers = [{"n": number} for number in range(10)]
    for when_full in ("fail", "wait", "drop_oldest"):
        async with (
            serve(says(*numbers)) as server,
            face().multiplex(server.source(), key=by_id, capacity=3, when_full=when_full) as mux,
        ):
            await anyio.sleep(1)
            got = [((await mux.receive())["n"], mux.gap) for _ in range(3)]
            assert got == [(7, True), (8, False), (9, False)]
            await server.wires[0].say(*numbers)
            await anyio.sleep(1)
            assert (await mux.receive())["n"] == (7 if when_full == "drop_oldest" else 0)


@both_loops
async def test_several_readers_of_one_subscription() -> None:
    count = 2000

    async def floods(wire: Wire) -> None:
        await wire.get()
        await wire.say(*[{"id": "a", "n": number} for number in range(count)])
        await wire.listen()

    got: list[int] = []

    async def read(seconds: float) -> None:
        while len(got) < count:
            with anyio.move_on_after(seconds):
                while True:
                    got.append((await feed.receive())["n"])
                    if len(got) % 7 == 0:
                        await anyio.sleep(0.001)
            await anyio.lowlevel.checkpoint()

    async with (
        serve(floods) as server,
        face().multiplex(server.source(), key=by_id) as mux,
        mux.subscribe("a", subscribe={}, when_full="wait", capacity=10) as feed,
    ):
        with anyio.move_on_after(3600) as scope:
            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(read, 0.003 * (number + 1))
        assert not scope.cancelled_caught
        assert sorted(got) == list(range(count))


@both_loops
async def test_receiving_is_a_checkpoint_and_yields_now_and_then() -> None:
    count = 320
    async with (
        serve(says(*[{"n": number} for number in range(count)])) as server,
        face().multiplex(server.source()) as mux,
    ):
        await anyio.sleep(1)
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count_turns)
            for _ in range(count):
                await mux.receive()
            assert turns >= count // 32 - 2
            tasks.cancel_scope.cancel()
        await server.wires[0].say({"n": 1})
        await anyio.sleep(1)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await mux.receive()
        assert scope.cancelled_caught
        assert await mux.receive() == {"n": 1}


@both_loops
async def test_thousands_of_subscriptions_answered_by_a_server_that_does_not_buffer() -> None:
    async def answers(wire: Wire) -> None:
        while True:
            request = await wire.get()
            await wire.say({"id": request["id"], "filler": "x" * 1000})

    number_of = 1000

    async def follow(number: int) -> None:
        async with mux.subscribe(number, subscribe={"id": number}, confirm=lambda _: None):
            entered.append(number)
            await anyio.sleep(100)

    entered: list[int] = []
    async with (
        serve(answers) as server,
        face().multiplex(server.source(), key=by_id) as mux,
        anyio.create_task_group() as tasks,
    ):
        for number in range(number_of):
            tasks.start_soon(follow, number)
        await anyio.sleep(50)
        assert len(entered) == number_of
        await server.wires[0].peer.drop()
        await anyio.sleep(40)
        assert len(server.wires[1].heard) == number_of
