"""Slow peers, slow consumers, silence: who waits for whom, and for how long."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws._core._watermarks import HIGH_WATER, MAX_SIZE
from httpx2_trio_ws._sync import _reader
from httpx2_trio_ws._sync._poller import Poller
from httpx2_trio_ws.sync import WebSocketClosedError, WebSocketKeepaliveTimeout
from tests.handshake_support import server_context
from tests.memory import BINARY, CLOSE, PING, PONG, TEXT, Frame, frame, text

from .support import BIG, LONG, Peer, Task, each, eventually, played

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx2_trio_ws.sync import SyncWebSocketSession

NO_KEEPALIVE: dict[str, Any] = {"keepalive_ping_interval_seconds": None}


@pytest.fixture(params=["plain", "tls"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What :func:`played` takes for one kind of connection, with small buffers."""
    secure = {"context": server_context()} if request.param == "tls" else {}
    return {"small": True, "compression": None, **secure}


def steady(count: Callable[[], int]) -> None:
    """Wait until it has begun and stays the same for a while."""
    until = time.monotonic() + LONG
    before = 0
    while (now := count()) != before or not now:
        assert time.monotonic() < until
        before = now
        time.sleep(0.03)


def stalled(ws: SyncWebSocketSession) -> None:
    """Wait until the peer takes no more."""
    steady(lambda: ws.statistics().bytes_sent if ws._engine._blocked else 0)


# -- receiving -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("queue_size", "size"), [(1, 10), (2, 10), (512, 10), (512, 300_000)])
def test_a_full_queue_stops_reading(queue_size: int, size: int) -> None:
    """What the consumer does not take stays with the peer; then all of it comes, in order."""
    count = 3000 if size == 10 else 60

    def flood(peer: Peer) -> None:
        for number in range(count):
            peer.send(text(f"{number:0{size}}"))
        peer.answer_close()

    with played(queue_size=queue_size, compression=None) as (ws, peer):
        peer.begin(lambda: flood(peer))
        steady(lambda: ws.statistics().bytes_received)
        queued = ws.statistics().queued_messages
        assert queued <= queue_size
        assert queued * size <= MAX_SIZE + size
        if size > 10:
            assert ws.statistics().bytes_received < count * size
        for number in range(count):
            assert int(ws.receive_text(timeout=LONG)[-10:]) == number
            assert ws.statistics().queued_messages <= queue_size
        with pytest.raises(TimeoutError):
            ws.receive(timeout=0)


# -- sending ---------------------------------------------------------------------------------------


def test_a_large_message_has_been_handed_over_when_send_returns(options: dict[str, Any]) -> None:
    with played(**options) as (ws, peer):
        sending = Task(ws.send_bytes, bytes(BIG))
        stalled(ws)
        assert sending.is_alive()
        assert ws.statistics().unsent_bytes > 0
        assert peer.receive() == Frame(BINARY, bytes(BIG))
        sending.result()
        assert ws.statistics().unsent_bytes == 0
        peer.begin(peer.answer_close)


def test_senders_wait_above_the_high_water_mark_and_go_on_in_turn(options: dict[str, Any]) -> None:
    with played(**options) as (ws, peer):
        first = Task(ws.send_bytes, bytes(BIG))
        stalled(ws)
        senders = []
        for number in range(5):
            senders.append(Task(ws.send, str(number)))
            eventually(lambda: len(ws._outbox._turns) == len(senders))
        assert all(sender.is_alive() for sender in senders)
        peer.receive()
        assert [peer.receive() for _ in senders] == [Frame(TEXT, str(n).encode()) for n in range(5)]
        for sender in (first, *senders):
            sender.result()
        peer.begin(peer.answer_close)


def test_a_burst_waits_for_the_peer(options: dict[str, Any]) -> None:
    """More than all buffers hold, in small messages: memory stays bounded, nothing is lost or out of order."""
    count, payload = 8_000, "x" * 200

    def burst() -> int:
        most = 0
        for number in range(count):
            ws.send(f"{number} {payload}")
            most = max(most, ws.statistics().unsent_bytes)
        return most

    with played(**options) as (ws, peer):
        sending = Task(burst)
        for number in range(count):
            assert peer.receive().payload.startswith(b"%d " % number)
        assert sending.result() <= HIGH_WATER + 1000
        peer.begin(peer.answer_close)


def test_pongs_do_not_wait_behind_messages(options: dict[str, Any]) -> None:
    with played(**options) as (ws, peer):
        first = Task(ws.send_bytes, bytes(BIG))
        stalled(ws)
        rest = Task(each, ws.send_bytes, [b"%d" % n * 1000 for n in range(1000)])
        eventually(lambda: ws._outbox._turns)
        peer.send(frame(PING, b"now"))
        eventually(lambda: ws._outbox.control_size)
        opcodes = [peer.receive().opcode for _ in range(1002)]
        assert opcodes.index(PONG) == 1, "after the frame that was on its way"
        for task in (first, rest):
            task.result()
        peer.begin(peer.answer_close)


