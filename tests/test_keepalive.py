"""Keepalive on trio's mock clock: pings in silence, signs of life, dead peers, slow consumers."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketKeepaliveTimeout, WebSocketNetworkError
from httpx2_trio_ws._carriers._stream import StreamCarrier

from .memory import CLOSE, PING, PONG, Peer, frame, memory_session, text


async def test_a_ping_each_interval_of_silence_and_any_byte_is_a_sign_of_life(autojump_clock: object) -> None:
    times: list[float] = []

    async def play(peer: Peer) -> None:
        for _ in range(3):  # answered by a pong, and by half a frame
            opcode, payload = await peer.receive()
            assert opcode == PING
            times.append(trio.current_time() - start)
            await trio.sleep(2)
            await peer.send(frame(PONG, payload))
        await peer.receive()
        times.append(trio.current_time() - start)
        await peer.send(text("half")[:3])
        await peer.receive()
        times.append(trio.current_time() - start)

    start = trio.current_time()
    async with memory_session(
        keepalive_ping_interval_seconds=10, keepalive_ping_timeout_seconds=3, close_timeout_seconds=0
    ) as (ws, peer):
        await play(peer)
        assert ws.latency == pytest.approx(2)
    assert times == pytest.approx([10, 22, 34, 46, 56])


async def test_a_silent_peer_is_dead_after_the_timeout(autojump_clock: object) -> None:
    async with memory_session(keepalive_ping_interval_seconds=10, keepalive_ping_timeout_seconds=3) as (ws, peer):
        start = trio.current_time()
        await peer.send(text("a"))
        with pytest.raises(WebSocketKeepaliveTimeout, match=r"within 3 s of a ping, sent after 10 s of silence"):
            async for message in ws:
                assert message == "a"
        assert trio.current_time() - start == pytest.approx(13)
        assert ws.close_code == 1006
        with pytest.raises(WebSocketNetworkError):
            await ws.send("x")


async def test_a_dead_peer_ends_a_block_that_does_not_listen(autojump_clock: object) -> None:
    start = trio.current_time()
    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session(failure_grace_seconds=1):
            await trio.sleep_forever()
    assert caught.group_contains(WebSocketKeepaliveTimeout, depth=1)
    assert trio.current_time() - start == pytest.approx(20 + 20 + 1)


async def test_without_a_timeout_it_only_pings(autojump_clock: object) -> None:
    async with memory_session(keepalive_ping_timeout_seconds=None, close_timeout_seconds=0) as (ws, peer):
        await trio.sleep(1000.5)
        assert not ws.closed
        for _ in range(50):
            assert (await peer.receive()).opcode == PING


async def test_without_an_interval_it_does_not_even_ping(autojump_clock: object) -> None:
    async with memory_session(keepalive_ping_interval_seconds=None, close_timeout_seconds=0) as (ws, peer):
        await trio.sleep(1000)
        await ws.send("x")
        assert (await peer.receive()).payload == b"x"


async def test_the_clock_stops_while_a_slow_consumer_keeps_us_from_reading(autojump_clock: object) -> None:
    async with memory_session(queue_size=1, keepalive_ping_interval_seconds=1, keepalive_ping_timeout_seconds=1) as (
        ws,
        peer,
    ):
        await peer.send(text("a"), text("b"))
        await trio.sleep(1000)
        assert [await ws.receive(), await ws.receive()] == ["a", "b"]
        start = trio.current_time()
        with pytest.raises(WebSocketKeepaliveTimeout):
            await ws.receive()
        assert trio.current_time() - start == pytest.approx(2)


async def take_slowly(peer: Peer, size: int, *, pause: float, at_most: int) -> None:
    """So many bytes in all, a few at a time."""
    taken = 0
    while taken < size:
        await trio.sleep(pause)
        taken += len(await peer.stream.receive_some(at_most))


async def test_bytes_that_the_peer_takes_are_a_sign_of_life(autojump_clock: object) -> None:
    """A long send to a slow peer that says nothing meanwhile."""
    async with memory_session(
        stalling=True, keepalive_ping_interval_seconds=1, keepalive_ping_timeout_seconds=1, close_timeout_seconds=0
    ) as (ws, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, b"x" * 500_000)
            await take_slowly(peer, 500_000, pause=0.9, at_most=16384)
        assert not ws.closed


async def test_a_peer_that_takes_little_at_a_time_lives(autojump_clock: object) -> None:
    """Of a part of a write, its stream does not tell; and the ping waits behind the message."""
    async with memory_session(stalling=True, close_timeout_seconds=0) as (ws, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, b"x" * 60_000)
            await take_slowly(peer, 60_000, pause=1, at_most=300)
        assert not ws.closed


async def test_a_peer_that_takes_nothing_is_dead(autojump_clock: object) -> None:
    async with memory_session(stalling=True) as (ws, _):
        start = trio.current_time()
        with pytest.raises(WebSocketKeepaliveTimeout):
            await ws.send(b"x" * 500_000)
        assert trio.current_time() - start == pytest.approx(40)


async def test_a_program_that_stood_still_does_not_take_its_peer_for_dead(mock_clock: trio.testing.MockClock) -> None:
    """The answer lies unread when the clock strikes: it is read first, whichever task has the first turn."""
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        for _ in range(30):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(20.1)
            opcode, payload = await peer.receive()
            assert opcode == PING
            await trio.testing.wait_all_tasks_blocked()
            # As if the whole process had been stopped: time has passed, and the answer is there.
            mock_clock.jump(100)
            ws._engine.carrier._stream._stream.receive_stream.put_data(frame(PONG, payload))  # type: ignore[attr-defined]
            await trio.testing.wait_all_tasks_blocked()
            assert not ws.closed
            assert ws.latency == pytest.approx(100)


async def test_bytes_that_lie_unread_are_a_sign_of_life(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the loop was busy for so long that the clock strikes before they are read."""
    start = trio.current_time()
    monkeypatch.setattr(StreamCarrier, "has_unread", property(lambda _: trio.current_time() - start < 100))
    async with memory_session() as (ws, _):
        with pytest.raises(WebSocketKeepaliveTimeout):
            await ws.receive()
    assert trio.current_time() - start == pytest.approx(120)


async def test_pings_do_not_pile_up_before_a_peer_that_does_not_read(autojump_clock: object) -> None:
    async with memory_session(stalling=True, keepalive_ping_timeout_seconds=None, close_timeout_seconds=0) as (
        ws,
        peer,
    ):
        with trio.move_on_after(1000):
            await ws.send(b"x" * 100_000)
        assert (await peer.receive()).payload == b"x" * 100_000
        assert (await peer.receive()).opcode == PING
        await trio.testing.wait_all_tasks_blocked()
        assert ws.statistics().unsent_bytes == 0
        assert ws._engine.outbox.is_empty


async def test_without_keepalive_reading_pauses_and_goes_on(autojump_clock: object) -> None:
    async with memory_session(queue_size=1, keepalive_ping_interval_seconds=None, close_timeout_seconds=0) as (
        ws,
        peer,
    ):
        await peer.send(text("a"), text("b"), text("c"))
        await trio.sleep(1)
        assert [await ws.receive() for _ in range(3)] == ["a", "b", "c"]


async def test_no_pings_while_closing(autojump_clock: object) -> None:
    async with memory_session(keepalive_ping_interval_seconds=1, close_timeout_seconds=10) as (ws, peer):
        await ws.close()
        assert [f.opcode for f in await peer.frames()] == [CLOSE]
