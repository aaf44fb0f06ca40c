"""What a peer may send, and what we may do meanwhile, for hypothesis to draw.

A scenario is a list of messages and control frames that are all valid, then spoilt now and then: a frame
that breaks a rule put in somewhere, a close frame, bytes after that, an end cut off. A stream of random bytes
would fail in its first frame nearly always and test little else.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
SIZES = (0, 1, 2, 63, 124, 125, 126, 127, 128)
BIG_SIZES = (65535, 65536, 65537)
UNLIMITED = 2**62


def wire(first: int, payload: bytes = b"", *, form: int = 0, length: int | None = None) -> bytes:
    """A server's frame. ``form`` 2 or 8 writes the length in so many bytes; ``length`` is declared instead."""
    length = len(payload) if length is None else length
    if form == 8 or length > 65535:
        return struct.pack("!BBQ", first, 127, length) + payload
    if form == 2 or length > 125:
        return struct.pack("!BBH", first, 126, length) + payload
    return bytes((first, length)) + payload


def masked(opcode: int, payload: bytes) -> bytes:
    """A frame as a client sends it, of fewer than 126 bytes. (What is in it does not matter.)"""
    return bytes((FIN | opcode, 0x80 | len(payload), 1, 2, 3, 4)) + payload


@dataclass(frozen=True)
class Deflate:
    """How permessage-deflate was negotiated (RFC 7692 §7.1)."""

    server_takeover: bool = True
    client_takeover: bool = True
    server_bits: int = 15
    client_bits: int = 15

    def extension(self) -> PerMessageDeflate:
        """The client's half, new."""
        return PerMessageDeflate(not self.server_takeover, not self.client_takeover, self.server_bits, self.client_bits)


class Deflater:
    """The server's compressor."""

    def __init__(self, deflate: Deflate) -> None:
        self._deflate = deflate
        self._encoder = zlib.compressobj(wbits=-deflate.server_bits)

    def message(self, payload: bytes, *, final: bool = False) -> bytes:
        """One message, compressed, as RFC 7692 §7.2.1 has it; with a final block as §7.2.3.4 has it."""
        if not self._deflate.server_takeover:
            self._encoder = zlib.compressobj(wbits=-self._deflate.server_bits)
        if final:
            body = self._encoder.compress(payload) + self._encoder.flush(zlib.Z_FINISH)
            self._encoder = zlib.compressobj(wbits=-self._deflate.server_bits)
            return body + b"\0"
        return (self._encoder.compress(payload) + self._encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]


@dataclass(frozen=True)
class Raw:
    """Bytes as they are: a control frame, or something broken."""

    data: bytes


