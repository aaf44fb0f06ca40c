"""How a blocking session ends, and that it does so in time."""

from __future__ import annotations

import contextlib
import gc
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws._core import _life
from httpx2_trio_ws._protocol import Connection
from httpx2_trio_ws.sync import (
    SyncWebSocketSession,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketNetworkError,
    WebSocketProtocolError,
    open_websocket,
)
from tests.memory import CLOSE, PING, TEXT, Frame, close_frame, frame, text

from .support import BIG, LONG, Peer, Task, each, eventually, one_connection, played, readers, upgrade, websocket_server
from .support import listening as listen

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2


@contextlib.contextmanager
def at_most(seconds: float) -> Any:
    """What is in the block takes no longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def reset(sock: socket.socket) -> None:
    """Close it so that the other side meets ECONNRESET."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def code_of(closing: Frame) -> int:
    assert closing.opcode == CLOSE
    return int.from_bytes(closing.payload[:2])


# -- what the peer is told -------------------------------------------------------------------------


def test_leaving_normally_says_1000() -> None:
    with played() as (ws, peer):
        ws.send("last")
        closed = peer.begin(peer.answer_close)
    assert closed.result()[0] == Frame(TEXT, closed.result()[0].payload)
    assert code_of(closed.result()[-1]) == 1000
    assert (ws.close_code, ws.close_reason) == (1000, "")


def test_leaving_by_an_error_says_1011() -> None:
    with pytest.raises(ZeroDivisionError), played() as (_, peer):
        closed = peer.begin(peer.answer_close)
        raise ZeroDivisionError
    assert code_of(closed.result()[-1]) == 1011


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_leaving_by_an_interrupt_says_1001_and_does_not_wait(error: type[BaseException]) -> None:
    with at_most(LONG), pytest.raises(error), played(close_timeout_seconds=60, compression=None) as (ws, peer):
        frames = peer.begin(peer.frames)
        ws.send("one")
        ws.send("two")
        raise error
    assert [payload for _, payload in frames.result()[:-1]] == [b"one", b"two"]
    assert code_of(frames.result()[-1]) == 1001


def test_closing_with_a_code_and_a_reason() -> None:
    with played() as (ws, peer):
        closed = peer.begin(peer.answer_close)
        ws.close(4001, "bye")
        assert closed.result() == [Frame(CLOSE, struct.pack("!H", 4001) + b"bye")]
        assert (ws.closed, ws.close_code, ws.close_reason) == (True, 4001, "bye")
        ws.close(4002)
        ws.wait_closed()
        for call in (ws.receive, lambda: ws.send("x"), ws.ping, ws.pong, lambda: next(ws)):
            with pytest.raises(WebSocketClosedError, match="closed on our side"):
                call()


def test_messages_that_were_sent_are_flushed_before_the_close_frame() -> None:
    with played(compression=None, small=True) as (ws, peer):
        for number in range(400):
            ws.send(str(number) * 20)
        frames = peer.begin(peer.answer_close)
    assert [payload for _, payload in frames.result()[:-1]] == [str(n).encode() * 20 for n in range(400)]


def test_messages_that_were_not_received_are_discarded() -> None:
    with played(glued=text("a") * 5) as (ws, peer):
        eventually(lambda: ws.statistics().queued_messages == 5)
        closed = peer.begin(peer.answer_close)
        ws.close()
        assert ws.statistics().queued_messages == 0
        closed.result()
        with pytest.raises(WebSocketClosedError):
            ws.receive()


def test_closing_after_the_peer_has() -> None:
    """The session is over, and its reader gone; still what calls raise is our own close."""
    with played(glued=text("a") + close_frame(1001)) as (ws, peer):
        assert peer.receive().opcode == CLOSE
        peer.socket.close()
        ws.wait_closed()
        assert readers() == []
        assert ws.closed
        assert ws.receive() == "a"
        with pytest.raises(WebSocketDisconnect):
            ws.receive()
        ws.close()
        with pytest.raises(WebSocketClosedError):
            ws.receive()
        assert ws.close_code == 1001


# -- who waits is woken ----------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
def test_close_wakes_receivers_and_senders_and_who_waits_for_pongs(times: int) -> None:
    """From another thread, within 100 ms; also those whose message the peer takes no part of."""
    with played(small=True, compression=None, close_timeout_seconds=0.2) as (ws, peer):
        waiter = ws.ping()
        tasks = [Task(call) for call in (ws.receive, waiter.wait, ws.wait_closed) for _ in range(times)]
        first = Task(ws.send_bytes, bytes(BIG))
        eventually(lambda: ws.statistics().unsent_bytes > 65536)
        pinging = Task(each, ws.pong, [bytes(125)] * 100_000)
        eventually(lambda: ws._outbox._drained)
        later = [Task(ws.send, "behind it") for _ in range(times)]
        eventually(lambda: len(ws._outbox._turns) == times)
        closing = Task(ws.close)
        began = time.monotonic()
        for task in (*tasks[: 2 * times], first, pinging, *later):
            with pytest.raises(WebSocketClosedError):
                task.result()
            assert task.ended_at - began < 0.1
        for task in (closing, *tasks[2 * times :]):
            task.result()  # not before the connection is closed
        peer.socket.close()


