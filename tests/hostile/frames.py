"""Trouble in frames and messages, played in memory."""

from __future__ import annotations

from typing import Any

from .scenario import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MIB,
    NOTHING,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Act,
    Drip,
    Repeat,
    Scenario,
    Script,
    breaks,
    deflated,
    delivers,
    masked,
    raw,
    text,
)

END = text("end")
LIMIT = {"max_message_size_bytes": 1000}
_UNLIMITED = {"max_message_size_bytes": None}
# Characters of two, three and four bytes.
_WORDS = "a\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{EURO SIGN}\N{GRINNING FACE}z"
_BYTES = _WORDS.encode()


def fails(
    name: str, source: str, server: str, script: bytes | dict[str, bytes], *, code: int = 1002, **more: Any
) -> Scenario:
    """The client fails the connection with ``code``; the message before is delivered, the one after is not."""
    steps = script if isinstance(script, dict) else {"": script}
    scripts: dict[str, Script] = {label: (text("before") + data + text("after"),) for label, data in steps.items()}
    return Scenario(
        name=name, source=source, server=server, script=scripts, outcome=breaks(code, "before"), code=code, **more
    )


def takes(name: str, source: str, server: str, *steps: Any, wanted: tuple[str | bytes, ...], **more: Any) -> Scenario:
    """What is sent is valid, and all of it is delivered."""
    script = steps[0] if isinstance(steps[0], dict) else steps
    return Scenario(
        name=name, source=source, server=server, script=script, outcome=delivers(*wanted), code=1000, **more
    )


def fragments(payloads: list[bytes], first: int = TEXT, between: bytes = b"") -> bytes:
    """One message in fragments."""
    *start, last = payloads
    frames = [raw(CONTINUATION if n else first, payload) for n, payload in enumerate(start)]
    return between.join([*frames, raw(FIN | CONTINUATION, last)])