@dataclass(frozen=True)
class Message:
    """A message, to be cut into fragments at ``cuts`` (thousandths of it), with ``between`` after each."""

    text: bool
    payload: bytes
    compressed: bool = False
    final: bool = False
    cuts: tuple[int, ...] = ()
    between: tuple[bytes, ...] = ()
    form: int = 0

    def frames(self, deflater: Deflater | None) -> list[bytes]:
        """The frames in which it goes over the wire."""
        body, rsv = self.payload, 0
        if self.compressed and deflater is not None:
            body, rsv = deflater.message(body, final=self.final), RSV1
        edges = [0, *sorted(len(body) * cut // 1000 for cut in self.cuts), len(body)]
        frames = []
        for number, (start, stop) in enumerate(itertools.pairwise(edges)):
            first = ((TEXT if self.text else BINARY) | rsv) if number == 0 else 0
            last = number == len(edges) - 2
            frames.append(wire(first | FIN if last else first, body[start:stop], form=self.form))
            if not last and number < len(self.between):
                frames.append(self.between[number])
        return frames


class Action(NamedTuple):
    """Something we send while the peer's bytes arrive: after which chunk, what, and with which payload."""

    after: int
    kind: str
    payload: bytes
    code: int = 1000


@dataclass(frozen=True)
class Scenario:
    """One example: how the connection is set up, the peer's bytes as read, and what we do meanwhile."""

    limit: int | None
    deflate: Deflate | None
    chunks: tuple[bytes, ...]
    max_messages: tuple[int, ...]
    actions: tuple[Action, ...] = ()
    eof: bool = False


_BAD_TEXT = st.sampled_from(
    [b"\xff", b"\xc3", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"a\x80b"]
)
_TEXT_UNITS = (b"a", b"0123456789", "é€😀".encode())
_BINARY_UNITS = (b"\0", b"\xff\x00\x81")
_RARELY = st.sampled_from((False,) * 7 + (True,))
_WORDS = st.text(max_size=24).map(str.encode)


def controls() -> st.SearchStrategy[bytes]:
    """Valid pings and pongs, some with their length in a longer form than need be."""
    payload = st.one_of(st.binary(max_size=8), st.sampled_from((124, 125)).map(bytes))
    form = st.sampled_from((0, 0, 0, 2, 8))
    return st.builds(
        lambda op, data, form: wire(FIN | op, data, form=form), st.sampled_from((PING, PONG)), payload, form
    )


@st.composite
def close_payloads(draw: st.DrawFn) -> bytes:
    """Payloads of close frames: mostly valid, some not (RFC 6455 §7.4)."""
    kind = draw(st.sampled_from(("valid",) * 6 + ("empty", "short", "code", "reason")))
    if kind in ("empty", "short"):
        return b"" if kind == "empty" else b"\x03"
    invalid = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    valid = (1000, 1001, 1003, 1007, 1011, 1012, 3000, 4999)
    code = draw(st.sampled_from(invalid if kind == "code" else valid))
    reason = draw(_BAD_TEXT if kind == "reason" else _WORDS)
    return struct.pack("!H", code) + reason[:123]


def closes() -> st.SearchStrategy[bytes]:
    return close_payloads().map(lambda payload: wire(FIN | CLOSE, payload))


def broken_frames() -> st.SearchStrategy[bytes]:
    """Frames that break a rule: wherever they stand, or where they stand most of the time."""
    payload = st.one_of(st.binary(max_size=12), st.sampled_from(SIZES).map(bytes))
    data, control = st.sampled_from((TEXT, BINARY)), st.sampled_from((CLOSE, PING, PONG))
    opcode = st.sampled_from((0, TEXT, BINARY, CLOSE, PING, PONG))
    reserved = st.sampled_from((3, 4, 5, 6, 7, 11, 15))
    first = st.one_of(
        st.builds(lambda op, rsv: FIN | op | rsv, opcode, st.sampled_from((RSV1, RSV2, RSV3))),
        reserved.map(lambda op: FIN | op),
        data,  # a start, as a rule with nothing that continues it
        data.map(lambda op: FIN | op),  # nothing wrong with it, unless inside another message
        st.integers(0, 255),
    )
    declared = st.sampled_from((200, 65535, 65536, 2**20 + 1, 2**31, UNLIMITED))
    garbage = st.sampled_from((b"\xff", b"\x06\x01\x02", b"\xff\xff\xff"))
    whole = Deflater(Deflate()).message(b"a stream of deflate, a stream")
    return st.one_of(
        st.builds(wire, first, payload),
        st.builds(wire, first, payload),
        # a continuation, as a rule without a start
        st.builds(wire, st.sampled_from((0, FIN)), st.binary(max_size=12)),
        st.builds(wire, st.just(FIN), st.binary(max_size=12)),
        # masked, which no server may
        st.builds(masked, opcode, st.binary(max_size=8)),
        st.builds(masked, data, st.binary(max_size=8)),
        # control frames in fragments, or too long
        st.builds(wire, control, st.binary(max_size=12)),
        st.builds(lambda op, size: wire(FIN | op, bytes(size)), control, st.sampled_from((126, 127, 400))),
        st.builds(lambda op, form: wire(FIN | op, bytes(126), form=form), control, st.sampled_from((2, 8))),
        # more declared than allowed, or than ever comes
        st.builds(lambda op, size: wire(FIN | op, b"abc", length=size), opcode, declared),
        st.builds(lambda op, size: wire(FIN | op, b"abc", form=8, length=size), opcode, declared),
        # no deflate stream where one should be
        st.builds(lambda op, body: wire(FIN | RSV1 | op, body), data, garbage),
        st.builds(lambda op, body: wire(FIN | RSV1 | op, body), data, payload),
        # one that ends inside a block
        st.builds(lambda op, size: wire(FIN | RSV1 | op, whole[:size]), data, st.integers(2, len(whole) - 1)),
        st.binary(min_size=1, max_size=12),
    )


@st.composite
def spoil(draw: st.DrawFn, frames: list[bytes]) -> list[bytes]:
    """``frames`` with something wrong in them, inside a fragmented message if there is one."""
    inside = [number + 1 for number, frame in enumerate(frames) if not frame[0] & FIN]
    for spoiler in draw(st.lists(broken_frames(), min_size=1, max_size=2)):
        at = draw(st.integers(0, len(frames)))
        what = spoiler
        if draw(st.booleans()) and inside:
            at = draw(st.sampled_from(inside))
            what = draw(
                st.sampled_from((spoiler, wire(FIN | TEXT, b"a"), wire(FIN | BINARY, b"ab"), wire(TEXT, b"abc")))
            )
        frames = [*frames[:at], what, *frames[at:]]
    return frames


@st.composite
def payloads(draw: st.DrawFn, limit: int | None, *, text: bool) -> bytes:
    """What is in a message: short, or of a size at which something changes; now and then not UTF-8."""
    roomy = limit is None or limit > 300
    kinds = ("short",) * 5 + ("sized",) * 4 + (("bad",) * 2 if text else ()) + (("big",) if roomy else ())
    kind = draw(st.sampled_from(kinds))
    if kind in ("sized", "big"):
        near = () if limit is None or roomy else (limit - 1, limit, limit + 1)
        size = draw(st.sampled_from(BIG_SIZES if kind == "big" else SIZES + near))
        unit = draw(st.sampled_from(_TEXT_UNITS if text else _BINARY_UNITS))
        whole = unit * (size // len(unit))
        return whole + b"." * (size - len(whole))
    short = draw(_WORDS) if text else draw(st.binary(max_size=24))
    return short + draw(_BAD_TEXT) + b"........." + draw(_WORDS) if kind == "bad" else short


@st.composite
def messages(draw: st.DrawFn, limit: int | None, deflate: Deflate | None) -> Message:
    """A message, in one frame or in fragments, with pings, pongs and at times a close frame in between."""
    text = draw(st.booleans())
    cuts = tuple(draw(st.lists(st.integers(0, 1000), max_size=4))) if draw(st.booleans()) else ()
    kinds = [closes() if draw(_RARELY) else controls() for _ in cuts if draw(st.booleans())]
    between = tuple(draw(kind) for kind in kinds)
    compressed = deflate is not None and draw(st.booleans())
    payload = draw(payloads(limit, text=text))
    if compressed and draw(_RARELY):
        payload *= 200  # small on the wire, large once inflated
    form = draw(st.sampled_from((0, 0, 0, 0, 2, 8))) if len(payload) < 65536 else 0
    return Message(text, payload, compressed, compressed and draw(_RARELY), cuts, between, form)


def deflates() -> st.SearchStrategy[Deflate | None]:
    bits = st.sampled_from((15, 12, 9))
    return st.one_of(st.none(), st.builds(Deflate, st.booleans(), st.booleans(), bits, bits))


def limits() -> st.SearchStrategy[int | None]:
    return st.sampled_from((64, 100, 126, 300, 300, 2**20, None))


@st.composite
def cut_anywhere(draw: st.DrawFn, data: bytes) -> tuple[bytes, ...]:
    """``data`` in chunks: all at once, every few bytes, or cut at arbitrary places."""
    step = draw(st.sampled_from((0, 0, 1, 2, 3, 7, -1, -1, -1)))
    if step > 0 and len(data) <= 3000:
        return tuple(data[pos : pos + step] for pos in range(0, len(data), step))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8))) if step else []
    return tuple(data[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(data)]))


