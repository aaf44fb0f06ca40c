"""Servers in threads whose every TLS record is the test's own doing."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING

from .memory import Frame, accept_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

HANG = 10  # seconds


class TLSPeer:
    """A server's end of a TLS connection, after the handshake of the WebSocket."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._data = b""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                sock.sendall(self._outgoing.read())
                self._incoming.write(sock.recv(65536))
            else:
                break
        sock.sendall(self._outgoing.read())

    def records(self, *parts: bytes) -> bytes:
        """The records of some bytes, one for each part; without parts, what OpenSSL has to say."""
        for part in parts:
            self.tls.write(part)
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self._outgoing.read()

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(self.records(*parts))

    def read(self) -> bytes:
        """Some bytes; ``b""`` after a close_notify. Raises :exc:`ssl.SSLEOFError` at an end without one."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLZeroReturnError:  # after a close_notify of our own
                return b""
            except ssl.SSLWantReadError:
                records = self.socket.recv(65536)
                if records:
                    self._incoming.write(records)
                else:
                    self._incoming.write_eof()

    def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            more = self.read()
            if not more:
                raise EOFError
            self._data += more
        data, self._data = self._data[:size], self._data[size:]
        return data

    def upgrade(self, glued: bytes = b"", *parts: bytes, tampered: bytes = b"") -> bytes:
        """The server's part of the handshake.

        Args:
            glued: comes in the same record.
            parts: come in records of their own, in the same packet, all but the last byte; that is returned.
            tampered: comes behind them in a record that is not as it was made.
        """
        while b"\r\n\r\n" not in self._data:
            self._data += self.read()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().split("\r\n")]
        key = next(value for name, _, value in lines if name.lower() == "sec-websocket-key")
        records = self.records(switching(key) + glued, *parts)
        if tampered:
            bad = bytearray(self.records(tampered))
            bad[-1] ^= 1
            self.socket.sendall(records + bad)
            return b""
        whole = len(records) - bool(parts)
        self.socket.sendall(records[:whole])
        return records[whole:]

    def receive(self) -> Frame:
        first, second = self._exactly(2)
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(self._exactly(2 if length == 126 else 8))
        key = self._exactly(4)
        payload = self._exactly(length)
        mask = int.from_bytes((key * (length // 4 + 1))[:length])
        return Frame(first & 0x0F, (int.from_bytes(payload) ^ mask).to_bytes(length))


def switching(key: str) -> bytes:
    """A proper 101."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"sec-websocket-accept: {accept_key(key)}\r\n\r\n"
    ).encode()


@contextlib.contextmanager
def tls_server(
    script: Callable[[TLSPeer], None], context: ssl.SSLContext, *, receive_buffer: int | None = None
) -> Generator[str]:
    """A server for one connection, in a thread; gives its URL. What the script raises comes out at the end."""
    raised: list[BaseException] = []

    def serve() -> None:
        try:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(HANG)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                script(TLSPeer(sock, context))
        except BaseException as exc:
            raised.append(exc)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(HANG)
        if receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"wss://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            thread.join()
    if raised:
        raise raised[0]
