"""Limits: on the size of messages, before and after inflation, and on the memory that a peer can take."""

from __future__ import annotations

import random
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws._protocol import Connection, Failure

from ._strategies import BINARY, FIN, PING, PONG, RSV1, TEXT, Deflate, Deflater, wire
from ._support import answers, close_payload, failure_code, inflating, receive_all, text

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 2**20


def compressed_zeros(size: int) -> bytes:
    """A deflate stream of ``size`` zeros, made from one block over and over; without the final four bytes."""
    block = 16 * MIB
    encoder = zlib.compressobj(9, wbits=-15)
    once = encoder.compress(bytes(block)) + encoder.flush(zlib.Z_FULL_FLUSH)
    return (once * (size // block))[:-4]


def peak_of(work: Callable[[], object]) -> int:
    """The memory in bytes that ``work`` took at its worst, on top of what there was."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_of_the_limit_is_taken_and_one_byte_more_is_not(opcode: int) -> None:
    connection = Connection(max_message_size=200)
    assert len(connection.receive_data(wire(FIN | opcode, b"a" * 200))) == 1
    assert connection.receive_data(wire(FIN | opcode, b"a" * 201)) == []
    assert failure_code(connection) == 1009


def test_declared_length_over_the_limit_fails_with_the_header() -> None:
    connection = Connection()
    head = wire(FIN | BINARY, b"", length=2**40)
    assert connection.receive_data(head[:-1]) == []
    assert failure_code(connection) is None
    assert peak_of(lambda: connection.receive_data(head[-1:])) < 100_000
    assert failure_code(connection) == 1009
    [close] = answers(connection)
    assert close.payload[:2] == close_payload(1009)


def test_without_a_limit_a_length_with_the_top_bit_set_is_too_big() -> None:
    connection = Connection(max_message_size=None)
    connection.receive_data(wire(FIN | TEXT, b"", length=2**63) + b"\xff")
    assert failure_code(connection) == 1009


def test_fragments_count_together() -> None:
    connection = Connection(max_message_size=200)
    assert connection.receive_data(wire(BINARY, bytes(100)) + wire(0, bytes(100)) + wire(FIN)) == [bytes(200)]
    connection.receive_data(wire(BINARY, bytes(100)) + wire(0, bytes(100)))
    assert failure_code(connection) is None
    connection.receive_data(wire(FIN, b"1"))
    assert failure_code(connection) == 1009


def test_control_frames_do_not_count() -> None:
    connection = Connection(max_message_size=100)
    ping = wire(FIN | PING, bytes(125))
    data = wire(TEXT, b"a" * 99) + ping + wire(0, b"a") + ping + wire(FIN)
    assert [message for byte in data for message in connection.receive_data(bytes((byte,)))] == ["a" * 100]
    assert connection.receive_data(data) == ["a" * 100]
    assert len(answers(connection)) == 4


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_flood_of_empty_fragments_takes_bounded_memory(opcode: int) -> None:
    connection = Connection(max_message_size=1000)
    connection.receive_data(wire(opcode, b"a"))
    flood = wire(0) * 200

    def receive() -> None:
        for _ in range(5):
            assert connection.receive_data(flood) == []

    receive()
    assert peak_of(receive) < 50_000
    assert len(connection.receive_data(wire(FIN))) == 1


@pytest.mark.parametrize(("opcode", "per_byte"), [(TEXT, 6), (BINARY, 3)])
def test_flood_of_one_byte_fragments_takes_bounded_memory(opcode: int, per_byte: int) -> None:
    # A character takes up to four bytes in memory, and buffers grow ahead of what is in them.
    size = 4000
    connection = Connection(max_message_size=size)
    connection.receive_data(wire(opcode, "😀".encode()))
    flood = wire(0, b"a") * 100

    def receive() -> None:
        for _ in range((size - 4) // 100):
            connection.receive_data(flood)

    assert peak_of(receive) < per_byte * size + 20_000
    connection.receive_data(wire(0, b"a" * 97))
    assert failure_code(connection) == 1009


@pytest.mark.parametrize("control", [PING, PONG])
def test_a_flood_of_control_frames_costs_little_more_than_one_of_messages(control: int) -> None:
    def seconds(flood: bytes) -> float:
        connection, began = Connection(), time.thread_time()
        connection.receive_data(flood)
        while connection.has_input:
            connection.receive_data(b"")
            connection.control_to_send()
            connection.pongs.clear()
        return time.thread_time() - began

    of_messages, of_control = wire(FIN | BINARY) * 20_000, wire(FIN | control) * 20_000
    assert min(seconds(of_control) / seconds(of_messages) for _ in range(5)) < 12


def test_pings_are_answered_in_their_order_however_their_length_is_written() -> None:
    connection = Connection()
    numbers = [b"%d" % number for number in range(9)]
    connection.receive_data(b"".join(wire(FIN | PING, number, form=2 if number in b"258" else 0) for number in numbers))
    assert [answer.payload for answer in answers(connection)] == numbers


@pytest.mark.parametrize("slow", [wire(FIN | PING), wire(FIN | PONG), wire(TEXT) + wire(FIN)])
def test_one_call_takes_a_bounded_number_of_slow_frames(slow: bytes) -> None:
    connection = Connection()
    number, frames, calls = 1000, 0, 0
    data = b"".join(slow + text(str(i)) for i in range(number)) + slow[:1]
    messages: list[str | bytes] = []
    while not calls or connection.has_input:
        messages += connection.receive_data(data if not calls else b"")
        answered = len(answers(connection)) + len(connection.pongs)
        assert answered <= 256
        frames += answered
        connection.pongs.clear()
        calls += 1
    assert [message for message in messages if message] == [str(i) for i in range(number)]
    assert frames + messages.count("") == number
    assert calls == number * len(slow) // 2 // 256 + 1
    # What is left is half a header, and no reason to call again.
    assert connection.receive_data(slow[1:]) == [""][: messages.count("")]


@pytest.mark.parametrize("per_message", [5000, 300, 3, 1])
def test_one_call_takes_a_bounded_number_of_short_fragments(per_message: int) -> None:
    connection = Connection()
    number = 5000 // per_message
    data = (wire(TEXT, b"a") + wire(0, b"b") * per_message + wire(FIN)) * number
    messages: list[str | bytes] = []
    before = 0
    while not before or connection.has_input:
        messages += connection.receive_data(data if not before else b"")
        # As many frames as that; a message's last one is none of those counted.
        assert 0 < connection.fragments_received - before <= 257
        before = connection.fragments_received
    assert messages == ["a" + "b" * per_message] * number


def test_frames_of_the_fast_path_are_not_counted() -> None:
    connection = Connection()
    assert len(connection.receive_data(text("a") * 5000 + wire(FIN | PING) * 256)) == 5000
    assert not connection.has_input
    assert len(answers(connection)) == 256


# -- deflate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_and_plain_messages_in_turns(takeover: bool) -> None:
    deflate = Deflate(server_takeover=takeover)
    connection, deflater = inflating(deflate=deflate), Deflater(deflate)
    for _ in range(3):
        data = wire(FIN | RSV1 | TEXT, deflater.message(b"again and again")) + text("plain")
        assert connection.receive_data(data) == ["again and again", "plain"]


# Compressed sizes around those of zlib's and our own buffers: at each, the end of the message is added to what it needs.
SIZES = [
    1,
    3,
    5,
    125,
    126,
    *range(2040, 2050),
    4095,
    4096,
    8192,
    16_383,
    16_384,
    32_768,
    65_530,
    *range(65_534, 65_540),
]


@pytest.mark.parametrize("how", ["whole", "in fragments", "byte by byte"])
@pytest.mark.parametrize("size", SIZES)
def test_the_end_is_added_to_compressed_messages_of_any_size(size: int, how: str) -> None:
    """And what follows refers to them."""
    deflater, connection = Deflater(Deflate()), inflating()
    noise = random.Random(size).randbytes(size)
    for message in (noise, noise, b"", noise[::-1], b"end"):
        payload = deflater.message(message)
        half = len(payload) // 2
        frames = wire(FIN | RSV1 | BINARY, payload)
        if how == "in fragments":
            frames = wire(RSV1 | BINARY, payload[:half]) + wire(0, payload[half:]) + wire(FIN, b"")
        if how == "byte by byte" and size < 10_000:
            got = [m for at in range(len(frames)) for m in receive_all(connection, frames[at : at + 1])]
        else:
            got = receive_all(connection, frames[: half + 7]) + receive_all(connection, frames[half + 7 :])
        assert got == [message]
    assert connection.failure is None


def test_compressed_message_of_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    connection, deflater = inflating(5000), Deflater(Deflate())
    assert connection.receive_data(wire(FIN | RSV1 | BINARY, deflater.message(bytes(5000)))) == [bytes(5000)]
    assert connection.receive_data(wire(FIN | RSV1 | BINARY, deflater.message(bytes(5001)))) == []
    assert failure_code(connection) == 1009


def test_a_continuation_of_nothing_after_a_compressed_message_is_none_of_a_compressed_one() -> None:
    """So it is the plain limit that its length is held to, first."""
    connection, deflater = inflating(100), Deflater(Deflate())
    payload = deflater.message(b"a")
    assert connection.receive_data(wire(RSV1 | BINARY, payload) + wire(FIN, b"")) == [b"a"]
    assert connection.receive_data(wire(FIN, bytes(101))) == []
    assert failure_code(connection) == 1009


def test_compressed_frame_without_the_extension() -> None:
    connection = Connection()
    assert connection.receive_data(wire(FIN | RSV1 | TEXT, b"a")) == []
    assert connection.failure == Failure(1002, "reserved bits must be 0")


def test_deflate_bomb_is_not_inflated() -> None:
    bomb = wire(FIN | RSV1 | BINARY, compressed_zeros(1024 * MIB))
    assert len(bomb) < MIB, "or its declared length would be refused already"
    connection = inflating()

    def receive() -> None:
        for start in range(0, len(bomb), 65536):
            assert receive_all(connection, bomb[start : start + 65536]) == []

    # Besides what is inflated, a step of it, and what zlib has not used.
    assert peak_of(receive) < MIB + 8 * 65536
    assert failure_code(connection) == 1009
    [close] = answers(connection)
    assert close.payload[:2] == close_payload(1009)


def test_small_deflate_bomb_takes_little_more_than_the_limit() -> None:
    limit = 8 * MIB
    bomb = wire(FIN | RSV1 | BINARY, compressed_zeros(256 * MIB))
    connection = inflating(limit)
    assert peak_of(lambda: receive_all(connection, bomb)) < limit + MIB
    assert failure_code(connection) == 1009


def test_deflate_bomb_after_a_fragment_that_reaches_the_limit() -> None:
    limit = 4 * MIB
    encoder = zlib.compressobj(wbits=-15)
    to_the_limit = encoder.compress(bytes(limit)) + encoder.flush(zlib.Z_SYNC_FLUSH)
    bomb = compressed_zeros(128 * MIB)
    connection = inflating(limit)
    assert receive_all(connection, wire(RSV1 | BINARY, to_the_limit)) == []
    assert failure_code(connection) is None
    fragment = wire(FIN, bomb)
    assert peak_of(lambda: receive_all(connection, fragment)) < MIB
    assert failure_code(connection) == 1009


def test_empty_end_after_a_fragment_that_reaches_the_limit() -> None:
    encoder = zlib.compressobj(wbits=-15)
    to_the_limit = encoder.compress(bytes(5000)) + encoder.flush(zlib.Z_SYNC_FLUSH)
    connection = inflating(5000)
    assert connection.receive_data(wire(RSV1 | BINARY, to_the_limit) + wire(FIN)) == [bytes(5000)]


def test_no_message_exceeds_the_limit_by_what_zlib_holds_back() -> None:
    encoder = zlib.compressobj(wbits=-15)
    body = encoder.compress(bytes(5000)) + encoder.flush(zlib.Z_SYNC_FLUSH)
    for cut in range(1, len(body)):
        messages = inflating(64).receive_data(wire(RSV1 | BINARY, body[:cut]) + wire(FIN))
        assert all(len(message) <= 64 for message in messages)


def test_messages_after_a_final_deflate_block() -> None:
    encoder = zlib.compressobj(wbits=-15)
    final = encoder.compress(b"first") + encoder.flush(zlib.Z_FINISH)  # BFINAL set: RFC 7692 §7.2.3.4
    connection = inflating()
    assert connection.receive_data(wire(FIN | RSV1 | BINARY, final + b"\0")) == [b"first"]
    second = Deflater(Deflate()).message(b"second")
    messages = connection.receive_data(wire(FIN | RSV1 | BINARY, second))
    assert messages == [b"second"] or connection.failure is not None


def final(data: bytes) -> bytes:
    """A deflate stream that ends with a final block."""
    encoder = zlib.compressobj(wbits=-15)
    return encoder.compress(data) + encoder.flush(zlib.Z_FINISH)


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("first", [FIN | RSV1 | BINARY, RSV1 | BINARY])
@pytest.mark.parametrize("size", [1, 100_000])
def test_data_after_a_final_block_in_one_frame_is_refused(takeover: bool, first: int, size: int) -> None:
    connection = inflating(deflate=Deflate(server_takeover=takeover))
    payload = final(b"one") + final(random.Random(1).randbytes(size)) + b"\0"
    assert receive_all(connection, wire(first, payload)) == []
    assert connection.failure == Failure(1002, "decompression failed: data after a final block")


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("size", [1, 100_000])
def test_final_blocks_in_fragments(takeover: bool, size: int) -> None:
    connection = inflating(deflate=Deflate(server_takeover=takeover))
    body = random.Random(1).randbytes(size)
    for parts in (
        [final(body), final(body) + b"\0"],
        [final(body), final(body), b"\0"],
        [final(body), b"\0"],
        [final(body) + b"\0", b""],  # the padding begins the empty block that the end of the message completes
        [final(body), b"", b"\0"],
    ):
        first, *others, last = parts
        data = wire(RSV1 | BINARY, first) + b"".join(wire(0, other) for other in others) + wire(FIN, last)
        whole = body * sum(len(part) > 1 for part in parts)
        assert receive_all(connection, data + data) == [whole, whole]
    assert connection.failure is None


@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_frame_inside_a_plain_message(takeover: bool) -> None:
    connection = inflating(deflate=Deflate(server_takeover=takeover))
    assert connection.receive_data(wire(TEXT, b"a") + wire(FIN | RSV1 | TEXT, b"\0")) == []
    assert connection.failure == Failure(1002, "expected a continuation frame")


@pytest.mark.parametrize("first", [FIN | RSV1 | TEXT, RSV1 | TEXT])
@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_text_that_is_not_utf8(takeover: bool, first: int) -> None:
    deflate = Deflate(server_takeover=takeover)
    connection = inflating(deflate=deflate)
    assert connection.receive_data(wire(first, Deflater(deflate).message(b"caf\xe9 au lait"))) == []
    assert connection.failure == Failure(1007, "text is not valid UTF-8")


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("size", [10, 5000])
def test_compressed_message_that_is_no_deflate(takeover: bool, size: int) -> None:
    connection = inflating(deflate=Deflate(server_takeover=takeover))
    assert connection.receive_data(wire(FIN | RSV1 | BINARY, b"\xff" * size)) == []
    assert connection.failure == Failure(1002, "decompression failed")


def test_nothing_is_kept_of_the_inflater_without_context_takeover() -> None:
    extension = Deflate(server_takeover=False).extension()
    connection, deflater = Connection(deflate=extension), Deflater(Deflate(server_takeover=False))
    data = wire(FIN | RSV1 | BINARY, deflater.message(b"again")) + wire(RSV1 | BINARY, deflater.message(b"again"))
    assert connection.receive_data(data + wire(FIN) + wire(FIN | BINARY)) == [b"again", b"again", b""]
    assert not hasattr(extension, "decoder")


def cut_short(data: bytes) -> list[bytes]:
    """All beginnings of a compressed message."""
    whole = Deflater(Deflate()).message(data)
    return [whole[:size] for size in range(2, len(whole))]


@pytest.mark.parametrize("in_fragments", [False, True])
@pytest.mark.parametrize("data", [b"hello, hello, hello", b"caf\xc3\xa9", b'{"price": 12.5, "symbol": "ABC"}' * 20])
def test_a_compressed_message_that_was_cut_short_is_refused(data: bytes, in_fragments: bool) -> None:
    for payload in cut_short(data):
        connection = inflating()
        frames = wire(RSV1 | BINARY, payload) + wire(FIN) if in_fragments else wire(FIN | RSV1 | BINARY, payload)
        assert connection.receive_data(frames) == []
        assert failure_code(connection) == 1002


@pytest.mark.parametrize("in_fragments", [False, True])
def test_a_cut_among_the_code_lengths_at_the_beginning_of_a_block(in_fragments: bool) -> None:
    """Nothing comes of what is there of the block, but it is not whole."""
    random_ = random.Random(5)
    for _ in range(30):
        data = bytes(random_.choices(b'{"abcdef":1234567890, }', k=random_.choice([20, 100, 400])))
        encoder = zlib.compressobj(wbits=-15)
        one = encoder.compress(data) + encoder.flush(zlib.Z_FULL_FLUSH)
        whole = (one + encoder.compress(data[::-1]) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]
        for size in {*range(2, len(one) - 4), *range(len(one) + 2, len(whole))}:
            payload = whole[:size]
            frames = wire(RSV1 | BINARY, payload) + wire(FIN) if in_fragments else wire(FIN | RSV1 | BINARY, payload)
            connection = inflating()
            assert connection.receive_data(frames) == []
            assert failure_code(connection) == 1002


@pytest.mark.parametrize("in_fragments", [False, True])
def test_a_final_block_that_the_end_of_the_message_would_complete_is_cut_short_too(in_fragments: bool) -> None:
    payload = b"\x03"  # its end are seven zero bits, and here are five
    frames = wire(RSV1 | BINARY, payload) + wire(FIN) if in_fragments else wire(FIN | RSV1 | BINARY, payload)
    connection = inflating()
    assert connection.receive_data(frames) == []
    assert failure_code(connection) == 1002


@pytest.mark.parametrize("payload", [b"", b"\0", b"\x02\0"])
@pytest.mark.parametrize("fragments", [1, 2])
def test_empty_compressed_messages(payload: bytes, fragments: int) -> None:
    connection, deflater = inflating(), Deflater(Deflate())
    for _ in range(3):
        empty = wire(FIN | RSV1 | TEXT, payload) if fragments == 1 else wire(RSV1 | TEXT) + wire(FIN, payload)
        data = empty + wire(FIN | RSV1 | TEXT, deflater.message(b"again and again"))
        assert connection.receive_data(data) == ["", "again and again"]


@pytest.mark.parametrize("level", [0, 1, 6])
@pytest.mark.parametrize("in_fragments", [False, True])
def test_deflate_may_make_a_message_of_the_limit_larger(level: int, in_fragments: bool) -> None:
    limit = 3 * 65536
    data = random.Random(2).randbytes(limit)
    encoder = zlib.compressobj(level, wbits=-15, memLevel=1)
    payload = (encoder.compress(data) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(payload) > limit
    frame = (
        wire(RSV1 | BINARY, payload[:1000]) + wire(FIN, payload[1000:])
        if in_fragments
        else wire(FIN | RSV1 | BINARY, payload)
    )
    assert receive_all(inflating(limit), frame) == [data]
    connection = inflating(limit - 1)
    assert receive_all(connection, frame) == []
    assert failure_code(connection) == 1009


def test_blocks_that_hold_nothing_are_inflated_a_little_at_a_time() -> None:
    connection = inflating(16 * MIB)
    nothing = bytes.fromhex("0000ffff00") * 200_000
    connection.receive_data(wire(FIN | RSV1 | BINARY, nothing))
    calls = 1
    while connection.has_input:
        assert connection.receive_data(b"") in ([], [b""])
        calls += 1
    assert calls >= len(nothing) // 65536


@pytest.mark.parametrize("cut", [1, 7, 200, 10_000])
def test_messages_are_no_larger_than_they_are_said_to_be_however_they_come(cut: int) -> None:
    deflater = Deflater(Deflate())
    squeezed = deflater.message(b"squeezed " * 300)
    data = b"".join(
        (
            text("short") * 3,
            wire(FIN | BINARY, b"longer" * 100),
            wire(FIN | RSV1 | TEXT, squeezed),
            wire(TEXT, "é".encode() * 40) + wire(FIN, b"!" * 300),
            wire(TEXT, b"a") + wire(0, b"b") + wire(PING | FIN, b"c") + wire(FIN, b"d"),
        )
    )
    connection = inflating()
    received = 0
    for start in range(0, len(data), cut):
        messages = connection.receive_data(data[start : start + cut])
        size = sum(len(each.encode()) if isinstance(each, str) else len(each) for each in messages)
        assert size <= connection.size_of_messages <= size + cut + (0 if messages else 700)
        received += len(messages)
    assert received == 7