def actions() -> st.SearchStrategy[tuple[Action, ...]]:
    """What we send; mostly nothing."""
    after = st.integers(0, 12)
    some = st.one_of(
        st.builds(Action, after, st.sampled_from(("ping", "pong")), st.binary(max_size=125)),
        st.builds(Action, after, st.sampled_from(("text", "binary")), _WORDS),
        st.builds(Action, after, st.just("close"), _WORDS, st.sampled_from((1000, 1001, 1011, 4000))),
    )
    return st.one_of(st.just(()), st.lists(some, max_size=4).map(tuple))


@st.composite
def outgoing(draw: st.DrawFn) -> Action:
    """One thing to send, large messages and refused arguments among them. Its ``after`` is of no use."""
    kind = draw(st.sampled_from(("text", "binary") * 4 + ("ping", "pong") * 2 + ("close",)))
    if kind in ("text", "binary"):
        payload = draw(payloads(None, text=kind == "text"))
        return Action(0, kind, payload.decode(errors="replace").encode() if kind == "text" else payload)
    if kind == "close":
        return Action(0, kind, draw(_WORDS), draw(st.sampled_from((1000, 1001, 1005, 1006, 1011, 4999, 5000))))
    return Action(0, kind, draw(st.one_of(st.binary(max_size=12), st.sampled_from((124, 125, 126)).map(bytes))))


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """See the module's text."""
    limit, deflate = draw(limits()), draw(deflates())
    units = draw(
        st.lists(
            st.one_of(messages(limit, deflate), messages(limit, deflate), controls().map(Raw)), min_size=2, max_size=8
        )
    )
    deflater = None if deflate is None else Deflater(deflate)
    frames: list[bytes] = []
    for unit in units:
        frames += [unit.data] if isinstance(unit, Raw) else unit.frames(deflater)
    if draw(st.booleans()):
        frames = draw(spoil(frames))
    elif frames and draw(_RARELY):
        del frames[draw(st.integers(0, len(frames) - 1))]
    if draw(st.booleans()):
        late = st.one_of(st.just(b""), controls(), st.just(wire(FIN | TEXT, b"late") * 2), st.binary(max_size=6))
        frames += [draw(closes()), draw(late)]
    data = b"".join(frames)
    if draw(st.sampled_from((False, False, False, True))):
        data = data[: draw(st.integers(0, len(data)))]
    return Scenario(
        limit=limit,
        deflate=deflate,
        chunks=draw(cut_anywhere(data)),
        max_messages=tuple(draw(st.lists(st.sampled_from((1, 1, 2, 3, 2**63 - 1)), min_size=1, max_size=4))),
        actions=draw(actions()),
        eof=draw(st.booleans()),
    )
