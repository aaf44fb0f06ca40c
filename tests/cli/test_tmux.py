"""What a person sees, as tmux draws it: skipped where there is none."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from .support import COMMAND, SECONDS, websocket_server

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from websockets.sync.server import ServerConnection

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="what is seen is drawn by tmux, and there is none")


class Tmux:
    """The command in a window of 60 columns and 15 rows."""

    def __init__(self, socket: Path, *arguments: str) -> None:
        self._call = ["tmux", "-f", os.devnull, "-S", str(socket)]
        command = [*COMMAND, "-m", "httpx2_trio_ws", *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "TMUX"}
        window = ["new-session", "-d", "-x", "60", "-y", "15", f"{shlex.join(command)}; echo status $?; sleep 60"]
        subprocess.run([*self._call, *window], check=True, timeout=SECONDS, env=environment)

    def run(self, *command: str, data: bytes | None = None) -> str:
        done = subprocess.run([*self._call, *command], input=data, check=True, timeout=SECONDS, capture_output=True)
        return done.stdout.decode()

    def type(self, text: str) -> None:
        self.run("send-keys", "-l", text)

    def press(self, key: str) -> None:
        self.run("send-keys", key)

    def paste(self, text: str) -> None:
        self.run("load-buffer", "-", data=text.encode())
        self.run("paste-buffer", "-p")

    def seen(self) -> str:
        """The screen and what has left it, without the spaces at the ends of lines."""
        return re.sub(r" +\n", "\n", self.run("capture-pane", "-p", "-S", "-")).rstrip()

    def expect(self, pattern: str) -> str:
        deadline = time.monotonic() + SECONDS
        while not re.search(pattern, seen := self.seen(), re.DOTALL | re.MULTILINE):
            assert time.monotonic() < deadline, f"{pattern!r} is not in\n{seen}"
            time.sleep(0.05)
        return seen


@contextlib.contextmanager
def tmux(folder: Path, *arguments: str) -> Generator[Tmux]:
    window = Tmux(folder / "tmux", *arguments)
    try:
        yield window
    finally:
        window.run("kill-server")


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def tick(connection: ServerConnection) -> None:
    for number in range(1000):
        connection.send(f"tick {number}")
        time.sleep(0.02)


def test_a_conversation(tmp_path: Path) -> None:
    with websocket_server(echo) as url, tmux(tmp_path, url) as window:
        window.expect(r"^>$")
        window.type("hello")
        window.expect(r"^> hello$")
        window.press("Enter")
        window.expect(r"^> hello\n< hello\n>$")
        window.paste('{"a":\n  [1]\n}\n')
        window.expect(r'^> \{"a":\n  *\[1\]\n *\}$')
        window.press("Enter")
        window.expect(r'^< \{\n    "a": \[\n      1\n    \]\n  \}\n>$')
        window.press("Up")
        window.expect(r"^> .*\}$")
        window.press("C-c")
        window.expect(r"^closed\nstatus 130$")


@pytest.mark.parametrize("options", [[], ["--plain"]])
def test_what_arrives_does_not_tear_what_is_typed(options: list[str], tmp_path: Path) -> None:
    """Letter by letter, while fifty messages a second arrive."""
    text = "the-quick-brown-fox"
    with websocket_server(tick) as url, tmux(tmp_path, url, *options) as window:
        window.expect(r"^< tick 3$")
        for position, letter in enumerate(text, 1):
            window.type(letter)
            if position % 5 == 0:
                window.expect(rf"^> {text[:position]}$")
        seen = window.expect(rf"^> {text}$")
        window.press("C-c")
        window.expect(r"status 130$")
    *above, last = seen.splitlines()
    assert last == f"> {text}"
    ticks = [line for line in above if line.startswith("< tick")]
    assert ticks == [f"< tick {number}" for number in range(len(ticks))]
    assert above[-len(ticks) :] == ticks, "and nothing among them"


def test_completion_and_long_lines(tmp_path: Path) -> None:
    def count(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(str(len(message)))

    with websocket_server(count) as url, tmux(tmp_path, url) as window:
        window.expect(r"^>$")
        window.type("/st")
        window.expect(r"/stats +what the session")
        window.press("Tab")
        window.press("Enter")
        window.expect(r"^received: 0 messages")
        window.type("x" * 6000)
        window.press("Enter")
        window.expect(r"^< 6000$")
        window.paste("y" * 100_000)
        window.expect(r"\[pasted 1: 100000 characters\]")
        window.press("Enter")
        window.expect(r"^< 100000$")
        window.press("C-d")
        window.expect(r"^closed\nstatus 0$")


def test_a_window_that_changes_its_size(tmp_path: Path) -> None:
    with websocket_server(echo) as url, tmux(tmp_path, url) as window:
        window.expect(r"^>$")
        window.type("a line that is longer than the narrow window will be")
        window.run("resize-window", "-x", "30", "-y", "15")
        time.sleep(1)
        window.press("Enter")
        window.expect(r"^< a line that is longer than")
        window.press("C-d")
        window.expect(r"^status 0$")
