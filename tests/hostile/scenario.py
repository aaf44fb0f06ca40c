"""What a scenario is made of. The tests play it (``test_hostile.py``), the documentation shows it (``render.py``)."""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketHandshakeTimeout,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
    WebSocketUpgradeError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 2**20
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


# -- the server's side -------------------------------------------------------------------------


class Repeat(NamedTuple):
    """Send the same bytes so many times; ``None`` is until the connection breaks."""

    data: bytes
    times: int | None = None


class Drip(NamedTuple):
    """Send bytes one at a time, with a pause after each."""

    data: bytes
    seconds: float = 0.001


class Pause(NamedTuple):
    """Do nothing for so many seconds."""

    seconds: float


class Act(enum.Enum):
    """A step without bytes."""

    HANG_UP = "close the connection"
    HALF_CLOSE = "send FIN, and go on reading"
    RESET = "drop the connection with a RST"
    SETTLE = "wait until the client has read all that was sent"
    SILENCE = "do nothing any more"
    AWAIT_FRAME = "wait for a frame of the client's"
    AWAIT_CLOSE = "wait for the client's close frame"


Step = bytes | Repeat | Drip | Pause | Act
# After its last step a server waits for the client's close frame, answers it and closes the connection.
Script = tuple[Step, ...]


# -- the client's side -------------------------------------------------------------------------


class Does(enum.Enum):
    """What the application does in its block; the values are for the documentation."""

    RECEIVES = "receives"
    STREAMS = "receives in parts"
    SENDS = "sends messages of 64 KiB"
    CLOSES = "calls `close()`"
    PINGS = "waits for the pong to its ping"
    SLEEPS = "sleeps"


class Outcome(NamedTuple):
    """What the application sees.

    ``code`` is the error's; ``error`` is ``None`` if there is none, and the session is closed by leaving the block.
    """

    messages: tuple[str | bytes, ...] = ()
    error: type[Exception] | None = None
    code: int | None = None


def delivers(*messages: str | bytes) -> Outcome:
    return Outcome(messages)


def breaks(code: int, *messages: str | bytes) -> Outcome:
    """The peer broke the protocol or a limit."""
    return Outcome(messages, WebSocketProtocolError, code)


def disconnects(code: int, *messages: str | bytes) -> Outcome:
    """The peer's close frame."""
    return Outcome(messages, WebSocketDisconnect, code)


def loses(*messages: str | bytes) -> Outcome:
    """The connection was lost."""
    return Outcome(messages, WebSocketNetworkError)


NOTHING = Outcome()
TIMES_OUT = Outcome(error=WebSocketKeepaliveTimeout)
CLOSED = Outcome(error=WebSocketClosedError)
REFUSED = Outcome(error=WebSocketUpgradeError)
TOO_SLOW = Outcome(error=WebSocketHandshakeTimeout)
NOT_HTTP = Outcome(error=httpx2.RemoteProtocolError)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of trouble.

    Attributes:
        name: unique.
        source: where a specification says what is right.
        server: what the server does, in words.
        script: what it does, step by step; several scripts with a label each where the outcome is the same.
        outcome: what the application sees.
        code: the close code that the server gets; 1005 for an empty close frame, ``None`` for no close frame.
        seconds: the deadline, from the beginning of the handshake until the block has been left.
        memory: a bound, in bytes, on what client and server together take at most.
        does: what the application does.
        patience: so many seconds after which the application cancels its call.
        limit: so many seconds after which the whole block is cancelled.
        options: of ``open_websocket``.
        extensions: the server's ``Sec-WebSocket-Extensions``.
        pongs: payloads of the pongs that the server gets; ``None`` for any.
        body: the size of the refusal's body that is kept.
        says: a part of the error's message.
        reads: the server reads what the client sends.
        tcp: played on a real socket; otherwise in memory, on a clock that jumps.
        handshake: the script begins before the handshake is answered.
        defect: what the client does wrong at present.
    """

    name: str
    source: str
    server: str
    script: Script | Mapping[str, Script]
    outcome: Outcome
    code: int | None
    seconds: float = 1
    memory: int | None = None
    does: Does = Does.RECEIVES
    patience: float | None = None
    limit: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    extensions: str | None = None
    pongs: tuple[bytes, ...] | None = ()
    body: int | None = None
    says: str = ""
    reads: bool = True
    tcp: bool = False
    handshake: bool = False
    defect: str = ""

    @property
    def scripts(self) -> Mapping[str, Script]:
        """The scripts by their labels; the label of a single one is empty."""
        return {"": self.script} if isinstance(self.script, tuple) else self.script


# -- bytes -------------------------------------------------------------------------------------


def raw(first: int, payload: bytes = b"", *, length: int | None = None, size: int = 0) -> bytes:
    """A frame of which nothing need be right: its first byte, the length it declares, the size of that field."""
    length = len(payload) if length is None else length
    if not size:
        size = 1 if length < 126 else 2 if length < 65536 else 8
    if size == 1:
        return bytes((first, length)) + payload
    return struct.pack("!BBH" if size == 2 else "!BBQ", first, 126 if size == 2 else 127, length) + payload


def masked(first: int, payload: bytes = b"") -> bytes:
    """A frame masked with zeros, so that nothing but the mask bit is wrong."""
    return bytes((first, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def text(message: str) -> bytes:
    return raw(FIN | TEXT, message.encode())


def closing(code: int, reason: bytes = b"") -> bytes:
    return raw(FIN | CLOSE, struct.pack("!H", code) + reason)


def deflated(*messages: bytes, takeover: bool = True) -> list[bytes]:
    """The payloads of compressed messages (RFC 7692 §7.2.1)."""
    payloads = []
    compressor = zlib.compressobj(wbits=-15)
    for message in messages:
        if not takeover:
            compressor = zlib.compressobj(wbits=-15)
        data = compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)
        payloads.append(data.removesuffix(b"\0\0\xff\xff"))
    return payloads


def zeros(size: int) -> bytes:
    """The payload of a compressed message of ``size`` zeros, a multiple of 1 MiB; a thousandth of that."""
    compressor = zlib.compressobj(wbits=-15)
    block = compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return (block * (size // MIB)).removesuffix(b"\0\0\xff\xff")


def switch(*more: str, **replaced: str | None) -> bytes:
    """A 101 whose headers are replaced (``None`` leaves one out), with more lines after them.

    ``{accept}`` and ``{key}`` stand for what belongs to the request; see the runner for the other names.
    """
    headers: dict[str, str | None] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": "{accept}",
    }
    headers |= {name.replace("_", "-"): value for name, value in replaced.items()}
    lines = (f"{name}: {value}" for name, value in headers.items() if value is not None)
    return response("101 Switching Protocols", *lines, *more)


def response(status: str, *lines: str, body: bytes | None = None) -> bytes:
    """A response; with ``body``, its length is told too."""
    if body is not None:
        lines = (*lines, f"Content-Length: {len(body)}")
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "", "")).encode() + (body or b"")
