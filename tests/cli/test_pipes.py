"""A pipe loses nothing; and what is cut off all the same is said, with an exit code of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from httpx2_trio_ws import __main__
from httpx2_trio_ws._cli import client as module
from httpx2_trio_ws._cli import opening, screen
from httpx2_trio_ws._cli.arguments import parse
from httpx2_trio_ws._cli.client import Client
from httpx2_trio_ws._cli.screen import Screen
from httpx2_trio_ws._cli.streams import read_some

from .support import SECONDS, echo_frames, process, raw_server, run, websocket_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from websockets.sync.server import ServerConnection

    from .support import Pair

Capture = pytest.CaptureFixture[str]


def main(*arguments: str) -> int:
    return __main__.main(list(arguments))


# -- nothing is lost -------------------------------------------------------------------------------


def test_as_many_lines_out_as_in() -> None:
    """With silence for as long as a busy machine may take: what is tested is that it is silence that is counted."""
    lines = b"".join(b"%d\n" % number for number in range(100_000))
    with (
        raw_server(echo_frames) as url,
        process(
            url,
            "--compression",
            "none",
            "--wait",
            "5",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running,
    ):
        output, errors = running.communicate(lines, timeout=120)
        assert (running.returncode, errors) == (0, b"")
        assert output == lines


def test_silence_is_counted_from_the_last_message(stdin: Callable[[bytes], None], capfd: Capture) -> None:
    def handle(connection: ServerConnection) -> None:
        connection.recv()
        for number in range(6):
            time.sleep(0.2)
            connection.send(str(number))
        connection.recv()

    stdin(b"go\n")
    with websocket_server(handle) as url:
        assert main(url, "--wait", "0.6") == 0
    assert capfd.readouterr() == ("0\n1\n2\n3\n4\n5\n", "")


def test_a_slow_reader_is_no_silence(base: str) -> None:
    lines = b"".join(b"%d %s\n" % (number, b"x" * 1000) for number in range(1000))
    with process(
        f"{base}/echo", "--wait", "0.5", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        writer = threading.Thread(target=write_and_close, args=(running.stdin.fileno(), lines, running))
        writer.start()
        time.sleep(1.5)
        assert running.stdout.read() == lines
        writer.join()
        assert (running.wait(SECONDS), running.stderr.read()) == (0, b"")


def write_and_close(descriptor: int, data: bytes, running: subprocess.Popen[bytes]) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
    assert running.stdin is not None
    running.stdin.close()


@pytest.mark.parametrize(("form", "count"), [("chunks", None), ("binary", "1")])
def test_bytes_through_pipes_are_the_same(form: str, count: str | None, base: str) -> None:
    data = os.urandom(1_000_003)
    more = ["--count", count] if count else ["--wait", "3"]
    status, output, errors = run(
        f"{base}/echo", "--input", form, "--output", "raw", "--max-size", "0", *more, data=data
    )
    assert (status, errors) == (0, b"")
    assert hashlib.sha256(output).digest() == hashlib.sha256(data).digest()


def test_a_file_of_any_size_goes_up_and_down(base: str, tmp_path: Path) -> None:
    """As one message, beyond the limit, of which little is held."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(5_000_003))
    with path.open("rb") as file:
        options = ["--input", "binary", "--output", "raw", "--count", "1"]
        status, output, errors = run(f"{base}/echo", *options, data=file.read())
    assert (status, errors) == (0, b"")
    assert hashlib.sha256(output).digest() == hashlib.sha256(path.read_bytes()).digest()


def test_raw_text_beyond_the_limit_ends_in_a_newline(base: str) -> None:
    options = ["--input", "text", "--output", "raw", "--count", "1", "--max-size", "1000"]
    status, output, errors = run(f"{base}/echo", *options, data=b"x" * 100_000)
    assert (status, output, errors) == (0, b"x" * 100_000 + b"\n", b"")


def test_ndjson_goes_in_as_it_comes_out(base: str) -> None:
    _, first, _ = run(f"{base}/echo", "--input", "binary", "--output", "ndjson", "--count", "1", data=b"\xff\n")
    status, output, _ = run(f"{base}/echo", "--input", "ndjson", "--output", "raw", "--count", "1", data=first)
    assert (status, output) == (0, b"\xff\n")


