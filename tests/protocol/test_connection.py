"""The connection, case by case. That it agrees with a plain reference on anything is in test_differential.py."""

from __future__ import annotations

import gc
import itertools
import logging
import weakref
import zlib

import pytest
from websockets.exceptions import InvalidState, ProtocolError
from websockets.frames import Close, Frame, Opcode

from httpx2_trio_ws._protocol import Connection, Failure
from httpx2_trio_ws._protocol import _partial as text_module

from ._reference import Sent, unmask
from ._strategies import BINARY, CLOSE, FIN, PING, PONG, RSV1, RSV2, RSV3, TEXT, Deflate, wire
from ._support import answers, close_payload, inflating, text

BAD_UTF8 = Failure(1007, "text is not valid UTF-8")


# -- whole messages ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_of_each_length_form(opcode: int, size: int) -> None:
    data = wire(FIN | opcode, b"a" * size)
    expected = "a" * size if opcode == TEXT else b"a" * size
    assert Connection().receive_data(data) == [expected]
    connection = Connection()
    assert connection.receive_data(data[:-1]) + connection.receive_data(data[-1:]) == [expected]


def test_nothing_comes_of_nothing() -> None:
    connection = Connection()
    assert connection.receive_data(b"") == []
    assert connection.is_open
    assert not connection.has_input
    assert connection.peer_close is None


def test_header_byte_by_byte() -> None:
    connection = Connection()
    data = wire(FIN | BINARY, bytes(65536)) + wire(FIN | BINARY, bytes(300)) + wire(FIN | PING, b"p") + text("end")
    messages = [message for byte in data for message in connection.receive_data(bytes((byte,)))]
    assert messages == [bytes(65536), bytes(300), "end"]
    assert answers(connection) == [Sent(FIN | PONG, b"p")]


def test_longer_length_forms_than_need_be_are_taken() -> None:
    data = b"".join(wire(FIN | TEXT, b"a", form=form) for form in (0, 2, 8))
    assert Connection().receive_data(data) == ["a", "a", "a"]


def test_line_ends_are_kept() -> None:
    connection = Connection()
    data = text("a\r\nb\rc\n")
    assert connection.receive_data(data[:-3]) + connection.receive_data(data[-3:]) == ["a\r\nb\rc\n"]


def test_no_limit() -> None:
    connection = Connection(max_message_size=None)
    assert connection.receive_data(wire(FIN | BINARY, bytes(2**21))) == [bytes(2**21)]
    assert connection.receive_data(wire(FIN | BINARY, b"abc", length=2**62)) == []
    assert connection.failure is None


def test_received_binary_is_bytes() -> None:
    whole, parts = wire(FIN | BINARY, b"ab"), wire(BINARY, b"c") + wire(FIN, b"d")
    connection = Connection()
    messages = connection.receive_data(whole + whole[:3]) + connection.receive_data(whole[3:] + parts)
    assert messages == [b"ab", b"ab", b"cd"]
    assert [type(message) for message in messages] == [bytes, bytes, bytes]


# -- asking for fewer ----------------------------------------------------------------------------


def test_no_more_messages_than_asked_for() -> None:
    connection = Connection()
    data = b"".join(text(str(number)) for number in range(5))
    assert connection.receive_data(data, 2) == ["0", "1"]
    assert connection.has_input
    assert connection.receive_data(b"", 2) == ["2", "3"]
    assert connection.has_input
    assert connection.receive_data(text("5"), 9) == ["4", "5"]
    assert not connection.has_input


def test_what_stands_behind_the_last_message_asked_for_waits() -> None:
    connection = Connection()
    data = wire(TEXT, b"a") + wire(FIN, b"b") + text("c") + wire(FIN | PING, b"p")
    assert connection.receive_data(data, 1) == ["ab"]
    assert connection.has_input
    assert connection.control_to_send() == b""
    assert connection.receive_data(b"", 0) == []
    assert connection.has_input
    assert connection.receive_data(b"", 1) == ["c"]
    assert answers(connection) == [Sent(FIN | PONG, b"p")]
    assert not connection.has_input


def test_control_frames_behind_the_last_message_asked_for_do_not_wait() -> None:
    connection = Connection()
    control = wire(FIN | PING, b"p") + wire(FIN | CLOSE, close_payload(1000))
    assert connection.receive_data(wire(TEXT, b"a") + wire(FIN, b"b") + control, 1) == ["ab"]
    assert answers(connection) == [Sent(FIN | PONG, b"p"), Sent(FIN | CLOSE, close_payload(1000))]
    assert not connection.has_input