def test_close_in_several_threads() -> None:
    with played() as (ws, peer):
        closing = [Task(ws.close, 4000 + number) for number in range(4)]
        assert len(peer.answer_close()) == 1
        for task in closing:
            task.result()
        assert 4000 <= (ws.close_code or 0) < 4004


def test_a_loop_in_another_thread_meets_the_close() -> None:
    with played() as (ws, peer):
        looping = Task(list, ws)
        peer.begin(peer.answer_close)
        ws.close()
        with pytest.raises(WebSocketClosedError):
            looping.result()


# -- how long it takes -----------------------------------------------------------------------------


def test_a_peer_that_does_not_answer_is_given_the_close_timeout() -> None:
    with played(close_timeout_seconds=0.1) as (ws, peer):
        frames = peer.begin(peer.frames)
        began = time.monotonic()
    assert 0.1 <= time.monotonic() - began < 4, "the default is 5"
    assert [code_of(frame) for frame in frames.result()] == [1000]
    assert (ws.close_code, ws.close_reason) == (1006, "")


def test_a_peer_that_does_not_read_cannot_hold_it_longer() -> None:
    with at_most(LONG), played(small=True, close_timeout_seconds=0.1) as (ws, _):
        sending = Task(ws.send_bytes, bytes(BIG))
        eventually(lambda: ws.statistics().unsent_bytes)
    with pytest.raises(WebSocketClosedError):
        sending.result()


def test_a_peer_that_goes_on_sending_cannot_hold_it_longer() -> None:
    def flood(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer.send(text("x" * 1000) * 50)

    with at_most(LONG), played(close_timeout_seconds=0.2) as (_, peer):
        flooding = Task(flood, peer)
    flooding.result()


@pytest.mark.parametrize("queue_size", [1, 5])
def test_a_full_queue_does_not_hold_it(queue_size: int) -> None:
    with at_most(LONG), played(glued=text("x") * 100, queue_size=queue_size) as (ws, peer):
        eventually(lambda: ws.statistics().queued_messages == queue_size)
        peer.begin(peer.answer_close)
    assert ws.close_code == 1000, "what came after the queue was full has been read, too"


def test_a_server_that_does_not_hang_up_is_given_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_life, "LINGER", 0.1)
    began = time.monotonic()
    with played(close_timeout_seconds=60) as (ws, peer):
        peer.send(close_frame(1000))
        assert peer.receive().opcode == CLOSE
        ws.wait_closed(timeout=LONG)
    assert 0.1 <= time.monotonic() - began < LONG


def test_waiting_for_the_end_with_a_timeout() -> None:
    with played() as (ws, peer):
        with pytest.raises(TimeoutError, match=r"the session has not ended within 0\.01 s"):
            ws.wait_closed(0.01)
        peer.begin(peer.answer_close)


