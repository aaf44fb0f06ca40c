"""What a connection must do, told plainly: ``websockets.protocol.Protocol`` and an assembly of messages.

The reference takes the bytes apart into frames on its own and hands them to ``Protocol`` so that at most one
frame is in it. What it does therefore never depends on where the bytes were cut, or on how many messages were
asked for. It departs from ``Protocol`` alone in exactly the places that ``_connection.py`` lists, each marked
*difference* below:

1. uncompressed text is checked as it arrives, and the length of a control frame by its header; not once the frame
   is complete;
2. a close frame inside a fragmented message is answered like any other;
3. the size limit of messages does not apply to a control frame of at most 125 bytes. (A longer one breaks the
   protocol anyway; whether it is told 1002 or 1009 is left to ``Protocol``.);
4. a message is not over the limit by what zlib held back before its last fragment;
5. after a final deflate block, what comes next is inflated as the beginning of a new stream; but more than padding
   after it in the same frame breaks the protocol.
"""

from __future__ import annotations

import codecs
import zlib
from typing import TYPE_CHECKING, NamedTuple

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

if TYPE_CHECKING:
    from websockets.extensions.permessage_deflate import PerMessageDeflate

BAD_UTF8 = "text is not valid UTF-8"
_CONTROL = (8, 9, 10)
# The size of the message in the making and its limit, by the names that websockets 16 and 15 have for them.
_STATE = ("current_size", "max_message_size") if hasattr(Protocol(CLIENT), "current_size") else ("cur_size", "max_size")
_KNOWN = (0, 1, 2, *_CONTROL)
_WITHOUT_NUMBERS = {ord(digit): None for digit in "0123456789"}


class Sent(NamedTuple):
    """A frame of ours, without its mask."""

    first: int
    payload: bytes


