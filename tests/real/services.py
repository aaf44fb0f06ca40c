"""Real servers as processes: started, waited for, and ended with all that they started. And the examples, run as programs."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples/real"
# For a server to start, and for a program to say the next thing, on a machine that is busy.
LONG = 45.0
Command = "list[str | Path]"


def needs(program: str, install: str) -> str:
    """The path of a program; the test is skipped, saying so, where there is none."""
    path = shutil.which(program, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/lib/chromium"]))
    if path is None:
        pytest.skip(f"there is no {program} on this machine: {install}")
    return path


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder that servers may enter which give up being root."""
    with tempfile.TemporaryDirectory(prefix="real-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@contextlib.contextmanager
def service(
    *command: str | Path, port: int = 0, url: str = "", environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server, until the block is left.

    Args:
        command: what runs it, in the foreground.
        port: it is there when somebody listens on this.
        url: it is there when it answers this with 200.
        environ: more variables of its environment.
    """
    with tempfile.TemporaryFile() as log, ended(command, log, environ) as process:
        until = time.monotonic() + LONG
        while not (_answers(url) if url else _listens(port)):
            if process.poll() is not None or time.monotonic() > until:
                log.seek(0)
                pytest.fail(f"{command[0]} is not there ({process.poll()}):\n{log.read().decode(errors='replace')}")
            time.sleep(0.05)
        yield process


@contextlib.contextmanager
def ended(
    command: tuple[str | Path, ...], log: object, environ: Mapping[str, str] | None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, of which nothing is left afterwards."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,  # type: ignore[call-overload]
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environ or {})},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all of its group."""
    for kind, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False, timeout=1).status_code == 200
    except httpx2.HTTPError:
        return False


class Program:
    """An example while it runs: what it says, line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)

    def line(self, beginning: str) -> str:
        """The next line that begins so; others are kept in ``said`` and passed over."""
        until = time.monotonic() + LONG
        while True:
            try:
                line = self._lines.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                line = None
            if line is None:
                pytest.fail(f"it never said {beginning!r}:\n" + "\n".join(self.said))
            self.said.append(line)
            if line.startswith(beginning):
                return line

    def end(self) -> list[str]:
        """All that it has said, once it has ended, as it should, with status 0."""
        self._process.wait(LONG)
        self._reader.join(LONG)
        while (line := self._lines.get()) is not None:
            self.said.append(line)
        assert self._process.returncode == 0, "\n".join(self.said)
        return self.said

    def signal(self, kind: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(kind)


@contextlib.contextmanager
def example(name: str, *args: str | Path) -> Generator[Program]:
    """An example as a program. What it prints to standard error, warnings too, is among its lines."""
    command = (sys.executable, "-X", "dev", "-W", "error", EXAMPLES / name, *args)
    environ = {"PYTHONUNBUFFERED": "1", "NO_PROXY": ""}
    with ended(command, subprocess.PIPE, environ) as process:
        try:
            yield Program(process)
        finally:
            stop(process)
            if process.stdout is not None:
                process.stdout.close()


def run(name: str, *args: str | Path) -> list[str]:
    """What an example says, from its beginning to its end."""
    with example(name, *args) as program:
        return program.end()
