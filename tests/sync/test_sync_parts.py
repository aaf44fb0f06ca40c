"""Parts of the blocking session by themselves: what needs a moment that no test meets by waiting for it."""

from __future__ import annotations

import math
import random
import socket
import sys
import threading
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws._core._frames import FrameQueue
from httpx2_trio_ws._core._life import Life
from httpx2_trio_ws._core._watermarks import HIGH_WATER, MAX_SIZE
from httpx2_trio_ws._protocol import Connection
from httpx2_trio_ws._sync import _inbox, _outbox, _reader
from httpx2_trio_ws._sync._carrier import StreamCarrier
from httpx2_trio_ws._sync._orders import ControlOrder
from httpx2_trio_ws._sync._waiting import Signal
from httpx2_trio_ws.sync import WebSocketDisconnect, WebSocketNetworkError, open_websocket
from tests.handshake_support import site
from tests.memory import CLOSE, PING, PONG, close_frame, frame, text

from .support import Task, eventually, in_thread, new_client, one_connection, played, readers

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2


# -- the outbox ------------------------------------------------------------------------------------


def new_encoder() -> Any:
    return SimpleNamespace(
        encode=lambda payload, text: payload, encode_large=lambda payload, kind: None, on_written=None
    )


class Wire:
    """An outbox whose frames are their payloads, and what it has written."""

    def __init__(self, write_now: Callable[[bytes], int] | None = None, *, compressed: bool = False) -> None:
        self.woken = 0
        deflate: Any = SimpleNamespace() if compressed else None
        self.outbox = _outbox.Outbox(new_encoder(), deflate, write_now, self.wake, Life(5))
        if write_now is None:
            self.outbox._last = 0.0
        self.written = b""

    def wake(self) -> None:
        self.woken += 1

    def write(self, most: int, *, whole: bool = False) -> int:
        """Write up to so many bytes of what comes next; how many there were."""
        data = self.outbox.take(whole=whole)
        if data is None:
            return 0
        part = bytes(data[:most])
        self.written += part
        self.outbox.wrote(len(part))
        return len(data)


@pytest.fixture
def _bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is sent is part of a burst, however slow the machine is."""
    monkeypatch.setattr(_outbox, "BURST", math.inf)


@pytest.mark.usefixtures("_bursts")
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("seed", range(15))
def test_a_burst_that_its_sender_writes_and_that_the_socket_takes_parts_of(seed: int, compressed: bool) -> None:
    """Each message is written once and in order, whole frames lie between control frames, and the rest is the reader's."""
    dice = random.Random(seed)

    def write_now(data: bytes) -> int:
        count = dice.choice((0, 1, 1000, len(data) - 1, len(data), len(data)))
        if not count:
            raise BlockingIOError
        wire.written += data[:count]
        return count

    wire = Wire(write_now, compressed=compressed)
    wire.outbox._last = 0.0
    wire.outbox._row = _outbox.ROW
    sent = 0
    for _ in range(300):
        action = dice.random()
        if action < 0.9 and wire.outbox.size <= HIGH_WATER:
            assert wire.outbox.send(message(sent, dice.choice((10, 1000, 20_000))), text=True) is None
            sent += 1
        elif action < 0.93:
            wire.outbox.push_control(b"[control]")
        else:
            wire.write(dice.choice((1, 7, 2000)))
        assert wire.outbox.work or not wire.outbox.size
    while wire.write(sys.maxsize) or wire.outbox.work:
        pass
    numbers, before = parsed(wire.written)
    assert numbers == list(range(sent))
    assert before
    assert (wire.outbox.size, wire.outbox.control_size, wire.outbox.bytes_sent) == (0, 0, len(wire.written))