@pytest.mark.usefixtures("stdin")
def test_a_lost_connection_is_told_after_all_that_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly it is printed: a failure waits until all has been."""
    numbers = [b"%d" % number for number in range(400)]
    frames = b"".join(b"\x81\x7e\x03\xe8" + number.ljust(1000) for number in numbers)
    output = os.pipe()
    os.set_blocking(output[1], True)
    monkeypatch.setattr(screen, "STDOUT", output[1])
    shown = b""

    async def read_late(clock: trio.testing.MockClock) -> None:
        nonlocal shown
        await trio.to_thread.run_sync(lost.wait, SECONDS)
        await trio.testing.wait_all_tasks_blocked(0.1)
        clock.jump(60)
        await trio.testing.wait_all_tasks_blocked(0.1)
        while more := await read_some(output[0]):
            shown += more

    lost = threading.Event()

    def play(connection: socket.socket) -> None:
        connection.sendall(frames)
        connection.close()
        lost.set()

    with raw_server(play) as url:
        clock = trio.testing.MockClock(rate=1)

        async def run_both() -> int:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read_late, clock)
                options = parse([url, "--compression", "none", "--max-size", "0"])
                status = await Client(options, url, Screen(output="text", plain=True, color=False)).run()
                os.close(output[1])
                return status

        status = trio.run(run_both, clock=clock)
    os.close(output[0])
    assert status == 5
    assert [line.strip() for line in shown.splitlines()] == numbers


# -- what is cut off -------------------------------------------------------------------------------


def test_messages_that_come_too_late(stdin: Callable[[bytes], None], capfd: Capture) -> None:
    def play(connection: socket.socket) -> None:
        data = b""
        while b"\x88\x82" not in data:
            data += connection.recv(1000)
        connection.sendall(b"\x81\x01a\x88\x02\x03\xe8")
        connection.recv(100)

    stdin(b"1\n")
    with raw_server(play) as url:
        assert main(url, "--wait", "0.1") == 7
    late = "httpx2-trio-ws: cut off: messages came that are not printed, as --wait was over\n"
    assert capfd.readouterr() == ("", late)


def test_answers_that_do_not_matter(stdin: Callable[[bytes], None], capfd: Capture) -> None:
    received: list[object] = []

    def handle(connection: ServerConnection) -> None:
        received.extend(connection)

    stdin(b"1\n2\n3\n")
    with websocket_server(handle) as url:
        assert main(url, "--wait", "0") == 0
    assert received == ["1", "2", "3"]
    assert capfd.readouterr().err == ""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in (module, opening):
        monkeypatch.setattr(owner, "CLOSE_SECONDS", 0.3)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_does_not_confirm(stdin: Callable[[bytes], None], capfd: Capture) -> None:
    over = threading.Event()
    stdin(b"1\n")
    with raw_server(lambda _: over.wait(SECONDS)) as url:
        assert main(url, "--wait", "0") == 7
        over.set()
    told = "httpx2-trio-ws: cut off: the server did not confirm the end; it may not have got everything\n"
    assert capfd.readouterr().err == told


def test_a_connection_that_is_lost_while_lines_are_left(stdin: Callable[[bytes], None], capfd: Capture) -> None:
    def play(connection: socket.socket) -> None:
        connection.recv(100)

    stdin(b"x\n" * 30_000)
    with raw_server(play) as url:
        assert main(url, "--compression", "none", "--wait", "inf") == 5
    assert capfd.readouterr().err.endswith("; not all of the input has been sent\n")


def test_late_pings_are_no_messages(stdin: Callable[[bytes], None], capfd: Capture) -> None:
    def play(connection: socket.socket) -> None:
        data = b""
        while b"\x88\x82" not in data:
            data += connection.recv(1000)
        connection.sendall(b"\x89\x05hello\x88\x02\x03\xe8")
        connection.recv(100)

    stdin(b"1\n")
    with raw_server(play) as url:
        assert main(url, "--wait", "0.1") == 0


# -- -x --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stdin")
def test_execute(base: str, capfd: Capture) -> None:
    assert main(f"{base}/square", "-x", '{"id": 1, "square": 7}') == 0
    assert main(f"{base}/echo", "-x", "a", "-x", "/b") == 0
    assert capfd.readouterr() == ('{"id": 1, "result": 49}\na\n/b\n', "")


@pytest.mark.usefixtures("stdin")
def test_execute_and_wait(base: str, capfd: Capture) -> None:
    assert main(f"{base}/feed", "-x", "go", "--wait", "5") == 0
    assert capfd.readouterr() == ("one\ntwo\nthree\n", "")


@pytest.mark.usefixtures("stdin")
def test_execute_without_an_answer(base: str, capfd: Capture) -> None:
    def handle(connection: ServerConnection) -> None:
        connection.recv()

    with websocket_server(handle) as url:
        assert main(url, "-x", "hello") == 1
    assert capfd.readouterr().err == "httpx2-trio-ws: 0 of 1 messages have arrived\n"


def test_execute_at_a_terminal(base: str, terminal: Pair, capfd: Capture) -> None:
    assert main(f"{base}/echo", "-x", "hello") == 0
    assert terminal.seen() == b"< hello\n"
