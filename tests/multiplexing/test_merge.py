"""Many sources as one stream: fair, bounded, and each failure told once; on trio and on asyncio."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from httpx2_trio_ws import (
    SourceEnded,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketNetworkError,
    WebSocketUpgradeError,
)
from tests.asgi.support import both_loops

from .support import Wire, by_id, drop, face, leaves, listen, says, serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def numbers(count: int, *, every: float = 0, error: Exception | None = None) -> AsyncGenerator[int]:
    for number in range(count):
        await anyio.sleep(every)
        yield number
    if error is not None:
        raise error


async def collect(merged: Any) -> list[Any]:
    return [item async for item in merged]


@both_loops
async def test_every_kind_of_source() -> None:
    async with serve(says({"n": 1}, code=1000)) as server, server.session() as ws:
        sources = {
            "session": ws,
            "opened": server.session(),
            "reconnect": server.source(),
            "iterable": numbers(2),
            "list of blocks": [server.session(), server.session()],
        }
        async with face().merge(sources) as merged:
            assert len(merged) == 5
            assert "session" in merged
            assert "other" not in merged
            assert repr(merged) == "<Merged of 5 sources>"
            got = await collect(merged)
            assert len(merged) == 0
    text = '{"n": 1}'
    assert sorted(got, key=str) == sorted(
        [
            *[("session", text), ("opened", text), ("reconnect", text), ("iterable", 0), ("iterable", 1)],
            *[("list of blocks", text)] * 2,
        ],
        key=str,
    )


@both_loops
async def test_a_subscription_as_source_tells_its_gaps() -> None:
    async def handler(wire: Wire) -> None:
        await wire.get()
        await wire.say({"id": "a", "n": 1}, {"id": "a", "n": 2}, {"id": "b", "n": 3})
        await wire.peer.drop()

    async with (
        serve(handler, says({"id": "a", "n": 4})) as server,
        face().multiplex(server.source(), key=by_id) as mux,
        mux.subscribe("a") as feed,
        face().merge({"a": feed, "mux": mux}) as merged,
    ):
        await mux.send({})
        got = []
        for _ in range(3):
            name, message = await merged.receive()
            got.append((name, message["n"], merged.gap))
    assert got == [("a", 1, True), ("a", 2, False), ("a", 4, True)]


@both_loops
async def test_a_new_session_of_a_source_is_a_gap() -> None:
    async def twice(wire: Wire) -> None:
        await wire.say(1, 2)
        await (wire.peer.close() if wire.number else wire.peer.drop())

    async with serve(twice) as server, face().merge({"a": server.source()}) as merged:
        got = []
        async for _, message in merged:
            got.append((message, merged.gap))
    assert got == [("1", True), ("2", False), ("1", True), ("2", False)]


@both_loops
async def test_a_flood_beside_slow_feeds_holds_none_up() -> None:
    async def slow(name: str) -> AsyncGenerator[str]:
        while True:
            for _ in range(50):  # no time passes where a flood never rests
                await anyio.lowlevel.checkpoint()
            yield name

    sources: dict[str, Any] = {name: slow(name) for name in "abcde"}
    async with face().merge({**sources, "flood": numbers(10**9)}, capacity=16) as merged:
        waited: list[int] = []
        between = 0
        pending: dict[str, int] = {}
        async for name, _ in merged:
            between += 1
            for other in sources:
                entry = merged._sources[other]
                if entry.items and other not in pending:
                    pending[other] = between
            if name != "flood":
                waited.append(between - pending.pop(name, between))
                if len(waited) == 50:
                    break
        assert max(waited) <= len(sources) + 1


@both_loops
async def test_it_is_bounded() -> None:
    taken = 0

    async def endless() -> AsyncGenerator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    async with face().merge({"a": endless()}, capacity=4) as merged:
        await anyio.sleep(10)
        assert taken == 5  # one more waits for room
        assert await merged.receive() == ("a", 1)


@both_loops
async def test_failures_are_raised_each_in_its_turn_and_the_others_go_on() -> None:
    sources = {
        "a": numbers(2, error=KeyError("a")),
        "b": numbers(2, error=KeyError("b")),
        "c": numbers(5, every=1),
    }
    got: list[Any] = []
    errors: list[KeyError] = []
    async with face().merge(sources) as merged:
        while True:
            try:
                got.append(await merged.receive())
            except KeyError as exc:
                errors.append(exc)
                assert exc.args[0] not in merged
            except anyio.EndOfStream:
                break
        with pytest.raises((anyio.EndOfStream,)):
            await merged.receive()
    assert sorted(got) == [("a", 0), ("a", 1), ("b", 0), ("b", 1), *(("c", number) for number in range(5))]
    assert sorted((exc.args[0], exc.__notes__) for exc in errors) == [
        ("a", ["from the source 'a'"]),
        ("b", ["from the source 'b'"]),
    ]


@both_loops
async def test_a_sessions_failures_are_the_sources() -> None:
    async with serve(drop) as server, server.session() as ws, face().merge({"a": ws}) as merged:
        with pytest.raises(WebSocketNetworkError):
            await merged.receive()
    async with serve(says(1, code=4000)) as server:
        for source in (server.session(), server.source()):
            async with face().merge({"a": source}) as merged:
                assert await anext(merged) == ("a", "1")
                with pytest.raises(
                    WebSocketDisconnect
                ) as caught:  # which is an EndOfChannel, and no end of the iteration
                    await anext(merged)
                assert caught.value.code == 4000
    async with serve(403) as server, face().merge({"a": server.session()}) as merged:
        with pytest.raises(WebSocketUpgradeError):
            await merged.receive()


@both_loops
async def test_failures_that_are_not_caught_end_all() -> None:
    async with serve(listen) as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with face().merge({"a": numbers(1, error=KeyError("a")), "b": server.session()}) as merged:
                await collect(merged)
        assert [type(leaf) for leaf in leaves(caught.value)] == [KeyError]
        await anyio.sleep(1)
        assert server.closed_with in ([], [1001])  # it may not have been opened yet


@both_loops
async def test_untold_failures_leave_the_block() -> None:
    sources = {"a": numbers(1, error=KeyError("a")), "b": numbers(0, error=KeyError("b")), "c": numbers(1)}
    with pytest.raises(ExceptionGroup) as caught:
        async with face().merge(sources):
            await anyio.sleep(1)
            raise ValueError("own")
    assert sorted(repr(leaf) for leaf in leaves(caught.value)) == [
        "KeyError('a')",
        "KeyError('b')",
        "ValueError('own')",
    ]
    with pytest.raises(ExceptionGroup) as caught:
        async with face().merge({"a": numbers(1, error=KeyError("a"))}) as merged:
            await merged.receive()
            await anyio.sleep(1)
    assert [repr(leaf) for leaf in leaves(caught.value)] == ["KeyError('a')"]


@both_loops
async def test_ends_may_be_told_in_place() -> None:
    error = KeyError("a")
    async with face().merge({"a": numbers(1, error=error), "b": numbers(1)}, failures="tell") as merged:
        got = await collect(merged)
    assert sorted(got, key=str) == sorted(
        [("a", 0), ("a", SourceEnded(error)), ("b", 0), ("b", SourceEnded(None))], key=str
    )
    async with face().merge({"a": numbers(1, error=error)}, failures="tell"):
        await anyio.sleep(1)  # not received, and no error all the same


@both_loops
async def test_sources_come_and_go() -> None:
    async with serve(says(1, 2, 3)) as server, face().merge(stay_open=True) as merged:
        merged.add("a", server.session())
        with pytest.raises(ValueError, match="there is a source 'a' already"):
            merged.add("a", numbers(1))
        await anyio.sleep(1)
        assert await merged.receive() == ("a", "1")
        merged.remove("a")
        assert "a" not in merged
        with pytest.raises(KeyError):
            merged.remove("a")
        merged.add("a", numbers(2))  # none of the old come
        assert [(await merged.receive(), merged.gap) for _ in range(2)] == [(("a", 0), True), (("a", 1), False)]
        await anyio.sleep(1)
        assert server.closed_with == [1001]
        assert "a" in merged  # that it has ended is not received yet
        with anyio.move_on_after(5) as scope:
            await merged.receive()
        assert scope.cancelled_caught
        assert "a" not in merged
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(merged.receive)
            await anyio.sleep(1)
            merged.add("b", numbers(1))


@pytest.mark.parametrize("state", ["opening", "backoff", "waiting for room"])
@both_loops
async def test_removing_is_prompt(state: str) -> None:
    async def stall(wire: Wire) -> None:
        await anyio.sleep_forever()

    async def never(ws: Any) -> None:
        await anyio.sleep_forever()

    handler: Any = {"opening": stall, "backoff": 503, "waiting for room": says(*range(100))}[state]
    source = {"on_connect": never} if state == "opening" else {}
    async with serve(handler) as server, face().merge(capacity=1, stay_open=True) as merged:
        merged.add("a", server.source(**source))
        await anyio.sleep(0.5)
        began = anyio.current_time()
        merged.remove("a")
        await anyio.lowlevel.checkpoint()
        merged.add("a", numbers(1))
        assert await merged.receive() == ("a", 0)
        assert anyio.current_time() == began


@both_loops
async def test_a_source_that_fails_while_it_is_removed_is_not_told() -> None:
    class Angry:
        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> Any:
            try:
                await anyio.sleep_forever()
            finally:
                raise KeyError

    async with face().merge({"a": Angry()}, stay_open=True) as merged:
        await anyio.sleep(1)
        merged.remove("a")
        await anyio.sleep(1)
        merged.add("a", numbers(1))
        assert await merged.receive() == ("a", 0)


@both_loops
async def test_receive_cancelled_at_random_loses_nothing() -> None:
    rng = random.Random(1)
    sources = {name: numbers(300, every=0.01) for name in "abc"}
    got: dict[str, list[int]] = {name: [] for name in sources}
    async with face().merge(sources) as merged:
        over = False
        while not over:
            with anyio.move_on_after(rng.uniform(0, 0.02)):
                try:
                    while True:
                        name, number = await merged.receive()
                        got[name].append(number)
                except anyio.EndOfStream:
                    over = True
    assert got == {name: list(range(300)) for name in sources}


@both_loops
async def test_a_thousand_sources() -> None:
    async with face().merge({name: numbers(5) for name in range(1000)}) as merged:
        got = await collect(merged)
    assert sorted(got) == [(name, number) for name in range(1000) for number in range(5)]


@both_loops
async def test_after_the_block() -> None:
    block = face().merge({"a": numbers(10**9)})
    async with block as merged:
        assert await merged.receive() == ("a", 0)
        with pytest.raises(RuntimeError, match=r"each is entered once; call merge\(\) again"):
            await block.__aenter__()
    for call in (merged.receive, merged.__anext__):
        with pytest.raises(WebSocketClosedError):
            await call()
    with pytest.raises(WebSocketClosedError):
        merged.add("b", numbers(1))
    async with face().merge({"a": numbers(1)}) as merged:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(merged.aclose)
        with pytest.raises((anyio.ClosedResourceError,)):
            await merged.receive()


@both_loops
async def test_wrong_arguments() -> None:
    for options, error, match in (
        ({"capacity": 0}, ValueError, "capacity must be at least 1"),
        ({"failures": "ignore"}, ValueError, 'failures is "raise" or "tell"'),
        ({"sources": ["a"]}, TypeError, "the sources must be a mapping"),
        ({"sources": {"a": "wss://x"}}, TypeError, "a source is an open session"),
        ({"sources": {"a": None}}, TypeError, "a source is an open session"),
    ):
        with pytest.raises(error, match=match):
            face().merge(**options)
    async with face().merge(stay_open=True) as merged:
        with pytest.raises(TypeError, match="a source is an open session"):
            merged.add("a", 5)


@both_loops
async def test_receiving_yields_now_and_then() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with face().merge({name: numbers(16) for name in range(20)}) as merged:
        await anyio.sleep(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count_turns)
            for _ in range(320):
                await merged.receive()
            tasks.cancel_scope.cancel()
        assert turns >= 8
        with anyio.CancelScope() as scope, contextlib.suppress(anyio.EndOfStream):
            scope.cancel()
            await merged.receive()
        assert scope.cancelled_caught
