"""What carries a blocking session: the socket under the network stream that httpx2 hands out. Nothing here waits.

Of a plain socket, writing may be done by any thread (:attr:`Carrier.write_now`). All else is the reader's: OpenSSL
allows no two threads in one connection, and Ctrl-C in the main thread may be raised after a TLS write has been done,
so that nobody would know that it was.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from httpx2_trio_ws._exceptions import WebSocketUpgradeError

from ._poller import new_selector

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

READ_SIZE = 65536
# So much is read after a read that was full: the peer sends faster than we read. It is a little less than what fills a
# queue, were each byte a character of four: so the size of what is queued need not be counted after each such read.
LARGE_READ = 15 * READ_SIZE // 4
_RECORD = 16384  # of TLS, RFC 8446 §5.1
# A socket that is ready takes so much, also with what two layers of TLS add to it.
_CERTAIN = 4096
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Carrier(Protocol):
    """Read and write without waiting."""

    socket: socket.socket
    """What to wait for, with ``select``."""
    write_now: Callable[[bytes], int] | None
    """Writes as :meth:`socket.socket.send` does, in any thread; ``None`` if the reader alone may write."""
    more: bool
    """There may be more to read, though the socket is not ready."""
    committed: bool
    """The last write has begun and must be repeated, beginning with the same bytes."""

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:
        """Ask ``room`` before each read where the bytes are to go, and return that part of it: false if it does not."""
        ...

    def read(self) -> bytes | memoryview | None:
        """Some bytes; ``b""`` at the end; ``None`` if there is nothing yet. Any exception says that it broke."""
        ...

    def write(self, data: memoryview) -> int:
        """Write some bytes; return how many, 0 if the peer takes none now. Any exception says that it broke."""
        ...


def read_stream(stream: Any) -> bytes | None:
    """What httpx2's stream has, such as bytes that came with the 101; ``None`` if that is nothing."""
    try:
        # It hands out what came with the 101 whole, as that is part of one read of 64 KiB.
        return bytes(stream.read(2 * READ_SIZE, timeout=0))
    except Exception as exc:  # noqa: BLE001 (what it stems from tells)
        cause = exc.__cause__
        if isinstance(cause, _NOT_NOW):
            return None
        raise (cause if isinstance(cause, OSError) else exc) from None


class SocketCarrier:
    """The socket itself, plain or TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.settimeout(0)
        tls = isinstance(sock, ssl.SSLSocket)
        self.write_now: Callable[[bytes], int] | None = None if tls else sock.send
        self._unit = _RECORD if tls else sys.maxsize
        self._tls = tls
        self._room: Callable[[], memoryview | None] | None = None
        self._read_size = READ_SIZE
        self.more = False
        self.committed = False

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:
        if not self._tls:  # of which a read is one record
            self._room = room
        return not self._tls

    def read(self) -> bytes | memoryview | None:
        try:
            if self._room is not None and (room := self._room()) is not None:
                return room[: self.socket.recv_into(room)]
            data = self.socket.recv(self._read_size)
        except _NOT_NOW:
            return None
        self._read_size = LARGE_READ if len(data) >= READ_SIZE else READ_SIZE
        return data

    def write(self, data: memoryview) -> int:
        try:
            written = self.socket.send(data[: self._unit])
        except _NOT_NOW:
            # OpenSSL has encrypted it by now, and is owed the same bytes again.
            self.committed = self._tls
            return 0
        self.committed = False
        return written


class _ByReads:
    """One that reads nothing straight to where it is wanted."""

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:  # noqa: ARG002 (the protocol's name for it)
        return False


class StreamCarrier(_ByReads):
    """A stream that does more to the bytes than its socket: TLS within TLS, to a proxy and through it."""

    def __init__(self, stream: Any, sock: socket.socket) -> None:
        self.write_now: Callable[[bytes], int] | None = None
        self.more = False
        self.committed = False
        self.socket = sock
        self._stream = stream
        self._room = new_selector()
        self._room.register(sock, selectors.EVENT_WRITE)

    def read(self) -> bytes | None:
        data = read_stream(self._stream)
        self.more = bool(data)  # the stream may have read records that it has not handed out
        return data

    def write(self, data: memoryview) -> int:
        # The stream has lost what it could not write at once. So it is given little, and only when there is room.
        if not self._room.select(0):
            return 0
        part = bytes(data[:_CERTAIN])
        self._stream.write(part, timeout=0)
        return len(part)


class ClosedCarrier(_ByReads):
    """Of a client that is being closed, or was."""

    write_now: Callable[[bytes], int] | None = None
    more = True
    committed = False

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def read(self) -> NoReturn:
        raise ConnectionAbortedError("the client was closed")

    def write(self, data: memoryview) -> NoReturn:  # noqa: ARG002 (the protocol's name for it)
        raise ConnectionAbortedError("the client was closed")


def carrier_for(response: httpx2.Response) -> Carrier:
    """The carrier of an upgraded response.

    Raises:
        WebSocketUpgradeError: its stream has no socket to wait for.
    """
    stream = response.extensions["network_stream"]
    sock = stream.get_extra_info("socket")
    if not isinstance(sock, socket.socket):
        raise WebSocketUpgradeError(
            "the client's transport answered 101 with a network_stream that has no socket: a blocking session needs "
            "one to wait for",
            response,
        )
    if isinstance(stream.get_extra_info("ssl_object"), ssl.SSLObject):
        return StreamCarrier(stream, sock)
    return SocketCarrier(sock)