def test_pongs_go_between_the_messages_of_a_batch(options: dict[str, Any]) -> None:
    """What was taken for one write and is not on the wire is put back, unless TLS has it already."""
    with played(**options) as (ws, peer):
        sending = Task(each, ws.send_bytes, [b"%04d" % n * 250 for n in range(10_000)])
        stalled(ws)
        gone = ws.statistics().bytes_sent // 1006
        peer.send(frame(PING, b"now"))
        eventually(lambda: ws._outbox.control_size)
        frames = [peer.receive() for _ in range(10_001)]
        assert [int(payload[:4]) for opcode, payload in frames if opcode != PONG] == list(range(10_000))
        pong = [opcode for opcode, _ in frames].index(PONG)
        assert pong <= gone + (17 if "context" in options else 1)
        sending.result()
        peer.begin(peer.answer_close)


def test_a_peer_that_closes_while_a_batch_is_part_written() -> None:
    """The frame on the wire is finished, the others are dropped, so that the answer can be read."""
    with played(small=True, compression=None) as (ws, peer):
        sending = Task(each, ws.send_bytes, [b"%04d" % n * 250 for n in range(10_000)])
        stalled(ws)
        sent = ws.statistics().messages_sent
        peer.send(frame(CLOSE, b"\x03\xe8"))
        eventually(lambda: ws.closed)
        frames: list[Frame] = []
        while not frames or frames[-1].opcode != CLOSE:
            frames.append(peer.receive())
        peer.socket.close()
        assert 10 < len(frames) < sent
        with pytest.raises(Exception, match="1000"):
            sending.result()
        assert ws.statistics().unsent_bytes == 0


def test_a_peer_that_pings_and_does_not_read_is_not_read_from() -> None:
    def flood(peer: Peer) -> None:
        for _ in range(100_000):
            peer.send(frame(PING, bytes(125)))

    with played(small=True, close_timeout_seconds=0, **NO_KEEPALIVE) as (ws, peer):
        first = Task(ws.send_bytes, bytes(BIG))
        peer.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            flood(peer)
        assert ws.statistics().unsent_bytes > HIGH_WATER
        assert ws._outbox.control_size < 2 * HIGH_WATER
    with pytest.raises(WebSocketClosedError):
        first.result()


def test_pings_of_our_own_wait_for_the_peer() -> None:
    with played(small=True, compression=None, **NO_KEEPALIVE) as (ws, peer):
        first = Task(ws.send_bytes, bytes(BIG))
        stalled(ws)
        ponging = Task(each, ws.pong, [bytes(125)] * 20_000)
        eventually(lambda: ws._outbox._drained)
        assert len(ws._engine.orders) < 1000
        assert ponging.is_alive()
        assert peer.receive().opcode == BINARY
        assert {peer.receive().opcode for _ in range(20_000)} == {PONG}
        first.result()
        ponging.result()
        peer.begin(peer.answer_close)


# -- keepalive -------------------------------------------------------------------------------------


def keepalive(interval: float, timeout: float | None) -> dict[str, Any]:
    return {
        "keepalive_ping_interval_seconds": interval,
        "keepalive_ping_timeout_seconds": timeout,
        "compression": None,
        "close_timeout_seconds": 0.1,
    }


def test_a_silent_peer_is_dead_after_the_timeout() -> None:
    with played(glued=text("a"), **keepalive(0.1, 0.05)) as (ws, peer):
        began = time.monotonic()
        assert ws.receive() == "a"
        with pytest.raises(WebSocketKeepaliveTimeout, match=r"within 0\.05 s of a ping, sent after 0\.1 s of silence"):
            ws.receive()
        assert 0.1 < time.monotonic() - began < LONG
        assert ws.close_code == 1006
        assert [opcode for opcode, _ in peer.frames()] == [PING]


def test_a_block_that_does_not_listen_learns_of_it_when_it_is_left() -> None:
    with pytest.raises(WebSocketKeepaliveTimeout), played(**keepalive(0.02, 0.02)) as (ws, _):
        eventually(lambda: ws.closed)


def test_any_byte_is_a_sign_of_life() -> None:
    with played(**keepalive(0.08, 0.08)) as (ws, peer):
        first = peer.receive()
        assert first.opcode == PING
        assert len(first.payload) == 4
        peer.send(frame(PONG, first.payload))
        eventually(lambda: ws.latency)
        for byte in text("slow"):  # over more time than the two together
            time.sleep(0.04)
            peer.send(bytes((byte,)))
        assert ws.receive(timeout=LONG) == "slow"
        peer.begin(peer.answer_close)


