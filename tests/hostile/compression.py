"""Trouble in compressed messages, played in memory."""

from __future__ import annotations

from .frames import END, LIMIT, fails, fragments, takes
from .scenario import BINARY, CONTINUATION, FIN, MIB, PING, PONG, RSV1, RSV2, TEXT, deflated, raw, text, zeros

_TWO = [b"twice, twice, twice", b"twice, twice, twice"]
_PONG_PING = raw(FIN | PONG) + raw(FIN | PING, b"p")
_GOOD = deflated(b"hello, hello, hello")[0]


def _cut(data: bytes, *sizes: int) -> list[bytes]:
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return [*parts, data]


def _compressed(*, takeover: bool) -> bytes:
    """Two compressed messages in three fragments each, with control frames in them."""
    payloads = deflated(*_TWO, takeover=takeover)
    return b"".join(fragments(_cut(payload, 1, 1), RSV1 | TEXT, _PONG_PING) for payload in payloads)


SCENARIOS = (
    takes(
        "control frames between compressed fragments",
        "RFC 7692 §6.1",
        "puts pings and pongs between the fragments of compressed messages; the second refers to the first",
        _compressed(takeover=True),
        wanted=tuple(message.decode() for message in _TWO),
        pongs=(b"p",) * 4,
        extensions="permessage-deflate",
    ),
    takes(
        "control frames between compressed fragments, without context takeover",
        "RFC 7692 §7.1.1.1",
        "does the same, and begins anew with each message",
        _compressed(takeover=False),
        wanted=tuple(message.decode() for message in _TWO),
        pongs=(b"p",) * 4,
        extensions="permessage-deflate; server_no_context_takeover",
    ),
    takes(
        "plain messages between compressed ones",
        "RFC 7692 §6",
        "compresses some of its messages, one of them empty",
        raw(FIN | RSV1 | TEXT, _GOOD) + text("plain") + raw(FIN | RSV1 | BINARY, b"\0") + raw(FIN | RSV1 | TEXT) + END,
        wanted=("hello, hello, hello", "plain", b"", "", "end"),
        extensions="permessage-deflate",
    ),
    fails(
        "a reserved bit where compression does not put one",
        "RFC 7692 §6.1",
        "sets RSV1 on a continuation or on a control frame, or RSV2",
        {
            "continuation": raw(RSV1 | TEXT, _GOOD[:3]) + raw(FIN | RSV1 | CONTINUATION, _GOOD[3:]),
            "of a plain message": raw(TEXT, b"x") + raw(FIN | RSV1 | CONTINUATION, b"x"),
            "ping": raw(FIN | RSV1 | PING, b"p"),
            "RSV2": raw(FIN | RSV1 | RSV2 | TEXT, _GOOD),
        },
        extensions="permessage-deflate",
    ),
    fails(
        "what does not inflate",
        "RFC 7692 §7.2.2",
        "compresses wrongly",
        {
            "reserved block type": raw(FIN | RSV1 | TEXT, b"\x07"),
            "stored block's check": raw(FIN | RSV1 | TEXT, b"\x00\x05\x00\x00\x00hello"),
            "distance too far": raw(FIN | RSV1 | TEXT, deflated(*_TWO)[1]),
            "zlib's header": raw(FIN | RSV1 | TEXT, b"\x78\x9c\xff\xff"),
            "second fragment": raw(RSV1 | TEXT, b"\x00") + raw(FIN | CONTINUATION, b"\xff" * 9),
        },
        extensions="permessage-deflate",
    ),
    fails(
        "text that inflates to no UTF-8",
        "RFC 6455 §8.1",
        "compresses what is not text, whole or in fragments",
        {
            "whole": raw(FIN | RSV1 | TEXT, deflated(b"\xff")[0]),
            "fragments": fragments(_cut(deflated(b"x\xe2\x82")[0], 1), RSV1 | TEXT),
        },
        code=1007,
        extensions="permessage-deflate",
    ),
    fails(
        "a deflate bomb of 1 GB",
        "RFC 7692 §8",
        "sends a megabyte that inflates to a gigabyte, or would",
        {
            "1 MB": raw(FIN | RSV1 | BINARY, zeros(1024 * MIB)),
            "text": raw(FIN | RSV1 | TEXT, zeros(1024 * MIB)),
            "fragments": fragments(_cut(zeros(1024 * MIB), *[1000] * 900), RSV1 | BINARY, raw(FIN | PONG)),
        },
        code=1009,
        memory=8 * MIB,
        extensions="permessage-deflate",
    ),
    fails(
        "a bomb just over the limit",
        "RFC 7692 §8",
        "sends what inflates to a byte more than the limit",
        {
            "whole": raw(FIN | RSV1 | TEXT, deflated(b"x" * 1001)[0]),
            "fragments": fragments(_cut(deflated(b"x" * 1001)[0], 3, 3), RSV1 | TEXT),
        },
        code=1009,
        options=LIMIT,
        extensions="permessage-deflate",
    ),
    takes(
        "a compressed message at the limit",
        "RFC 7692 §8",
        "sends what inflates to exactly the limit",
        raw(FIN | RSV1 | TEXT, deflated(b"x" * 1000)[0]) + END,
        wanted=("x" * 1000, "end"),
        options=LIMIT,
        extensions="permessage-deflate",
    ),
    fails(
        "a truncated deflate stream that does not go on",
        "RFC 7692 §7.2.2",
        "ends a compressed message in a block's header",
        {
            "dynamic": raw(FIN | RSV1 | BINARY, b"\x05\xc0"),
            "stored": raw(FIN | RSV1 | BINARY, b"\x00\x20"),
        },
        extensions="permessage-deflate",
    ),
    fails(
        "a truncated deflate stream",
        "RFC 7692 §7.2.2",
        "ends a compressed message in a block's data",
        {
            "stored": raw(FIN | RSV1 | BINARY, b"\x00\x20\x00\xdf\xffhello"),
            "fixed": raw(FIN | RSV1 | BINARY, _GOOD[: len(_GOOD) // 2]),
            "empty fragment": raw(RSV1 | BINARY, _GOOD[: len(_GOOD) // 2]) + raw(FIN | CONTINUATION),
        },
        extensions="permessage-deflate",
    ),
)
