"""Requests through a multiplexer: each is answered, or fails, once; on trio and on asyncio."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.abc
import pytest

import httpx2_trio_ws.anyio
from httpx2_trio_ws import (
    WebSocketException,
    WebSocketNetworkError,
)
from httpx2_trio_ws._multiplexing._jobs import Answer
from tests.asgi.support import both_loops
from tests.virtual_time import VIRTUAL, run_virtual

from .support import Wire, by_id, drop, echo, face, hears_and_drops, listen, says, serve


@both_loops
async def test_many_requests_at_once() -> None:
    async def backwards(wire: Wire) -> None:
        messages = [await wire.get() for _ in range(50)]
        for message in reversed(messages):
            await wire.say({"id": message["id"], "result": message["ask"] * 2})
        await wire.listen()

    results: dict[int, Any] = {}

    async def ask(number: int) -> None:
        results[number] = (await mux.request(number, {"id": number, "ask": number}))["result"]

    async with serve(backwards) as server, face().multiplex(server.session(), key=by_id) as mux:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(ask, number)
        assert results == {number: number * 2 for number in range(50)}
        assert mux.unmatched == 0
        assert mux.sessions == 1
        assert (await mux.wait_connected()) is mux.session
    assert server.closed_with == [1000]
    assert mux.session is None


@both_loops
async def test_an_open_session_is_not_closed() -> None:
    async with serve(echo) as server, server.session() as ws:
        async with face().multiplex(ws, key=by_id) as mux:
            assert mux.session is ws
            assert (await mux.request(1, {"id": 1}))["session"] == 0
        assert not ws.closed
        await ws.send_json({"id": 2})
        assert (await ws.receive_json())["id"] == 2


@both_loops
async def test_a_cancelled_requests_answer_is_dropped() -> None:
    async def late(wire: Wire) -> None:
        first = await wire.get()
        await wire.get()
        await wire.say({"id": first["id"], "late": True}, {"id": 2})
        assert await wire.get() == {"id": 1, "again": True}
        await wire.say({"id": 1, "late": False})
        await wire.listen()

    async with serve(late) as server, face().multiplex(server.source(), key=by_id) as mux:
        with anyio.move_on_after(1) as scope:
            await mux.request(1, {"id": 1})
        assert scope.cancelled_caught
        await mux.request(2, {"id": 2})
        assert mux.unmatched == 1
        assert (await mux.request(1, {"id": 1, "again": True}))["late"] is False


@both_loops
async def test_an_answer_is_of_the_session_on_which_the_request_was_sent() -> None:
    """Each session begins with a message that has the id for which a request waits, before that is sent on it."""
    seen: set[int] = set()

    async def receive(ws: Any) -> Any:
        if id(ws) not in seen:
            seen.add(id(ws))
            return {"id": 1, "stale": True}
        return await ws.receive_json()

    async with (
        serve(hears_and_drops(1), echo) as server,
        face().multiplex(server.source(), key=by_id, receive=receive) as mux,
    ):
        assert (await mux.request(1, {"id": 1}, resend=True))["session"] == 1
        assert mux.unmatched == 2


@both_loops
async def test_pending_requests_fail_once_each_with_a_copy_of_their_own() -> None:
    errors: list[WebSocketException] = []

    async def ask(number: int) -> None:
        try:
            await mux.request(number, {"id": number})
        except WebSocketNetworkError as exc:
            errors.append(exc)

    async with serve(hears_and_drops(10), echo) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(ask, number)
        assert len(set(map(id, errors))) == 10
        assert len(set(map(str, errors))) == 1
        assert (await mux.request(1, {"id": 1}))["session"] == 1  # the reconnecting itself was silent
        assert mux.sessions == 2


@both_loops
async def test_resend() -> None:
    dies = hears_and_drops(1)
    async with serve(dies, dies, dies, echo) as server, face().multiplex(server.source(), key=by_id) as mux:
        assert (await mux.request(1, {"id": 1}, resend=True))["session"] == 3
    assert [wire.heard for wire in server.wires] == [[{"id": 1}]] * 4


@both_loops
async def test_a_request_made_while_disconnected_waits_for_the_next_session() -> None:
    async with serve(drop, echo) as server, face().multiplex(server.source(), key=by_id) as mux:
        await anyio.sleep(0.1)
        assert mux.session is None
        assert "between two sessions" in repr(mux)
        assert (await mux.request(1, {"id": 1}))["session"] == 1
        assert server.wires[0].heard == []


@both_loops
async def test_a_key_is_in_use_once() -> None:
    async with serve(listen) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mux.request, 1, {"id": 1})
            await anyio.sleep(1)
            with pytest.raises(ValueError, match="the key 1 is in use"):
                await mux.request(1, {"id": 1, "second": True})
            with pytest.raises(ValueError, match="the key 1 is in use"):
                async with mux.subscribe(1, subscribe={"second": True}):
                    pass
            tasks.cancel_scope.cancel()
        async with mux.subscribe("a"):
            with pytest.raises(ValueError, match="the key 'a' is in use"):
                await mux.request("a", {"id": "a"})
        with pytest.raises(ValueError, match="None is the key of what belongs to nobody"):
            await mux.request(None, {})
        with pytest.raises(ValueError, match="None is the key of what belongs to nobody"):
            mux.subscribe(None)
        with pytest.raises(TypeError, match="unhashable"):
            await mux.request([], {})
        with pytest.raises(TypeError, match="unhashable"):
            mux.subscribe([])
    assert server.wires[0].heard == [{"id": 1}]


@both_loops
async def test_without_a_key_there_are_no_requests() -> None:
    async with serve(says({"a": 1}, 2)) as server, face().multiplex(server.source()) as mux:
        with pytest.raises(TypeError, match="was given no key"):
            await mux.request(1, {})
        with pytest.raises(TypeError, match="was given no key"):
            async with mux.subscribe(1):
                pass
        assert [await mux.receive(), await mux.receive()] == [{"a": 1}, 2]


@both_loops
async def test_a_duplicate_answer_is_dropped() -> None:
    async def twice(wire: Wire) -> None:
        await wire.get()
        await wire.say({"id": 1, "n": 1}, {"id": 1, "n": 2})
        await wire.listen()

    async with serve(twice) as server, face().multiplex(server.source(), key=by_id) as mux:
        assert (await mux.request(1, {"id": 1}))["n"] == 1
        await anyio.sleep(1)
        assert mux.unmatched == 1


@both_loops
async def test_the_wrong_arguments() -> None:
    async with serve(echo) as server:
        source = server.source()
        for options, match in (
            ({"key": 1}, "key must be a function"),
            ({"receive": 1}, "receive must be a function"),
            ({"send": 1}, "send must be a function"),
            ({"capacity": 1.5}, "capacity must be an int"),
            ({"failure_grace_seconds": "1"}, "failure_grace_seconds must be a number"),
        ):
            with pytest.raises(TypeError, match=match):
                face().multiplex(source, **options)
        for options, match in (
            ({"capacity": 0}, "capacity must be at least 1"),
            ({"when_full": "panic"}, 'when_full is "fail", "wait" or "drop_oldest", not'),
            ({"failure_grace_seconds": -1}, "failure_grace_seconds must be 0 or more"),
        ):
            with pytest.raises(ValueError, match=match):
                face().multiplex(source, **options)
        for wrong in ("wss://x", None, 1):
            with pytest.raises(TypeError, match="the source must be an open session"):
                face().multiplex(wrong)
        block = face().multiplex(source, key=by_id)
        async with block as mux:
            with pytest.raises(RuntimeError, match=r"each multiplexer is entered once; call multiplex\(\) again"):
                await block.__aenter__()
            subscribing = mux.subscribe("a")
            async with subscribing:
                pass
            with pytest.raises(RuntimeError, match=r"each subscription is entered once; call subscribe\(\) again"):
                await subscribing.__aenter__()
            with pytest.raises(ValueError, match="confirm looks at the answer"):
                mux.subscribe("a", confirm=lambda _: None)
            with pytest.raises(ValueError, match="capacity must be at least 1"):
                mux.subscribe("a", capacity=0)
            with pytest.raises(ValueError, match="when_full is"):
                mux.subscribe("a", when_full="panic")
        assert server.wires[0].heard == []


@pytest.mark.parametrize("loop", VIRTUAL)
def test_no_half_close_with_anyio(loop: str) -> None:
    """It is a stream of anyio's on both loops, and goes on after it was asked."""

    async def main() -> None:
        async with serve(echo) as server, httpx2_trio_ws.anyio.multiplex(server.session(), key=by_id) as mux:
            assert isinstance(mux, anyio.abc.ObjectStream)
            with pytest.raises(NotImplementedError, match=r"closed in one direction only; use aclose\(\)"):
                await mux.send_eof()
            assert (await mux.request(1, {"id": 1}))["session"] == 0

    run_virtual(loop, main)


@both_loops
async def test_what_it_tells_of_itself() -> None:
    async with serve(echo) as server, face().multiplex(server.source(), key=by_id) as mux:
        assert repr(mux) == "<Multiplexer (connected; 0 requests, 0 subscriptions)>"
        async with mux.subscribe("a") as feed:
            assert repr(mux) == "<Multiplexer (connected; 0 requests, 1 subscriptions)>"
            assert repr(feed) == "<Subscription 'a' (open)>"
        assert repr(feed) == "<Subscription 'a' (left)>"
        await mux.aclose()
        assert repr(mux) == "<Multiplexer (over; 0 requests, 0 subscriptions)>"


def test_what_has_been_told_is_not_undone() -> None:
    """The session ends and then the multiplexer, before the task that asked has run again."""
    answer: Answer[object] = Answer()
    answer.fail(ValueError("before it was sent"))
    answer.begin(object(), anyio.Event())
    first = ValueError("first")
    answer.fail(first)
    answer.fail(ValueError("second"))
    assert answer.error is first
