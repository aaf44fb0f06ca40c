"""What a server sends on an HTTP/2 connection, cut into reads anywhere: it ends the same way, and within bounds.

The input's first bytes say how the connection is set up, :func:`decode` how. The rest is either the server's bytes as
they are, or a program that writes frames: mutating that keeps their lengths right, and some of their header blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from httpx2_trio_ws._http2 import (
    Broken,
    Connection,
    Ended,
    ErrorCode,
    Failed,
    GoAway,
    Headers,
    Reset,
    Stream,
    Window,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from httpx2_trio_ws._http2 import Event

_STREAMS = 3
_MOST_BYTES = 2**16
_MOST_CHUNKS = 300
_BLOCKS = (
    b"\x88",
    b"\x88\x40\x01x\x01y",
    b"\x88\xbe",
    b"\x8c",
    b"\x88\x00\x07upgrade\x01x",
    b"\x40\x01x\x01y",
    b"",
    b"\x3f\xe1\x1f\x88",
)
_WINDOW = 20_000
# One frame that goes on, and all that asks for an answer, with what the greeting takes.
_MOST_KEPT = 16_384 + 9
_MOST_OUTPUT = 2**20 + 2**17


class Scenario(NamedTuple):
    """What a server sends, and what is done meanwhile."""

    chunks: tuple[bytes, ...]
    credit: bool
    resets: bool


class Outcome(NamedTuple):
    """What came of it, wherever the cuts were."""

    told: tuple[tuple[object, ...], ...]
    output: bytes
    failed: ErrorCode | None


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

    Byte 0: program (bit 0), settings first (1), data is taken (2), a stream is reset by us (3).
    Byte 1: how many of the bytes that follow are sizes of reads, used in turns; none for bytes one by one.
    """
    source = _Source(data)
    setup = source.byte()
    sizes = source.take(source.byte() % 8)
    sent = b"\0\0\6\4\0\0\0\0\0\0\x08\0\0\0\1" if setup & 2 else b""
    sent += _written(source) if setup & 1 else source.take(len(data))
    return Scenario(_cut(sent[:_MOST_BYTES], sizes), bool(setup & 4), bool(setup & 8))