def test_half_a_frame_is_not_input() -> None:
    connection = Connection()
    assert connection.receive_data(text("a") + text("bc")[:3], 2) == ["a"]
    assert not connection.has_input
    assert connection.receive_data(text("bc")[3:]) == ["bc"]


# -- text ----------------------------------------------------------------------------------------


def test_bad_text_in_a_whole_frame() -> None:
    connection = Connection()
    assert connection.receive_data(text("good") + wire(FIN | TEXT, b"\xff") + text("late")) == ["good"]
    assert connection.failure == BAD_UTF8
    assert connection.peer_close is None
    assert not connection.is_open
    assert answers(connection) == [Sent(FIN | CLOSE, close_payload(*BAD_UTF8))]
    assert connection.receive_data(text("later")) == []


def test_bad_text_is_told_before_its_frame_is_complete() -> None:
    connection = Connection()
    head = wire(FIN | TEXT, b"", length=1_000_000)
    assert connection.receive_data(head + b"so far so good ") == []
    assert connection.is_open
    assert connection.receive_data(b"\xc3\x28") == []
    assert connection.failure == BAD_UTF8
    assert answers(connection) == [Sent(FIN | CLOSE, close_payload(*BAD_UTF8))]


@pytest.mark.parametrize("before", [b"", wire(TEXT, b"so far "), wire(TEXT, b"so far ") + wire(0, b"so good ")])
@pytest.mark.parametrize("first", [0, FIN])
def test_bad_text_is_told_before_its_fragment_is_complete(before: bytes, first: int) -> None:
    connection = Connection()
    opcode = 0 if before else TEXT
    assert connection.receive_data(before + wire(first | opcode, b"so good ", length=1000)) == []
    assert connection.is_open
    assert connection.receive_data(b"\xff") == []
    assert connection.failure == BAD_UTF8


@pytest.mark.parametrize("bit", [RSV1, RSV2, RSV3])
def test_reserved_bit_is_told_rather_than_bad_text(bit: int) -> None:
    for frames in (wire(FIN | bit | TEXT, b"\xff"), wire(TEXT, b"a") + wire(FIN | bit, b"\xff")):
        connection = Connection()
        assert connection.receive_data(frames) == []
        assert connection.failure == Failure(1002, "reserved bits must be 0")


def test_character_split_between_reads_and_fragments() -> None:
    whole = "é€😀".encode()
    for cuts in itertools.combinations(range(len(whole) + 1), 2):
        parts = [whole[a:b] for a, b in itertools.pairwise((0, *cuts, len(whole)))]
        connection = Connection()
        frames = wire(TEXT, parts[0]) + wire(0, parts[1]) + wire(FIN, parts[2])
        assert connection.receive_data(frames) == ["é€😀"]
        head = wire(FIN | TEXT, b"", length=len(whole))
        reads = [head + parts[0], parts[1], parts[2]]
        assert [message for read in reads for message in connection.receive_data(read)] == ["é€😀"]


