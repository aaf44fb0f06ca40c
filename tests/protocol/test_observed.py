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


def write(connection: ObservedConnection, data: bytes, size: int = 2**30) -> None:
    """So many bytes at a time."""
    for start in range(0, len(data), size):
        connection.on_written(data[start : start + size])


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
    answers = connection.control_to_send()
    assert sent == []  # until it is written
    write(connection, answers, size)
    assert sent == [FrameInfo(PONG, b"ping"), FrameInfo(CLOSE, b"\x03\xe8bye")]


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 1000, 10**6])
@pytest.mark.parametrize("control_first", [False, True])
def test_what_has_left_is_told_of(size: int, *, control_first: bool) -> None:
    connection, _, sent = observed()
    messages = [connection.encode(b"one", TEXT), *connection.encode_all([b"two", b"", b"x" * 70_000], BINARY)]
    messages += [
        connection.encode_fragment(part, kind, fin=part == b"ts", compressed=False)
        for part, kind in ((b"par", TEXT), (b"", 0), (b"ts", 0))
    ]
    control = [connection.ping(b"ping"), connection.pong(b""), connection.close(1001, "away")]
    assert [len(made) for made in messages + control] == [9, 9, 6, 70_014, 9, 6, 8, 10, 6, 12]
    assert sent == []
    frames = control + messages if control_first else messages + control
    write(connection, b"".join(frames)[:-1], size)
    of_messages = [
        FrameInfo(TEXT, b"one"),
        FrameInfo(BINARY, b"two"),
        FrameInfo(BINARY, b""),
        FrameInfo(BINARY, b"x" * 70_000),
        FrameInfo(TEXT, b"par", fin=False),
        FrameInfo(CONTINUATION, b"", fin=False),
        FrameInfo(CONTINUATION, b"ts"),
    ]
    of_control = [FrameInfo(PING, b"ping"), FrameInfo(PONG, b""), FrameInfo(CLOSE, b"\x03\xe9away")]
    told = of_control + of_messages if control_first else of_messages + of_control
    assert sent == told[:-1]
    write(connection, frames[-1][-1:])
    assert sent == told


def test_what_never_left_is_not_told_of() -> None:
    connection, _, sent = observed(Deflate())
    connection.encode(b"given up, as by an interrupt", TEXT)
    last = connection.encode_all([b"one", b"two"], TEXT)
    connection.ping(b"never written")
    write(connection, b"".join(last))
    assert sent == [FrameInfo(TEXT, b"one", compressed=True), FrameInfo(TEXT, b"two", compressed=True)]


def test_all_that_makes_frames_of_messages_tells_of_them() -> None:
    encoders = {name for name in vars(Connection) if name.startswith("encode")}
    assert encoders <= vars(ObservedConnection).keys()
    connection, _, sent = observed()
    assert connection.encode_large(LARGE * 10, BINARY) is None
    data = connection.encode(LARGE * 10, BINARY)
    assert len(data) == 700_014
    write(connection, data, 65_536)
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
    write(connection, b"".join(connection.encode_all([b"a" * 50], TEXT)))
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
