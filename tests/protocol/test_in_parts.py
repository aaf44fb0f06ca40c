"""Messages that are opened up as they arrive, and messages that are sent in fragments."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpx2_trio_ws._protocol import BINARY, TEXT, Connection, FrameInfo, ObservedConnection, Outgoing
from tests.memory import PING, close_frame, frame, text

from . import _strategies as strategies
from ._compare import Outcome, extension, run_connection, typed
from ._reference import unmask
from ._strategies import Deflate, Deflater
from ._support import failure_code, inflating
from .test_differential import check, read_as_server

if TYPE_CHECKING:
    from collections.abc import Iterable

    from httpx2_trio_ws._protocol import Incoming, Message

    from ._strategies import Scenario

CONTINUATION = 0
HELD = 2**18
FRAGMENT = 65536


class Taker:
    """Receives from a connection, opening messages up now and then, and joins their parts."""

    def __init__(self, connection: Connection, chance: random.Random) -> None:
        self.connection = connection
        self.messages: list[Message] = []
        self.opened = 0
        self._chance = chance
        self._held: Incoming | None = None
        self._parts: list[Message] = []

    def receive(self, data: bytes) -> None:
        connection = self.connection
        self._decide()
        self._add(connection.receive_data(data, self._chance.choice([1, 2, 1000])))
        while connection.has_input:
            self._decide()
            self._add(connection.receive_data(b"", self._chance.choice([1, 2, 1000])))
        self._decide()

    def _decide(self) -> None:
        connection = self.connection
        if connection.incoming is None:
            connection.wanted = self._chance.random() < 0.5
            if self._chance.random() < 0.5:
                connection.open_up()
        if connection.incoming is not None and not connection.incoming.held:
            if self._chance.random() < 0.4 and connection.fits:
                whole = connection.fold()
                if whole is not None:
                    self.messages.append(whole)
            elif self._chance.random() < 0.7 or connection.incoming.is_full:
                self._held = connection.hand_out()
                self.opened += 1
        self._take()

    def _take(self) -> None:
        held = self._held
        if held is None:
            return
        if self._chance.random() < 0.8 or held.is_full or held.ended:
            self._parts.append(held.take())
        if held.ended:
            self.messages.append(("" if held.kind == "text" else b"").join(self._parts))  # type: ignore[arg-type]
            self._held, self._parts = None, []

    def _add(self, messages: list[Message]) -> None:
        if messages:
            assert self.connection.incoming is None or self._held is None or self._held.ended
        self._take()
        if self._held is not None and messages:
            self._parts.append(self._held.take())
            assert self._held.ended
            self._take()
        self.messages += messages


@check
@given(strategies.scenarios(), st.integers(0, 2**32))
def test_opened_up_or_not_a_stream_reads_the_same(scenario: Scenario, number: int) -> None:
    scenario = replace(scenario, limit=None, actions=())
    expected = run_connection(scenario)
    connection = Connection(max_message_size=None, deflate=extension(scenario.deflate))
    taker = Taker(connection, random.Random(number))
    sent = []
    for chunk in scenario.chunks:
        taker.receive(chunk)
        sent.append(connection.control_to_send())
    if scenario.eof:
        connection.receive_eof()
        sent.append(connection.control_to_send())
    close, failure = connection.peer_close, connection.failure
    assert (
        Outcome(
            typed(taker.messages),
            connection.pongs,
            None if close is None else (int(close.code), close.reason),
            None if failure is None else (failure.code, failure.reason),
            connection.is_open,
            unmask(b"".join(sent)),
            [],
        )
        == expected
    )


def test_a_message_is_opened_up_before_it_begins() -> None:
    connection = Connection(max_message_size=4)
    connection.wanted = True
    assert connection.receive_data(frame(BINARY, b"beyond", fin=False)[:4]) == []
    assert not connection.wanted
    incoming = connection.hand_out()
    assert (incoming.kind, incoming.large, incoming.take()) == ("binary", True, b"be")
    assert connection.receive_data(b"yond" + frame(CONTINUATION, b" the limit") + text("next")) == ["next"]
    assert (incoming.take(), incoming.ended) == (b"yond the limit", True)
    assert connection.incoming is None
    assert connection.receive_data(text("large")) == []
    assert failure_code(connection) == 1009, "the next one is as any other"


def test_a_whole_message_is_not_opened_up() -> None:
    connection = Connection()
    connection.wanted = True
    assert connection.receive_data(text("whole") + frame(TEXT, b"part", fin=False)) == ["whole"]
    assert connection.incoming is None
    assert connection.wanted, "its caller has a message now, and takes this back"


def test_joined_in_the_middle_of_a_frame() -> None:
    connection = Connection()
    connection.receive_data(frame(TEXT, "beginnïng".encode())[:9])  # in the midst of a character
    connection.open_up()
    incoming = connection.hand_out()
    assert incoming.take() == "beginn"
    assert incoming.take() == ""
    connection.receive_data(frame(TEXT, "beginnïng".encode())[9:])
    assert (incoming.take(), incoming.ended) == ("ïng", True)


def test_what_is_not_taken_stops_the_reading() -> None:
    connection = Connection(max_message_size=None)
    size = 4 * HELD
    data = frame(BINARY, bytes(size)) + frame(PING, b"answered") + text("next")
    connection.wanted = True
    for start in range(0, len(data), FRAGMENT):
        assert connection.receive_data(data[start : start + FRAGMENT]) == []
        if connection.is_full:
            break
    incoming = connection.hand_out()
    assert HELD < incoming.size <= HELD + FRAGMENT
    assert connection.receive_data(b"") == []
    rest, taken = data[start + FRAGMENT :], 0
    messages: list[Message] = []
    while not incoming.ended:
        taken += len(incoming.take())
        chunk, rest = rest[:FRAGMENT], rest[FRAGMENT:]
        messages += connection.receive_data(chunk)
    assert taken + len(incoming.take()) == size
    assert messages == ["next"]


def test_control_frames_are_seen_to_while_it_is_full() -> None:
    connection = Connection(max_message_size=None)
    connection.wanted = True
    connection.receive_data(frame(BINARY, bytes(2 * HELD), fin=False))
    incoming = connection.hand_out()
    connection.receive_data(frame(PING, b"here") + frame(CONTINUATION, b"!") + frame(PING, b"not yet"))
    assert [sent.payload for sent in unmask(connection.control_to_send())] == [b"here"]
    assert connection.has_input
    incoming.take()
    connection.receive_data(b"")
    assert [sent.payload for sent in unmask(connection.control_to_send())] == [b"not yet"]


def test_nothing_after_it_is_read_until_somebody_takes_it() -> None:
    connection = Connection()
    connection.wanted = True
    connection.receive_data(frame(TEXT, b"in ", fin=False))
    assert connection.receive_data(frame(CONTINUATION, b"parts") + text("next")) == []
    assert connection.is_full
    incoming = connection.hand_out()
    assert (incoming.take(), incoming.ended) == ("in parts", True)
    assert connection.receive_data(b"") == ["next"]


def test_nobody_takes_it_and_it_is_whole_again() -> None:
    connection = Connection()
    connection.receive_data(frame(TEXT, b"in ", fin=False))
    connection.open_up()
    assert connection.fold() is None
    assert connection.receive_data(frame(CONTINUATION, b"parts")) == ["in parts"]
    connection.wanted = True
    connection.receive_data(frame(TEXT, b"in ", fin=False))
    connection.receive_data(frame(CONTINUATION, b"parts"))
    assert connection.fold() == "in parts"


@pytest.mark.parametrize("fin", [True, False])
def test_nobody_takes_it_and_it_is_too_large(fin: bool) -> None:
    connection = Connection(max_message_size=4)
    connection.wanted = True
    connection.receive_data(frame(TEXT, b"too large", fin=fin)[:5] if fin else frame(TEXT, b"too", fin=False))
    connection.receive_data(b"" if fin else frame(CONTINUATION, b" large"))
    assert not connection.fits
    connection.refuse()
    assert failure_code(connection) == 1009


def test_skipped_without_being_held() -> None:
    connection = Connection(max_message_size=None)
    connection.wanted = True
    part = frame(CONTINUATION, bytes(FRAGMENT), fin=False)
    connection.receive_data(frame(BINARY, b"", fin=False))
    connection.hand_out().skip()
    for _ in range(100):
        connection.receive_data(part)
        assert connection.incoming is not None
        assert connection.incoming.size == 0
    assert connection.receive_data(frame(CONTINUATION) + text("next")) == ["next"]


@pytest.mark.parametrize("spoilt", [b"\xff", b"\xc3"])
def test_text_is_checked_to_its_end(spoilt: bytes) -> None:
    connection = Connection()
    connection.wanted = True
    connection.receive_data(frame(TEXT, b"good", fin=False))
    incoming = connection.hand_out()
    connection.receive_data(frame(CONTINUATION, spoilt))
    assert failure_code(connection) == 1007
    assert (incoming.take(), incoming.ended) == ("good", False)


@pytest.mark.parametrize("limit_is_met", ["by a header", "by fragments", "by inflating"])
def test_large_messages_wait_to_be_taken(limit_is_met: str) -> None:
    connection = inflating(1000)
    connection.streams_large = True
    payload = random.Random(1).randbytes(5000).hex()[:5000].encode()
    if limit_is_met == "by inflating":
        payload = b"a" * 5000
        wire = strategies.wire(0x80 | 0x40 | BINARY, Deflater(Deflate()).message(payload))
    elif limit_is_met == "by a header":
        wire = frame(BINARY, payload)
    else:
        wire = frame(BINARY, payload[:600], fin=False) + frame(CONTINUATION, payload[600:])
    assert connection.receive_data(text("before") + wire + text("after")) == ["before"]
    incoming = connection.hand_out()
    assert incoming.large
    rest = connection.receive_data(b"")
    assert (incoming.take(), incoming.ended) == (payload, True)
    assert rest == ["after"]


def test_a_bomb_is_inflated_in_steps() -> None:
    connection = inflating(None)
    connection.wanted = True
    wire = strategies.wire(0x80 | 0x40 | BINARY, Deflater(Deflate()).message(bytes(2**26)))
    connection.receive_data(wire)
    incoming = connection.hand_out()
    size = 0
    while not incoming.ended:
        assert incoming.size <= HELD + FRAGMENT + 1024
        size += len(incoming.take())
        connection.receive_data(b"")
    assert size + len(incoming.take()) == 2**26


def test_a_large_frame_that_cannot_be_inflated() -> None:
    connection = inflating(None)
    wire = strategies.wire(0x80 | 0x40 | BINARY, Deflater(Deflate()).message(random.Random(0).randbytes(100_000)))
    spoilt = wire[:200] + b"\xff" * (len(wire) - 200)
    assert connection.receive_data(spoilt[:50_000]) == []
    assert failure_code(connection) == 1002


def test_frames_in_parts_are_told_of_and_not_held() -> None:
    told: list[FrameInfo] = []
    connection = ObservedConnection(told.append, lambda _: None, max_message_size=10)
    connection.streams_large = True
    wire = frame(TEXT, b"x" * 300_000, fin=False) + frame(CONTINUATION, b"end") + frame(BINARY, b"whole")
    incoming = None
    for start in range(0, len(wire), 50_000):
        connection.receive_data(wire[start : start + 50_000])
        incoming = incoming or connection.hand_out()
        incoming.take()
        assert len(connection._frame) <= FRAGMENT
    assert told == [
        FrameInfo(TEXT, b"x" * FRAGMENT, fin=False, size=300_000),
        FrameInfo(CONTINUATION, b"end"),
        FrameInfo(BINARY, b"whole"),
    ]
    assert str(told[0]) == f"TEXT {b'x' * 48!r}… (300000 bytes, to be continued)".replace("b'", "'")


# -- sending -------------------------------------------------------------------------------------------


def frames(outgoing: Outgoing) -> Iterable[bytes]:
    return iter(outgoing.frame, b"")


@check
@given(
    st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.integers(1, 200_000).map(bytes), st.none()), max_size=12),
    strategies.deflates(),
    st.booleans(),
)
def test_a_server_reads_what_was_sent_in_parts(
    chunks: list[bytes | None], deflate: Deflate | None, drawn_early: bool
) -> None:
    """``None`` stands for a frame that is taken there."""
    connection = Connection(deflate=extension(deflate))
    sent = [connection.encode(b"before", TEXT)]
    outgoing = Outgoing(connection, BINARY)
    for chunk in chunks:
        if chunk is None:
            sent.append(outgoing.frame())
        else:
            outgoing.add(chunk)
    if drawn_early:
        sent += frames(outgoing)
    outgoing.complete = True
    sent += frames(outgoing)
    assert outgoing.over
    assert outgoing.size == 0
    sent.append(connection.encode(b"after", TEXT))
    whole = b"".join(chunk for chunk in chunks if chunk is not None)
    assert (connection.messages_sent, outgoing.begun) == (3, bool(whole))
    data = b"".join(sent)
    assert connection.fragments_sent == len(unmask(data)) - 3
    before, *parts, after = read_as_server(data, deflate, whole=False)
    assert (before[1], after[1]) == (b"before", b"after")
    assert b"".join(payload for _, payload in parts) == whole
    assert [opcode for opcode, _ in parts] == [BINARY] + [CONTINUATION] * (len(parts) - 1)
    assert all(len(payload) <= FRAGMENT for _, payload in parts)


@pytest.mark.parametrize("takeover", [True, False])
def test_each_fragment_can_be_inflated_when_it_comes(takeover: bool) -> None:
    deflate = Deflate(client_takeover=takeover)
    connection = Connection(deflate=deflate.extension())
    decoder = zlib.decompressobj(wbits=-15)
    outgoing = Outgoing(connection, TEXT)
    for number in range(100):
        part = f"a part, with some text in it, number {number}".encode()
        outgoing.add(part)
        assert decoder.decompress(unmask(outgoing.frame())[0].payload) == part


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_what_is_short_is_one_plain_frame(size: int) -> None:
    connection = Connection()
    outgoing = Outgoing(connection, BINARY)
    if size:
        outgoing.add(bytes(size))
    outgoing.complete = True
    assert [sent[0] for sent in frames(outgoing)] == [0x82]


def test_tiny_tokens_at_a_pace_are_no_larger_than_plain() -> None:
    tokens = [b" to", b"kens", b" of", b" a", b" mod", b"el", b",", b" one", b" by", b" one"] * 200
    sizes = []
    for deflate in (None, Deflate().extension()):
        outgoing = Outgoing(Connection(deflate=deflate), TEXT)
        size = 0
        for token in tokens:
            outgoing.add(token)
            size += len(outgoing.frame())
        sizes.append(size)
    assert sizes[1] <= sizes[0]


def test_a_close_frame_follows_on_what_there_is() -> None:
    connection = Connection()
    outgoing = Outgoing(connection, BINARY)
    outgoing.add(bytes(100_000))
    outgoing.end_with(b"close")
    sent = list(frames(outgoing))
    assert [frame[0] for frame in sent] == [0x02, 0x00, ord("c")]
    assert outgoing.over


def test_fragments_are_told_of_as_they_leave() -> None:
    told: list[FrameInfo] = []
    connection = ObservedConnection(lambda _: None, told.append)
    outgoing = Outgoing(connection, TEXT)
    outgoing.add(b"one")
    connection.on_written(outgoing.frame())
    outgoing.add(b"two")
    outgoing.complete = True
    connection.on_written(outgoing.frame())
    assert told == [FrameInfo(TEXT, b"one", fin=False), FrameInfo(CONTINUATION, b"two")]


def test_a_close_inside_a_message_that_is_taken() -> None:
    connection = Connection()
    connection.wanted = True
    connection.receive_data(frame(TEXT, b"part", fin=False) + close_frame(1000))
    incoming = connection.hand_out()
    assert (incoming.take(), incoming.ended) == ("part", False)
    assert connection.peer_close is not None
