"""A process that forks: in the child, its sessions have ended; the parent's go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws import Instrument, WebSocketClosedError
from httpx2_trio_ws._sync._forks import _in_child
from tests.handshake_support import server_context
from tests.memory import PONG, frame

from .support import LONG, eventually, played, readers, websocket_server

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PROGRAM = """
import contextlib, json, os, sys, threading, time
import httpx2
from httpx2_trio_ws.sync import open_websocket, WebSocketClosedError

url, how = sys.argv[1:]
client = httpx2.Client(verify=False, trust_env=False)


def told(call):
    try:
        call()
    except WebSocketClosedError as exc:
        return str(exc)
    return "it returned"


def work():
    for number in range(2000):
        busy.send(str(number))
        assert busy.receive(10) == str(number)


@contextlib.contextmanager
def ends():
    # The child comes out here.
    try:
        yield
    except ZeroDivisionError:
        os._exit(4)
    if os.getpid() != parent:
        os._exit(5)


parent = os.getpid()
results = []
with open_websocket(client, url) as busy:
    working = threading.Thread(target=work)
    if how == "while others work":
        working.start()
    for _ in range(20 if how == "while others work" else 1):
        with ends(), open_websocket(client, url) as ws:
            ws.send("from the parent")
            while ws.statistics().bytes_received == 0:
                time.sleep(0.001)
            ping = ws.ping(b"x")
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                answers = [told(call) for call in (ws.receive, lambda: ws.send("x"), ws.ping, ws.pong, busy.receive)]
                answers += [told(lambda: ws.send(bytes(1_000_000))), told(ws.wait_closed), told(ws.close)]
                os.write(writing, json.dumps(answers).encode())
                if how == "by exiting":
                    raise SystemExit(3)
                if how == "by an error":
                    1 / 0
            else:
                results.append(json.loads(os.read(reading, 65536)))
                assert ws.receive(10) == "from the parent"
                assert ping.wait(10) >= 0
                _, status = os.waitpid(child, 0)
                results[-1].append(os.waitstatus_to_exitcode(status))
                ws.send("still there")
                assert ws.receive(10) == "still there"
    if how == "while others work":
        working.join()
print(json.dumps(results))
"""


@needs_fork
@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize(
    ("how", "status"), [("by leaving", 5), ("by exiting", 3), ("by an error", 4), ("while others work", 5)]
)
def test_the_child_ends(how: str, status: int, tls: bool) -> None:
    seen: list[list[str | bytes]] = []
    codes: list[int | None] = []

    def note(ws: ServerConnection) -> None:
        seen.append([])
        messages = seen[-1]
        for message in ws:
            messages.append(message)
            ws.send(message)
        codes.append(ws.close_code)

    with websocket_server(note, ssl=server_context() if tls else None) as url:
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, url, how]
        process = subprocess.run(command, capture_output=True, text=True, timeout=LONG * 3, check=False)
        assert (process.returncode, process.stderr) == (0, "")
        results = json.loads(process.stdout)
        sessions = len(results) + 1
        eventually(lambda: len(codes) == sessions)
    fork = "this process is a fork of the one that opened the session, whose it stays: open one here"
    assert results == [[*[fork] * 6, "it returned", "it returned", status]] * (sessions - 1)
    assert codes == [1000] * sessions
    forked = [messages for messages in seen if messages[:1] == ["from the parent"]]
    assert forked == [["from the parent", "still there"]] * (sessions - 1)


class Forking(Instrument):
    """Has the reader's thread be the child of a fork, as far as it can see."""

    def ping_answered(self, session: object, round_trip: float) -> None:
        _in_child()


def test_the_thread_that_forks_may_be_the_readers_own() -> None:
    with played() as (ended, peer):
        peer.begin(peer.answer_close)
    with played(instruments=[Forking()], compression=None) as (ws, peer):
        ws.ping(b"x")
        assert peer.receive().payload == b"x"
        peer.send(frame(PONG, b"x"))
        ws.wait_closed(LONG)
        for call in (ws.receive, ws.ping, lambda: ws.send("x")):
            with pytest.raises(WebSocketClosedError, match="a fork"):
                call()
        assert peer.frames() == []
    assert readers() == []
    assert ended.close_code == 1000