def _written(source: _Source) -> bytes:
    """Frames: kind and repetition, flags, stream, and a payload of a header block, zeros or bytes of the input."""
    sent = bytearray()
    while source and len(sent) < _MOST_BYTES:
        first, flags, where = source.byte(), source.byte(), source.byte()
        kind, times = first & 15, (1, 2, 40, 3000)[first >> 4 & 3]
        size = source.byte()
        if where & 128:
            payload = _BLOCKS[size % len(_BLOCKS)]
        elif where & 64:
            payload = bytes(size * 65)
        else:
            payload = source.take(size)
        frame = b"%b%c%c%b%b" % (len(payload).to_bytes(3, "big"), kind, flags, (where & 15).to_bytes(4, "big"), payload)
        sent += frame * min(times, 1 + _MOST_BYTES // len(frame))
    return bytes(sent)


def _cut(sent: bytes, sizes: bytes) -> tuple[bytes, ...]:
    chunks: list[bytes] = []
    pos = 0
    while pos < len(sent):
        size = sizes[len(chunks) % len(sizes)] + 1 if sizes else 1
        if len(chunks) >= _MOST_CHUNKS:
            size = len(sent)
        chunks.append(sent[pos : pos + size])
        pos += size
    return tuple(chunks)


def _told(events: Iterable[Event]) -> list[tuple[object, ...]]:
    """Events without the objects in them."""
    told: list[tuple[object, ...]] = []
    for event in events:
        match event:
            case Stream():
                told.append(("data", event.id, event.take()))
            case Headers(stream, status, headers, ended):
                told.append(("headers", stream.id, status, tuple(headers), ended))
            case Ended(stream):
                told.append(("ended", stream.id))
            case Reset(stream, code):
                told.append(("reset", stream.id, code))
            case Broken(stream, text):
                told.append(("broken", stream.id, text))
            case Window(stream):
                told.append(("window", stream and stream.id))
            case GoAway(last, code, debug, unprocessed):
                told.append(("goaway", last, code, debug, tuple(stream.id for stream in unprocessed)))
            case Failed(error):
                told.append(("failed", error.code, error.text))
            case _:
                told.append((type(event).__name__, *event))
    return told


def _in_short(told: list[tuple[object, ...]]) -> tuple[tuple[object, ...], ...]:
    """Events stream by stream, and those of the connection after them; what was told of data, together."""
    streams: dict[int, list[tuple[object, ...]]] = {}
    others: list[tuple[object, ...]] = []
    for event in told:
        match event:
            case ("data", int(stream), bytes(data)):
                of_stream = streams.setdefault(stream, [])
                if of_stream and of_stream[-1][0] == "data":
                    data = b"".join((of_stream.pop()[2], data))  # type: ignore[arg-type]
                of_stream.append(("data", stream, data))
            case ("headers" | "ended" | "reset" | "broken", int(stream), *_):
                streams.setdefault(stream, []).append(event)
            case _:
                others.append(event)
    return (*(event for stream in sorted(streams) for event in streams[stream]), *others)


def run(scenario: Scenario, connection_type: type[Connection] = Connection) -> Outcome:
    """Play a scenario, holding the bounds."""
    connection = connection_type(stream_window=_WINDOW, connection_window=_WINDOW * 4)
    streams = [connection.open_stream([(b":method", b"CONNECT")], None) for _ in range(_STREAMS)]
    if scenario.resets:
        connection.reset(streams[1], ErrorCode.CANCEL)
    connection.take_output()
    told: list[tuple[object, ...]] = []
    received = dict.fromkeys(range(1, 2 * _STREAMS, 2), 0)
    for chunk in scenario.chunks:
        events = connection.receive_data(chunk, 0.0)
        assert not (told and told[-1][0] == "failed" and events), "nothing comes after the end"
        for event, tells in zip(events, _told(events), strict=True):
            told.append(tells)
            if isinstance(event, Stream):
                _, _, data = tells
                assert isinstance(data, bytes)
                assert data
                received[event.id] += len(data)
                if scenario.credit:
                    connection.credit(event, len(data))
        assert len(connection._buffer) <= _MOST_KEPT
        assert connection.output_size <= _MOST_OUTPUT
    if not scenario.credit:
        assert all(count <= _WINDOW for count in received.values())
    assert connection.failed is None or told[-1] == ("failed", connection.failed.code, connection.failed.text)
    failed = connection.failed
    return Outcome(_in_short(told), bytes(connection.take_output()), None if failed is None else failed.code)


def _frames(output: bytes) -> list[tuple[int, int]]:
    """Kind and stream of each frame; whole ones only may be sent."""
    found, pos = [], 0
    while pos < len(output):
        found.append((output[pos + 3], int.from_bytes(output[pos + 5 : pos + 9], "big")))
        pos += 9 + int.from_bytes(output[pos : pos + 3], "big")
    assert pos == len(output)
    return found


def check(data: bytes, connection_type: type[Connection] = Connection) -> None:
    """Raise if a scenario ends otherwise when it comes in one piece, or leaves the bounds."""
    scenario = decode(data)
    outcome = run(scenario, connection_type)
    if not scenario.credit:  # when it is handed back depends on the cuts, and that decides what may come
        whole = run(scenario._replace(chunks=(b"".join(scenario.chunks),)), connection_type)
        assert whole == outcome, (whole, outcome)
    sent = _frames(outcome.output)
    assert ((7, 0) in sent) == (outcome.failed is not None), "the server is told of a failure, and of nothing else"
    assert [kind for kind, _ in sent if kind not in (3, 4, 6, 7, 8)] == []
    resets = [stream for kind, stream in sent if kind == 3]
    assert sorted(resets) == [told[1] for told in outcome.told if told[0] == "broken"]
