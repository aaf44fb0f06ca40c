"""What a connection must do, told plainly: ``websockets.protocol.Protocol`` and an assembly of messages.

The reference takes the bytes apart into frames on its own and hands them to ``Protocol`` so that at most one
frame is in it. What it does therefore never depends on how many messages were asked for, or on where the bytes were cut,
but for how early something is noticed. It departs from ``Protocol`` alone in exactly the places that ``_connection.py``
lists, each marked *difference* below:

1. what a header shows to be wrong is told by the header; text is checked and a compressed frame inflated as it arrives;
   not once the frame is complete;
2. a close frame inside a fragmented message is answered like any other;
3. the size limit of messages does not apply to a control frame of at most 125 bytes, and to a compressed message only
   once it is inflated, or if deflate cannot have made it so large;
4. a message is not over the limit by what zlib held back before its last fragment;
5. after a final deflate block, what comes next is inflated as the beginning of a new stream; but more than padding
   after it in the same frame breaks the protocol;
6. a compressed message that ends inside a block breaks the protocol, as far as empty blocks after it show that, one if it is
   short and begins with a block that has no code lengths, else as many as any code lengths take; one of no bytes is empty.
"""

from __future__ import annotations

import codecs
import dataclasses
import sys
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


END = b"\0\0\xff\xff"


class _TooBig(PayloadTooBig):
    """When inflated; Protocol would word it by what was left of the limit."""

    def set_current_size(self, current_size: int | None) -> None:
        pass

    def __str__(self) -> str:
        return f"over size limit ({self.max_size} bytes)"


class _Streams(Extension):
    """Inflates frames, with differences 3 to 6."""

    def __init__(self, deflate: PerMessageDeflate, labels: set[str]) -> None:
        self._deflate = deflate
        self._labels = labels
        self._takeover = not deflate.remote_no_context_takeover
        self._compressed = False
        self._new_stream()
        #: How many bytes the message may still have.
        self.left: int | None = None
        self.limit = 0

    def _new_stream(self, begin: bytes = b"") -> None:
        self._decoder = zlib.decompressobj(wbits=-self._deflate.remote_max_window_bits)
        self._decoder.decompress(begin)
        self._message = begin

    def inflate(self, data: bytes) -> tuple[zlib._Decompress, bytes]:
        """What ``data`` gives, if it comes next, and the inflater after it."""
        decoder = self._decoder.copy()
        try:
            inflated = decoder.decompress(data, 0 if self.left is None else min(self.left + 1, sys.maxsize))
        except zlib.error as exc:
            raise ProtocolError("decompression failed") from exc
        if self.left is not None and len(inflated) > self.left:
            raise _TooBig(None, self.limit)
        return decoder, inflated

    def begins(self, *, compressed: bool) -> None:
        """A message begins."""
        self._compressed = compressed
        self._message = b""
        if compressed and not self._takeover:
            self._new_stream()

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        assert max_size is None
        if frame.opcode in _CONTROL or not self._compressed:
            return frame
        data = bytes(frame.data)
        decoder, inflated = self.inflate(data)
        self._message += data
        if decoder.eof:
            self._labels.add("final block")
            if any(decoder.unused_data):
                self._labels.add("data after a final block")
                raise ProtocolError("decompression failed: data after a final block")
            # One byte of padding begins an empty block that the end of the message completes.
            self._new_stream(b"\0" if decoder.unused_data and not frame.fin else b"")
        else:
            if frame.fin and self._message:
                self._end(decoder)
            self._decoder = decoder
        return dataclasses.replace(frame, data=inflated, rsv1=False)

    def _end(self, decoder: zlib._Decompress) -> None:
        message = self._message
        with_end, plain = message.endswith(END), len(message) < 64 and not message[0] & 4 and not message[-1]
        try:
            more = decoder.decompress((b"" if with_end else END) + (b"\0" + END) * (1 if plain else 64), 1)
        except zlib.error:
            more = b"bad"
        if more or decoder.eof or (message[-1] >= 0x20 and not with_end):
            self._labels.add("cut short")
            raise ProtocolError("decompression failed: a message ends inside a block")

    def encode(self, frame: Frame) -> Frame:
        return self._deflate.encode(frame)


