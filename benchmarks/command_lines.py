"""This command line beside others: each is run through the same pipes and, by tmux, before the same terminal.

`python benchmarks/command_lines.py [WSCAT]` prints a table; WSCAT is the path of npm's wscat, and without one it is left
out. Needs tmux. It judges by what can be seen, so it says what was seen as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from websockets.http11 import Request, Response
    from websockets.sync.server import ServerConnection

LINES = 100_000
BLOCK = '{"a": 1,\n "b": 2}'
BINARY = bytes(range(256))


class Command:
    """One of those that are compared."""

    def __init__(self, name: str, call: list[str], connect: list[str]) -> None:
        self.name = name
        self.call = call
        self.connect = connect

    def to(self, url: str, *options: str) -> list[str]:
        return [*self.call, *options, *self.connect, url]


def commands() -> list[Command]:
    ours = Command("httpx2-trio-ws", [sys.executable, "-m", "httpx2_trio_ws"], [])
    theirs = Command("python -m websockets", [sys.executable, "-m", "websockets"], [])
    wscat = [Command("wscat", [sys.argv[1]], ["-c"])] if len(sys.argv) > 1 else []
    return [ours, *wscat, theirs]


# -- the server ------------------------------------------------------------------------------------


def handle(connection: ServerConnection) -> None:
    assert connection.request is not None
    path = connection.request.path
    with contextlib.suppress(ConnectionClosed):
        if path == "/tick":
            for number in range(10_000):
                connection.send(f"tick {number}")
                time.sleep(0.1)
        if path == "/escape":
            connection.send("\x1b]2;owned\x07title")
        if path == "/binary":
            connection.send(BINARY)
        for message in connection:
            if path == "/count":
                connection.send(f"{type(message).__name__} of {len(message)}")
            elif path == "/drop":
                connection.socket.shutdown(2)
            else:
                connection.send(message)


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(403, "only on Sundays\n") if request.path == "/refuse" else None


@contextlib.contextmanager
def server() -> Iterator[str]:
    with serve(handle, "127.0.0.1", 0, process_request=refuse, max_size=None) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{running.socket.getsockname()[1]}"
        running.shutdown()


# -- pipes -----------------------------------------------------------------------------------------


def piped(command: Command, url: str, data: bytes, *options: str) -> tuple[int, bytes, bytes]:
    try:
        done = subprocess.run(command.to(url, *options), input=data, capture_output=True, timeout=150, check=False)
    except subprocess.TimeoutExpired as exc:
        return -1, exc.stdout or b"", exc.stderr or b""
    return done.returncode, done.stdout, done.stderr


def many_lines(command: Command, url: str) -> str:
    data = b"".join(b"%d\n" % number for number in range(LINES))
    status, output, _ = piped(command, f"{url}/echo", data)
    answers = len(re.findall(rb"^(?:[^\n]*< )?(\d+)\r?$", output, re.MULTILINE))
    return f"{answers:,} answers, status {status}" + (", byte for byte" if output == data else "")


def binary_out(command: Command, url: str) -> str:
    options = ["--output", "raw", "--wait", "1"] if command.connect == [] and "httpx2" in command.name else []
    call = command.to(f"{url}/binary", *options)
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        time.sleep(2)
        try:
            output, _ = running.communicate(b"", timeout=20)
        except subprocess.TimeoutExpired:
            running.kill()
            output = b""
    if output == BINARY:
        return "byte for byte"
    return "as hexadecimal" if BINARY[200:210].hex() in output.decode("latin-1") else "altered"


def refused(command: Command, url: str) -> str:
    status, output, errors = piped(command, f"{url}/refuse", b"")
    told = "only on Sundays" in (output + errors).decode("latin-1")
    return f"status {status}, {'with' if told else 'without'} what the server says"


def dropped(command: Command, url: str) -> str:
    status, _, _ = piped(command, f"{url}/drop", b"x\n")
    return f"status {status}"


# -- a terminal ------------------------------------------------------------------------------------


class Window:
    """A command in tmux."""

    def __init__(self, folder: str, call: list[str]) -> None:
        self._tmux = ["tmux", "-f", os.devnull, "-S", str(Path(folder) / f"tmux{time.monotonic_ns()}")]
        self.run("new-session", "-d", "-x", "80", "-y", "30", f"{shlex.join(call)}; echo status $?; sleep 60")
        self.expect("onnected|>")

    def run(self, *command: str, data: bytes | None = None) -> str:
        return subprocess.run([*self._tmux, *command], input=data, check=True, capture_output=True).stdout.decode()

    def seen(self) -> str:
        return self.run("capture-pane", "-p", "-S", "-").rstrip()

    def expect(self, pattern: str, seconds: float = 8) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if re.search(pattern, self.seen(), re.MULTILINE):
                return True
            time.sleep(0.1)
        return False

    def type(self, text: str) -> None:
        self.run("send-keys", "-l", text)

    def press(self, key: str) -> None:
        self.run("send-keys", key)

    def paste(self, text: str) -> None:
        self.run("load-buffer", "-", data=text.encode())
        self.run("paste-buffer", "-p")


@contextlib.contextmanager
def window(command: Command, url: str, *options: str) -> Iterator[Window]:
    with tempfile.TemporaryDirectory() as folder:
        opened = Window(folder, command.to(url, *options))
        time.sleep(1)
        try:
            yield opened
        finally:
            opened.run("kill-server")


def pasted(command: Command, url: str) -> str:
    with window(command, f"{url}/count") as terminal:
        terminal.paste(BLOCK)
        time.sleep(1)
        terminal.press("Enter")
        time.sleep(1.5)
        sizes = re.findall(r"(?:str|bytes) of (\d+)", terminal.seen())
    return "one message" if sizes == [str(len(BLOCK))] else f"{len(sizes)} messages"


def long_line(command: Command, url: str) -> str:
    with window(command, f"{url}/count") as terminal:
        for _ in range(20):
            terminal.type("x" * 1000)
        terminal.press("Enter")
        terminal.expect(r"str of \d+", 30)
        sizes = re.findall(r"str of (\d+)", terminal.seen())
    return f"{', '.join(sizes) or 'nothing'} of 20000 characters arrive"


def typed_while_messages_arrive(command: Command, url: str) -> str:
    with window(command, f"{url}/tick") as terminal:
        whole = 0
        for letter in "abcdefghijklmnop":
            terminal.type(letter)
            time.sleep(0.25)
            typed = "abcdefghijklmnop"[: ord(letter) - 96]
            whole += bool(re.search(rf"^> {typed}$", terminal.seen(), re.MULTILINE))
    return f"whole in {whole} of 16 looks"


def escapes(command: Command, url: str) -> str:
    with window(command, f"{url}/escape") as terminal:
        terminal.expect("title")
        title = terminal.run("display-message", "-p", "#{pane_title}").strip()
    return "the server sets the window's title" if title == "owned" else "shown, not obeyed"


def history(command: Command, url: str) -> str:
    with window(command, f"{url}/echo") as terminal:
        terminal.type("remember me")
        terminal.press("Enter")
        time.sleep(1)
        terminal.press("Up")
        time.sleep(0.5)
        this_run = terminal.seen().rstrip().endswith("> remember me")
    with window(command, f"{url}/echo") as terminal:
        terminal.press("Up")
        time.sleep(0.5)
        earlier = "remember me" in terminal.seen()
    return "also of earlier runs" if earlier else "of this run" if this_run else "none"


def ctrl_d(command: Command, url: str) -> str:
    with window(command, f"{url}/echo") as terminal:
        terminal.press("C-d")
        ended = terminal.expect(r"status \d+", 5)
        return re.findall(r"status \d+", terminal.seen())[-1] if ended else "nothing happens"


POINTS: dict[str, Callable[[Command, str], str]] = {
    "100,000 lines from a pipe, against an echo": many_lines,
    "a binary message into a file": binary_out,
    "a refusal, 403 with a text": refused,
    "a connection that is dropped": dropped,
    "a pasted block of two lines": pasted,
    "a line of 20,000 characters": long_line,
    "what is typed while ten messages a second arrive": typed_while_messages_arrive,
    "a message that sets the window's title": escapes,
    "history": history,
    "Ctrl-D": ctrl_d,
}


def main() -> None:
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    compared = commands()
    print("| | " + " | ".join(f"`{command.name}`" for command in compared) + " |")
    print("|---|" + "---|" * len(compared))
    with server() as url:
        for what, look in POINTS.items():
            print(f"| {what} | " + " | ".join(look(command, url) for command in compared) + " |", flush=True)


if __name__ == "__main__":
    main()
