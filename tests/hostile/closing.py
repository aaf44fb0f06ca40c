"""Trouble at the end of a session."""

from __future__ import annotations

from functools import partial
from typing import Any

from .scenario import (
    CLOSE,
    CLOSED,
    CONTINUATION,
    FIN,
    MIB,
    PING,
    TEXT,
    Act,
    Does,
    Drip,
    Outcome,
    Repeat,
    Scenario,
    Script,
    Step,
    breaks,
    closing,
    disconnects,
    loses,
    raw,
    text,
)

_AFTER = {
    "text": text("after"),
    "ping": raw(FIN | PING, b"p"),
    "close frame": closing(1001),
    "reserved opcode": raw(FIN | 3),
    "noise": bytes(range(256)),
    "length of 2^62": raw(FIN | TEXT, length=2**62),
}
# One in which a cut falls into each of its parts: both bytes of the header, a length of 16 bits, the payload.
_MESSAGE = raw(FIN | TEXT, b"x" * 130)
_ends = partial(Scenario, source="RFC 6455 §7.1.5", seconds=1)


def _rejects(
    name: str, source: str, server: str, scripts: dict[str, bytes], *, code: int = 1002, **more: Any
) -> Scenario:
    """A close frame that breaks a rule; the message before it is delivered."""
    steps: dict[str, Script] = {label: (text("before") + data,) for label, data in scripts.items()}
    return Scenario(
        name=name, source=source, server=server, script=steps, outcome=breaks(code, "before"), code=code, **more
    )


def _cuts(data: bytes, *then: Step) -> dict[str, Script]:
    """The beginning of ``data``, of every length up to 6, and then what ends the connection."""
    return {str(n): (text("before") + data[:n], *then) for n in (*range(1, 7), len(data) - 1)}


_PAYLOADS = (
    *(
        Scenario(
            name=f"a close frame with {code}",
            source="RFC 6455 §7.4",
            server=f"closes with {code}",
            script=(text("before") + closing(code, b"bye"),),
            outcome=disconnects(code, "before"),
            code=code,
            says=f"{code}",
        )
        for code in (1000, 1001, 1011, 4000)
    ),
    *(
        Scenario(
            name=f"a close frame with a code of {kind}",
            source=source,
            server=f"closes with {code}",
            script=(closing(code),),
            outcome=disconnects(code),
            code=code,
        )
        for kind, source, code in (
            ("an extension's failure", "RFC 6455 §7.4.1", 1010),
            ("the registry", "IANA, WebSocket close codes", 1014),
            ("a framework", "RFC 6455 §7.4.2", 3000),
            ("an application", "RFC 6455 §7.4.2", 4999),
        )
    ),
    _rejects(
        "a close code that may not appear",
        "RFC 6455 §7.4",
        "closes with a code that is reserved or out of range",
        {
            str(code): closing(code)
            for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535)
        },
    ),
    _rejects(
        "a close frame of one byte", "RFC 6455 §5.5.1", "sends half a close code", {"": raw(FIN | CLOSE, b"\x03")}
    ),
    _rejects(
        "a close reason that is no UTF-8",
        "RFC 6455 §5.5.1",
        "gives a reason that is broken or cut off",
        {
            "broken": closing(1000, b"bye \xff"),
            "cut off": closing(1000, b"bye \xe2\x82"),
            "surrogate": closing(1000, b"\xed\xa0\x80"),
            "long": closing(1000, b"x" * 122 + b"\xe2"),
        },
        code=1007,
    ),
    Scenario(
        name="a close reason of 123 bytes",
        source="RFC 6455 §5.5",
        server="gives as long a reason as there can be",
        script=(closing(1000, "\N{EURO SIGN}".encode() * 41),),
        outcome=disconnects(1000),
        code=1000,
        says="\N{EURO SIGN}" * 41,
    ),
    Scenario(
        name="an empty close frame",
        source="RFC 6455 §7.1.5",
        server="closes without a code",
        script=(raw(FIN | CLOSE),),
        outcome=disconnects(1005),
        code=1005,
    ),
)