@pytest.fixture
def _short_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has arrived is read on for less than a second."""
    monkeypatch.setattr(_life, "DRAIN", 0.1)


# -- failures --------------------------------------------------------------------------------------


def test_a_failure_is_raised_by_each_call_after_the_messages_before_it() -> None:
    with played(glued=text("a") + text("b")) as (ws, peer):
        peer.socket.close()
        assert [ws.receive(), ws.receive()] == ["a", "b"]
        for _ in range(2):
            with pytest.raises(WebSocketNetworkError, match="lost without a close frame: the peer ended it"):
                ws.receive()
        with pytest.raises(WebSocketNetworkError):
            ws.send("x")
        with pytest.raises(WebSocketNetworkError):
            ws.wait_closed()
        assert (ws.close_code, ws.close_reason) == (1006, "")


def test_a_failure_that_no_call_has_raised_is_raised_where_the_block_is_left() -> None:
    with pytest.raises(WebSocketNetworkError, match="without a close frame"), played() as (ws, peer):
        peer.socket.close()
        eventually(lambda: ws.closed)


def test_a_failure_that_was_told_is_not_raised_again() -> None:
    with played() as (ws, peer):
        peer.socket.close()
        with pytest.raises(WebSocketNetworkError):
            ws.receive()


def test_a_failure_does_not_mask_the_error_of_the_block() -> None:
    with pytest.raises(KeyError, match="mine") as caught, played() as (ws, peer):
        peer.socket.close()
        eventually(lambda: ws.closed)
        raise KeyError("mine")
    (note,) = caught.value.__notes__
    assert note.startswith("the WebSocket session had failed, too: WebSocketNetworkError('the connection was lost")


def test_close_does_not_raise_a_failure_and_does_not_hide_it() -> None:
    with pytest.raises(WebSocketNetworkError), played() as (ws, peer):
        peer.socket.close()
        eventually(lambda: ws.closed)
        ws.close()


def test_a_connection_that_is_reset_has_a_cause() -> None:
    with played() as (ws, peer):
        reset(peer.socket)
        with pytest.raises(WebSocketNetworkError, match="reset") as caught:
            ws.receive()
        assert isinstance(caught.value.__cause__, ConnectionResetError)


def test_a_peer_that_breaks_the_protocol_is_told() -> None:
    with played(glued=text("a") + b"\x83\x00") as (ws, peer):
        assert ws.receive() == "a"
        with pytest.raises(WebSocketProtocolError) as caught:
            ws.receive()
        assert caught.value.code == 1002
        assert code_of(peer.receive()) == 1002
        peer.socket.close()


def test_a_message_over_the_limit() -> None:
    with played(glued=text("x" * 101), max_message_size_bytes=100) as (ws, peer):
        with pytest.raises(WebSocketProtocolError, match="1009"):
            ws.receive()
        assert code_of(peer.receive()) == 1009
        peer.socket.close()


@pytest.mark.usefixtures("_short_drain")
def test_a_write_that_fails_lets_what_has_arrived_be_received() -> None:
    """Sending fails at once; the peer's last words, which came before the reset, are still there."""
    glued = text("a") + text("b") + close_frame(4000)  # the second message waits, and with it the close frame
    with played(glued=glued, queue_size=1, compression=None) as (ws, peer):
        eventually(lambda: ws.statistics().queued_messages)
        waiter = ws.ping()
        assert peer.receive().opcode == PING
        ws._engine._carrier.socket.shutdown(socket.SHUT_WR)  # what a peer does with a reset, without its reset
        with pytest.raises(WebSocketNetworkError, match="lost while sending") as caught:
            ws.send("x")
        assert isinstance(caught.value.__cause__, BrokenPipeError)
        with pytest.raises(WebSocketNetworkError, match="lost while sending"):
            waiter.wait()
        assert [ws.receive(), ws.receive()] == ["a", "b"]
        with pytest.raises(WebSocketDisconnect, match="4000"):
            ws.receive()


@pytest.mark.usefixtures("_short_drain")
def test_a_write_that_fails_and_a_peer_that_says_no_more() -> None:
    with at_most(LONG), played(compression=None) as (ws, _):
        ws._engine._carrier.socket.shutdown(socket.SHUT_WR)
        with pytest.raises(WebSocketNetworkError, match="while sending"):
            ws.send("x")
        with pytest.raises(WebSocketNetworkError, match="while sending"):
            ws.receive()


def test_leaving_while_what_has_arrived_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_life, "DRAIN", 60)
    with at_most(LONG), played(compression=None, close_timeout_seconds=60) as (ws, _):
        ws._engine._carrier.socket.shutdown(socket.SHUT_WR)
        with pytest.raises(WebSocketNetworkError, match="while sending"):
            ws.send("x")


def test_a_write_of_the_readers_that_fails() -> None:
    with pytest.raises(WebSocketNetworkError, match="while sending"), played(compression=None) as (ws, peer):
        ws._engine._carrier.socket.shutdown(socket.SHUT_WR)
        peer.send(frame(PING))
        eventually(lambda: ws.closed)


def test_an_error_of_our_own_comes_out_where_the_block_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> list[str]:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"), played() as (ws, peer):
        monkeypatch.setattr(Connection, "receive_data", broken)
        peer.send(text("x"))
        with pytest.raises(WebSocketClosedError, match="an internal error: ZeroDivisionError"):
            ws.receive()


# -- what is left ----------------------------------------------------------------------------------


def failing(ws: SyncWebSocketSession, peer: Peer) -> None:
    peer.socket.close()
    with pytest.raises(WebSocketNetworkError):
        ws.receive()


def leaving(ws: SyncWebSocketSession, peer: Peer) -> None:
    peer.begin(peer.answer_close)


@pytest.mark.parametrize("end", [failing, leaving])
def test_the_slot_of_the_pool_is_free_afterwards(end: Callable[[SyncWebSocketSession, Peer], None]) -> None:
    with listen() as (address, accept), one_connection() as client:
        for _ in range(3):
            task = Task(lambda: upgrade(accept()))
            with open_websocket(client, f"ws://{address}") as ws:
                end(ws, task.result())
    gc.collect()  # a socket that was forgotten would warn


def test_a_second_session_beside_the_first(blocking: httpx2.Client) -> None:
    with (
        websocket_server() as url,
        open_websocket(blocking, url) as one,
        open_websocket(blocking, url) as two,
    ):
        one.send("1")
        two.send("2")
        assert (one.receive(), two.receive()) == ("1", "2")
        assert len(readers()) == 2
