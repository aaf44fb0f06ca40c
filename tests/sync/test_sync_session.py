"""Blocking sessions: messages both ways, pings, what they tell of themselves."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws.sync import (
    SyncWebSocketSession,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketInvalidTypeReceived,
    open_websocket,
    open_websocket_url,
)
from tests.memory import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_frame, frame, text

from .support import LONG, Task, each, eventually, new_client, played, readers, websocket_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2
    from websockets.sync.server import ServerConnection


@pytest.fixture(scope="module")
def echo_url() -> Iterator[str]:
    with websocket_server() as url:
        yield url


@pytest.fixture(params=[None, "deflate"])
def ws(request: pytest.FixtureRequest, blocking: httpx2.Client, echo_url: str) -> Iterator[SyncWebSocketSession]:
    with open_websocket(blocking, echo_url, compression=request.param) as ws:
        yield ws


def test_messages_both_ways(ws: SyncWebSocketSession) -> None:
    messages: list[str | bytes] = ["text", b"bytes", "", b"", "ä" * 100_000, b"x" * 1_000_000]
    for message in messages:
        ws.send(message)
        assert ws.receive() == message
    sender = Task(each, ws.send, messages)
    assert [ws.receive() for _ in messages] == messages
    sender.result()


def test_the_kinds_of_sending_and_receiving(ws: SyncWebSocketSession) -> None:
    ws.send_text("text")
    ws.send_bytes(b"bytes")
    ws.send_bytes(bytearray(b"array"))
    ws.send_bytes(memoryview(b"view"))
    ws.send_json({"ä": [1, None]})
    ws.send_json([2], mode="binary")
    assert ws.receive_text() == "text"
    assert [ws.receive_bytes() for _ in range(3)] == [b"bytes", b"array", b"view"]
    assert ws.receive_text() == '{"ä":[1,null]}'
    assert ws.receive_json() == [2]


def test_the_wrong_type_is_told_and_the_message_is_not_lost(ws: SyncWebSocketSession) -> None:
    ws.send("text")
    ws.send(b"bytes")
    with pytest.raises(WebSocketInvalidTypeReceived, match="expected bytes, but text arrived") as caught:
        ws.receive_bytes()
    assert caught.value.message == "text"
    with pytest.raises(WebSocketInvalidTypeReceived, match="expected text, but bytes arrived"):
        ws.receive_text()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda ws: ws.send(1), TypeError, r"a message is str or bytes, not int; .* send_json"),
        (lambda ws: ws.send_text(1), TypeError, r"send_text\(\) takes str, or bytes that are UTF-8, not int"),
        (lambda ws: ws.send_text(b"\xff"), UnicodeDecodeError, "utf-8"),
        (lambda ws: ws.receive_json(5), TypeError, "loads must be a function .* a timeout is passed by its name"),
        (lambda ws: ws.iter_json(5), TypeError, "loads must be a function"),
        (
            lambda ws: ws.send_bytes("x"),
            TypeError,
            r"send_bytes\(\) takes bytes, .* not str; for text there is send_text",
        ),
        (lambda ws: ws.send("\ud800"), UnicodeEncodeError, "surrogates"),
        (lambda ws: ws.send_json(1, mode="bytes"), ValueError, "mode is"),
        (lambda ws: ws.send_json({1}), TypeError, "serializable"),
        (lambda ws: ws.ping("x"), TypeError, "payload is bytes"),
        (lambda ws: ws.pong(b"x" * 126), ValueError, "125 bytes"),
        (lambda ws: ws.close(1005), ValueError, "may not be sent"),
        (lambda ws: ws.receive("1"), TypeError, "timeout must be a number of seconds or None, not '1'"),
        (lambda ws: ws.receive(timeout=True), TypeError, "timeout must be a number of seconds or None, not True"),
        (lambda ws: ws.wait_closed(math.nan), ValueError, "not nan"),
    ],
)
def test_wrong_arguments(echo_url: str, call: Any, error: type[Exception], match: str) -> None:
    with new_client() as client, open_websocket(client, echo_url) as ws:
        with pytest.raises(error, match=match):
            call(ws)
        ws.send("it still works")
        assert ws.receive() == "it still works"


def test_iteration_ends_with_1000_and_1001_and_no_code() -> None:
    for code in (1000, 1001, 1005):
        closing = frame(CLOSE) if code == 1005 else close_frame(code)
        with played(glued=text("a") + text("b") + closing) as (ws, peer):
            assert list(ws) == ["a", "b"]
            assert list(ws.iter_text()) == []
            assert peer.receive() == Frame(CLOSE, closing[2:])
            peer.socket.close()
            assert ws.close_code == code


def test_iteration_raises_on_other_codes() -> None:
    with played(glued=text("a") + close_frame(4000, "why")) as (ws, peer):
        assert next(ws) == "a"
        with pytest.raises(WebSocketDisconnect, match="4000: why"):
            next(ws)
        with pytest.raises(WebSocketDisconnect) as caught:
            ws.send("x")
        assert (caught.value.code, caught.value.reason) == (4000, "why")
        assert (ws.close_code, ws.close_reason) == (4000, "why")
        assert peer.receive().opcode == CLOSE
        peer.socket.close()


@pytest.mark.parametrize("seconds", [0.02, 0, -1])
def test_a_timeout_loses_no_message(seconds: float) -> None:
    with played() as (ws, peer):
        for receive in (ws.receive, ws.receive_text, ws.receive_json):
            began = time.monotonic()
            with pytest.raises(TimeoutError, match=f"no message came within {seconds} s"):
                receive(timeout=seconds)
            assert max(seconds, 0) <= time.monotonic() - began < LONG
        peer.send(text("[1]"), text("2"))
        assert ws.receive_json(timeout=math.inf) == [1]
        assert ws.receive(timeout=10**20) == "2"
        peer.begin(peer.answer_close)


def test_timeouts_against_messages_that_come_at_the_same_time(ws: SyncWebSocketSession) -> None:
    """Every message is received once, in order, however often the wait for it ended just then."""
    received: list[str | bytes] = []
    count, timeouts = 300, 0

    def send() -> None:
        for number in range(count):
            ws.send(str(number))
            time.sleep(0.0002)

    sender = Task(send)
    while len(received) < count:
        try:
            received.append(ws.receive(timeout=0.0001))
        except TimeoutError:
            timeouts += 1
    assert received == [str(number) for number in range(count)]
    assert timeouts
    sender.result()


def test_many_threads_send_and_receive(ws: SyncWebSocketSession) -> None:
    """Each message arrives whole, and once; those of one thread stay in order where one thread receives them."""
    threads, each = 6, 150
    received: list[str] = []

    def send(name: int) -> None:
        for number in range(each):
            ws.send(f"{name}:{number}:{'x' * (number % 7 * 100)}")

    def receive() -> list[str]:
        return [ws.receive_text() for _ in range(threads * each // 3)]

    senders = [Task(send, name) for name in range(threads)]
    receivers = [Task(receive) for _ in range(3)]
    for task in (*receivers, *senders):
        received += task.result() or []
    expected = {f"{name}:{number}:{'x' * (number % 7 * 100)}" for name in range(threads) for number in range(each)}
    assert Counter(received) == Counter(expected)
    for receiver in receivers:
        places: dict[str, int] = {}
        for message in receiver.result():
            name, number, _ = message.split(":")
            assert places.get(name, -1) < int(number)
            places[name] = int(number)


def test_receivers_are_served_in_the_order_of_their_calls() -> None:
    with played() as (ws, peer):
        tasks: list[Task] = []
        for _ in range(3):
            tasks.append(Task(ws.receive))
            eventually(lambda: len(ws._inbox._receivers) == len(tasks))
        peer.send(text("a"), text("b"), text("c"), text("d"))
        assert [task.result() for task in tasks] == ["a", "b", "c"]
        assert ws.receive() == "d"
        peer.begin(peer.answer_close)


def test_a_burst_is_written_in_few_pieces_and_a_lone_message_at_once() -> None:
    with played(compression=None) as (ws, peer):
        ws.send("lone")
        assert ws.statistics().unsent_bytes == 0
        assert peer.receive() == Frame(TEXT, b"lone")
        for number in range(100):
            ws.send_bytes(b"%d" % number)
        assert [peer.receive() for _ in range(100)] == [Frame(BINARY, b"%d" % number) for number in range(100)]
        peer.begin(peer.answer_close)


def test_pings(ws: SyncWebSocketSession) -> None:
    assert ws.statistics().latency is None
    round_trip = ws.ping().wait()
    assert 0 < round_trip < 5
    waiter = ws.ping(b"mine")
    assert waiter.wait(timeout=5) == waiter.wait(0) == ws.latency
    ws.pong(b"nobody asked")
    assert ws.statistics().latency == ws.latency


def test_waiting_for_a_pong() -> None:
    with played(keepalive_ping_interval_seconds=None) as (ws, peer):
        waiter = ws.ping(b"1")
        with pytest.raises(ValueError, match="waits for its pong already"):
            ws.ping(b"1")
        with pytest.raises(TimeoutError, match=r"no pong came within 0\.01 s"):
            waiter.wait(0.01)
        several = [Task(waiter.wait) for _ in range(3)]
        later = ws.ping(b"2")
        assert [peer.receive(), peer.receive()] == [Frame(PING, b"1"), Frame(PING, b"2")]
        peer.send(frame(PONG, b"1"))
        assert len({task.result() for task in several}) == 1
        waiting = Task(later.wait)
        peer.send(frame(PING, b"ours"))
        assert peer.receive() == Frame(PONG, b"ours")
        peer.send(close_frame(4001))
        with pytest.raises(WebSocketDisconnect, match="4001"):
            waiting.result()
        with pytest.raises(WebSocketDisconnect, match="4001"):
            ws.ping()
        with pytest.raises(WebSocketDisconnect, match="4001"):
            ws.pong()
        peer.socket.close()


def test_what_a_session_tells(blocking: httpx2.Client) -> None:
    def handler(connection: ServerConnection) -> None:
        connection.send("three")
        connection.recv()
        connection.close(1000, "done")

    with websocket_server(handler, subprotocols=["b"], compression=None) as url:
        with open_websocket(blocking, f"{url}/path", subprotocols=["a", "b"]) as ws:
            host = url.removeprefix("ws://")
            assert repr(ws) == f"<SyncWebSocketSession ws://{host}/path (open)>"
            assert (ws.subprotocol, ws.response.status_code, ws.closed) == ("b", 101, False)
            assert (ws.close_code, ws.close_reason) == (None, None)
            eventually(lambda: ws.statistics().queued_messages)
            (reader,) = readers()
            assert reader.daemon
            statistics = ws.statistics()
            assert (statistics.messages_received, statistics.bytes_received) == (1, 7)
            ws.send("four")
            assert ws.receive() == "three"
            with pytest.raises(WebSocketDisconnect):
                ws.receive()
            assert (ws.closed, ws.close_code, ws.close_reason) == (True, 1000, "done")
            statistics = ws.statistics()
            assert (statistics.messages_sent, statistics.queued_messages, statistics.unsent_bytes) == (1, 0, 0)
            assert statistics.bytes_sent >= 10
        assert repr(ws) == f"<SyncWebSocketSession ws://{host}/path (closed, 1000)>"


def test_the_session_itself_is_a_context_manager(blocking: httpx2.Client, echo_url: str) -> None:
    with open_websocket(blocking, echo_url) as ws:
        with ws as same:
            assert same is ws
        assert readers() == []
        with pytest.raises(WebSocketClosedError):
            ws.send("x")


def test_a_client_of_its_own(echo_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with open_websocket_url(echo_url) as ws:
        ws.send("x")
        assert ws.receive() == "x"


def test_nothing_is_left_after_many_sessions(blocking: httpx2.Client, echo_url: str) -> None:
    before = threading.active_count()
    for _ in range(20):
        with open_websocket(blocking, echo_url) as ws:
            ws.send("x")
            ws.receive()
    assert readers() == []
    eventually(lambda: threading.active_count() <= before)  # the server's own threads
