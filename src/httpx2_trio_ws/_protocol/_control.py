"""Control frames, and how a connection fails: the close code that the peer is sent, and why.

Pings and pongs whose length is written as is usual are seen to here, many at a time, as a peer may send nothing else. All
others are handed to ``websockets.protocol.Protocol``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import CloseCode, Frame, Opcode

from ._masking import PONG, masked_frames

if TYPE_CHECKING:
    from ._late_protocol import LateProtocol

# What waits while nothing does, as one for all; so nothing is ever put into it.
NOTHING: list[bytes] = []
BAD_UTF8 = "text is not valid UTF-8"


class Failure(NamedTuple):
    """The peer broke the protocol or a limit: the close code it was sent, and why."""

    code: int
    reason: str


class Controlling:
    """This part of the receiving half of a connection."""

    __slots__ = (
        "_answers",
        "_limit",
        "_protocol",
        "failure",
        "pings_received",
        "pongs",
        "pongs_received",
        "pongs_sent",
    )

    def __init__(self, protocol: LateProtocol, limit: int) -> None:
        self._protocol = protocol
        self._limit = limit
        # To be sent, in front of what Protocol has.
        self._answers = NOTHING
        #: Set once the peer has broken the protocol; nothing is received after that.
        self.failure: Failure | None = None
        #: Payloads of pongs received; the caller takes them out.
        self.pongs = NOTHING
        #: Control frames, answers included.
        self.pings_received: int = 0
        self.pongs_received: int = 0
        self.pongs_sent: int = 0

    def _cut_control(self, data: bytes, pos: int, most: int) -> tuple[int, int]:
        """Take whole pings and pongs, at most so many, until something else comes. Returns where, and how many they were."""
        last = len(data) - 1
        pings: list[bytes] = []
        pongs: list[bytes] = []
        while pos < last and most:
            first, length = data[pos], data[pos + 1]
            stop = pos + 2 + length
            if length > 125 or stop > last + 1:
                break
            if first == 0x89:
                pings.append(data[pos + 2 : stop])
            elif first == 0x8A:
                pongs.append(data[pos + 2 : stop])
            else:
                break
            pos = stop
            most -= 1
        if pings:
            self.pings_received += len(pings)
            self.pongs_sent += len(pings)
            self._answers = self._answers + masked_frames(pings, PONG)
        if pongs:
            self.pongs_received += len(pongs)
            self.pongs = self.pongs + pongs
        return pos, len(pings) + len(pongs)

    def _control(self, data: bytes, pos: int, header: int, length: int) -> int:
        """Hand a control frame to Protocol once it is whole."""
        if length > 125:
            self._fail(CloseCode.PROTOCOL_ERROR, "control frame too long")
            return pos + header
        stop = pos + header + length
        return pos if stop > len(data) else self._feed(data[pos:stop], pos)

    def _feed(self, frame: bytes, pos: int) -> int:
        """Hand a frame, or as much as is enough to refuse it, to Protocol."""
        protocol = self._protocol
        protocol.receive_data(frame)
        self._answers = self._answers + protocol.data_to_send()
        if protocol.parser_exc is not None:
            self._note(protocol.parser_exc)
            protocol.parser_exc = None  # its traceback leads back to us: a cycle, which only the collector would free
        for event in protocol.events_received():
            assert isinstance(event, Frame)  # the handshake is over: no requests, no responses
            if event.opcode is Opcode.PONG:
                self.pongs_received += 1
                self.pongs = [*self.pongs, bytes(event.data)]
            elif event.opcode is Opcode.PING:
                self.pings_received += 1
                self.pongs_sent += 1  # Protocol answers it
        return pos + len(frame)

    def receive_eof(self) -> None:
        """The peer has sent its last byte."""
        self._protocol.receive_eof()
        self._protocol.parser_exc = None  # as in _feed()

    def _fail(self, code: int, reason: str) -> None:
        self._protocol.fail(code, reason)
        self.failure = Failure(int(code), reason)

    def _fail_as(self, exc: Exception) -> None:
        self._note(exc)
        assert self.failure is not None
        self._protocol.fail(*self.failure)

    def _fail_as_too_big(self) -> None:
        self._fail(CloseCode.MESSAGE_TOO_BIG, f"over size limit ({self._limit} bytes)")

    def _note(self, exc: Exception) -> None:
        """What was met, as the code that the peer is sent (or would be, had a close frame not gone before)."""
        if isinstance(exc, PayloadTooBig):
            # How large it is that is too large, if that is known; else it was inflated.
            reason = str(exc) if exc.size is not None else f"over size limit ({self._limit} bytes)"
            self.failure = Failure(CloseCode.MESSAGE_TOO_BIG.value, reason)
        elif isinstance(exc, UnicodeDecodeError):
            self.failure = Failure(CloseCode.INVALID_DATA.value, "close reason is not valid UTF-8")
        else:
            code = CloseCode.PROTOCOL_ERROR if isinstance(exc, ProtocolError) else CloseCode.INTERNAL_ERROR
            self.failure = Failure(code.value, str(exc))