@pytest.mark.parametrize("ends", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"])
def test_text_may_not_end_inside_a_character(ends: bytes) -> None:
    for reads in (
        [wire(FIN | TEXT, ends)],
        [wire(FIN | TEXT, b"", length=len(ends)), ends],
        [wire(TEXT, b"") + wire(FIN, ends)],
    ):
        connection = Connection()
        assert [message for read in reads for message in connection.receive_data(read)] == []
        assert connection.failure == BAD_UTF8


def test_bad_text_in_a_fragment_is_told_before_the_message_is_complete() -> None:
    connection = Connection()
    assert connection.receive_data(wire(TEXT, b"good") + wire(0, b"\xff")) == []
    assert connection.failure == BAD_UTF8


def test_bad_text_after_our_close_is_not_answered() -> None:
    connection = Connection()
    connection.close(1000, "")
    connection.receive_data(wire(FIN | TEXT, b"\xff"))
    assert connection.failure == BAD_UTF8
    assert connection.control_to_send() == b""


# -- control frames ------------------------------------------------------------------------------


def test_ping_inside_fragments_is_answered_at_once() -> None:
    connection = Connection()
    assert connection.receive_data(wire(TEXT, b"a") + wire(FIN | PING, b"p")) == []
    assert answers(connection) == [Sent(FIN | PONG, b"p")]
    assert connection.receive_data(wire(FIN | PONG, b"q") + wire(FIN, b"b")) == ["ab"]
    assert connection.pongs == [b"q"]


@pytest.mark.parametrize("payload", [close_payload(1001, "gone"), close_payload(4000), b""])
def test_close_inside_fragments_is_echoed(payload: bytes) -> None:
    connection = Connection()
    frames = wire(TEXT, b"a") + wire(FIN | CLOSE, payload) + wire(FIN, b"b") + text("late")
    assert connection.receive_data(frames) == []
    assert connection.failure is None
    code, reason = (int.from_bytes(payload[:2]), payload[2:].decode()) if payload else (1005, "")
    assert connection.peer_close == Close(code, reason)
    assert answers(connection) == [Sent(FIN | CLOSE, payload)]
    assert not connection.is_open


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (wire(FIN | PING, bytes(126)), "control frame too long"),
        (wire(PING, b""), "fragmented control frame"),
        (wire(FIN | RSV1 | PING, b""), "reserved bits must be 0"),
        (wire(FIN | 3), "invalid opcode"),
        (wire(FIN | 11), "invalid opcode"),
        (bytes((FIN | TEXT, 0x80)), "incorrect masking"),
        (bytes((FIN | PING, 0xFF)), "incorrect masking"),
        (wire(FIN, b"a"), "unexpected continuation frame"),
        (wire(TEXT, b"a") + text("b"), "expected a continuation frame"),
        (wire(FIN | CLOSE, b"\x03"), "close frame too short"),
        (wire(FIN | CLOSE, close_payload(1005)), "invalid status code"),
    ],
)
def test_broken_frame_is_answered_with_1002(frame: bytes, reason: str) -> None:
    connection = Connection()
    assert connection.receive_data(text("before") + frame + text("after")) == ["before"]
    assert connection.failure is not None
    assert connection.failure.code == 1002
    assert reason in connection.failure.reason
    assert connection.peer_close is None
    assert answers(connection) == [Sent(FIN | CLOSE, close_payload(*connection.failure))]


def test_close_reason_that_is_not_text() -> None:
    connection = Connection()
    connection.receive_data(wire(FIN | CLOSE, close_payload(1000) + b"\xff"))
    assert connection.failure == Failure(1007, "close reason is not valid UTF-8")
    assert connection.peer_close is None
    [close] = answers(connection)
    assert close.payload[:2] == close_payload(1007)


# -- the end -------------------------------------------------------------------------------------


def test_bytes_after_a_close_frame_are_ignored() -> None:
    connection = Connection()
    connection.receive_data(wire(FIN | CLOSE, close_payload(1000, "bye")))
    assert connection.receive_data(text("late") + wire(FIN | PING) + b"\xff\xff") == []
    assert connection.peer_close == Close(1000, "bye")
    assert connection.failure is None
    assert answers(connection) == [Sent(FIN | CLOSE, close_payload(1000, "bye"))]
    connection.receive_eof()
    assert connection.control_to_send() == b""


def test_answer_to_our_close_is_not_answered_again() -> None:
    connection = Connection()
    assert unmask(connection.close(1001, "leaving")) == [Sent(FIN | CLOSE, close_payload(1001, "leaving"))]
    assert not connection.is_open
    assert connection.receive_data(text("on its way") + wire(FIN | CLOSE, close_payload(1001))) == ["on its way"]
    assert connection.peer_close == Close(1001, "")
    assert connection.control_to_send() == b""


@pytest.mark.parametrize("data", [b"", text("ab")[:3], wire(FIN | PING, b"p")[:2], wire(TEXT, b"a")])
def test_end_without_a_close_frame(data: bytes) -> None:
    connection = Connection()
    connection.receive_data(data)
    connection.receive_eof()
    connection.receive_eof()
    assert not connection.is_open
    assert connection.peer_close is None
    assert connection.failure is None
    assert connection.control_to_send() == b""
    with pytest.raises(InvalidState):
        connection.ping(b"")


# -- out -----------------------------------------------------------------------------------------


def test_frames_sent() -> None:
    connection = Connection()
    assert unmask(connection.encode("é".encode(), TEXT)) == [Sent(FIN | TEXT, "é".encode())]
    assert unmask(connection.encode(b"\0", BINARY)) == [Sent(FIN | BINARY, b"\0")]
    assert unmask(connection.ping(b"a")) == [Sent(FIN | PING, b"a")]
    assert unmask(connection.pong(b"b")) == [Sent(FIN | PONG, b"b")]


@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_frames_sent(takeover: bool) -> None:
    connection = inflating(deflate=Deflate(client_takeover=takeover))
    once, again = (connection.encode(b"over and over again", TEXT) for _ in range(2))
    assert (len(again) < len(once)) == takeover
    inflater = zlib.decompressobj(wbits=-15)
    [frame] = unmask(once)
    assert frame.first == FIN | RSV1 | TEXT
    assert inflater.decompress(frame.payload + b"\0\0\xff\xff") == b"over and over again"


