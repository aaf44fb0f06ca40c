"""Ctrl-C in any call leaves the session sound, and leaving its block is then prompt. So is the interpreter's end."""

from __future__ import annotations

import contextlib
import gc
import random
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed

from httpx2_trio_ws.sync import SyncWebSocketSession, open_websocket
from tests.handshake_support import site
from tests.memory import PONG, frame, text

from .interrupts import interrupts
from .support import (
    BIG,
    LONG,
    Peer,
    Task,
    each,
    eventually,
    in_thread,
    new_client,
    one_connection,
    played,
    readers,
    websocket_server,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2
    from websockets.sync.server import ServerConnection

# What is compressed refers to what was compressed before, so that a lost message would be noticed.
PROSE = "a message that is much like the one before it, "


@pytest.mark.parametrize("calm", [True, False], ids=["lone", "burst"])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_sending(blocking: httpx2.Client, compression: Any, calm: bool) -> None:
    """The message is sent whole, or not at all, and what comes after it arrives."""
    with websocket_server() as url, open_websocket(blocking, url, compression=compression) as ws:
        arrived = 0
        for number, interrupted in enumerate(interrupts()):
            message = PROSE + str(number)
            if calm:
                ws._outbox.calm()
            with interrupted:
                ws.send(message)
            ws.send("next")
            answer = ws.receive(timeout=LONG)
            if answer == message:
                arrived += 1
                answer = ws.receive(timeout=LONG)
            assert answer == "next"
        assert 3 < arrived < number
        assert ws.statistics().unsent_bytes == 0


def read_slowly(peer: Peer) -> list[str]:
    """The messages up to "next"."""
    time.sleep(0.01)
    received: list[str] = []
    while received[-1:] != ["next"]:
        received.append(peer.receive().payload.decode())
    return received


def test_sending_what_has_to_wait() -> None:
    """Part of it is written by the sender, the rest by the reader."""
    with played(small=True, compression=None) as (ws, peer):
        for number, interrupted in enumerate(interrupts("_outbox.py", "_waiting.py", step=2)):
            message = str(number % 10) * 400_000
            ws._outbox.calm()
            reading = Task(read_slowly, peer)
            with interrupted:
                ws.send(message)
            ws.send("next")
            assert reading.result() in (["next"], [message, "next"])
        assert number > 10
        peer.begin(peer.answer_close)


def test_sending_a_burst_that_is_worth_a_write() -> None:
    """The sender writes what has gathered: of the messages that were sent, none is lost, doubled or cut."""
    with played(compression=None) as (ws, peer):
        for number, interrupted in enumerate(interrupts("_outbox.py", "_frames.py", step=5)):
            messages = [f"{number}.{i} " + "x" * 15_000 for i in range(6)]
            reading = Task(read_slowly, peer)
            with interrupted:
                for message in messages:
                    ws.send(message)
            ws.send("next")
            received = reading.result()
            assert received == [*messages[: len(received) - 1], "next"]
        assert number > 10
        peer.begin(peer.answer_close)


def test_receiving_when_there_is_nothing() -> None:
    """The next message is not handed to a call that has ended."""
    with played(compression=None) as (ws, peer):
        for number, interrupted in enumerate(interrupts()):
            with interrupted, pytest.raises(TimeoutError):
                ws.receive(timeout=0.001)
            peer.send(text(str(number)))
            assert ws.receive(timeout=LONG) == str(number)
        peer.begin(peer.answer_close)


def first_of(ws: SyncWebSocketSession) -> object:
    for message in ws:
        return message
    raise AssertionError


def first_of_texts(ws: SyncWebSocketSession) -> object:
    for message in ws.iter_text():
        return message
    raise AssertionError


@pytest.mark.parametrize(
    "receive",
    [
        lambda ws: ws.receive(),
        lambda ws: ws.receive_text(timeout=0),
        lambda ws: ws.receive_json(str),
        first_of,
        first_of_texts,
    ],
    ids=["receive", "receive_text", "receive_json", "for", "iter_text"],
)
def test_receiving_messages_that_are_there(receive: Callable[[SyncWebSocketSession], object]) -> None:
    """Each is received, in order; and reading, which had paused, goes on."""
    with played(compression=None, queue_size=2) as (ws, peer):
        for interrupted in interrupts():
            peer.send(*(text(str(number)) for number in range(5)))
            eventually(lambda: ws._inbox.resume_at >= 0)
            received: list[object] = []
            with interrupted:
                received.append(receive(ws))
                received.append(receive(ws))
            while len(received) < 5:
                received.append(ws.receive(timeout=LONG))
            assert received == ["0", "1", "2", "3", "4"]
        peer.begin(peer.answer_close)


def test_receiving_when_a_message_comes() -> None:
    """It was handed to the call that ends: it is put back, before those after it."""
    with played(compression=None) as (ws, peer):
        for number, interrupted in enumerate(interrupts("_inbox.py", "_waiting.py", "_session.py", "_outbox.py")):

            def send(first: str) -> None:
                until = time.monotonic() + 0.05
                while not ws._inbox._receivers and time.monotonic() < until:
                    pass
                peer.send(text(first), text("second"))

            sending = Task(send, f"first {number}")
            received: list[str | bytes] = []
            with interrupted:
                received.append(ws.receive(timeout=LONG))
            while received[-1:] != ["second"]:
                received.append(ws.receive(timeout=LONG))
            assert received == [f"first {number}", "second"]
            sending.result()
        assert number > 10
        peer.begin(peer.answer_close)


def test_a_message_that_is_put_back_goes_to_another_thread_that_waits() -> None:
    with played() as (ws, peer):
        other = Task(ws.receive)
        eventually(lambda: ws._inbox._receivers)
        ws._inbox.put_back("back")
        assert other.result() == "back"
        peer.begin(peer.answer_close)


def test_pings() -> None:
    with played(keepalive_ping_interval_seconds=None) as (ws, peer):
        for interrupted in interrupts():
            with interrupted:
                ws.ping(b"first")
            ws.ping(b"second")
            payloads = [peer.receive().payload]
            if payloads == [b"first"]:
                payloads.append(peer.receive().payload)
            assert payloads[-1] == b"second"
            peer.send(frame(PONG, b"second"))
            eventually(lambda: not ws._engine.pings._book._waiting)
        peer.begin(peer.answer_close)


def test_waiting_for_a_pong() -> None:
    with played() as (ws, peer):
        waiter = ws.ping(b"x")
        for interrupted in interrupts():
            with interrupted, pytest.raises(TimeoutError):
                waiter.wait(0.001)
        assert peer.receive().payload == b"x"
        peer.send(frame(PONG, b"x"))
        assert waiter.wait() > 0
        peer.begin(peer.answer_close)


def close(ws: SyncWebSocketSession) -> None:
    ws.close()


def leave(ws: SyncWebSocketSession) -> None:
    with ws:
        pass


def leave_by_an_error(ws: SyncWebSocketSession) -> None:
    with pytest.raises(ZeroDivisionError), ws:
        raise ZeroDivisionError


@pytest.mark.parametrize("end", [close, leave, leave_by_an_error])
def test_closing(end: Callable[[SyncWebSocketSession], None]) -> None:
    """However it is interrupted, the block around it is left in order."""
    with in_thread(site()) as server, one_connection() as client:
        for interrupted in interrupts(step=2):
            with open_websocket(client, server.url) as ws, interrupted:
                end(ws)
            assert readers() == []


def test_leaving_the_block(blocking: httpx2.Client) -> None:
    """Interrupted, it drops the connection at once, and no thread is left."""
    with websocket_server() as url:
        for interrupted in interrupts():
            block = open_websocket(blocking, url, close_timeout_seconds=60)
            ws = block.__enter__()
            ws.send("x")
            with interrupted:
                block.__exit__(None, None, None)
            eventually(lambda: not readers())


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_opening() -> None:
    """Interrupted, it leaves no thread and no connection; sockets that were just made are the garbage collector's."""
    with in_thread(site()) as server, new_client() as client:
        for interrupted in interrupts(
            "_opening.py", "_deadline.py", "_steps.py", "_engine.py", "_carrier.py", "_poller.py"
        ):
            with interrupted, open_websocket(client, server.url):
                pass
            eventually(lambda: not readers())
        gc.collect()
        eventually(lambda: not server.open)


def waiters(ws: SyncWebSocketSession) -> list[object]:
    """All who wait."""
    inbox, outbox, engine = ws._inbox, ws._outbox, ws._engine
    return [
        *inbox._receivers.copy(),
        *outbox._turns.copy(),
        *outbox._unwritten.copy(),
        *outbox._drained,
        *engine.done._waiters,
        *(waiter for ping in list(engine.pings._book._waiting.values()) for waiter in ping.answered._waiters),
    ]


def press_ctrl_c(ws: SyncWebSocketSession) -> None:
    """When the main thread waits in a call, and does not just pass by."""
    until = time.monotonic() + LONG
    before: list[object] = []
    while (now := waiters(ws)) != before or not now:
        assert time.monotonic() < until
        before = now
        time.sleep(0.015)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_leaving_after_ctrl_c_is_prompt() -> None:
    """In each kind of call that waits; the peer neither reads nor answers."""
    calls: list[Callable[[SyncWebSocketSession], object]] = [
        lambda ws: ws.receive(),
        lambda ws: ws.receive(timeout=60),
        list,
        lambda ws: ws.send_bytes(bytes(BIG)),
        lambda ws: each(ws.send_bytes, [bytes(10_000)] * (BIG // 10_000)),
        lambda ws: ws.ping().wait(),
        lambda ws: each(ws.pong, [bytes(125)] * BIG),
        lambda ws: ws.wait_closed(),
        lambda ws: ws.close(),
    ]
    for call in calls:
        with (
            pytest.raises(KeyboardInterrupt),
            played(small=True, compression=None, close_timeout_seconds=60, keepalive_ping_interval_seconds=None) as (
                ws,
                _,
            ),
        ):
            pressing = Task(press_ctrl_c, ws)
            try:
                call(ws)
            finally:
                began = time.monotonic()
                pressing.result()
        assert time.monotonic() - began < LONG
        assert readers() == []


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that strikes anywhere")
def test_real_interrupts_anywhere(blocking: httpx2.Client) -> None:
    """As the operating system sends them: what is received is what was sent, in order, none twice."""
    if sys.gettrace() is not None:
        pytest.skip("what traces, such as coverage, is not safe from them")
    dice = random.Random(0)
    struck = 0

    def strike(*_: object) -> None:
        if armed:
            raise KeyboardInterrupt

    armed = True

    before = signal.signal(signal.SIGALRM, strike)
    try:
        with websocket_server() as url, open_websocket(blocking, url) as ws:
            received = [-1]
            until = time.monotonic() + 0.4
            number = 0
            while time.monotonic() < until:
                try:
                    signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.00001, 0.002))
                    while True:
                        number += 1
                        ws.send(f"{PROSE}{number}")
                        if number % 3 == 0:
                            received.append(int(ws.receive_text(timeout=LONG)[len(PROSE) :]))
                except KeyboardInterrupt:
                    struck += 1
            armed = False
            ws.send(f"{PROSE}-2")
            while received[-1] != -2:
                received.append(int(ws.receive_text(timeout=LONG)[len(PROSE) :]))
            received[-1] = sys.maxsize
            assert received == sorted(set(received))
            assert struck > 30
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- the interpreter's end -------------------------------------------------------------------------

OPEN = """
import contextlib, sys, threading, time
import httpx2
from httpx2_trio_ws.sync import open_websocket
client = httpx2.Client(verify=False, trust_env=False)
"""
NEVER_LEFT = {
    "entered by hand": """
block = open_websocket(client, sys.argv[1])
ws = block.__enter__()
ws.send("x")
print(ws.receive())
""",
    "in a generator": """
@contextlib.contextmanager
def wrapped():
    with open_websocket(client, sys.argv[1]) as ws:
        yield ws
block = wrapped()
ws = block.__enter__()
ws.send("x")
print(ws.receive())
""",
    "in other threads": """
block = open_websocket(client, sys.argv[1], queue_size=1)
ws = block.__enter__()
ws.send("x")
print(ws.receive())
def receive():
    with open_websocket(client, sys.argv[1]) as mine:
        mine.receive()
def send():
    while True:
        ws.send("x" * 10000)
for function in (receive, send):
    threading.Thread(target=function, daemon=True).start()
time.sleep(0.1)
""",
}


def test_the_interpreter_ends_though_the_block_was_never_left() -> None:
    """Soon after the last line, and not when the session's limits are over; each is waited for by itself."""

    def run(script: str) -> tuple[subprocess.CompletedProcess[str], float]:
        command = [sys.executable, "-c", OPEN + script + "print(time.monotonic(), flush=True)", url]
        process = subprocess.run(command, capture_output=True, text=True, timeout=6 * LONG, check=False)
        return process, time.monotonic()

    with websocket_server() as url:
        running = {how: Task(run, script) for how, script in NEVER_LEFT.items()}
        for how, task in running.items():
            task.join(6 * LONG)
            process, ended = task.result()
            assert (process.returncode, process.stderr) == (0, ""), how
            first, last = process.stdout.split()
            assert first == "x"
            assert ended - float(last) < LONG / 2, how


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to one process")
def test_ctrl_c_ends_a_program() -> None:
    script = """
with open_websocket(client, sys.argv[1]) as ws:
    print("open", flush=True)
    ws.receive()
"""
    received: list[int] = []

    def play(ws: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            ws.recv()
        received.append(ws.close_code or 0)

    with websocket_server(play) as url:
        process = subprocess.Popen([sys.executable, "-c", OPEN + script, url], stdout=-1, stderr=-1, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(0.05)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LONG)
        assert time.monotonic() - began < 4, "close_timeout_seconds is 5"
        assert errors.rstrip().endswith("KeyboardInterrupt")
        eventually(lambda: received == [1001])
