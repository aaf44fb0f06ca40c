"""Fixtures."""

from __future__ import annotations

import os
import pty
import termios
from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws._cli import client, editor, screen
from httpx2_trio_ws._cli.demonstration import own_server

from .support import Pair, Pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxies, which could not reach this computer's loopback; colours as usual; a history of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "NO_COLOR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture(scope="package")
def base() -> Iterator[str]:
    """The URL of the demonstration's server."""
    with own_server() as url:
        yield url


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe."""
    pipe = Pipe()
    yield pipe
    pipe.close(pipe.reader)
    pipe.close(pipe.writer)


@pytest.fixture
def stdin(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Gives the client a pipe as its input, which ends after what this is called with; until then it stays open."""

    def feed(data: bytes) -> None:
        os.write(pipe.writer, data)
        pipe.close(pipe.writer)

    monkeypatch.setattr(client, "STDIN", pipe.reader)
    monkeypatch.setattr(screen, "STDIN", pipe.reader)
    return feed


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Gives the client a terminal for its input, output and errors. It does not echo: that would come at any time."""
    pair = Pair(*pty.openpty())
    settings = termios.tcgetattr(pair.program)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(pair.program, termios.TCSANOW, settings)
    monkeypatch.setattr(client, "STDIN", pair.program)
    for name in ("STDIN", "STDOUT", "STDERR"):
        monkeypatch.setattr(screen, name, pair.program)
        monkeypatch.setattr(editor, name, pair.program, raising=False)
    yield pair
    for side in pair:
        os.close(side)