def test_a_sender_that_waits_is_ended_by_keepalive() -> None:
    with played(small=True, **keepalive(0.1, 0.1)) as (ws, _):
        with pytest.raises(WebSocketKeepaliveTimeout):
            ws.send_bytes(bytes(BIG))
        assert ws.statistics().unsent_bytes == 0 or ws.closed


def test_a_peer_that_reads_slowly_and_says_nothing_lives() -> None:
    """A write that had to wait and then went through is a sign of life."""
    with played(small=True, **keepalive(0.1, 0.1)) as (ws, peer):
        began = time.monotonic()
        sending = Task(ws.send_bytes, bytes(BIG))
        while time.monotonic() - began < 0.5:
            time.sleep(0.02)
            peer._buffer += peer.socket.recv(20_000)
            assert not ws.closed
        assert peer.receive().opcode == BINARY
        sending.result()
        with contextlib.suppress(EOFError):
            peer.begin(peer.answer_close)


def test_a_slow_consumer_without_keepalive() -> None:
    with played(glued=text("x") * 20, queue_size=2, **NO_KEEPALIVE) as (ws, peer):
        eventually(lambda: ws._engine._paused)
        assert [ws.receive() for _ in range(20)] == ["x"] * 20
        peer.begin(peer.answer_close)


def test_a_slow_consumer_is_not_taken_for_a_dead_peer() -> None:
    with played(glued=text("x") * 20, queue_size=2, **keepalive(0.05, 0.05)) as (ws, peer):
        time.sleep(0.2)
        assert not ws.closed
        assert [ws.receive() for _ in range(20)] == ["x"] * 20
        assert peer.receive().opcode == PING, "now that it reads again, silence counts"
        peer.begin(peer.answer_close)


def test_no_timeout_goes_on_pinging() -> None:
    with played(**keepalive(0.03, None)) as (_, peer):
        assert [peer.receive().opcode for _ in range(4)] == [PING] * 4
        peer.begin(peer.answer_close)


def test_no_ping_is_added_while_control_frames_wait() -> None:
    with played(small=True, **keepalive(0.05, None)) as (ws, _):
        sending = Task(ws.send_bytes, bytes(BIG))
        stalled(ws)
        eventually(lambda: ws._outbox.control_size)
        size = ws._outbox.control_size
        time.sleep(0.12)
        assert ws._outbox.control_size == size
    with pytest.raises(WebSocketClosedError):
        sending.result()


class StandingStill:
    """Makes the reader's time pass while it sleeps, and sees nothing of what happens meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._wait = Poller.wait
        self._passed = 0.0
        self._asleep, self._awake = threading.Event(), threading.Event()
        self._awake.set()

        def wait(poller: Poller, events: int, seconds: float | None) -> int:
            return self.wait(poller, events, seconds)

        monkeypatch.setattr(Poller, "wait", wait)
        monkeypatch.setattr(_reader, "time", self)

    def monotonic(self) -> float:
        return time.monotonic() + self._passed

    def wait(self, poller: Poller, events: int, seconds: float | None) -> int:
        if self._awake.is_set():
            return self._wait(poller, events, seconds)
        self._asleep.set()
        assert self._awake.wait(LONG)
        return 0

    @contextlib.contextmanager
    def sleeping(self, ws: SyncWebSocketSession, seconds: float) -> Iterator[None]:
        self._asleep.clear()
        self._awake.clear()
        ws._engine.poller.wake()  # it goes its round, and comes to sleep again
        assert self._asleep.wait(LONG)
        yield
        self._passed += seconds
        self._awake.set()


def test_a_process_that_stood_still_reads_the_answer_first(monkeypatch: pytest.MonkeyPatch) -> None:
    still = StandingStill(monkeypatch)
    with played() as (ws, peer):
        with still.sleeping(ws, 20):
            pass
        ping = peer.receive()
        assert ping.opcode == PING
        with still.sleeping(ws, 1000):
            peer.send(frame(PONG, ping.payload))
        eventually(lambda: ws.latency)
        assert not ws.closed
        peer.begin(peer.answer_close)


def test_a_process_that_stood_still_while_the_connection_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    still = StandingStill(monkeypatch)
    with played() as (ws, peer):
        with still.sleeping(ws, 20):
            pass
        assert peer.receive().opcode == PING
        with still.sleeping(ws, 1000):
            peer.socket.close()
        with pytest.raises(Exception, match="the peer ended it"):
            ws.receive()


def test_a_process_that_stood_still_and_a_peer_that_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    still = StandingStill(monkeypatch)
    with played() as (ws, peer):
        for seconds in (20, 20):
            with still.sleeping(ws, seconds):
                pass
        with pytest.raises(WebSocketKeepaliveTimeout):
            ws.receive()
        assert peer.receive().opcode == PING
