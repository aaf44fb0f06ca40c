"""Trouble with how the answer to the handshake comes, and with what comes instead of one."""

from __future__ import annotations

import gzip

import httpx2

from .handshake import HELLO, opens, refused, scenario
from .scenario import (
    MIB,
    NOT_HTTP,
    REFUSED,
    TOO_SLOW,
    Act,
    Drip,
    Outcome,
    Repeat,
    closing,
    delivers,
    disconnects,
    loses,
    response,
    switch,
    text,
)

_BODIES = (
    refused(
        "a body of a megabyte",
        "RFC 9112 §6",
        "refuses with a megabyte, or more than that: its length told, in chunks, without an end, or compressed",
        {
            "length": response("403 Forbidden", body=b"x" * MIB),
            "chunked": response("403 Forbidden", "Transfer-Encoding: chunked")
            + b"10000\r\n"
            + b"x" * 65536
            + b"\r\n0\r\n\r\n",
            "bomb": response("403 Forbidden", "Content-Encoding: gzip", body=gzip.compress(bytes(8 * MIB))),
        },
        body=65536,
        memory=8 * MIB,
    ),
    scenario(
        name="a body without an end",
        source="RFC 9112 §6.3",
        server="refuses, and sends a body that never ends",
        script=(response("403 Forbidden"), Repeat(b"x" * 1000)),
        outcome=REFUSED,
        body=65536,
        memory=4 * MIB,
    ),
    scenario(
        name="a body shorter than its length",
        source="RFC 9112 §6.3",
        server="refuses, announces a megabyte and closes the connection after 4 bytes",
        script=(response("403 Forbidden", f"Content-Length: {MIB}") + b"half", Act.HANG_UP),
        outcome=REFUSED,
        body=4,
    ),
    scenario(
        name="a body that drips",
        source="RFC 9112 §6.3",
        server="refuses, and sends a byte of the body now and then",
        script=(response("403 Forbidden"), Drip(b"x" * 1000, 0.02)),
        outcome=REFUSED,
        options={"handshake_timeout_seconds": 0.2},
    ),
)

_TRANSPORT = (
    scenario(
        name="the 101 byte by byte",
        source="RFC 9112 §2.1",
        server="sends the 101 and a message one byte at a time",
        script=(Drip(switch() + HELLO),),
        outcome=delivers("hello"),
        code=1000,
    ),
    opens("frames in the packet of the 101", "RFC 6455 §5.1", "sends the 101 and a message in one packet", switch()),
    scenario(
        name="a close frame in the packet of the 101",
        source="RFC 6455 §5.5.1",
        server="sends 101, message and close frame in one packet",
        script=(switch() + HELLO + closing(1000),),
        outcome=disconnects(1000, "hello"),
        code=1000,
    ),
    scenario(
        name="endless headers",
        source="RFC 6455 §10.4",
        server="sends header lines without end, or one without end",
        script={
            "lines": (b"HTTP/1.1 101 Switching Protocols\r\n", Repeat(b"X-More: more\r\n")),
            "one line": (b"HTTP/1.1 101 Switching Protocols\r\nX-More: ", Repeat(b"more")),
        },
        outcome=NOT_HTTP,
        memory=4 * MIB,
    ),
    scenario(
        name="endless 1xx responses",
        source="RFC 9110 §15.2",
        server="sends 100 Continue without end",
        script=(Repeat(response("100 Continue")),),
        outcome=TOO_SLOW,
        options={"handshake_timeout_seconds": 0.3},
        memory=8 * MIB,
    ),
    refused(
        "no HTTP",
        "RFC 9112 §4",
        "answers with something else than HTTP: nothing legible, SSH, TLS, HTTP/2, or frames at once",
        {
            "zeros": bytes(1000) + b"\n\n",
            "noise": bytes(range(128, 256)) * 4 + b"\r\n\r\n",
            "SSH": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
            "TLS": b"\x15\x03\x01\x00\x02\x02\x0a",
            "HTTP/2": b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x08\0\0\0\0\0\0\0\0\0",
            "frames": text("hello\r\n\r\n"),
        },
        outcome=NOT_HTTP,
    ),
    refused(
        "broken HTTP",
        "RFC 9112 §5",
        "breaks the grammar of the status line or of a header",
        {
            "status": b"HTTP/1.1 1O1 Switching Protocols\r\n\r\n",
            "colon": switch("no colon"),
            "space": switch("Bad Name: x"),
            "NUL": switch("X-Bad: \0"),
            "length": switch("Content-Length: x"),
            "two lengths": switch("Content-Length: 3", "Content-Length: 4"),
            "empty line first": b"\r\n" + switch(),
        },
        outcome=NOT_HTTP,
    ),
    scenario(
        name="silence",
        source="RFC 6455 §4.1",
        server="takes the request and does not answer",
        script=(Act.SILENCE,),
        outcome=TOO_SLOW,
        options={"handshake_timeout_seconds": 0.1},
    ),
    scenario(
        name="silence beyond the client's read timeout",
        source="RFC 6455 §4.1",
        server="takes the request and does not answer",
        script=(Act.SILENCE,),
        outcome=Outcome(error=httpx2.ReadTimeout),
        options={"timeout": 0.1},
    ),
    scenario(
        name="a 101 that drips",
        source="RFC 6455 §4.1",
        server="sends a byte now and then, so that no read times out",
        script=(Drip(switch(), 0.02),),
        outcome=TOO_SLOW,
        options={"handshake_timeout_seconds": 0.2},
    ),
    scenario(
        name="an early close",
        source="RFC 6455 §4.1",
        server="closes before the answer, in the status line or in the headers",
        script={
            "at once": (Act.HANG_UP,),
            "status": (switch()[:10], Act.HANG_UP),
            "headers": (switch()[:60], Act.HANG_UP),
            "last byte": (switch()[:-1], Act.HANG_UP),
        },
        outcome=NOT_HTTP,
    ),
    scenario(
        name="an early reset",
        source="RFC 6455 §4.1",
        server="drops the connection with a RST before the answer, or in it",
        script={"at once": (Act.RESET,), "headers": (switch()[:60], Act.SETTLE, Act.RESET)},
        outcome=Outcome(error=httpx2.ReadError),
    ),
    scenario(
        name="a close right after the 101",
        source="RFC 6455 §7.1.5",
        server="sends the 101 and closes the connection",
        script=(switch(), Act.HANG_UP),
        outcome=loses(),
    ),
)

SCENARIOS = _BODIES + _TRANSPORT