_AROUND = (
    Scenario(
        name="anything after a close frame",
        source="RFC 6455 §5.5.1",
        server="goes on after its close frame, with data, another close frame or nonsense",
        script={label: (text("before") + closing(1000) + data,) for label, data in _AFTER.items()},
        outcome=disconnects(1000, "before"),
        code=1000,
    ),
    Scenario(
        name="anything after what broke the protocol",
        source="RFC 6455 §7.1.7",
        server="goes on after a frame for which the client fails the connection",
        script={label: (raw(FIN | 3) + data,) for label, data in _AFTER.items()},
        outcome=breaks(1002),
        code=1002,
    ),
    Scenario(
        name="a close frame inside a fragmented message",
        source="RFC 6455 §5.4",
        server="closes before a message has ended; what came of it is not delivered",
        script={
            "at once": (raw(TEXT, b"begun") + closing(1000),),
            "later": (
                raw(TEXT, b"begun") + raw(CONTINUATION, b", ") + closing(1000) + raw(FIN | CONTINUATION, b"ended"),
            ),
        },
        outcome=disconnects(1000),
        code=1000,
    ),
    Scenario(
        name="a close frame byte by byte",
        source="RFC 6455 §5.5.1",
        server="sends every byte of its close frame in a packet of its own",
        script=(Drip(closing(1001, b"bye")),),
        outcome=disconnects(1001),
        code=1001,
    ),
    Scenario(
        name="a close frame while the application does not listen",
        source="RFC 6455 §5.5.1",
        server="closes; the block is left by a cancellation, later",
        script=(closing(1000),),
        outcome=Outcome(),
        code=1000,
        does=Does.SLEEPS,
        limit=1,
        seconds=1.1,
    ),
    Scenario(
        name="a close frame, and a connection that stays",
        source="RFC 6455 §7.1.1",
        server="closes, and leaves it to the client to close the connection",
        script=(closing(1000), Act.SILENCE),
        outcome=disconnects(1000),
        code=1000,
        seconds=1.1,
    ),
)

_OURS = (
    Scenario(
        name="our close, answered",
        source="RFC 6455 §7.1.2",
        server="answers the client's close frame and closes the connection",
        script=(text("not asked for"),),
        outcome=CLOSED,
        code=1000,
        does=Does.CLOSES,
        seconds=0.1,
    ),
    Scenario(
        name="our close, answered with another code",
        source="RFC 6455 §7.1.5",
        server="answers with a code of its own, or with none",
        script={
            "code": (Act.AWAIT_CLOSE, closing(1001, b"going"), Act.HANG_UP),
            "empty": (Act.AWAIT_CLOSE, raw(FIN | CLOSE), Act.HANG_UP),
        },
        outcome=CLOSED,
        code=1000,
        does=Does.CLOSES,
        seconds=0.1,
    ),
    Scenario(
        name="our close, not answered",
        source="RFC 6455 §7.1.1",
        server="does not answer the client's close frame; the close timeout ends it",
        script=(Act.AWAIT_CLOSE, Act.SILENCE),
        outcome=CLOSED,
        code=1000,
        does=Does.CLOSES,
        seconds=5.1,
    ),
    Scenario(
        name="our close, answered, and a connection that stays",
        source="RFC 6455 §7.1.1",
        server="answers the client's close frame and leaves the connection open",
        script=(Act.AWAIT_CLOSE, closing(1000), Act.SILENCE),
        outcome=CLOSED,
        code=1000,
        does=Does.CLOSES,
        seconds=1.1,
    ),
    Scenario(
        name="our close, and data without end",
        source="RFC 6455 §7.1.1",
        server="goes on sending after the client's close frame; the close timeout ends it",
        script={
            "messages": (Act.AWAIT_CLOSE, Repeat(text("x" * 1000))),
            "pings": (Act.AWAIT_CLOSE, Repeat(raw(FIN | PING, b"p" * 125))),
            "fragments": (Act.AWAIT_CLOSE, raw(TEXT), Repeat(raw(CONTINUATION, b"x"))),
        },
        outcome=CLOSED,
        code=1000,
        does=Does.CLOSES,
        seconds=2,
        memory=16 * MIB,
        tcp=True,
        options={"close_timeout_seconds": 0.3},
        pongs=None,
    ),
    Scenario(
        name="our close, answered byte by byte, slowly",
        source="RFC 6455 §7.1.1",
        server="drips its answer for longer than the close timeout",
        script=(Act.AWAIT_CLOSE, Drip(closing(1000, b"x" * 100), 1)),
        outcome=CLOSED,
        code=1000,
        does=Does.CLOSES,
        seconds=5.1,
    ),
    Scenario(
        name="our close, answered wrongly",
        source="RFC 6455 §7.1.7",
        server="answers with a close frame or another that breaks a rule",
        script={
            "code": (Act.AWAIT_CLOSE, closing(1005), Act.HANG_UP),
            "reason": (Act.AWAIT_CLOSE, closing(1000, b"\xff"), Act.HANG_UP),
            "opcode": (Act.AWAIT_CLOSE, raw(FIN | 3), Act.HANG_UP),
        },
        outcome=CLOSED,
        code=1000,
        does=Does.CLOSES,
        seconds=0.1,
    ),
    Scenario(
        name="our close, answered by the end of the connection",
        source="RFC 6455 §7.1.5",
        server="closes or drops the connection, without a close frame",
        script={"FIN": (Act.AWAIT_CLOSE, Act.HANG_UP), "RST": (Act.AWAIT_CLOSE, Act.RESET)},
        outcome=CLOSED,
        code=1000,
        does=Does.CLOSES,
        tcp=True,
    ),
    Scenario(
        name="close frames that cross",
        source="RFC 6455 §7.1.3",
        server="closes at the same time as the client",
        script=(closing(1001),),
        outcome=CLOSED,
        code=1000,
        does=Does.CLOSES,
        seconds=0.1,
    ),
)