class Reference:
    """The plain receiver; what it found is in the attributes."""

    def __init__(self, *, limit: int | None, deflate: PerMessageDeflate | None) -> None:
        #: What happened on the way, to tell how deep an example went.
        self.labels: set[str] = set()
        self.protocol = Protocol(CLIENT, max_size=None)
        self._streams = None if deflate is None else _Streams(deflate, self.labels)
        self.protocol.extensions = [] if self._streams is None else [self._streams]
        self.messages: list[str | bytes] = []
        self.pongs: list[bytes] = []
        self.failure: tuple[int, str] | None = None
        self._limit = limit
        self._head = b""
        self._left = 0
        self._in_control = False
        self._message_state: list[int | None] | None = None
        # The frame that is read, as far as it has come; and of the message in the making, if there is one, the frames
        # before that, and how many bytes they had.
        self._frame_so_far = b""
        self._is_open = False
        self._is_text = False
        self._is_compressed = False
        self._on_wire = 0
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
        self._frame_so_far = b""
        opcode, masked = head[0] & 0x0F, bool(head[1] & 0x80)
        self._in_control = opcode in _CONTROL
        if self._is_open:
            self.labels.add(f"opcode {opcode} inside a message")
        if masked or opcode not in _KNOWN:
            pass  # Protocol knows what to say
        elif self._in_control:
            if self._left > 125:
                self._fail(1002, "control frame too long")  # Difference 1
                return
            # Difference 2: Protocol reads it as if no message were open around it.
            self._message_state = [getattr(protocol, name) for name in _STATE]
            for name in _STATE:
                setattr(protocol, name, None)
        elif not self._data_header(head[0], opcode):
            return
        self._feed(head)

    def _data_header(self, first: int, opcode: int) -> bool:
        """Difference 1: all that a data frame's header shows to be wrong is told now."""
        reserved = first & 0x70
        may_be = reserved == 0x40 and bool(opcode) and self._streams is not None
        compressed = may_be if opcode else self._is_compressed and self._is_open
        begun = 0 if opcode or not self._is_open else self._on_wire if compressed else len(self._message)
        limit = self._limit
        if limit is not None and compressed:
            limit += limit // 8 + limit // 64 + 64  # Difference 3
        if begun + self._left > (2**63 - 1 if limit is None else limit):
            too_big = PayloadTooBig(self._left, 2**63 - 1 if self._limit is None else self._limit, begun or None)
            self._fail(1009, str(too_big))
        elif reserved and not may_be:
            self._fail(1002, "reserved bits must be 0")
        elif opcode and self._is_open:
            self._fail(1002, "expected a continuation frame")
        elif not opcode and not self._is_open:
            self._fail(1002, "unexpected continuation frame")
        else:
            if opcode:
                self._is_open, self._is_text, self._is_compressed = True, opcode == 1, compressed
                self._on_wire, self._message = 0, b""
                if self._streams is not None:
                    self._streams.begins(compressed=compressed)
            self._on_wire += self._left
            if self._streams is not None:
                self._streams.limit = self._limit or 0
                self._streams.left = None if self._limit is None else self._limit - len(self._message)
        return self.failure is None

    def _payload(self, part: bytes) -> None:
        self._left -= len(part)
        self._frame_so_far += part
        if self._left and not self._in_control:
            # Difference 1. All that came of the frame is looked at anew, so that cuts cannot matter.
            try:
                data = self._frame_so_far
                if self._is_compressed:
                    assert self._streams is not None
                    data = self._streams.inflate(data)[1]
                if self._is_text:
                    codecs.utf_8_decode(self._message + data, "strict", False)  # noqa: FBT003 (it takes no names)
            except UnicodeDecodeError:
                self.labels.add("text checked early")
                self._fail(1007, BAD_UTF8)
                return
            except (PayloadTooBig, ProtocolError) as exc:
                self.labels.add("inflated early")
                self._fail_as(exc)
                return
        self._feed(part)

    def _fail(self, code: int, reason: str) -> None:
        self.failure = code, reason
        self.labels.add(f"{code} {reason.translate(_WITHOUT_NUMBERS)}")
        self.protocol.fail(code, reason)

    def _fail_as(self, exc: Exception) -> None:
        if isinstance(exc, PayloadTooBig):
            self._fail(1009, f"over size limit ({self._limit} bytes)")
        else:
            self._fail(*failure_of(exc))

    def _feed(self, part: bytes) -> None:
        protocol = self.protocol
        protocol.receive_data(part)
        if isinstance(protocol.parser_exc, PayloadTooBig):
            self._fail_as(protocol.parser_exc)
            return
        if protocol.parser_exc is not None:
            self.failure = failure_of(protocol.parser_exc)
            self.labels.add(f"{self.failure[0]} {self.failure[1].translate(_WITHOUT_NUMBERS)}")
            return
        if self._left:
            return
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
        self._message += bytes(frame.data)
        message: str | bytes = self._message
        if self._is_text:
            try:
                message = codecs.utf_8_decode(self._message, "strict", frame.fin)[0]
            except UnicodeDecodeError:
                self.labels.add("text checked late" if frame.fin else "text checked in a fragment")
                self._fail(1007, BAD_UTF8)
                return
        if frame.fin:
            self._is_open = False
            self.messages.append(message)
