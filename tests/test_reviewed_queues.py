"""Corners that programs made by chance have found (see test_model.py), and what lies beside them."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketClosedError, WebSocketException, WebSocketNetworkError, WebSocketSession

from .memory import memory_session, text


async def receive_into(got: list[object], ws: WebSocketSession, count: int, scope: trio.CancelScope) -> None:
    with scope:
        for _ in range(count):
            try:
                got.append(await ws.receive())
            except WebSocketException as exc:
                got.append(type(exc))


async def start_receiving(
    nursery: trio.Nursery, ws: WebSocketSession, count: int
) -> tuple[list[object], trio.CancelScope]:
    """A task that waits for its first message."""
    got: list[object] = []
    scope = trio.CancelScope()
    nursery.start_soon(receive_into, got, ws, count, scope)
    await trio.testing.wait_all_tasks_blocked()
    return got, scope


async def test_a_receiver_cancelled_as_messages_come_does_not_upset_the_order_of_another() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, _), trio.open_nursery() as nursery:
        _, first = await start_receiving(nursery, ws, 1)
        got, _ = await start_receiving(nursery, ws, 2)
        first.cancel()
        ws._engine.inbox.put(["1", "2"], 2)
        await trio.testing.wait_all_tasks_blocked()
    assert got == ["1", "2"]


async def test_a_receiver_cancelled_as_messages_come_does_not_upset_the_order_of_a_newcomer() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, _), trio.open_nursery() as nursery:
        got, first = await start_receiving(nursery, ws, 1)
        first.cancel()
        ws._engine.inbox.put(["1", "2"], 2)
        assert [await ws.receive(), await ws.receive()] == ["1", "2"]
    assert not got


async def test_a_receiver_cancelled_as_a_message_and_the_end_come_leaves_it_to_the_next() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, _), trio.open_nursery() as nursery:
        _, first = await start_receiving(nursery, ws, 1)
        got, _ = await start_receiving(nursery, ws, 2)
        first.cancel()
        ws._engine.inbox.put(["1"], 1)
        ws._engine._do(ws._engine.life.eof(None, trio.current_time()))
        await trio.testing.wait_all_tasks_blocked()
        assert got == ["1", WebSocketNetworkError]


async def test_a_receiver_cancelled_as_a_message_comes_and_we_close_leaves_nothing() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, _), trio.open_nursery() as nursery:
        _, first = await start_receiving(nursery, ws, 1)
        first.cancel()
        ws._engine.inbox.put(["1"], 1)
        await ws.close()
        with pytest.raises(WebSocketClosedError):
            await ws.receive()


async def test_receivers_that_were_cancelled_do_not_make_the_queue_larger_for_good(autojump_clock: object) -> None:
    async with memory_session(close_timeout_seconds=0, queue_size=2) as (ws, peer), trio.open_nursery() as nursery:
        for _ in range(3):
            _, scope = await start_receiving(nursery, ws, 1)
            scope.cancel()
        await peer.send(*(text(str(number)) for number in range(10)))
        await trio.testing.wait_all_tasks_blocked()
        assert ws.statistics().queued_messages == 2
        assert [await ws.receive() for _ in range(10)] == [str(number) for number in range(10)]


async def test_reading_goes_on_when_receivers_that_wait_have_emptied_the_queue() -> None:
    async with memory_session(close_timeout_seconds=0, queue_size=1) as (ws, peer), trio.open_nursery() as nursery:
        got = [(await start_receiving(nursery, ws, 5))[0] for _ in range(2)]
        await peer.send(*(text(str(number)) for number in range(10)))
        await trio.testing.wait_all_tasks_blocked()
        assert got == [["0", "2", "4", "6", "8"], ["1", "3", "5", "7", "9"]]


async def test_a_write_that_fails_while_the_queue_is_full_wakes_a_ping(autojump_clock: object) -> None:
    async with memory_session(queue_size=1) as (ws, peer):
        waiter = await ws.ping()
        await peer.send(text("queued"), text("does not fit"))
        await trio.testing.wait_all_tasks_blocked()
        await peer.aclose()
        await ws.pong()
        with trio.fail_after(1), pytest.raises(WebSocketNetworkError):
            await waiter


@pytest.mark.parametrize(("grace", "latest"), [(0, 0.2), (5, 5)])
async def test_a_write_that_fails_while_the_queue_is_full_is_told_in_time(
    autojump_clock: object, grace: float, latest: float
) -> None:
    start = trio.current_time()
    with trio.fail_after(60), pytest.raises(ExceptionGroup) as caught:
        async with memory_session(queue_size=1, failure_grace_seconds=grace) as (ws, peer):
            await peer.send(text("queued"), text("does not fit"))
            await trio.testing.wait_all_tasks_blocked()
            await peer.aclose()
            await ws.pong()
            await trio.sleep_forever()
    assert caught.group_contains(WebSocketNetworkError)
    assert grace <= trio.current_time() - start <= latest


async def test_once_told_a_failed_write_leaves_all_the_time_to_receive(autojump_clock: object) -> None:
    async with memory_session(queue_size=1) as (ws, peer):
        await peer.send(text("1"), text("2"), text("3"))
        await trio.testing.wait_all_tasks_blocked()
        await peer.aclose()
        await ws.pong()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(WebSocketNetworkError):
            await ws.send("x")
        await trio.sleep(60)
        assert [await ws.receive() for _ in range(3)] == ["1", "2", "3"]
        with pytest.raises(WebSocketNetworkError):
            await ws.receive()