@pytest.mark.usefixtures("_bursts")
def test_the_reader_leaves_a_burst_alone_while_its_sender_writes() -> None:
    """But no longer than it takes to look twice."""
    written: list[bytes] = []
    wire = Wire(lambda data: written.append(data) or len(data))  # type: ignore[func-returns-value]
    wire.outbox._last = 0.0
    for number in range(3):
        assert wire.outbox.send(message(number, _outbox.WORTH_A_WRITE // 2), text=True) is None
    assert [data[:2] for data in written] == [b"<0"]
    assert wire.outbox.take() is None
    assert wire.outbox.work
    assert wire.write(sys.maxsize)
    assert parsed(wire.written) == ([2], [])
    assert wire.outbox.take() is None
    assert not wire.outbox.work


def message(number: int, size: int) -> bytes:
    return b"<%d%s>" % (number, b"." * size)


def parsed(written: bytes) -> tuple[list[int], list[int]]:
    """The numbers of the messages, and how many messages stood before each control frame."""
    numbers: list[int] = []
    before: list[int] = []
    for part in written.replace(b"]", b"]|").replace(b">", b">|").split(b"|")[:-1]:
        if part == b"[control]":
            before.append(len(numbers))
        else:
            assert part.startswith(b"<"), f"a frame was cut: {part!r}"
            numbers.append(int(part.strip(b"<>.")))
    return numbers, before


@pytest.mark.usefixtures("_bursts")
@pytest.mark.parametrize("seed", range(15))
def test_whatever_is_written_when_frames_stay_whole_and_control_frames_go_ahead(seed: int) -> None:
    dice = random.Random(seed)
    wire = Wire()
    sent = 0
    whole = False
    due: list[int] = []
    for _ in range(300):
        action = dice.random()
        if action < 0.5 and wire.outbox.size <= HIGH_WATER:
            assert wire.outbox.send(message(sent, dice.choice((0, 10, 1000))), text=True) is None
            sent += 1
        elif action < 0.6:
            wire.outbox.push_control(b"[control]")
            due.append(len(wire.written))
        else:
            whole = wire.write(dice.choice((1, 7, 2000)), whole=whole) > 0 and dice.random() < 0.3
    while wire.write(sys.maxsize):
        pass
    numbers, before = parsed(wire.written)
    assert numbers == list(range(sent))
    assert len(before) == len(due)
    assert (wire.outbox.size, wire.outbox.control_size, wire.outbox.bytes_sent) == (0, 0, len(wire.written))


@pytest.mark.usefixtures("_bursts")
def test_a_control_frame_goes_after_the_frame_that_is_part_written() -> None:
    wire = Wire()
    for number in range(5):
        wire.outbox.send(message(number, 10), text=True)
    wire.write(20)  # the first, and a part of the second
    wire.outbox.push_control(b"[control]")
    while wire.write(sys.maxsize):
        pass
    assert parsed(wire.written) == ([0, 1, 2, 3, 4], [2])


@pytest.mark.usefixtures("_bursts")
def test_a_control_frame_between_two_frames_of_a_batch() -> None:
    wire = Wire()
    for number in range(3):
        wire.outbox.send(message(number, 10), text=True)
    wire.write(13)  # exactly the first
    wire.outbox.push_control(b"[control]")
    while wire.write(sys.maxsize):
        pass
    assert parsed(wire.written) == ([0, 1, 2], [1])


@pytest.mark.usefixtures("_bursts")
def test_a_control_frame_where_tls_has_the_batch_already() -> None:
    wire = Wire()
    for number in range(3):
        wire.outbox.send(message(number, 10), text=True)
    wire.outbox.push_control(b"[control]")
    wire.outbox.take(whole=False)
    wire.outbox.wrote(len(b"[control]"))
    assert wire.outbox.take(whole=False) is not None
    wire.outbox.push_control(b"[control]")
    again = wire.outbox.take(whole=True)
    assert again is not None
    assert bytes(again) == b"".join(message(number, 10) for number in range(3))


@pytest.mark.usefixtures("_bursts")
def test_what_was_discarded_is_not_put_back() -> None:
    wire = Wire()
    for number in range(5):
        wire.outbox.send(message(number, 10), text=True)
    wire.write(20)
    wire.outbox.discard()
    wire.outbox.push_control(b"[control]")
    while wire.write(sys.maxsize):
        pass
    assert parsed(wire.written) == ([0, 1], [2])
    assert wire.outbox.size == 0


def test_a_message_that_was_waited_for_begins_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS, the reader writes all. Who has waited for that is not held up again by the next message."""
    now = [1.0]
    monkeypatch.setattr(_outbox, "time", SimpleNamespace(monotonic=lambda: now[0]))
    wire = Wire()
    sending = Task(lambda: wire.outbox.send(b"lone", text=False))
    eventually(lambda: wire.outbox.work)
    now[0] += 1  # it takes the reader that long to come
    assert wire.write(100) == 4
    assert sending.result() is None
    assert wire.outbox.send(b"at once", text=False) is None
    assert wire.outbox.size == 7


def test_compressed_messages_are_a_burst_once_many_have_followed_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes longer to make than the reader to look, so what has gathered is written now and then, however little it is."""
    now, written = [1.0], list[bytes]()
    monkeypatch.setattr(_outbox, "time", SimpleNamespace(monotonic=lambda: now[0]))
    wire = Wire(lambda data: written.append(data) or len(data), compressed=True)  # type: ignore[func-returns-value]

    def send(count: int) -> None:
        for _ in range(count):
            now[0] += 1e-5
            assert wire.outbox.send(b".", text=False) is None

    send(_outbox.ROW + 1)
    assert (written, wire.woken) == ([b"."] * (_outbox.ROW + 1), 0)
    send(10)
    assert (len(written), wire.woken) == (_outbox.ROW + 1, 1)
    assert wire.outbox.take() is None  # the reader leaves it alone
    send(round(_outbox.GATHER / 1e-5))
    assert len(written) == _outbox.ROW + 2
    assert wire.outbox.take() is None
    assert wire.write(sys.maxsize) == wire.outbox.bytes_sent - sum(map(len, written))  # and sees to what is left
    assert wire.outbox.take() is None
    assert not wire.outbox.work
    now[0] += 1
    send(1)
    assert (written[-1], wire.woken) == (b".", 1)


def test_a_lone_message_that_the_socket_takes_none_of() -> None:
    def full(_: bytes) -> int:
        raise BlockingIOError

    wire = Wire(full)
    sending = Task(lambda: wire.outbox.send(b"<0>", text=True))
    eventually(lambda: wire.outbox._unwritten)
    assert wire.woken
    wire.write(sys.maxsize)
    assert sending.result() is None
    assert wire.written == b"<0>"


def test_what_is_left_of_a_frame_is_queued_once_however_often_that_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(outbox: _outbox.Outbox, rest: bytes) -> None:
        FrameQueue.add_rest(outbox, rest)
        raise KeyboardInterrupt

    wire = Wire(lambda _: 2)
    with monkeypatch.context() as patch:
        patch.setattr(_outbox.Outbox, "add_rest", interrupted, raising=False)
        with pytest.raises(KeyboardInterrupt):
            wire.outbox.send(b"<0>", text=True)
    wire.written = b"<0"
    wire.outbox.take()
    wire.outbox.push_control(b"[control]")
    while wire.write(sys.maxsize):
        pass
    assert wire.written == b"<0>[control]"


@pytest.mark.parametrize("see", ["take", "end", "send", "last words", "discard"])
def test_what_an_interrupted_sender_leaves_is_seen_to_by_whoever_comes_next(
    see: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after it has written a part, and before it could say what is left."""

    def interrupted(_: _outbox.Outbox) -> None:
        raise KeyboardInterrupt

    wire = Wire(lambda _: 2)
    with monkeypatch.context() as patch:
        patch.setattr(_outbox.Outbox, "_settle", interrupted)
        with pytest.raises(KeyboardInterrupt):
            wire.outbox.send(b"<0>", text=True)
    assert wire.woken, "the reader looks after it"
    wire.written = b"<0"
    if see == "send":
        wire.outbox.send(b"<1>", text=True)
    elif see == "end":
        set_end(wire.outbox, WebSocketNetworkError("over"), b"[control]")
    elif see == "last words":
        assert wire.outbox.last_words(b"goodbye") == b"", "not into the middle of a frame"
    elif see == "discard":
        wire.outbox.discard()
    while wire.write(sys.maxsize):
        pass
    assert wire.written == {"send": b"<0><1>", "end": b"<0>[control]"}.get(see, b"<0>")
    assert wire.outbox.bytes_sent == len(wire.written)


@pytest.mark.usefixtures("_bursts")
def test_the_last_words() -> None:
    wire = Wire()
    for number in range(3):
        wire.outbox.send(message(number, 7000), text=True)
    wire.outbox.push_control(b"[control]")
    last = wire.outbox.last_words(b"goodbye")
    assert last == b"[control]" + message(0, 7000) + message(1, 7000) + b"goodbye", "as much as is tried"
    wire.write(1)
    assert wire.outbox.last_words(b"goodbye") == b"", "not into the middle of a frame"


# -- the inbox -------------------------------------------------------------------------------------


class Racing(deque[Any]):
    """A queue from which another thread takes everything just before it is looked at."""

    def popleft(self) -> Any:
        self.clear()
        return super().popleft()

    def copy(self) -> Racing:
        copy = Racing(self)
        self.clear()
        return copy


def test_a_message_that_another_thread_takes_first() -> None:
    inbox = _inbox.Inbox(4, lambda: None, Life(5), Connection())
    inbox.messages = Racing("a")
    with pytest.raises(TimeoutError):
        inbox.wait(0)
    inbox.messages.append("b")
    set_end(inbox, WebSocketNetworkError("over"))
    assert inbox.wait(0) is None


def test_messages_that_are_taken_while_the_reader_looks() -> None:
    woken: list[bool] = []
    inbox = _inbox.Inbox(4, lambda: woken.append(True), Life(5), Connection())
    inbox.messages = Racing("abcd")
    assert not inbox.pause(), "few enough are left by now"
    assert inbox.resume_at == -1


def test_a_queue_that_was_large() -> None:
    """Its size is counted anew when it comes to the limit."""
    inbox = _inbox.Inbox(100, lambda: None, Life(5), Connection())
    inbox.put(["x" * MAX_SIZE], MAX_SIZE)
    assert inbox.room == 0
    inbox.messages.clear()
    inbox.put(["x"], 1)
    assert inbox.room == 99


def test_a_ping_and_a_close_right_behind_a_full_queue_are_answered() -> None:
    with played(queue_size=2, compression=None) as (ws, peer):
        peer.send(text("1"), text("2"), frame(PING, b"p"))
        assert peer.receive() == (PONG, b"p")
        peer.send(frame(PING, b"q"))  # likewise in a read of its own
        assert peer.receive() == (PONG, b"q")
        peer.send(close_frame(4000))
        assert peer.receive().opcode == CLOSE
        assert [ws.receive(), ws.receive()] == ["1", "2"]
        with pytest.raises(WebSocketDisconnect):
            ws.receive()


def test_a_receiver_that_comes_when_the_reader_waits_for_room() -> None:
    """It may be that nobody has told the reader: so who waits does."""
    woken: list[bool] = []
    inbox = _inbox.Inbox(4, lambda: woken.append(True), Life(5), Connection())
    inbox.resume_at = 2
    with pytest.raises(TimeoutError):
        inbox.wait(0)
    assert (woken, inbox.resume_at) == ([True], -1)


# -- waiting ---------------------------------------------------------------------------------------


def test_a_signal_that_is_set_as_the_wait_for_it_ends() -> None:
    class Setting(dict[Any, None]):
        def pop(self, waiter: Any, default: Any = None) -> Any:
            signal.set()
            return super().pop(waiter, default)

    signal = Signal()
    signal._waiters = Setting()
    assert not signal.wait(0.001)
    assert signal.wait(0)


# -- the carrier of TLS within TLS -----------------------------------------------------------------


def test_a_stream_is_not_written_to_while_its_socket_is_full() -> None:
    class Stream:
        written = b""

        def write(self, data: bytes, timeout: float | None) -> None:
            assert timeout == 0
            self.written += data

    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream()
        ours.settimeout(0)
        carrier = StreamCarrier(stream, ours)
        assert carrier.write(memoryview(bytes(10_000))) == 4096
        with pytest.raises(BlockingIOError):
            while True:
                ours.send(bytes(65536))
        assert carrier.write(memoryview(b"x")) == 0
        assert len(stream.written) == 4096


# -- the reader ------------------------------------------------------------------------------------


def test_a_reader_that_was_started_by_an_interrupted_call(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def interrupted(self: threading.Thread) -> None:
        start(self)
        if self.name == "WebSocket reader":
            eventually(lambda: self.ident)
            raise KeyboardInterrupt

    with in_thread(site()) as server, one_connection() as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", interrupted)
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt), open_websocket(client, server.url):
                    raise AssertionError
                assert readers() == []
        eventually(lambda: not server.open)


def test_a_reader_that_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who could not start it has closed the connection already."""
    late: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupted(self: threading.Thread) -> None:
        if self.name != "WebSocket reader":
            start(self)
            return
        late.append(self)
        raise KeyboardInterrupt

    with in_thread(site()) as server, new_client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", interrupted)
            with pytest.raises(KeyboardInterrupt), open_websocket(client, server.url):
                raise AssertionError
        late[0].start()
        late[0].join()
        eventually(lambda: not server.open)


def test_a_connection_that_ends_with_its_101(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reader, "read_stream", lambda _: b"")
    with pytest.raises(WebSocketNetworkError, match="the peer ended it"), played() as (ws, _):
        eventually(lambda: ws.closed)


def test_a_ping_that_is_ordered_as_the_session_ends() -> None:
    with played() as (ws, peer):
        peer.begin(peer.answer_close)
        set_end(ws._outbox, WebSocketNetworkError("just now"))
        ws._engine._order(ControlOrder(ws._engine.connection.ping, b""))
        eventually(lambda: not ws._engine.orders)
        assert ws._outbox.control_size == 0
        ws._outbox._life.sending = ws._outbox._life.receiving = None


def test_a_block_that_is_left_while_the_interpreter_ends(
    blocking: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other thread runs then, so nothing is waited for."""
    with in_thread(site()) as server:
        block = open_websocket(blocking, server.url)
        ws = block.__enter__()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "is_finalizing", lambda: True)
            block.__exit__(None, None, None)
        assert not ws.closed
        ws.close()


def set_end(box: Any, error: Any, *frame: bytes) -> None:
    box._life.sending = box._life.receiving = error
    box.end(*frame)
