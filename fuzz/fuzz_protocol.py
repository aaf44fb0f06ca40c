"""What a server sends after the handshake, cut into reads anywhere, against the plain reference of the tests.

The input's first bytes say how the connection is set up, :func:`decode` how. The rest is either the server's bytes as
they are, or a program that writes frames: mutating that keeps their lengths and their deflate streams right, so that
chance comes further than the first header.
"""

from __future__ import annotations

import codecs
import itertools
import sys
from typing import TYPE_CHECKING

from tests.protocol._compare import assert_failure_is_told, run_connection, run_reference
from tests.protocol._strategies import FIN, RSV1, Action, Deflate, Deflater, Scenario, wire

from httpx2_trio_ws._protocol import Connection

if TYPE_CHECKING:
    from tests.protocol._compare import Outcome

_LIMITS = (64, 100, 126, 300, 1, 2**12, 2**20, sys.maxsize)
_MAX_MESSAGES = (sys.maxsize, 1, 2, 3)
_KINDS = ("ping", "pong", "text", "binary", "close", "close", "ping", "pong")
_CLOSE_CODES = (1000, 1001, 1011, 4000)
# Sizes of what is made of an input, so that each is checked within milliseconds.
_MOST_BYTES = 2**17
_MOST_CHUNKS = 200
_MOST_REPEATS = 600
_MOST_ACTIONS = 4


class _Source:
    """Takes an input apart. What is not there reads as zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    def __bool__(self) -> bool:
        return self._pos < len(self._data)

    def byte(self) -> int:
        return (self.take(1) or b"\0")[0]

    def take(self, count: int) -> bytes:
        part = self._data[self._pos : self._pos + count]
        self._pos += count
        return part


def decode(data: bytes) -> Scenario:
    """The scenario that an input stands for.

    Byte 0: limit (bits 0-2), end of the stream (3), program (4), how many messages are asked for at a time (5-6).
    Byte 1: deflate (bit 0), server's and client's context takeover (1, 2), their window bits (3-4, 5-6).
    Byte 2: how many of the bytes that follow are sizes of reads, used in turns; none for one read.
    """
    source = _Source(data)
    setup, compression = source.byte(), source.byte()
    sizes = source.take(source.byte() % 16)
    deflate = None
    if compression & 1:
        bits = [15 - (compression >> shift & 3) * 2 for shift in (3, 5)]
        deflate = Deflate(bool(compression & 2), bool(compression & 4), *bits)
    actions: list[Action] = []
    written = _written(source, deflate, actions) if setup & 16 else source.take(len(data))
    return Scenario(
        limit=_LIMITS[setup & 7],
        deflate=deflate,
        chunks=_cut(written[:_MOST_BYTES], sizes),
        max_messages=(_MAX_MESSAGES[setup >> 5 & 3],),
        actions=tuple(actions[:_MOST_ACTIONS]),
        eof=bool(setup & 8),
    )


def _cut(data: bytes, sizes: bytes) -> tuple[bytes, ...]:
    chunks, pos = [], 0
    for size in itertools.islice(itertools.cycle(sizes), _MOST_CHUNKS):
        if pos < len(data):
            chunks.append(data[pos : pos + size + 1])
            pos += size + 1
    return (*chunks, data[pos:])


def _written(program: _Source, deflate: Deflate | None, actions: list[Action]) -> bytes:
    """Run a program: each instruction is a byte, its arguments follow."""
    deflater = Deflater(deflate or Deflate())
    out, last, repeats = bytearray(), b"", _MOST_REPEATS
    while program and len(out) < _MOST_BYTES:
        instruction = program.byte()
        kind, variant = instruction & 3, instruction >> 2
        if kind == 0:  # a frame: its first byte, payload, and the form of its length
            first, payload = program.byte(), program.take(program.byte())
            last = wire(first, payload * (1, 1, 300, 600)[variant >> 2 & 3], form=(0, 2, 8, 0)[variant & 3])
        elif kind == 1:  # a frame of a compressed message; or of one more part of its deflate stream
            first, payload = program.byte(), program.take(program.byte())
            repeated = payload * (1, 1, 20, 400)[variant >> 2 & 3]
            body = deflater.message(repeated, final=bool(variant & 1))
            cut = program.byte() if variant & 2 else len(body)
            last = wire(first | RSV1, body[:cut]) + (wire(FIN, body[cut:]) if variant & 2 else b"")
        elif kind == 2:  # the same again, many times
            count = min(program.byte() * (1, 8)[variant & 1], repeats, _MOST_BYTES // (len(last) or 1))
            repeats -= count
            out += last * count
            continue
        else:  # not the server's, but ours
            what, payload = _KINDS[variant & 7], program.take(program.byte() % 126)
            code = _CLOSE_CODES[variant >> 3 & 3]
            if what in ("text", "close"):
                payload = payload.decode(errors="replace").encode()[:123].decode(errors="ignore").encode()
            actions.append(Action(program.byte() % 16, what, payload, code))
            continue
        out += last
    return bytes(out)


def check(data: bytes, connection_type: type[Connection] = Connection) -> None:
    """Raise AssertionError, or whatever the connection raises, if it does not do what the reference does."""
    scenario = decode(data)
    outcome = run_connection(scenario, connection_type)
    assert outcome == run_reference(scenario)[0]
    assert_failure_is_told(outcome, scenario)
    _assert_lawful(outcome)
    if not scenario.actions:
        at_once = (b"".join(scenario.chunks),)
        uncut = Scenario(scenario.limit, scenario.deflate, at_once, (sys.maxsize,), eof=scenario.eof)
        whole = run_connection(uncut, connection_type)
        if outcome.failure != whole.failure and outcome.failure and outcome.failure[0] == 1007:
            # Read bit by bit, a compressed text is decoded before it is found to be too large, or cut short.
            assert whole == run_reference(uncut)[0]
        else:
            assert whole == outcome


def _assert_lawful(outcome: Outcome) -> None:
    """What was sent is what RFC 6455 lets a client send (§5.5, §7.4)."""
    closed = False
    for first, payload in outcome.sent:
        opcode = first & 0x0F
        assert not closed or opcode in (9, 10), "no message after the close frame"
        assert first & 0x80
        if opcode >= 8:
            assert not first & 0x70
            assert len(payload) <= 125
        if opcode == 8:
            closed = True
            code = int.from_bytes(payload[:2])
            assert not payload or 1000 <= code < 1004 or 1007 <= code < 1015 or 3000 <= code < 5000
            codecs.utf_8_decode(payload[2:], "strict", True)  # noqa: FBT003 (it takes no names)
    assert all(kind in (str, bytes) for kind, _ in outcome.messages)
