"""What a hostile server may send in a session, and a server that sends it: for the tests, and for the table of attacks.

Nothing here imports the library, as other libraries are attacked, too.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import socket
import struct
import threading
import time
import zlib
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Self

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KIB, MIB = 2**10, 2**20
_TEXT, _BINARY, _PING, _PONG, _FIN, _COMPRESSED = 1, 2, 9, 10, 0x80, 0x40
_DEFLATE = "permessage-deflate"


class Attack(NamedTuple):
    """What is sent: ``begin`` once, then ``unit`` over and over: so many bytes of frames, or a few more."""

    unit: Callable[[], bytes]
    begin: bytes = b""
    #: The extension that the server agrees to.
    extension: str = ""
    #: How much of it is sent in a test, so that each costs about the same.
    size: int = 512 * KIB

    def wire(self, size: int) -> Iterator[bytes]:
        """So many bytes, in pieces; as many as makes whole frames of them."""
        unit = self.unit()
        left, at_once = -(-size // len(unit)), max(1, 256 * KIB // len(unit))
        yield self.begin
        while left > 0:
            yield unit * min(left, at_once)
            left -= at_once


def frame(first: int, payload: bytes = b"") -> bytes:
    """A server's frame, by its first byte."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def frames_per_mib(attack: Attack) -> float:
    """How many frames there are in so much of an attack."""
    unit, at, count = attack.unit(), 0, 0
    while at < len(unit):
        size, head = unit[at + 1], 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(unit[at + 2 : at + head])
        at += head + size
        count += 1
    return count * MIB / len(unit)


def _deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _packed(bits: list[int]) -> bytes:
    """Bits, the first of each byte lowest (RFC 1951 §3.1.1)."""
    return bytes(sum(bit << place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))


@cache
def dynamic_block() -> bytes:
    """Eight times the same block with Huffman codes of its own (RFC 1951 §3.2.7), and nothing in it but its end."""
    bits: list[int] = []

    def low_first(value: int, count: int) -> None:
        bits.extend(value >> place & 1 for place in range(count))

    for _ in range(8):
        low_first(0, 1)  # not the last
        low_first(2, 2)  # dynamic
        for value, count in ((0, 5), (0, 5), (14, 4)):
            low_first(value, count)
        for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
            low_first(symbol in (1, 18), 3)
        for code, value in ((1, 127), (1, 107)):  # a run of zeros, twice; the end's code follows
            low_first(code, 1)
            low_first(value, 7)
        bits.extend((0, 0, 0))
    return _packed(bits)


@cache
def fixed_block() -> bytes:
    """Four times a block with fixed codes, and nothing in it but its end."""
    return _packed([0, 1, 0, *[0] * 7] * 4)


STORED_BLOCK = b"\x00\x00\x00\xff\xff"


