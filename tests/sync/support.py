"""Servers in threads, and a peer that a test plays itself, with blocking calls."""

from __future__ import annotations

import contextlib
import queue
import socket
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
import pytest
import trio
from websockets.sync.server import ServerConnection, serve

from httpx2_trio_ws.sync import SyncWebSocketSession, open_websocket
from tests.handshake_support import client_context
from tests.memory import CLOSE, Frame, accept_key, close_frame, frame

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator, Iterable
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")
# Longer than anything here takes; a test that waits so long has failed.
LONG = 10
# Larger than all buffers on the way, where these are small.
BIG = 1_000_000


def new_client(**options: Any) -> httpx2.Client:
    """A client with nothing set but ``options``; certificates and the environment are left out."""
    return httpx2.Client(**{"verify": False, "trust_env": False, **options})


def one_connection(**options: Any) -> httpx2.Client:
    """A client whose pool has one slot, and which does not wait for it long."""
    limits = httpx2.Limits(max_connections=1)
    return new_client(limits=limits, timeout=httpx2.Timeout(5, pool=0.1), **options)


def eventually(condition: Callable[[], object]) -> None:
    """Wait until it is so."""
    until = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < until, "it never was"
        time.sleep(0.001)


def readers() -> list[threading.Thread]:
    """The library's threads."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("WebSocket")]


class Task(threading.Thread):
    """A thread whose result, or exception, is given by :meth:`result`."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._args = args
        self._result: Any = None
        self._error: BaseException | None = None
        self.ended_at = 0.0
        self.start()

    def run(self) -> None:
        try:
            self._result = self._function(*self._args)
        except BaseException as exc:
            self._error = exc
        self.ended_at = time.monotonic()

    def result(self) -> Any:
        self.join(LONG)
        assert not self.is_alive(), "it hangs"
        if self._error is not None:
            raise self._error
        return self._result


def each(function: Callable[[T], object], arguments: Iterable[T]) -> None:
    """Call a function with each."""
    for argument in arguments:
        function(argument)


@contextlib.contextmanager
def in_thread(manager: AbstractAsyncContextManager[T]) -> Generator[T]:
    """One of the servers that live in a trio nursery, in a thread."""
    entered: queue.SimpleQueue[tuple[T, trio.lowlevel.TrioToken, trio.Event]] = queue.SimpleQueue()

    async def main() -> None:
        async with manager as value:
            stop = trio.Event()
            entered.put((value, trio.lowlevel.current_trio_token(), stop))
            await stop.wait()

    task = Task(trio.run, main)
    value, token, stop = entered.get(timeout=LONG)
    try:
        yield value
    finally:
        token.run_sync_soon(stop.set)
        task.result()


def echo(ws: ServerConnection) -> None:
    """Send back whatever comes."""
    for message in ws:
        ws.send(message)


@contextlib.contextmanager
def websocket_server(handler: Callable[[ServerConnection], None] = echo, **options: Any) -> Generator[str]:
    """A ``websockets.sync`` server; gives its URL without a path."""
    with serve(handler, "127.0.0.1", 0, **{"max_size": None, **options}) as server:
        task = Task(server.serve_forever)
        yield f"{'wss' if options.get('ssl') else 'ws'}://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        task.result()