_HEADERS = (
    fails(
        "a masked frame",
        "RFC 6455 §5.1",
        "masks a frame, as only clients do",
        {
            "text": masked(FIN | TEXT, b"hello"),
            "empty": masked(FIN | TEXT),
            "ping": masked(FIN | PING, b"p"),
            "close": masked(FIN | CLOSE, b"\x03\xe8"),
        },
    ),
    fails(
        "a reserved bit",
        "RFC 6455 §5.2",
        "sets a reserved bit",
        {
            "RSV1, compression not negotiated": raw(FIN | RSV1 | TEXT, deflated(b"x")[0]),
            "RSV2": raw(FIN | RSV2 | TEXT, b"x"),
            "RSV3": raw(FIN | RSV3 | BINARY, b"x"),
            "on a ping": raw(FIN | RSV1 | PING),
            "on a close frame": raw(FIN | RSV2 | CLOSE, b"\x03\xe8"),
            "on a continuation": raw(TEXT, b"x") + raw(FIN | RSV3 | CONTINUATION, b"x"),
        },
    ),
    fails(
        "a reserved opcode",
        "RFC 6455 §5.2",
        "uses an opcode that has no meaning",
        {str(opcode): raw(FIN | opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    ),
    fails(
        "a long control frame",
        "RFC 6455 §5.5",
        "sends a control frame of more than 125 bytes",
        {
            "ping": raw(FIN | PING, b"x" * 126),
            "pong": raw(FIN | PONG, b"x" * 126),
            "close": raw(FIN | CLOSE, b"\x03\xe8" + b"x" * 124),
        },
    ),
    Scenario(
        name="a long control frame of which only the header comes",
        source="RFC 6455 §5.5",
        server="declares a control frame of more than 125 bytes, and sends none of them",
        script={
            "126": (text("before") + raw(FIN | PING, length=126),),
            "2^62": (text("before") + raw(FIN | PING, length=2**62),),
        },
        outcome=breaks(1002, "before"),
        code=1002,
        seconds=0.1,
    ),
    fails(
        "a fragmented control frame",
        "RFC 6455 §5.5",
        "sends a control frame without FIN",
        {"ping": raw(PING, b"x"), "pong": raw(PONG), "close": raw(CLOSE, b"\x03\xe8")},
    ),
    fails(
        "a continuation without a start",
        "RFC 6455 §5.4",
        "continues a message that was never begun, or that is over",
        {
            "final": raw(FIN | CONTINUATION, b"x"),
            "not final": raw(CONTINUATION, b"x"),
            "of a whole message": raw(FIN | CONTINUATION),
        },
    ),
    fails(
        "data inside a fragmented message",
        "RFC 6455 §5.4",
        "begins a message before the one before it has ended",
        {
            "text": raw(TEXT, b"x") + text("y"),
            "binary": raw(TEXT, b"x") + raw(FIN | BINARY, b"y"),
            "fragment": raw(TEXT, b"x") + raw(TEXT, b"y"),
        },
    ),
)

_LENGTHS = (
    fails(
        "a length with the top bit set",
        "RFC 6455 §5.2",
        "declares 2⁶³ bytes or more",
        {"2^63": raw(FIN | TEXT, length=2**63), "2^64 - 1": raw(FIN | BINARY, length=2**64 - 1)},
        code=1009,
    ),
    fails(
        "a length with the top bit set, without a limit",
        "RFC 6455 §5.2",
        "declares 2⁶³ bytes or more",
        {"2^63": raw(FIN | TEXT, length=2**63), "2^64 - 1": raw(FIN | BINARY, length=2**64 - 1)},
        code=1009,
        options=_UNLIMITED,
    ),
    fails(
        "a length of 2^62",
        "RFC 6455 §10.4",
        "declares 2⁶² bytes, in a whole message or in a fragment",
        {
            "text": raw(FIN | TEXT, length=2**62),
            "fragment": raw(BINARY, length=2**62),
            "continuation": raw(BINARY, b"x") + raw(FIN | CONTINUATION, length=2**62),
        },
        code=1009,
        memory=MIB,
    ),
    Scenario(
        name="a length of 2^62, without a limit",
        source="RFC 6455 §10.4",
        server="declares 2⁶² bytes, sends some, and then nothing more",
        script=(raw(FIN | TEXT, b"x" * 1000, length=2**62, size=8), Act.SILENCE),
        outcome=NOTHING,
        code=1000,
        patience=1,
        seconds=6.5,
        memory=MIB,
        options=_UNLIMITED,
    ),
    fails(
        "a message over the limit",
        "RFC 6455 §10.4",
        "exceeds the limit by one byte, whole, in fragments, or with bytes that never come",
        {
            "whole": raw(FIN | TEXT, b"x" * 1001),
            "declared": raw(FIN | TEXT, length=1001),
            "fragments": fragments([b"x" * 500, b"x" * 501]),
            "bytes of UTF-8": raw(FIN | TEXT, "\N{EURO SIGN}".encode() * 334),
        },
        code=1009,
        options=LIMIT,
    ),
    takes(
        "a message at the limit",
        "RFC 6455 §10.4",
        "sends as much as the limit allows, with a ping inside",
        text("x" * 1000) + fragments([b"x" * 999, b"x"], between=raw(FIN | PING, b"p" * 125)),
        wanted=("x" * 1000, "x" * 1000),
        options=LIMIT,
        pongs=(b"p" * 125,),
    ),
    takes(
        "a length that is not minimal",
        "RFC 6455 §5.2",
        "writes a small length in a field of 16 or 64 bits, which it must not; this does no harm",
        {
            "16 bits": (raw(FIN | TEXT, b"hello", size=2) + END,),
            "64 bits": (raw(FIN | TEXT, b"hello", size=8) + END,),
            "fragments": (raw(TEXT, b"he", size=2) + raw(FIN | CONTINUATION, b"llo", size=8) + END,),
        },
        wanted=("hello", "end"),
    ),
)

_PARTS = (
    takes(
        "frames byte by byte",
        "RFC 6455 §5.4",
        "sends every byte in a packet of its own",
        Drip(text(_WORDS) + fragments([b"a", b"", b"b"], BINARY, raw(FIN | PING, b"p")) + END),
        wanted=(_WORDS, b"ab", "end"),
        pongs=(b"p", b"p"),
    ),
    takes(
        "100,000 fragments of a byte",
        "RFC 6455 §5.4",
        "sends a message one byte to a fragment",
        raw(TEXT, b"x") + raw(CONTINUATION, b"x") * 99_998 + raw(FIN | CONTINUATION, b"x"),
        wanted=("x" * 100_000,),
        memory=4 * MIB,
    ),
    takes(
        "20,000 empty fragments",
        "RFC 6455 §5.4",
        "sends a message of many fragments with nothing in them",
        raw(TEXT) + raw(CONTINUATION) * 20_000 + raw(FIN | CONTINUATION),
        wanted=("",),
        memory=4 * MIB,
    ),
    Scenario(
        name="endless empty fragments",
        source="RFC 6455 §5.4",
        server="continues a message with empty fragments without end",
        script=(raw(TEXT), Repeat(raw(CONTINUATION))),
        outcome=NOTHING,
        code=1000,
        patience=0.1,
        seconds=5,
        memory=4 * MIB,
        tcp=True,
        options={"close_timeout_seconds": 0.3},
    ),
)

_TEXTS = (
    takes(
        "UTF-8 split at every place",
        "RFC 6455 §8.1",
        "ends a fragment anywhere within a character",
        {str(n): (fragments([_BYTES[:n], _BYTES[n:]]) + END,) for n in range(len(_BYTES) + 1)},
        wanted=(_WORDS, "end"),
    ),
    fails(
        "UTF-8 broken at every place",
        "RFC 6455 §8.1",
        "puts a byte that cannot be into a text",
        {str(n): raw(FIN | TEXT, _BYTES[:n] + b"\xff" + _BYTES[n:]) for n in range(len(_BYTES) + 1)},
        code=1007,
    ),
    fails(
        "UTF-8 broken in the second fragment",
        "RFC 6455 §8.1",
        "breaks a character that a fragment has begun",
        {
            "not continued": fragments([b"\xe2\x82", b"x"]),
            "not ended": fragments([b"\xe2", b"\x82"]),
            "not final": raw(TEXT, b"\xe2") + raw(CONTINUATION, b"("),
        },
        code=1007,
    ),
    fails(
        "UTF-8 cut off at the end",
        "RFC 6455 §8.1",
        "ends a text within a character",
        {str(n): raw(FIN | TEXT, "\N{GRINNING FACE}".encode()[:n]) for n in (1, 2, 3)},
        code=1007,
    ),
    fails(
        "what only looks like UTF-8",
        "RFC 3629 §3",
        "sends surrogates, overlong forms, or what is beyond the last character",
        {
            "surrogate": raw(FIN | TEXT, b"\xed\xa0\x80"),
            "overlong": raw(FIN | TEXT, b"\xc0\xaf"),
            "overlong, 3 bytes": raw(FIN | TEXT, b"\xe0\x80\xaf"),
            "beyond": raw(FIN | TEXT, b"\xf4\x90\x80\x80"),
            "5 bytes": raw(FIN | TEXT, b"\xf8\x88\x80\x80\x80"),
        },
        code=1007,
    ),
    Scenario(
        name="UTF-8 broken in a frame that never ends",
        source="RFC 6455 §8.1",
        server="breaks a text in its first bytes and never sends the rest",
        script={
            "whole message": (raw(FIN | TEXT, b"\xff", length=1000, size=2),),
            "fragment": (raw(TEXT, b"x") + raw(CONTINUATION, b"\xff", length=1000, size=2),),
        },
        outcome=breaks(1007),
        code=1007,
        seconds=0.1,
    ),
    takes(
        "bytes that are no UTF-8 in a binary message",
        "RFC 6455 §5.6",
        "sends binary data",
        raw(FIN | BINARY, b"\xff\xfe") + fragments([b"\xff", b"\xfe"], BINARY),
        wanted=(b"\xff\xfe", b"\xff\xfe"),
    ),
)

_CONTROL = (
    takes(
        "a flood of pings",
        "RFC 6455 §5.5.2",
        "sends 10,000 pings in one go",
        raw(FIN | PING, b"p") * 10_000 + END,
        wanted=("end",),
        pongs=(b"p",) * 10_000,
        memory=8 * MIB,
    ),
    takes(
        "pings of all sizes",
        "RFC 6455 §5.5.3",
        "sends pings with payloads from 0 to 125 bytes",
        b"".join(raw(FIN | PING, bytes(range(n))) for n in range(126)) + END,
        wanted=("end",),
        pongs=tuple(bytes(range(n)) for n in range(126)),
    ),
    takes(
        "pongs that nobody asked for",
        "RFC 6455 §5.5.3",
        "sends 10,000 pongs that answer no ping",
        raw(FIN | PONG, b"x" * 125) * 10_000 + raw(FIN | PONG) + END,
        wanted=("end",),
        memory=4 * MIB,
    ),
    takes(
        "control frames between fragments",
        "RFC 6455 §5.4",
        "puts pings and pongs between the fragments of a message",
        fragments([b"a", b"b", b"c"], TEXT, raw(FIN | PING, b"p") + raw(FIN | PONG, b"q")),
        wanted=("abc",),
        pongs=(b"p", b"p"),
    ),
)

SCENARIOS = _HEADERS + _LENGTHS + _PARTS + _TEXTS + _CONTROL
