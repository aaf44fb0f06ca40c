"""The command as people and scripts run it: through pipes and in a terminal. Coverage comes from the other modules."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.proxies import http_proxy
from tests.servers import websocket_server as echo_server

from .support import COMMAND, SECONDS, Terminal, process, run, websocket_server

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection

# -- pipes -----------------------------------------------------------------------------------------


def test_lines_through_pipes(base: str) -> None:
    lines = b"".join(b"%d\n" % number for number in range(3000))
    assert run(f"{base}/echo", "--count", "3000", data=lines) == (0, lines, b"")


def test_ndjson_to_a_program(base: str) -> None:
    status, output, _ = run(f"{base}/square", "--output", "ndjson", "--count", "1", data=b'{"id":1,"square":7}\n')
    assert status == 0
    assert json.loads(json.loads(output)["data"]) == {"id": 1, "result": 49}


def test_status_and_message_of_a_refusal(base: str) -> None:
    status, output, errors = run(f"{base}/login")
    assert (status, output) == (4, b"")
    assert errors.startswith(b"httpx2-trio-ws: the server refused the WebSocket with 401")


def test_a_reader_like_head(base: str) -> None:
    with process(f"{base}/feed/1", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == b"message 1 of feed 1\n"
        running.stdout.close()
        assert running.wait(SECONDS) == 0
        assert running.stderr.read() == b""


def test_no_standard_streams_at_all(base: str) -> None:
    """What would be written to a file descriptor that is not open goes nowhere, and to no socket."""
    code = 'exec "$@" <&- >&- 2>&-'
    command = ["sh", "-c", code, "sh", *COMMAND, "-m", "httpx2_trio_ws", f"{base}/count/3"]
    assert subprocess.run(command, timeout=SECONDS, check=False).returncode == 0


async def test_through_a_proxy() -> None:
    async with http_proxy() as proxy, echo_server() as url:
        command = [*COMMAND, "-m", "httpx2_trio_ws", url, "--count", "1", "--proxy", f"http://{proxy.address}"]
        done = await trio.run_process(command, stdin=b"hello\n", capture_stdout=True)
    assert done.stdout == b"hello\n"
    assert proxy.asked == [f"CONNECT {url.removeprefix('ws://')}"]


def test_a_signal_from_outside(base: str) -> None:
    with process(f"{base}/feed/1", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.terminate()
        _, errors = running.communicate(timeout=SECONDS)
        assert (running.returncode, errors) == (128 + signal.SIGTERM, b"")


# -- a terminal ------------------------------------------------------------------------------------


# The hint, and the prompt below it.
EDITOR = rb"connected to .*be typed\.\r\n.*>"


def test_a_conversation(base: str) -> None:
    with Terminal(f"{base}/echo") as terminal:
        terminal.expect(EDITOR)
        terminal.type(b"hello\r")
        terminal.expect(rb"< hello")
        terminal.type(b'{"a": 1}\r')
        terminal.expect(rb'\x1b\[34;1m"a"\x1b\[0m: \x1b\[36m1')
        terminal.type(b"\x1b[200~a\rblock\x1b[201~\r")
        terminal.expect(rb"< a\r?\n  block")
        terminal.type(b"/stats\r")
        terminal.expect(rb"received: 3 messages")
        terminal.type(b"\x04")
        terminal.expect(rb"closed\r\n")
        assert terminal.end() == 0


def test_a_plain_conversation(base: str) -> None:
    with Terminal(f"{base}/echo", "--plain") as terminal:
        terminal.expect(rb"connected to .*> ")
        terminal.type(b"hello\n")
        terminal.expect(rb"< hello")
        tasks = Path(f"/proc/{terminal.pid}/task")
        assert not tasks.exists() or len(list(tasks.iterdir())) == 1, "threads"
        terminal.type(b"the end\x04\x04\x04")
        terminal.expect(rb"closed\r\n")
        assert terminal.end() == 0


@pytest.mark.parametrize("options", [[], ["--plain"]])
def test_ctrl_c(options: list[str]) -> None:
    codes: list[int | None] = []

    def handle(connection: ServerConnection) -> None:
        for _ in connection:
            pass
        codes.append(connection.close_code)

    with websocket_server(handle) as url, Terminal(url, *options) as terminal:
        terminal.expect(rb"connected to .*> " if options else EDITOR)
        terminal.type(b"half a line")
        terminal.type(b"\x03")
        terminal.expect(rb"closed\r\n")
        assert terminal.end() == 130
        assert terminal.typed_ahead() == b""
    assert codes == [1001]


@pytest.mark.parametrize("options", [[], ["--plain"]])
def test_what_is_typed_when_the_server_closes_is_not_left_for_the_shell(options: list[str], base: str) -> None:
    with Terminal(f"{base}/feed", *options) as terminal:
        terminal.expect(rb"> " if options else EDITOR)
        terminal.type(b"go\nrm half a li")
        terminal.expect(rb"< three.*1000 \(normal closure\)\r\n")
        assert terminal.end() == 0
        assert terminal.typed_ahead() == b""


def test_a_password_is_asked_for_without_an_echo(base: str) -> None:
    with Terminal(f"{base}/login", "--auth", "alice") as terminal:
        terminal.expect(rb"password for alice: ")
        terminal.type(b"secret\n")
        terminal.expect(EDITOR)
        assert b"secret" not in terminal.shown
        terminal.type(b"who am I?\n")
        terminal.expect(rb"< you are alice")
        terminal.type(b"\x04")
        assert terminal.end() == 0


def test_ctrl_c_where_a_password_is_asked_for(base: str) -> None:
    with Terminal(f"{base}/login", "--auth", "alice") as terminal:
        terminal.expect(rb"password for alice: ")
        terminal.type(b"\x03")
        assert terminal.end() == 130


def test_output_that_is_stopped_does_not_hold_ctrl_c(base: str) -> None:
    """Ctrl-S: nothing can be written any more. The session is closed all the same."""
    with Terminal(f"{base}/feed/1", "--plain") as terminal:
        terminal.expect(rb"< message 3 of feed 1")
        terminal.type(b"\x13")
        terminal.type(b"\x03")
        assert terminal.end() == 130


def test_a_terminal_that_takes_no_output_does_not_hold_the_editor(base: str) -> None:
    with Terminal(f"{base}/feed/1") as terminal:
        terminal.expect(rb"< message 3 of feed 1")
        time.sleep(1)  # until it is full, as nobody reads any more
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.wait() == 128 + signal.SIGTERM


def test_messages_cannot_act_on_the_terminal() -> None:
    def handle(connection: ServerConnection) -> None:
        connection.send("\x1b]0;owned\x07\x9b2J\r")
        connection.close(4000, "\x1b[2J")

    with websocket_server(handle) as url, Terminal(url, "-v") as terminal:
        terminal.expect(rb"4000: \\x1b\[2J\r\n")
        assert rb"\x1b]0;owned\x07\x9b2J\x0d" in terminal.shown
        assert b"\x1b]0" not in terminal.shown
        assert b"\x1b[2J" not in terminal.shown
        assert terminal.end() == 1


def test_pings_in_a_terminal(base: str) -> None:
    with Terminal("--ping", f"{base}/echo", "--interval", "0.05") as terminal:
        terminal.expect(rb"pong 2: ")
        terminal.type(b"\x03")
        terminal.expect(rb"statistics.*round trip")
        assert terminal.end() == 130
