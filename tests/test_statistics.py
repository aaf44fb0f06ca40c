"""What a session counts."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from httpx2_trio_ws._core import _statistics as _results
from httpx2_trio_ws._session import _sending

from .memory import TEXT, frame, memory_session, text
from .sync.support import Task, eventually, played


@pytest.fixture
def mocked_time(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    """The waits in the statistics are on trio's mock clock."""
    monkeypatch.setattr(_results, "monotonic", trio.current_time)
    monkeypatch.setattr(_sending, "monotonic", trio.current_time)


def waits(ws: Any) -> tuple[float, float]:
    statistics = ws.statistics()
    return statistics.consumer_wait_seconds, statistics.peer_wait_seconds


async def test_waiting_for_the_consumer(autojump_clock: object, mocked_time: None) -> None:
    async with memory_session(queue_size=2, close_timeout_seconds=0) as (ws, peer):
        await peer.send(text("1"), text("2"), text("3"))
        await trio.sleep(10)
        assert waits(ws) == (10, 0)  # it goes on
        assert [await ws.receive() for _ in range(3)] == ["1", "2", "3"]
        await trio.sleep(10)
        assert waits(ws) == (10, 0)
        await peer.send(text("4"), text("5"))
        await trio.sleep(10)
        assert waits(ws) == (10, 0)  # both fit
        await peer.send(text("6"))
        await trio.sleep(5)
    await trio.sleep(10)
    assert waits(ws) == (15, 0)  # it has ended with the session


async def test_waiting_for_the_peer(autojump_clock: object, mocked_time: None) -> None:
    async with memory_session(stalling=True, keepalive_ping_interval_seconds=None, close_timeout_seconds=0) as (
        ws,
        peer,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "hello")
            await trio.sleep(10)
            assert waits(ws) == (0, 10)
            assert (await peer.receive()).payload == b"hello"
        await trio.sleep(10)
        assert waits(ws) == (0, 10)
        with trio.move_on_after(5):
            await ws.send("never read")
    await trio.sleep(10)
    assert waits(ws)[1] == pytest.approx(15, abs=0.3)  # the last words take a moment


def test_waits_of_a_blocking_session() -> None:
    with played(small=True, queue_size=1, close_timeout_seconds=0) as (ws, peer):
        assert waits(ws) == (0, 0)
        peer.send(text("1"), text("2"))
        eventually(lambda: waits(ws)[0] > 0)
        assert [ws.receive(), ws.receive()] == ["1", "2"]
        sending = Task(ws.send, "x" * 10**6)
        eventually(lambda: waits(ws)[1] > 0)
        assert len(peer.receive().payload) == 10**6
        sending.result()
        ws.send("short")
        assert peer.receive().payload == b"short"
        before = waits(ws)
        assert before == waits(ws)
    before = waits(ws)
    assert before == waits(ws)


async def test_fragments_are_frames_too() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        await peer.send(
            frame(TEXT, b"in ", fin=False), frame(0, b"three ", fin=False), frame(0, b"parts"), text("whole")
        )
        assert [await ws.receive(), await ws.receive()] == ["in three parts", "whole"]
        assert (ws.statistics().messages_received, ws.statistics().frames_received) == (2, 4)


async def test_statistics_are_a_frozen_record() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, _):
        with pytest.raises(AttributeError):
            ws.statistics().messages_sent = 5  # type: ignore[misc]


async def test_statistics_may_be_read_in_any_thread() -> None:
    async with memory_session(queue_size=1, close_timeout_seconds=0) as (ws, peer):
        await peer.send(text("1"))
        await trio.testing.wait_all_tasks_blocked()
        assert (await trio.to_thread.run_sync(ws.statistics)).queued_messages == 1
