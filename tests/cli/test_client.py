"""The client, in this process: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws import __main__
from httpx2_trio_ws._cli import screen

from .support import quickest, raw_server, until_closed, websocket_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.http11 import Request, Response
    from websockets.sync.server import ServerConnection

    from .support import Pair, Pipe

Capture = pytest.CaptureFixture[str]

# The client writes to file descriptors, so what it writes is taken there.


def main(*arguments: str) -> int:
    return __main__.main(list(arguments))


# -- lines and messages ----------------------------------------------------------------------------


def test_lines_become_messages(base: str, stdin: Callable[[bytes], None], capfd: Capture) -> None:
    stdin("hellö\n\n{}\nlast".encode())
    assert main(f"{base}/echo", "--count", "4") == 0
    assert capfd.readouterr() == ("hellö\n\n{}\nlast\n", "")


def test_answers_are_waited_for(base: str, stdin: Callable[[bytes], None], capfd: Capture) -> None:
    stdin(b"hello\n")
    begin = time.monotonic()
    assert main(f"{base}/echo") == 0
    assert time.monotonic() - begin >= 1
    assert capfd.readouterr() == ("hello\n", "")


@pytest.mark.usefixtures("capfd")
def test_answers_are_not_waited_for(base: str, stdin: Callable[[bytes], None]) -> None:
    def run() -> None:
        stdin(b"hello\n")
        assert main(f"{base}/echo", "--wait", "0") == 0

    assert quickest(run) < 1


def test_the_server_closes(base: str, stdin: Callable[[bytes], None], capfd: Capture) -> None:
    stdin(b"")
    assert main(f"{base}/count/3", "--wait", "inf") == 0
    assert capfd.readouterr() == ("1\n2\n3\n", "")


def send_both(connection: ServerConnection) -> None:
    connection.send("a\x1b\n")
    connection.send(b"\xff\x00")


@pytest.mark.usefixtures("stdin")
@pytest.mark.parametrize(
    ("output", "printed"),
    [
        ("text", b"a\\x1b\n\nbinary, 2 bytes\n00000000  ff 00" + b" " * 43 + b"  |..|\n"),
        ("raw", b"a\x1b\n\n\xff\x00"),
    ],
)
def test_forms(output: str, printed: bytes, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with websocket_server(send_both) as url:
        assert main(url, "--output", output) == 0
    assert capfdbinary.readouterr().out == printed


def test_a_message_that_is_piped_through(
    base: str, stdin: Callable[[bytes], None], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    stdin(b"piped " * 10_000)
    assert main(f"{base}/echo", "--input", "binary", "--output", "raw") == 0
    assert capfdbinary.readouterr().out == b"piped " * 10_000


@pytest.mark.usefixtures("stdin")
def test_ndjson(capfd: Capture) -> None:
    with websocket_server(send_both) as url:
        assert main(url, "--output", "ndjson") == 0
    text, binary = map(json.loads, capfd.readouterr().out.splitlines())
    assert (text["type"], text["data"]) == ("text", "a\x1b\n")
    assert (binary["type"], binary["base64"]) == ("binary", "/wA=")


@pytest.mark.parametrize("lines", [b"", b"x\n", b"x\n" * 30_000])
def test_messages_that_come_before_the_end_are_printed_while_lines_are_left(
    lines: bytes, stdin: Callable[[bytes], None], capfd: Capture
) -> None:
    def play(connection: socket.socket) -> None:
        if lines == b"x\n":
            connection.recv(100)
        connection.sendall(b"\x81\x01a\x81\x01b\x88\x02\x03\xe8")
        until_closed(connection)

    stdin(lines)
    with raw_server(play) as url:
        status = main(url, "--compression", "none", "--wait", "inf")
    output, errors = capfd.readouterr()
    assert output == "a\nb\n"
    told = "httpx2-trio-ws: cut off: not all of the input has been sent: the peer closed the session: 1000 (normal closure)\n"
    assert (status, errors) == ((7, told) if len(lines) > 2 else (0, ""))


# -- the handshake ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("stdin")
def test_options_of_the_handshake(capfd: Capture) -> None:
    seen: list[str] = []

    def look(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.extend(f"{name}: {value}" for name, value in connection.request.headers.raw_items())

    options = ["-H", "X-One: 1", "-H", "X-One: 2", "--cookie", "a=b", "--cookie", "c=d", "--auth", "u:p"]
    options += ["--subprotocol", "one", "--subprotocol", "two", "--compression", "none", "--insecure"]
    with websocket_server(look, subprotocols=["two"]) as url:
        assert main(url, *options) == 0
    assert {"X-One: 1", "X-One: 2", "Cookie: a=b; c=d", "Authorization: Basic dTpw"} <= set(seen)
    assert "Sec-WebSocket-Protocol: one, two" in seen
    assert not any(line.startswith("Sec-WebSocket-Extensions") for line in seen)
    assert capfd.readouterr() == ("", "")


def test_verbose(base: str, stdin: Callable[[bytes], None], capfd: Capture) -> None:
    stdin(b"")
    options = ["--auth", "alice:secret", "--subprotocol", "chat.v1", "-v", "--count", "1", "--wait", "0"]
    url = f"{base}/login?token=hidden".replace("//", "//user:hidden@")
    assert main(url, *options) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "> GET /login?token=*** HTTP/1.1"
    assert {"> Authorization: Basic ***", "> Sec-WebSocket-Version: 13", "< Upgrade: websocket"} <= set(lines)
    assert {"< HTTP/1.1 101 Switching Protocols", "< Set-Cookie: session=***"} <= set(lines)
    connected = f"connected to {base}/login?token=***, subprotocol chat.v1"
    assert lines[-3:] == [connected, "httpx2-trio-ws: 0 of 1 messages have arrived", "closed"]
    assert "hidden" not in "".join(lines)


@pytest.mark.usefixtures("stdin")
def test_refused(base: str, capfd: Capture) -> None:
    assert main(f"{base}/nothing") == 4
    first, body = capfd.readouterr().err.splitlines()
    assert first == "httpx2-trio-ws: the server refused the WebSocket with 404 Not Found"
    assert body.startswith("nothing is here; try /echo, ")


@pytest.mark.usefixtures("stdin")
@pytest.mark.parametrize("answer", [b"403 \x9b2J\r\nContent-Length: 0", b"101 Well\r\nUpgrade: no"])
def test_refused_without_a_body(answer: bytes, capfd: Capture) -> None:
    with raw_server(until_closed, status=b"HTTP/1.1 " + answer + b"\r\n\r\n") as url:
        assert main(url) == 4
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1
    assert "\x9b" not in errors


@pytest.mark.usefixtures("stdin")
def test_nobody_listens(capfd: Capture) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        assert main(f"ws://127.0.0.1:{held.getsockname()[1]}") == 3
    errors = capfd.readouterr().err
    assert errors.startswith("httpx2-trio-ws: no connection: all attempts to connect to 127.0.0.1:")
    assert errors.endswith("refused\n")


@pytest.mark.usefixtures("stdin")
def test_the_certificate_is_checked(tls: tuple[object, object], capfd: Capture) -> None:
    with websocket_server(send_both, ssl=tls[0]) as url:
        secure = url.replace("ws:", "wss:")
        assert main(secure) == 3
        assert "certificate verify failed" in capfd.readouterr().err
        assert main(secure, "--insecure") == 0


@pytest.mark.usefixtures("stdin")
def test_no_answer_in_time(capfd: Capture) -> None:
    with raw_server(until_closed, status=b"HTTP/1.1 ") as url:
        assert main(url, "--timeout", "0.1") == 3
    assert capfd.readouterr().err == "httpx2-trio-ws: no connection: no answer within 0.1 s (--timeout)\n"


@pytest.mark.usefixtures("stdin")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ftp://127.0.0.1"], "a WebSocket URL begins with ws://"),
        (["ws://127.0.0.1", "-H", "Upgrade: x"], "Upgrade"),
        (["ws://127.0.0.1", "--proxy", "foo"], "Unknown scheme for proxy URL"),
        (["ws://127.0.0.1", "--proxy", "http://127.0.0.1:x"], "Invalid"),
        (["ws://127.0.0.1", "--proxy", "socks5://127.0.0.1:1"], "pip install 'httpx2-trio-ws[socks]'"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    assert main(*arguments) == 2
    assert message.lower() in capfd.readouterr().err.lower()


# -- how it ends -----------------------------------------------------------------------------------


def test_closed_with_an_error(base: str, stdin: Callable[[bytes], None], capfd: Capture) -> None:
    stdin(b"no JSON\n")
    assert main(f"{base}/square", "--wait", "inf") == 1
    assert capfd.readouterr().err.startswith("httpx2-trio-ws: the peer closed the session: 1011 (internal error)")


@pytest.mark.usefixtures("stdin")
def test_a_close_reason_is_escaped(capfd: Capture) -> None:
    with websocket_server(lambda connection: connection.close(4000, "\x1b[2J\n")) as url:
        assert main(url) == 1
    assert capfd.readouterr().err.endswith("4000: \\x1b[2J\\n\n")


@pytest.mark.usefixtures("stdin")
def test_closed_without_a_code(capfd: Capture) -> None:
    with raw_server(lambda connection: connection.sendall(b"\x88\x00")) as url:
        assert main(url, "-v") == 0
    assert capfd.readouterr().err.endswith("1005 (no code given)\n")


def test_too_few_messages(base: str, stdin: Callable[[bytes], None], capfd: Capture) -> None:
    stdin(b"")
    assert main(f"{base}/count/3", "--count", "4") == 1
    assert capfd.readouterr().err == "httpx2-trio-ws: 3 of 4 messages have arrived\n"


@pytest.mark.usefixtures("stdin")
def test_a_message_over_the_limit(base: str, capfd: Capture) -> None:
    assert main(f"{base}/feed/1", "--max-size", "5") == 1
    assert capfd.readouterr().err.startswith("httpx2-trio-ws: a message is over --max-size 5: ")


@pytest.mark.usefixtures("stdin")
def test_lost(base: str, capfd: Capture) -> None:
    assert main(f"{base}/crash") == 5
    output, errors = capfd.readouterr()
    assert output == "1\n2\n"
    assert errors.startswith("httpx2-trio-ws: the connection was lost without a close frame")


@pytest.mark.usefixtures("stdin", "capfd")
def test_a_failure_after_all_is_done_does_not_matter() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(b"\x81\x01a" + b"\xff\xff")
        connection.recv(100)  # the close frame

    with raw_server(play) as url:
        assert main(url, "--count", "1") == 0


def test_input_that_is_not_utf_8(base: str, stdin: Callable[[bytes], None], capfd: Capture) -> None:
    stdin(b"a\n\xff\nb\n")
    assert main(f"{base}/echo", "--wait", "inf") == 6
    assert capfd.readouterr().err == "httpx2-trio-ws: the input is not UTF-8\n"


@pytest.mark.usefixtures("stdin")
def test_output_that_cannot_be_written(base: str, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(screen, "STDOUT", full)
    assert main(f"{base}/feed/1", "--count", "3") == 6
    os.close(full)
    assert "the output cannot be written: " in capfd.readouterr().err


@pytest.mark.usefixtures("stdin")
def test_a_reader_who_has_had_enough(base: str, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(screen, "STDOUT", writer)
    assert main(f"{base}/feed/1", "--count", "3") == 0
    os.close(writer)
    assert capfd.readouterr().err == ""


# -- signals ---------------------------------------------------------------------------------------


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_session(number: int, stdin: Callable[[bytes], None], capfd: Capture) -> None:
    codes: list[int | None] = []

    def handle(connection: ServerConnection) -> None:
        connection.recv()  # so the client has seen the end of the handshake
        interrupt(number)
        for _ in connection:
            pass
        codes.append(connection.close_code)

    stdin(b"go\n")
    with websocket_server(handle) as url:
        assert main(url, "--count", "1") == 128 + number
    assert codes == [1001]
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("capfd")
def test_a_second_signal_does_not_wait_for_the_server(stdin: Callable[[bytes], None]) -> None:
    received: list[bytes] = []

    def play(connection: socket.socket) -> None:
        connection.recv(100)
        interrupt()
        received.append(connection.recv(100))  # the close frame, to which there is no answer
        interrupt()
        received.append(until_closed(connection))

    stdin(b"go\n")
    begin = time.monotonic()
    with raw_server(play) as url:
        assert main(url, "--wait", "inf") == 130
    assert time.monotonic() - begin < 4  # close_timeout_seconds is 5
    assert received[0][0] == 0x88


@pytest.mark.usefixtures("stdin", "capfd")
def test_a_signal_during_the_handshake() -> None:
    def process_request(_connection: ServerConnection, _request: Request) -> Response | None:
        interrupt()
        time.sleep(0.2)
        return None

    begin = time.monotonic()
    with websocket_server(send_both, process_request=process_request) as url:
        assert main(url) == 130
    assert time.monotonic() - begin < 4


@pytest.mark.usefixtures("stdin")
def test_an_ignored_ctrl_c_stays_ignored(capfd: Capture) -> None:
    def handle(connection: ServerConnection) -> None:
        interrupt()
        connection.send("a")

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with websocket_server(handle) as url:
            assert main(url) == 0
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr().out == "a\n"


@pytest.mark.usefixtures("stdin")
def test_a_server_that_does_not_answer_a_close(capfd: Capture) -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(b"\x81\x01a")
        connection.recv(100)  # the close frame

    with raw_server(play) as url:
        assert main(url, "--count", "1", "-v") == 0
    assert capfd.readouterr().err.endswith("closed; the server did not answer to that\n")


# -- a terminal ------------------------------------------------------------------------------------


def test_a_person_types(base: str, terminal: Pair) -> None:
    terminal.type(b"hello\n")
    assert main(f"{base}/echo", "--plain", "--count", "1") == 0
    shown = terminal.seen().decode()
    assert f"connected to {base}/echo" in shown
    assert "Ctrl-D" in shown
    assert "< hello" in shown
    assert shown.endswith("\r\x1b[Kclosed\n")


def test_a_person_ends_it(base: str, terminal: Pair) -> None:
    def run() -> None:
        terminal.type(b"\x04")
        assert main(f"{base}/echo", "--plain") == 0

    assert quickest(run) < 1
    assert terminal.seen().endswith(b"closed\n")


def edit(terminal: Pair, *lines: tuple[bytes, bytes]) -> threading.Thread:
    """Type each line in the editor once what is before it has been shown."""

    def run() -> None:
        shown = b""
        for wanted, line in lines:
            while wanted not in shown:
                shown += os.read(terminal.person, 65536)
            shown = b""
            os.write(terminal.person, line)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_person_edits(base: str, terminal: Pair) -> None:
    thread = edit(terminal, (b">", b"hello\r"), (b"< hello", b"/stats\r"), (b"received: 1 messages", b"\x04"))
    assert main(f"{base}/echo") == 0
    thread.join()
    assert terminal.seen().endswith(b"closed\n")


def test_notices_that_go_elsewhere(base: str, terminal: Pair, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "STDERR", pipe.writer)
    thread = edit(terminal, (b">", b"/stats\rhello\r"), (b"< hello", b"\x04"))
    assert main(f"{base}/echo") == 0
    thread.join()
    assert b"received: 0 messages" in os.read(pipe.reader, 65536)


def test_without_prompt_toolkit(base: str, terminal: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2_trio_ws._cli.editor", None)
    terminal.type(b"hello\n")
    assert main(f"{base}/echo", "--count", "1") == 0
    shown = terminal.seen()
    assert b"Each line is a message. Ctrl-D" in shown
    assert b"< hello" in shown