@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_as_by_the_extension_itself(takeover: bool) -> None:
    deflate = Deflate(client_takeover=takeover)
    connection, extension = inflating(deflate=deflate), deflate.extension()
    payloads = [b"", b"a", b"over and over again", b"over and over again", bytes(range(256)) * 20]
    sent = [connection.encode(payload, TEXT) for payload in payloads]
    sent += connection.encode_all(payloads, BINARY)
    expected = [
        Sent(FIN | RSV1 | kind, bytes(extension.encode(Frame(Opcode(kind), payload)).data))
        for kind in (TEXT, BINARY)
        for payload in payloads
    ]
    assert unmask(b"".join(sent)) == expected
    assert connection.messages_sent == len(expected)


def test_arguments_that_may_not_be_sent() -> None:
    connection = Connection()
    with pytest.raises(ProtocolError):
        connection.close(1005, "")
    with pytest.raises(ProtocolError):
        connection.ping(bytes(126))
    assert connection.is_open
    assert connection.control_to_send() == b""


def test_protocol_logs_no_frames(caplog: pytest.LogCaptureFixture) -> None:
    """It sees but some of them; all are logged by :class:`ObservedConnection`'s session, where that is asked for."""
    caplog.set_level(logging.DEBUG)
    connection = Connection()
    connection.ping(b"hello")
    connection.receive_data(b"\x89\x00")
    connection.receive_eof()
    assert caplog.records == []


# -- messages in parts ---------------------------------------------------------------------------


def test_partial_text_fails_at_the_first_bad_byte() -> None:
    partial = text_module.PartialText()
    partial.add(b"a\xf0")
    with pytest.raises(UnicodeDecodeError):
        partial.add(b"\x28")


# -- what is left ----------------------------------------------------------------------------------


BROKEN = {
    "masked": b"\x81\x80abcd",
    "an opcode that is none": wire(FIN | 3, b""),
    "reserved bits": wire(FIN | RSV2 | TEXT, b""),
    "a ping that is too long": wire(FIN | PING, bytes(126)),
    "a ping in fragments": wire(PING, b""),
    "a continuation of nothing": wire(FIN, b""),
    "a message inside a message": wire(TEXT, b"a") + wire(TEXT, b"b"),
    "bad UTF-8": wire(FIN | TEXT, b"\xff"),
    "bad UTF-8 in fragments": wire(TEXT, b"\xe2") + wire(FIN, b"a"),
    "a message that is too large": wire(FIN | TEXT, bytes(1001)),
    "a bomb": wire(FIN | RSV1 | BINARY, zlib.compress(bytes(10_000), wbits=-15)),
    "no deflate": wire(FIN | RSV1 | TEXT, b"\xff\xff"),
    "a code that is none": wire(FIN | CLOSE, close_payload(999)),
    "half a code": wire(FIN | CLOSE, b"\x03"),
    "a reason that is no text": wire(FIN | CLOSE, b"\x03\xe8\xff"),
    "an end inside a frame": b"\x81\x05abc",
}


class Watched(Connection):
    """One that weak references can be made to."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_connection_that_failed_is_freed_without_the_garbage_collector(broken: str) -> None:
    """No exception that was noted leads back to what noted it."""
    gc.collect()
    gc.disable()
    try:
        connection = Watched(max_message_size=1000, deflate=Deflate().extension())
        connection.receive_data(text("fine") + BROKEN[broken])
        if broken == "an end inside a frame":
            connection.receive_eof()
        connection.control_to_send()
        alive = weakref.ref(connection)
        del connection
        assert alive() is None
    finally:
        gc.enable()


def test_what_control_frames_need_is_made_with_the_first_one_and_let_go_of_in_a_silence() -> None:
    connection = Connection()
    protocol = connection._protocol
    connection.receive_data(bytes((0x81, 1)) + b"a")
    assert connection.control_to_send() == b""
    assert (connection.peer_close, connection.close_frames) == (None, (0, 0))
    connection.rest()
    assert connection._protocol is protocol
    assert vars(protocol) == {}

    connection.receive_data(bytes((0x89, 1)) + b"a")
    connection.rest()
    assert connection._protocol is protocol, "it has a pong to send"
    assert connection.control_to_send()
    connection.rest()
    assert vars(connection._protocol) == {}
    with pytest.raises(AttributeError, match="nonsense"):
        connection._protocol.nonsense  # noqa: B018
    assert connection.is_open

    assert connection.close(1000, "")
    connection.rest()
    assert connection.close_frames == (1, 0)
