"""HTTP/2 frames of a server, byte by byte, lawful or not."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from hpack import Encoder

from httpx2_trio_ws._http2 import Connection, Stream

if TYPE_CHECKING:
    from httpx2_trio_ws._http2 import Event

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
ANSWER = [(b":status", b"200")]
REQUEST = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":authority", b"example.com"),
    (b":path", b"/"),
]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def block(*headers: tuple[bytes, bytes]) -> bytes:
    """A header block that leaves no trace in the decoder's table."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode([*headers])[1:]


def answer(stream: int = 1, *headers: tuple[bytes, bytes], flags: int = 4, status: bytes = b"200") -> bytes:
    return frame(HEADERS, flags, stream, block((b":status", status), *headers))


def data(stream: int, payload: bytes, flags: int = 0) -> bytes:
    return frame(DATA, flags, stream, payload)


def rst(stream: int, code: int) -> bytes:
    return frame(RST, 0, stream, code.to_bytes(4, "big"))


def window(stream: int, more: int) -> bytes:
    return frame(WINDOW, 0, stream, more.to_bytes(4, "big"))


def goaway(last: int, code: int = 0, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + debug)


def frames(written: bytes) -> list[tuple[int, int, int, bytes]]:
    """What was written: kind, flags, stream and payload of each frame."""
    found, pos = [], 0
    while pos < len(written):
        length = int.from_bytes(written[pos : pos + 3], "big")
        kind, flags = written[pos + 3 : pos + 5]
        stream = int.from_bytes(written[pos + 5 : pos + 9], "big")
        found.append((kind, flags, stream, written[pos + 9 : pos + 9 + length]))
        pos += 9 + length
    assert pos == len(written)
    return found


class Data(NamedTuple):
    """What has arrived on a stream."""

    stream: Stream
    data: bytes


class Client:
    """A connection whose greetings are over, and so many streams, answered or not."""

    def __init__(self, streams: int = 0, *, answered: bool = False, first: bytes | None = None, **options: int) -> None:
        self.connection = Connection(**options)
        self.now = 0.0
        self.connection.take_output()
        self.receive(settings((8, 1)) if first is None else first)
        self.streams: list[Stream] = [self.connection.open_stream(REQUEST, None) for _ in range(streams)]
        if answered:
            for stream in self.streams:
                self.receive(answer(stream.id))
        self.connection.take_output()

    def receive(self, *sent: bytes) -> list[Event | Data]:
        events = self.connection.receive_data(b"".join(sent), self.now)
        return [Data(event, event.take()) if isinstance(event, Stream) else event for event in events]

    def written(self) -> list[tuple[int, int, int, bytes]]:
        return frames(bytes(self.connection.take_output()))
