"""Connections that tell of each frame."""

from __future__ import annotations

import pytest

from httpx2_trio_ws._protocol import BINARY, TEXT, Connection, FrameInfo, ObservedConnection
from tests.memory import CLOSE, PING, PONG, close_frame, frame

from ._strategies import Deflate, Deflater

CONTINUATION = 0
LARGE = b"L" * 70_000
# What a peer sends, one frame of each kind, and what is told of it.
RECEIVED = [
    FrameInfo(TEXT, "héllo".encode()),
    FrameInfo(BINARY, b""),
    FrameInfo(PING, b"ping"),
    FrameInfo(BINARY, b"m" * 126),
    FrameInfo(TEXT, b"par", fin=False),
    FrameInfo(PONG, b""),
    FrameInfo(CONTINUATION, b"", fin=False),
    FrameInfo(CONTINUATION, b"ts"),
    FrameInfo(TEXT, LARGE),
    FrameInfo(BINARY, LARGE),
    FrameInfo(CLOSE, b"\x03\xe8bye"),
]
WIRE = b"".join(frame(told.opcode, told.payload, fin=told.fin) for told in RECEIVED)


def observed(deflate: Deflate | None = None) -> tuple[ObservedConnection, list[FrameInfo], list[FrameInfo]]:
    received: list[FrameInfo] = []
    sent: list[FrameInfo] = []
    extension = None if deflate is None else deflate.extension()
    return ObservedConnection(received.append, sent.append, deflate=extension), received, sent


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 65_536, 10**6])
@pytest.mark.parametrize("max_messages", [1, 2, 100])
def test_each_frame_is_told_of_once_wherever_the_bytes_are_cut(size: int, max_messages: int) -> None:
    connection, received, sent = observed()
    plain = Connection()
    messages = []
    for start in range(0, len(WIRE), size):
        data = WIRE[start : start + size]
        messages += connection.receive_data(data, max_messages)
        while connection.has_input:
            messages += connection.receive_data(b"", max_messages)
    assert messages == plain.receive_data(WIRE)
    assert (connection.pongs, connection.peer_close) == (plain.pongs, plain.peer_close)
    assert received == RECEIVED
    assert sent == []  # until it is taken
    connection.control_to_send()
    assert sent == [FrameInfo(PONG, b"ping"), FrameInfo(CLOSE, b"\x03\xe8bye")]


def test_what_is_made_is_told_of() -> None:
    connection, _, sent = observed()
    frames = [connection.encode(b"one", TEXT), *connection.encode_all([b"two", b"", b"x" * 70_000], BINARY)]
    frames += [connection.ping(b"ping"), connection.pong(b""), connection.close(1001, "away")]
    assert [len(made) for made in frames] == [9, 9, 6, 70_014, 10, 6, 12]
    assert sent == [
        FrameInfo(TEXT, b"one"),
        FrameInfo(BINARY, b"two"),
        FrameInfo(BINARY, b""),
        FrameInfo(BINARY, b"x" * 70_000),
        FrameInfo(PING, b"ping"),
        FrameInfo(PONG, b""),
        FrameInfo(CLOSE, b"\x03\xe9away"),
    ]


def test_all_that_makes_frames_of_messages_tells_of_them() -> None:
    encoders = {name for name in vars(Connection) if name.startswith("encode")}
    assert encoders <= vars(ObservedConnection).keys()
    connection, _, sent = observed()
    assert len(b"".join(connection.encode_parts(LARGE * 10, BINARY))) == 700_014
    assert sent == [FrameInfo(BINARY, LARGE * 10)]


def test_payloads_are_shown_as_they_are_before_compression_and_after_inflation() -> None:
    connection, received, sent = observed(Deflate())
    deflater = Deflater(Deflate())
    first, second = deflater.message(b"squeezed " * 9), deflater.message(b"and again")
    data = frame(TEXT | 0x40, first) + frame(BINARY | 0x40, second[:3], fin=False) + frame(CONTINUATION, second[3:])
    assert connection.receive_data(data) == ["squeezed " * 9, b"and again"]
    whole, *parts = received
    assert whole == FrameInfo(TEXT, b"squeezed " * 9, compressed=True)
    assert [(part.opcode, part.fin, part.compressed) for part in parts] == [(2, False, True), (0, True, True)]
    assert b"".join(part.payload for part in parts) == b"and again"
    connection.encode_all([b"a" * 50], TEXT)
    assert sent == [FrameInfo(TEXT, b"a" * 50, compressed=True)]


@pytest.mark.parametrize("cut", [1, 100])
@pytest.mark.parametrize("deflated", [False, True])
def test_a_frame_that_is_refused_is_not_told_of(cut: int, *, deflated: bool) -> None:
    connection, received, _ = observed(Deflate())
    bad = frame(TEXT | 0x40, Deflater(Deflate()).message(b"bad\xff")) if deflated else frame(TEXT, b"bad\xff")
    data = frame(TEXT, b"good") + bad + frame(TEXT, b"after it")
    for start in range(0, len(data), cut):
        connection.receive_data(data[start : start + cut])
    assert connection.failure is not None
    assert received == [FrameInfo(TEXT, b"good")]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (FrameInfo(TEXT, "süß\n".encode()), r"TEXT 's\xfc\xdf\n' (6 bytes)"),
        (FrameInfo(BINARY, b"\x00a"), r"BINARY b'\x00a' (2 bytes)"),
        (FrameInfo(TEXT, b"a", compressed=True), "TEXT 'a' (1 bytes, compressed)"),
        (FrameInfo(CONTINUATION, b"a", fin=False), "CONT b'a' (1 bytes, to be continued)"),
        (FrameInfo(PING, b""), "PING b'' (0 bytes)"),
        (FrameInfo(CLOSE, close_frame(1001, "away\x1b")[2:]), r"CLOSE 1001 'away\x1b' (7 bytes)"),
        (FrameInfo(CLOSE, b""), "CLOSE b'' (0 bytes)"),
        (FrameInfo(TEXT, b"x" * 64), f"TEXT '{'x' * 64}' (64 bytes)"),
        (FrameInfo(TEXT, b"x" * 10**6), f"TEXT '{'x' * 48}'…'{'x' * 8}' (1000000 bytes)"),
        (FrameInfo(BINARY, bytes(65)), f"BINARY {bytes(48)!r}…{bytes(8)!r} (65 bytes)"),
    ],
)
def test_frames_are_shown_in_little_room(told: FrameInfo, shown: str) -> None:
    assert str(told) == shown


def test_control_frames_and_fragments_are_counted() -> None:
    connection = Connection()
    connection.receive_data(WIRE)
    connection.ping(b"1")
    connection.pong(b"")
    connection.pong(b"")
    assert (connection.pings_received, connection.pongs_received, connection.fragments_received) == (1, 1, 2)
    assert (connection.pings_sent, connection.pongs_sent) == (1, 3)
    assert connection.close_frames == (1, 1)
