"""A WebSocket server in a thread that does as it is told, for clients on any event loop."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from httpx2_trio_ws.testing import encode_frame
from tests.memory import accept_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class BadFrameError(Exception):
    """The client sent what is no frame of a client."""


class Wire:
    """The server's end of one connection.

    Args:
        sock: it.
        head: the request's lines.
    """

    def __init__(self, sock: socket.socket, head: list[str]) -> None:
        self.sock = sock
        self.request = head[0]
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:])}

    def accept(self, extra: str = "", key: str | None = None, glued: bytes = b"") -> None:
        """Answer the handshake; ``extra`` are header lines, ``glued`` comes in the same packet."""
        accept = accept_key(key or self.headers["sec-websocket-key"])
        self.sock.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n{extra}\r\n".encode()
            + glued
        )

    def send(self, opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> None:
        self.sock.sendall(encode_frame(opcode, payload, fin=fin, rsv1=rsv1))

    def text(self, text: str) -> None:
        self.send(1, text.encode())

    def read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            more = self.sock.recv(min(count - len(data), 1 << 20))
            if not more:
                raise EOFError
            data += more
        return bytes(data)

    def frame(self) -> tuple[int, bytes]:
        """The next frame: its opcode and its payload, unmasked.

        Raises:
            EOFError: the connection ended.
            BadFrameError: it is none.
        """
        first, second = self.read(2)
        if first & 0x70 or first & 0xF not in (0, 1, 2, 8, 9, 10) or not second & 0x80:
            raise BadFrameError(f"{first:08b} {second:08b}")
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(self.read(2 if length == 126 else 8))
        mask = self.read(4)
        payload = self.read(length)
        key = int.from_bytes(mask * (length // 4 + 1)) >> (8 * (-length % 4 or 4))
        return first & 0xF, (int.from_bytes(payload) ^ key).to_bytes(length)


@contextlib.contextmanager
def server(script: Callable[[Wire], None], *, receive_buffer: int | None = None) -> Generator[str]:
    """Plays ``script`` with each connection; gives the URL. What a script raises is raised when the block is left."""
    listener = socket.create_server(("127.0.0.1", 0))
    if receive_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []
    errors: list[Exception] = []

    def play(sock: socket.socket) -> None:
        with sock:
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += sock.recv(65536)
                script(Wire(sock, head.decode().split("\r\n\r\n")[0].split("\r\n")))
            except (EOFError, OSError):
                pass  # the client has gone
            except Exception as exc:
                errors.append(exc)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                connections.append(sock)
                threads.append(threading.Thread(target=play, args=[sock], daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=serve, daemon=True)
    accepting.start()
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for sock in connections:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