class Peer:
    """The server's end of one connection, after the handshake."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.tasks: list[Task] = []
        self._buffer = b""

    def begin(self, function: Callable[[], Any]) -> Task:
        """Do something meanwhile; the connection stays open until it is done."""
        task = Task(function)
        self.tasks.append(task)
        return task

    def send(self, *raw: bytes) -> None:
        self.socket.sendall(b"".join(raw))

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(f"{len(self._buffer)} bytes of a frame, then the end")
            self._buffer += data
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def receive(self) -> Frame:
        """The next frame; EOFError at the end. Half a frame before the end is in the error's text."""
        frame, fin = self.fragment()
        assert fin, "the client does not fragment"
        return frame

    def fragment(self) -> tuple[Frame, bool]:
        """Likewise a frame, and whether it is the last of its message."""
        first, second = self._exactly(2)
        assert second & 0x80, "the client masks"
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(self._exactly(2 if length == 126 else 8))
        key = self._exactly(4)
        masked = self._exactly(length)
        repeated = (key * (length // 4 + 1))[:length]
        payload = int.from_bytes(masked) ^ int.from_bytes(repeated)
        return Frame(first & 0x0F, payload.to_bytes(length)), bool(first & 0x80)

    def frames(self) -> list[Frame]:
        """All frames until the end of the connection, which must come between two frames."""
        frames = []
        while True:
            try:
                frames.append(self.receive())
            except EOFError as exc:
                assert str(exc).startswith("0 bytes"), exc
                return frames

    def answer_close(self) -> list[Frame]:
        """Wait for the client's close frame, answer it, close the connection. What came until then."""
        frames: list[Frame] = []
        while not frames or frames[-1].opcode != CLOSE:
            frames.append(self.receive())
        self.send(frame(CLOSE, frames[-1].payload))
        self.socket.close()
        return frames

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close as a server does: close frame, wait for the answer, close the connection."""
        self.send(close_frame(code, reason))
        while self.receive().opcode != CLOSE:
            pass
        self.socket.close()


def upgrade(sock: socket.socket, extra: str = "", glued: bytes = b"") -> Peer:
    """Play a server's part of the handshake; ``extra`` are header lines, ``glued`` comes in the same packet."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        assert more, "no request"
        data += more
    (key,) = (line.split(": ")[1] for line in data.decode().split("\r\n") if line.startswith("Sec-WebSocket-Key"))
    response = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n{extra}\r\n"
    )
    sock.sendall(response.encode() + glued)
    return Peer(sock)


@contextlib.contextmanager
def listening(
    context: ssl.SSLContext | None = None,
    path: str | None = None,
    *,
    options: Iterable[tuple[int, int, int]] = (),
) -> Generator[tuple[str, Callable[[], socket.socket]]]:
    """A listening socket, on loopback or at a path; its ``host:port``, and what accepts a connection with these options.

    All are closed at the end.
    """
    with contextlib.ExitStack() as stack:
        listener = socket.create_server(("127.0.0.1", 0)) if path is None else socket.socket(socket.AF_UNIX)
        stack.enter_context(listener)
        if path is not None:
            listener.bind(path)
            listener.listen()
        listener.settimeout(LONG)
        for option in options:
            listener.setsockopt(*option)

        def accept() -> socket.socket:
            sock = listener.accept()[0]
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            sock.settimeout(LONG)
            return stack.enter_context(sock)

        yield f"127.0.0.1:{listener.getsockname()[1]}" if path is None else "127.0.0.1", accept


@contextlib.contextmanager
def played(
    extra: str = "", glued: bytes = b"", context: ssl.SSLContext | None = None, *, small: bool = False, **options: Any
) -> Generator[tuple[SyncWebSocketSession, Peer]]:
    """An open session and its peer, which the test plays.

    With ``small``, writes soon have to wait. That is over a Unix socket, which has one buffer between the two sides, and
    no timers.
    """
    transport: dict[str, Any] = {"verify": client_context() if context else False}
    with contextlib.ExitStack() as stack:
        if small:
            path = stack.enter_context(tempfile.TemporaryDirectory()) + "/s"
            transport |= {"uds": path, "socket_options": [(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)]}
        address, accept = stack.enter_context(listening(context, transport.get("uds")))
        client = stack.enter_context(new_client(transport=httpx2.HTTPTransport(**transport)))
        accepting = Task(lambda: upgrade(accept(), extra, glued))
        scheme = "wss" if context else "ws"
        try:
            with open_websocket(client, f"{scheme}://{address}/path", **options) as ws:
                yield ws, accepting.result()
        finally:
            for task in accepting.result().tasks:
                task.join(LONG)


def talks(client: httpx2.Client, url: str, **options: Any) -> None:
    """Open, and exchange messages both ways, one larger than any buffer on the way."""
    with open_websocket(client, url, compression=None, **options) as ws:
        for message in ("x", b"x" * 500_000):
            ws.send(message)
            assert ws.receive(timeout=LONG) == message


def refused(error: type[Exception], match: str, client: Any, url: Any = "ws://127.0.0.1:1", **options: Any) -> Any:
    with pytest.raises(error, match=match) as caught, open_websocket(client, url, **options):
        raise AssertionError
    return caught.value
