"""Floods of small frames: other tasks run meanwhile, the order is kept, and memory is bounded."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from httpx2_trio_ws._core._watermarks import HIGH_WATER
from httpx2_trio_ws._protocol import Connection, PingBook
from httpx2_trio_ws._runtime._trio import TRIO
from httpx2_trio_ws._session._outbox import Outbox

from .memory import CLOSE, PING, PONG, TEXT, frame, memory_session, text

COUNT = 8000


@pytest.mark.parametrize(
    "flood",
    [frame(PING) * COUNT, frame(PONG) * COUNT, frame(TEXT, fin=False) + frame(0, fin=False) * COUNT + frame(0)],
    ids=["pings", "pongs", "fragments"],
)
async def test_other_tasks_have_their_turns(autojump_clock: object, flood: bytes) -> None:
    turns = 0

    counting = trio.CancelScope()

    async def count() -> None:
        nonlocal turns
        with counting:
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

    async with memory_session() as (ws, peer), trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(flood, text("end"))  # one read
        nursery.start_soon(count)
        async for message in ws:
            if message == "end":
                break
        counting.cancel()
        nursery.start_soon(peer.answer_close)
        await ws.close()
    assert turns >= COUNT // 300


async def test_other_tasks_have_their_turns_while_messages_are_dropped(autojump_clock: object) -> None:
    turns = 0
    has_closed = trio.Event()

    async with memory_session() as (ws, peer), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def close() -> None:
            await ws.close()
            has_closed.set()

        assert await peer.receive() == (CLOSE, b"\x03\xe8")
        await peer.send(text("") * 100_000, frame(CLOSE, b"\x03\xe8"))
        await peer.aclose()
        while not has_closed.is_set():
            await trio.lowlevel.checkpoint()
            turns += 1
    assert turns >= 100_000 // 4096


async def test_messages_and_pongs_keep_their_order(autojump_clock: object) -> None:
    count = 2000
    numbers = [str(number) for number in range(count)]
    async with memory_session(queue_size=100) as (ws, peer):
        await peer.send(*(frame(PING, number.encode()) + text(number) for number in numbers))
        assert [await ws.receive_text() for _ in numbers] == numbers
        assert [await peer.receive() for _ in numbers] == [(PONG, number.encode()) for number in numbers]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer_close)
            await ws.close()


async def test_a_flood_of_pings_that_leaves_its_pongs_unread_takes_bounded_memory(autojump_clock: object) -> None:
    count, payload = 2000, bytes(125)
    async with (
        memory_session(stalling=True, keepalive_ping_interval_seconds=None) as (ws, peer),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(peer.send, frame(PING, payload) * count)
        await trio.testing.wait_all_tasks_blocked()
        assert HIGH_WATER < ws._engine.outbox.control_size < 2 * HIGH_WATER
        assert [await peer.receive() for _ in range(count)] == [(PONG, payload)] * count
        assert ws._engine.outbox.control_size == 0
        nursery.start_soon(peer.answer_close)
        await ws.close()


# The bounds of the next two are a hundred times what they take; quadratic, they would take tens of seconds.


async def test_many_control_frames_take_linear_time() -> None:
    outbox = Outbox(TRIO, Connection())
    began = time.process_time()
    for number in range(1, 50_001):
        outbox.push_control(b"123456")
        assert outbox.control_size == 6 * number
    assert time.process_time() - began < 2


def test_many_pings_take_linear_time() -> None:
    book: PingBook[int] = PingBook()
    began = time.process_time()
    for number in range(100_000):
        book.sent(number.to_bytes(4), number)
    for number in range(100_000):
        assert book.answered(number.to_bytes(4)) == [number]
    assert time.process_time() - began < 5