_LOST = (
    _ends(
        name="the connection is closed between frames",
        server="closes the connection without a close frame",
        script=(text("before"), Act.HANG_UP),
        outcome=loses("before"),
        code=None,
        tcp=True,
    ),
    _ends(
        name="the connection is closed inside a frame",
        server="closes the connection in the header or the payload of a frame",
        script=_cuts(_MESSAGE, Act.HANG_UP),
        outcome=loses("before"),
        code=None,
    ),
    _ends(
        name="the connection is closed inside a close frame",
        server="closes the connection before its close frame is whole",
        script={str(n): (text("before") + closing(1000)[:n], Act.HANG_UP) for n in range(1, 4)},
        outcome=loses("before"),
        code=None,
    ),
    _ends(
        name="the connection is closed inside a fragmented message",
        server="closes the connection before a message has ended",
        script=(text("before") + raw(TEXT, b"begun"), Act.HANG_UP),
        outcome=loses("before"),
        code=None,
    ),
    _ends(
        name="half-close",
        server="sends FIN and goes on reading",
        script=(text("before"), Act.HALF_CLOSE),
        outcome=loses("before"),
        code=None,
        tcp=True,
    ),
    _ends(
        name="half-close after a close frame",
        server="closes, sends FIN and reads the client's answer",
        script=(text("before") + closing(1000), Act.HALF_CLOSE),
        outcome=disconnects(1000, "before"),
        code=1000,
        tcp=True,
    ),
    _ends(
        name="a reset between frames",
        server="drops the connection with a RST",
        script=(text("before"), Act.SETTLE, Act.RESET),
        outcome=loses("before"),
        code=None,
        tcp=True,
    ),
    _ends(
        name="a reset inside a frame",
        server="drops the connection with a RST in a frame",
        script=(text("before") + _MESSAGE[:50], Act.SETTLE, Act.RESET),
        outcome=loses("before"),
        code=None,
        tcp=True,
    ),
    _ends(
        name="a reset after a close frame",
        server="closes, reads the answer and drops the connection with a RST",
        script=(text("before") + closing(1000), Act.AWAIT_CLOSE, Act.RESET),
        outcome=disconnects(1000, "before"),
        code=1000,
        tcp=True,
    ),
    _ends(
        name="the connection is closed while the application sleeps",
        server="closes the connection; no call is made that could tell, so the grace ends",
        script=(text("unread"), Act.HANG_UP),
        outcome=loses(),
        code=None,
        does=Does.SLEEPS,
        seconds=5.1,
    ),
    _ends(
        name="the connection is closed while a pong is waited for",
        server="closes the connection instead of answering a ping",
        script=(Act.AWAIT_FRAME, Act.HANG_UP),
        outcome=loses(),
        code=None,
        does=Does.PINGS,
    ),
)

SCENARIOS = _PAYLOADS + _AROUND + _OURS + _LOST
