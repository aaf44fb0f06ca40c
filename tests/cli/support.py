"""Servers in threads, for a client that has the main thread's event loop; and a terminal to run it in."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import math
import os
import pty
import re
import select
import socket
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from websockets.sync.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from websockets.sync.server import ServerConnection

SECONDS = 15  # what a process may take: far more than it does, on a busy machine too


@contextlib.contextmanager
def websocket_server(handler: Callable[[ServerConnection], None], **options: Any) -> Generator[str]:
    """A real server; gives its URL."""
    with serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def raw_server(play: Callable[[socket.socket], object], *, status: bytes = b"") -> Generator[str]:
    """A server for one connection, whose frames ``play`` sends, if any; or that answers with ``status``."""

    def serve_one() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(SECONDS)
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(65536)
                connection.sendall(status or switching(request))
                play(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_one)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            thread.join(SECONDS)
            assert not thread.is_alive()


def switching(request: bytes) -> bytes:
    found = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    assert found is not None
    accept = base64.b64encode(hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
    return b"\r\n".join([*lines, b"Sec-WebSocket-Accept: " + accept, b"", b""])


def quickest(function: Callable[[], object]) -> float:
    """Seconds that it takes when the machine has nothing better to do, in the best of a few calls."""
    best = math.inf
    for _ in range(5):
        began = time.monotonic()
        function()
        best = min(best, time.monotonic() - began)
        if best < 0.5:
            break
    return best


def until_closed(connection: socket.socket) -> bytes:
    """What the client sends until it drops the connection, or sends a close frame, which is answered."""
    data = b""
    while more := connection.recv(65536):
        data += more
        if b"\x88\x82" in more:
            connection.sendall(b"\x88\x02\x03\xe8")
            break
    return data


def echo_frames(connection: socket.socket) -> None:
    """Echo short frames, a close frame too; far faster than a real server, so that it is not the server that counts."""
    data, closed = b"", False
    while not closed:
        data += connection.recv(65536)
        answer, pos = [], 0
        while len(data) >= pos + 2 and len(data) >= (end := pos + 6 + (size := data[pos + 1] & 0x7F)):
            assert size < 126
            key = int.from_bytes((data[pos + 2 : pos + 6] * 32)[:size])
            payload = (int.from_bytes(data[pos + 6 : end]) ^ key).to_bytes(size)
            answer.append(bytes((data[pos], size)) + payload)
            closed |= data[pos] == 0x88
            pos = end
        data = data[pos:]
        connection.sendall(b"".join(answer))


class Pipe:
    """The ends of a pipe. Each is closed once: a second time it could be the number of another thread's socket."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._open = {self.reader, self.writer}

    def close(self, end: int) -> None:
        if end in self._open:
            self._open.remove(end)
            os.close(end)


class Pair(NamedTuple):
    """The two sides of a pseudo-terminal: a person's and a program's."""

    person: int
    program: int

    def type(self, line: bytes) -> None:
        """Type a line, and wait until the program can read it: that takes a moment."""
        os.write(self.person, line)
        assert select.select([self.program], [], [], SECONDS)[0]

    def seen(self) -> bytes:
        """What has been shown since the last time; newlines as programs write them."""
        os.write(self.program, b"\x05")  # what was sent before has arrived when this has
        data = b""
        while not data.endswith(b"\x05"):
            assert select.select([self.person], [], [], SECONDS)[0]
            data += os.read(self.person, 65536)
        return data[:-1].replace(b"\r\n", b"\n")


@contextlib.contextmanager
def no_thread_left() -> Iterator[None]:
    """What the block starts must have ended after it."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) - before == set()


# -- processes -------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-W", "error"]


@contextlib.contextmanager
def process(*arguments: str, **options: Any) -> Generator[subprocess.Popen[bytes]]:
    """The command, with every warning an error; killed at the end of the block, if it still runs."""
    with subprocess.Popen([*COMMAND, "-m", "httpx2_trio_ws", *arguments], **options) as running:
        try:
            yield running
        finally:
            running.kill()


def run(*arguments: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
    """Exit status, output and errors of the command."""
    with process(
        *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:  # fmt: skip
        output, errors = running.communicate(data, timeout=SECONDS)
        return running.returncode, output, errors


# The leader of a new session gets the first terminal that it opens for its own: so Ctrl-C reaches it.
_IN_TERMINAL = """\
import os, runpy
os.close(os.open(os.ttyname(0), os.O_RDWR))
runpy.run_module("httpx2_trio_ws", run_name="__main__", alter_sys=True)
"""


class Terminal:
    """The command in a pseudo-terminal.

    Attributes:
        shown: all that it has printed and :meth:`expect` has read.
        settings: of the terminal, before.
    """

    def __init__(self, *arguments: str) -> None:
        self._keyboard, self._screen = pty.openpty()
        self.settings = termios.tcgetattr(self._screen)
        self.shown = b""
        self._process = subprocess.Popen(
            [*COMMAND, "-c", _IN_TERMINAL, *arguments],
            stdin=self._screen,
            stdout=self._screen,
            stderr=self._screen,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._keyboard)
        os.close(self._screen)

    def type(self, keys: bytes) -> None:
        os.write(self._keyboard, keys)

    def expect(self, pattern: bytes) -> bytes:
        """Read until this has been shown; gives the match."""
        deadline = time.monotonic() + SECONDS
        while (found := re.search(pattern, self.shown, re.DOTALL)) is None:
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} is not in {self.shown!r}"
            if select.select([self._keyboard], [], [], left)[0]:
                self.shown += os.read(self._keyboard, 65536)
        return found[0]

    def end(self) -> int:
        """Wait for its end; the terminal must be as it was. Gives the exit status."""
        status = self.wait()
        assert termios.tcgetattr(self._screen) == self.settings
        return status

    def wait(self) -> int:
        """Wait for its end, whatever it leaves behind."""
        return self._process.wait(SECONDS)

    def typed_ahead(self) -> bytes:
        """What a shell would find typed after the end."""
        flags = list(self.settings)
        flags[3] &= ~termios.ICANON
        termios.tcsetattr(self._screen, termios.TCSANOW, flags)
        os.set_blocking(self._screen, False)
        try:
            return os.read(self._screen, 65536)
        except BlockingIOError:
            return b""

    @property
    def pid(self) -> int:
        return self._process.pid