def _blocks(block: bytes, size: int) -> bytes:
    """A compressed message of blocks that hold nothing."""
    return block * (size // len(block)) + b"\0"


def _in_fragments(payload: bytes, first: int) -> bytes:
    """One byte each."""
    parts = [payload[at : at + 1] for at in range(len(payload))]
    return frame(first, parts[0]) + b"".join(frame(0, part) for part in parts[1:]) + frame(_FIN)


def _noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


C = _FIN | _COMPRESSED
ATTACKS: dict[str, Attack] = {
    "text of 125 bytes, no attack": Attack(lambda: frame(_FIN | _TEXT, b"x" * 125)),
    "empty messages": Attack(lambda: frame(_FIN | _TEXT), size=128 * KIB),
    "messages of one byte": Attack(lambda: frame(_FIN | _TEXT, b"a"), size=128 * KIB),
    "a message in fragments of one byte": Attack(lambda: _in_fragments(b"a" * 60_000, _TEXT), size=128 * KIB),
    "endless empty fragments": Attack(lambda: frame(0), frame(_TEXT), size=128 * KIB),
    "fragments that end inside characters": Attack(
        lambda: _in_fragments("€".encode() * 20_000, _TEXT), size=128 * KIB
    ),
    "empty pings": Attack(lambda: frame(_FIN | _PING), size=64 * KIB),
    "pings of 125 bytes": Attack(lambda: frame(_FIN | _PING, b"p" * 125)),
    "empty pongs": Attack(lambda: frame(_FIN | _PONG), size=64 * KIB),
    "pongs of 125 bytes": Attack(lambda: frame(_FIN | _PONG, b"p" * 125)),
    "compressed: empty messages": Attack(lambda: frame(C | _TEXT, b"\0"), extension=_DEFLATE, size=64 * KIB),
    "compressed: empty messages, each for itself": Attack(
        lambda: frame(C | _TEXT, b"\0"), extension=f"{_DEFLATE}; server_no_context_takeover", size=32 * KIB
    ),
    "compressed: a final block in each message": Attack(
        lambda: frame(C | _TEXT, b"\x03\0\0"), extension=_DEFLATE, size=64 * KIB
    ),
    "compressed: fragments of one byte": Attack(
        lambda: _in_fragments(_deflated(_noise(50_000)), _COMPRESSED | _BINARY), extension=_DEFLATE, size=128 * KIB
    ),
    "compressed: endless empty fragments": Attack(
        lambda: frame(0), frame(_COMPRESSED | _TEXT), extension=_DEFLATE, size=128 * KIB
    ),
    "compressed: bombs of 1 MiB": Attack(
        lambda: frame(C | _BINARY, _deflated(bytes(MIB))), extension=_DEFLATE, size=16 * KIB
    ),
    "compressed: bombs of 1 MiB of text": Attack(
        lambda: frame(C | _TEXT, _deflated(b"a" * MIB)), extension=_DEFLATE, size=16 * KIB
    ),
    "compressed: stored blocks of nothing": Attack(
        lambda: frame(C | _BINARY, _blocks(STORED_BLOCK, MIB - 10)), extension=_DEFLATE
    ),
    "compressed: fixed blocks of nothing": Attack(
        lambda: frame(C | _BINARY, _blocks(fixed_block(), MIB - 10)), extension=_DEFLATE
    ),
    "compressed: dynamic blocks of nothing": Attack(
        lambda: frame(C | _BINARY, _blocks(dynamic_block(), MIB - 100)), extension=_DEFLATE, size=MIB - 200
    ),
    "compressed: such blocks in small frames": Attack(
        lambda: frame(C | _BINARY, _blocks(dynamic_block(), 180)), extension=_DEFLATE
    ),
    "compressed: such blocks in large fragments": Attack(
        lambda: frame(_COMPRESSED | _BINARY, dynamic_block() * 600) + frame(0, dynamic_block() * 600) * 14 + frame(_FIN, b"\0"),
        extension=_DEFLATE,
    ),
}  # fmt: skip


class Attacker:
    """A server in threads: it sends so much of an attack in one session, reads all that comes, and closes.

    Attributes:
        sent: bytes that the client's side has taken, or will find in its buffers.
        cpu: seconds of processor time that its threads have taken.
    """

    def __init__(self, attack: Attack, size: int) -> None:
        self._pieces = list(attack.wire(size))
        self._extension = attack.extension
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(30)
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.sent = 0
        self.cpu = 0.0
        self._go = threading.Event()
        self._threads = [threading.Thread(target=self._counted, args=(self._serve,), daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.go()
        for thread in self._threads:
            thread.join(30)
        self._listener.close()

    def go(self) -> None:
        """Begin to send."""
        self._go.set()

    def _counted(self, function: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(OSError):
            function(*args)
        self.cpu += time.thread_time()

    def _serve(self) -> None:
        with self._listener.accept()[0] as sock:
            sock.settimeout(30)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(65536)
            sock.sendall(self._answer(head))
            drain = threading.Thread(target=self._counted, args=(self._drain, sock), daemon=True)
            self._threads.append(drain)
            drain.start()
            self._go.wait(30)
            try:
                for piece in self._pieces:
                    sock.sendall(piece)
                    self.sent += len(piece)
                sock.shutdown(socket.SHUT_WR)
            finally:
                drain.join(30)

    def _answer(self, head: bytes) -> bytes:
        lines = head.decode("latin-1").split("\r\n")
        [key] = [
            value.strip()
            for name, _, value in (line.partition(":") for line in lines)
            if name.lower() == "sec-websocket-key"
        ]
        accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        extension = f"Sec-WebSocket-Extensions: {self._extension}\r\n" if self._extension else ""
        return (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept.decode()}\r\n{extension}\r\n"
        ).encode()

    @staticmethod
    def _drain(sock: socket.socket) -> None:
        while sock.recv(MIB):
            pass


class Turns:
    """How long another task on the event loop had to wait for its turn at most, in seconds of the thread's processor time."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Run until it is cancelled."""
        last = time.thread_time()
        while True:
            await anyio.sleep(0.001)
            now = time.thread_time()
            self.longest, last = max(self.longest, now - last), now


def yardstick() -> float:
    """Seconds that this machine takes, now, for a fixed piece of Python and of zlib: 30 ms on the one of the docs' figures."""
    took: list[float] = []
    data = _noise(100_000)
    for _ in range(3):
        began = time.thread_time()
        counts = dict.fromkeys(range(100), 0)
        for number in range(150_000):
            counts[number % 100] += 1
        zlib.decompress(zlib.compress(data, 1))
        took.append(time.thread_time() - began)
    return min(took)
