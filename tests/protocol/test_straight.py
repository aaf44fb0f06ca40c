"""Large frames that are read straight into the buffer, as a carrier does it."""

from __future__ import annotations

import gc
import random
from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws._protocol import Connection
from httpx2_trio_ws._protocol import _straight as module
from httpx2_trio_ws._protocol._straight import LEAST, SIZE

from ._strategies import BINARY, FIN, PING, RSV1, TEXT, wire
from ._support import failure_code, inflating, text

if TYPE_CHECKING:
    from httpx2_trio_ws._protocol._opening_up import Message

READ = 65536
ROOMY = 2**23


def straight(limit: int | None = ROOMY) -> Connection:
    connection = Connection(max_message_size=limit)
    connection.reads_straight = True
    return connection


def feed(connection: Connection, data: bytes, *sizes: int) -> list[Message]:
    """Have it read as a carrier reads, so many bytes at a time, the last of these over and over."""
    messages: list[Message] = []
    left = list(sizes)
    pos = 0
    while pos < len(data):
        size = left.pop(0) if len(left) > 1 else left[0]
        part = data[pos : pos + size]
        room = connection.room()
        if room is None:
            messages += connection.receive_data(part)
        else:
            part = part[: len(room)]
            room[: len(part)] = part
            messages += connection.receive_data(room[: len(part)])
        pos += len(part)
        while connection.has_input:
            messages += connection.receive_data(b"")
    return messages


def is_free() -> bool:
    gc.collect()
    return len(module._free) == 1


@pytest.fixture(autouse=True)
def _free_before_and_after() -> Any:
    assert is_free()
    yield
    assert is_free()


def payload_of(size: int) -> bytes:
    """Text whose characters have one to four bytes, so that cuts are inside of some."""
    return ("aé€\U0001f600" * (size // 10 + 1)).encode()[: size // 10 * 10]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [LEAST, 2 * LEAST, 300_000, SIZE, SIZE + 200_000, 3 * SIZE])
@pytest.mark.parametrize("read", [1000, LEAST - 1, READ, 240_000, 2 * SIZE])
def test_whatever_is_read_at_a_time_the_message_is_the_same(opcode: int, size: int, read: int) -> None:
    payload = payload_of(size)
    expected = payload.decode() if opcode == TEXT else payload
    data = text("before") + wire(FIN | opcode, payload) + wire(PING | FIN, b"p") + text("after")
    connection = straight()
    assert feed(connection, data, READ, read) == ["before", expected, "after"]
    assert connection.control_to_send()
    assert all(type(message) in (str, bytes) for message in connection.receive_data(wire(FIN | opcode, b"")))


def test_the_buffer_is_used_for_what_comes_fast() -> None:
    connection = straight()
    data = wire(FIN | BINARY, bytes(400_000))
    assert connection.receive_data(data[:LEAST]) == []
    assert connection.room() is None, "less has come than is worth it"
    connection = straight()
    connection.receive_data(data[:READ])
    room = connection.room()
    assert room is not None
    assert len(room) == 400_010 - READ, "nothing that comes after the frame is read to it"
    assert feed(connection, data[READ:], 100_000) == [bytes(400_000)]
    assert connection.room() is None


def test_every_cut_at_the_end_and_at_the_end_of_the_buffer() -> None:
    payload = payload_of(SIZE + 100_000)
    data = wire(FIN | TEXT, payload)
    for at in (SIZE, len(data)):
        for cut in range(at - 12, min(at + 12, len(data))):
            connection = straight()
            assert feed(connection, data, READ, cut - READ, READ) == [payload.decode()]


def test_random_cuts_of_fragments_and_whole_messages() -> None:
    dice = random.Random(5)
    payload = payload_of(400_000)
    for _ in range(20):
        at = sorted(dice.randrange(len(payload)) for _ in range(2))
        data = wire(TEXT, payload[: at[0]]) + wire(0, payload[at[0] : at[1]]) + wire(FIN, payload[at[1] :]) + text("!")
        sizes = [dice.choice((100, LEAST - 1, READ, 100_000, 250_000)) for _ in range(30)]
        assert feed(straight(), data, *sizes) == [payload.decode(), "!"]


def test_a_frame_over_the_limit_is_refused_by_its_header_and_takes_no_buffer() -> None:
    connection = straight(300_000)
    assert connection.receive_data(wire(FIN | BINARY, bytes(READ), length=300_001)) == []
    assert failure_code(connection) == 1009
    assert connection.room() is None
    connection = straight(300_000)
    assert feed(connection, wire(BINARY, bytes(200_000)) + wire(FIN, bytes(100_000)), READ) == [bytes(300_000)]
    feed(connection, wire(BINARY, bytes(200_000)) + wire(FIN, bytes(100_001)), READ)
    assert failure_code(connection) == 1009


def test_a_declared_gigabyte_takes_nothing_before_it_comes_and_one_buffer_then() -> None:
    first, second = straight(None), straight(None)
    head = wire(FIN | BINARY, b"", length=2**30)
    for connection in (first, second):
        connection.receive_data(head)
        assert connection.room() is None
        connection.receive_data(bytes(READ))
    room = first.room()
    assert room is not None
    assert len(room) == SIZE - READ
    assert second.room() is None, "it does without"
    del room, connection, first
    assert is_free(), "the connection that had it is gone"


def test_text_fails_as_soon_as_it_comes_slowly() -> None:
    connection = straight()
    connection.receive_data(wire(FIN | TEXT, b"\xff" * READ, length=SIZE)[:READ])
    room = connection.room()
    assert room is not None
    assert failure_code(connection) is None, "as fast as that, it is not looked at"
    room[0] = 0xFF
    assert connection.receive_data(room[:1]) == []
    assert failure_code(connection) == 1007
    assert connection.room() is None
    connection._arrived(1, [])


def test_it_is_not_used_for_what_is_compressed_or_handed_out_as_it_comes() -> None:
    compressed = inflating(None)
    compressed.reads_straight = True
    compressed.receive_data(wire(FIN | RSV1 | TEXT, b"\0" + bytes(READ), length=SIZE)[: READ + 8])
    assert compressed.room() is None
    in_parts = straight()
    in_parts.wanted = True
    in_parts.receive_data(wire(FIN | BINARY, bytes(READ), length=SIZE))
    assert in_parts.room() is None
    assert in_parts.incoming is not None


def test_a_message_that_is_opened_up_in_its_middle() -> None:
    connection = straight()
    data = wire(FIN | BINARY, b"x" * 300_000)
    connection.receive_data(data[:READ])
    assert connection.room() is not None
    connection.open_up()
    assert connection.room() is None
    incoming = connection.hand_out()
    assert incoming.take() == b"x" * (READ - 10)
    assert feed(connection, data[READ:], READ) == []
    assert incoming.take() == b"x" * (300_010 - READ)
    assert incoming.ended


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_what_comes_by_another_way_comes_after_what_is_in_the_buffer(opcode: int) -> None:
    payload = payload_of(300_000)
    data = wire(FIN | opcode, payload)
    connection = straight()
    connection.receive_data(data[:READ])
    assert connection.room() is not None
    assert connection.receive_data(b"") == []
    [message] = connection.receive_data(data[READ:])
    assert message in (payload, payload.decode())
    connection.receive_data(wire(FIN | TEXT, b"\xff" * READ, length=SIZE))
    connection.receive_data(b"x")
    assert failure_code(connection) == 1007