def unmask(data: bytes) -> list[Sent]:
    """Take apart what we sent: whole frames, masked as RFC 6455 §5.1 asks, lengths in their shortest form."""
    frames, pos = [], 0
    while pos < len(data):
        first, second = data[pos], data[pos + 1]
        assert second & 0x80, "a client masks its frames"
        length, pos = second & 0x7F, pos + 2
        if length == 126:
            length, pos = int.from_bytes(data[pos : pos + 2]), pos + 2
            assert length > 125
        elif length == 127:
            length, pos = int.from_bytes(data[pos : pos + 8]), pos + 8
            assert length > 65535
        key, masked = data[pos : pos + 4], data[pos + 4 : pos + 4 + length]
        assert len(key) == 4
        assert len(masked) == length, "the frame is whole"
        pad = (key * (length // 4 + 1))[:length]
        frames.append(Sent(first, (int.from_bytes(masked) ^ int.from_bytes(pad)).to_bytes(length)))
        pos += 4 + length
    return frames


def header_size(head: bytes) -> int | None:
    """The size of the header that begins with ``head``; ``None`` as long as that cannot be told."""
    if len(head) < 2:
        return None
    if head[1] & 0x80 or head[0] & 0x0F not in _KNOWN:
        return 2  # Protocol asks for no more before it fails
    return {126: 4, 127: 10}.get(head[1] & 0x7F, 2)


def failure_of(exc: Exception) -> tuple[int, str]:
    """The close code (RFC 6455 §7.4.1) and the reason for what stopped ``Protocol``."""
    if isinstance(exc, UnicodeDecodeError):
        return 1007, "close reason is not valid UTF-8"
    if isinstance(exc, PayloadTooBig):
        return 1009, str(exc)
    assert isinstance(exc, ProtocolError)
    return 1002, str(exc)


class _Streams(Extension):
    """The extension with difference 5. It finds the end of a stream by inflating once more, apart."""

    def __init__(self, deflate: PerMessageDeflate, labels: set[str]) -> None:
        self._deflate = deflate
        self._labels = labels
        self._takeover = not deflate.remote_no_context_takeover
        deflate.remote_no_context_takeover = False  # by itself, it would drop the inflater that is looked at here

    def _new_stream(self, begin: bytes = b"") -> None:
        self._deflate.decoder = zlib.decompressobj(wbits=-self._deflate.remote_max_window_bits)
        self._deflate.decoder.decompress(begin)

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        if frame.opcode in (1, 2) and frame.rsv1 and not self._takeover:
            self._new_stream()
        before = self._deflate.decoder.copy() if hasattr(self._deflate, "decoder") else None
        decoded = self._deflate.decode(frame, max_size=max_size)
        if frame.opcode not in _CONTROL and hasattr(self._deflate, "decoder") and self._deflate.decoder.eof:
            assert before is not None
            before.decompress(bytes(frame.data))
            self._labels.add("final block")
            if before.eof and any(before.unused_data):
                self._labels.add("data after a final block")
                raise ProtocolError("decompression failed: data after a final block")
            # One byte of padding begins an empty block that the end of the message completes.
            self._new_stream(b"\0" if before.unused_data and not frame.fin else b"")
        return decoded

    def encode(self, frame: Frame) -> Frame:
        return self._deflate.encode(frame)


class Reference:
    """The plain receiver; what it found is in the attributes."""

    def __init__(self, *, limit: int | None, deflate: PerMessageDeflate | None) -> None:
        #: What happened on the way, to tell how deep an example went.
        self.labels: set[str] = set()
        self.protocol = Protocol(CLIENT, max_size=limit)
        self.protocol.extensions = [] if deflate is None else [_Streams(deflate, self.labels)]
        self.messages: list[str | bytes] = []
        self.pongs: list[bytes] = []
        self.failure: tuple[int, str] | None = None
        self._limit = limit
        self._head = b""
        self._left = 0
        self._message_state: list[int | None] | None = None
        self._early: bytearray | None = None
        self._is_text = False
        self._is_compressed = False
        self._message = b""

    @property
    def is_open(self) -> bool:
        return self.protocol.state is OPEN

    @property
    def peer_close(self) -> tuple[int, str] | None:
        close = self.protocol.close_rcvd
        return None if close is None else (int(close.code), close.reason)

    def sent(self) -> bytes:
        """What is to be sent now."""
        return b"".join(self.protocol.data_to_send())

    def receive_eof(self) -> None:
        self.protocol.receive_eof()

    def receive(self, data: bytes) -> None:
        """Take bytes, one frame at a time."""
        pos = 0
        while pos < len(data) and self.failure is None and self.protocol.close_rcvd is None:
            if self._left:
                part = data[pos : pos + self._left]
                self._payload(part)
                pos += len(part)
            else:
                self._head += data[pos : pos + 1]
                pos += 1
                if header_size(self._head) == len(self._head):
                    head, self._head = self._head, b""
                    self._header(head)

    def _header(self, head: bytes) -> None:
        protocol = self.protocol
        small, extended = head[1] & 0x7F, head[2:]
        self._left = int.from_bytes(extended) if extended else small
        opcode = head[0] & 0x0F
        inside = getattr(protocol, _STATE[0]) is not None
        if inside:
            self.labels.add(f"opcode {opcode} inside a message")
        if opcode in _CONTROL and not head[1] & 0x80 and self._left > 125:
            # Difference 1, too: its header is enough to see it.
            self.failure = 1002, "control frame too long"
            self.labels.add("1002 control frame too long")
            protocol.fail(*self.failure)
            return
        if opcode in _CONTROL and not head[1] & 0x80 and self._left <= 125:
            # Differences 2 and 3: Protocol reads it as if no message were open around it, and unlimited.
            self._message_state = [getattr(protocol, name) for name in _STATE]
            for name in _STATE:
                setattr(protocol, name, None)
        elif not inside and head[0] in (0x01, 0x81):
            if self._limit is None or self._left <= self._limit:
                self._early = bytearray()
        elif inside and head[0] in (0x00, 0x80) and self._is_text and not self._is_compressed:
            self._early = bytearray(self._message)
        if opcode in (1, 2) and not inside:
            self._is_compressed = bool(head[0] & 0x40)
        self._feed(head)

    def _payload(self, part: bytes) -> None:
        self._left -= len(part)
        if self._early is not None and self._left:
            # Difference 1. All that came of the frame is decoded anew, so that cuts cannot matter.
            self._early += part
            complete = False
            try:
                codecs.utf_8_decode(self._early, "strict", complete)
            except UnicodeDecodeError:
                self.labels.add("text checked early")
                self._fail_text()
                return
        self._feed(part)

    def _feed(self, part: bytes) -> None:
        protocol = self.protocol
        protocol.receive_data(part)
        if protocol.parser_exc is not None:
            self.failure = failure_of(protocol.parser_exc)
            self.labels.add(f"{self.failure[0]} {self.failure[1].translate(_WITHOUT_NUMBERS)}")
            return
        if self._left:
            return
        self._early = None
        if self._message_state is not None:
            for name, value in zip(_STATE, self._message_state, strict=True):
                setattr(protocol, name, value)
            self._message_state = None
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            self._frame(frame)

    def _frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self.pongs.append(bytes(frame.data))
        if frame.opcode not in (Opcode.CONT, Opcode.TEXT, Opcode.BINARY):
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
            self._message = b""
        self._message += bytes(frame.data)
        if self._limit is not None and len(self._message) > self._limit:
            self.labels.add("held back")  # Difference 4
            self.failure = 1009, f"over size limit ({self._limit} bytes)"
            self.protocol.fail(*self.failure)
            return
        message: str | bytes = self._message
        if self._is_text:
            try:
                message = codecs.utf_8_decode(self._message, "strict", frame.fin)[0]
            except UnicodeDecodeError:
                self.labels.add("text checked late" if frame.fin else "text checked in a fragment")
                self._fail_text()
                return
        if frame.fin:
            self.messages.append(message)

    def _fail_text(self) -> None:
        self.protocol.fail(1007, BAD_UTF8)
        self.failure = 1007, BAD_UTF8
