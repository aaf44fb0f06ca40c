"""The client's side of one connection, after the handshake.

``websockets.protocol.Protocol`` decides all that is hard: control frames, the closing handshake,
fragments, deflate, error codes. In front of it stands one fast path, for the frame that makes up nearly
all traffic: whole, uncompressed, text or binary, while no fragmented message is open. Such frames are
cut out of what was read in one tight loop and never reach ``Protocol``. Everything else is handed to it
one frame at a time, so that what follows a frame never depends on where the network cut the bytes.

A property test holds the two together to what ``Protocol`` alone would do. They differ on purpose in
three places, where the RFC lets us be kinder or asks us to be quicker:

* text that arrives slowly is checked as it arrives, not once its frame is complete, and a control frame that is
  too long is refused by its header, not once its payload has come;
* a close frame inside a fragmented message is answered like any other (``Protocol`` alone takes it for a
  protocol error; RFC 6455 §5.4 lets control frames come there);
* the limit on a message's size does not apply to control frames, nor do they count against it.

And in two where ``Protocol``'s inflating falls short: a message cannot pass the limit by the bytes that zlib
held back, and messages after a final deflate block are inflated, too.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, NamedTuple

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from ._inflating import Inflating
from ._masking import COMPRESSED, PART, masked_frame, masked_frames, masked_parts
from ._text import PartialBytes, PartialText

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.extensions.permessage_deflate import PerMessageDeflate

Message = str | bytes

_WHOLE_TEXT = 0x81  # FIN set, no reserved bit, opcode 1 (RFC 6455 §5.2)
_WHOLE_BINARY = 0x82
_COMPRESSED_TEXT = 0xC1  # likewise with RSV1 (RFC 7692 §6)
_COMPRESSED_BINARY = 0xC2
_DATA_OPCODES = (0, 1, 2)
_CONTROL_OPCODES = (8, 9, 10)
_RESERVED = 0x70
# Protocol's attributes for the size of the message in the making and for its limit; the second pair are
# their names in websockets 15.
_SIZE, _LIMIT = (
    ("current_size", "max_message_size") if hasattr(Protocol(CLIENT), "current_size") else ("cur_size", "max_size")
)
# One call does no more than this, so that its caller can let others run before the next. A small read may inflate
# to a thousand times its size: so many bytes are inflated. Each frame that the fast path leaves costs some
# microseconds, and a read of 64 KiB may hold 32,768 of them: so many are taken.
_MAX_INFLATED = 2**20
_MAX_SLOW_FRAMES = 256
# A message of so many bytes is sent in parts.
_LARGE = 2 * PART
_BAD_UTF8 = "text is not valid UTF-8"
# Of what Protocol logs, only errors of its own: it sees but some of the frames.
_logger = logging.getLogger("httpx2_trio_ws.protocol")
_logger.setLevel(logging.ERROR)


class Failure(NamedTuple):
    """The peer broke the protocol or a limit: the close code it was sent, and why."""

    code: int
    reason: str


class Connection:
    """The state of one connection.

    Args:
        max_message_size: the largest message taken, in bytes, before and after inflation;
            ``None`` for no limit.
        deflate: the permessage-deflate extension (RFC 7692) as negotiated, or ``None``.
    """

    __slots__ = (
        "_compressed",
        "_deflate",
        "_fast_limit",
        "_feed_left",
        "_frame_left",
        "_inflated",
        "_inflating",
        "_message",
        "_more",
        "_plain",
        "_protocol",
        "_rest",
        "failure",
        "fragments_received",
        "messages_sent",
        "pings_received",
        "pings_sent",
        "pongs",
        "pongs_received",
        "pongs_sent",
    )

    def __init__(
        self,
        *,
        max_message_size: int | None = 2**20,
        deflate: PerMessageDeflate | None = None,
    ) -> None:
        self._fast_limit = sys.maxsize if max_message_size is None else max_message_size
        self._protocol = Protocol(CLIENT, max_size=self._fast_limit, logger=_logger)
        self._inflating = None if deflate is None else Inflating(deflate)
        self._protocol.extensions = [] if self._inflating is None else [self._inflating]
        self._deflate = deflate
        # What was received and could not be used yet: the beginning of a frame, or, when the caller
        # asked for no more messages, anything.
        self._rest: bytes = b""
        self._more = False
        # The message of which a part has come: a part of its only frame, or fragments.
        self._message: PartialText | PartialBytes | None = None
        self._compressed = False
        # How many bytes have not come of a frame that is cut out here, or of one that Protocol reads; and
        # of the latter, whether its payload is the message's as it is.
        self._frame_left = 0
        self._feed_left = 0
        self._plain = False
        # Bytes inflated by one call.
        self._inflated = 0
        #: Set once the peer has broken the protocol; nothing is received after that.
        self.failure: Failure | None = None
        #: Messages that :meth:`encode` has made frames of.
        self.messages_sent = 0
        #: Payloads of pongs received; the caller takes them out.
        self.pongs: list[bytes] = []
        #: Control frames, answers included; and frames of messages that were not the last ones of theirs.
        self.pings_received = self.pongs_received = self.pings_sent = self.pongs_sent = self.fragments_received = 0

    # -- state ---------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Neither side has sent a close frame: messages may be sent."""
        return self._protocol.state is OPEN

    @property
    def peer_close(self) -> Close | None:
        """The close frame that the peer has sent, if it has."""
        return self._protocol.close_rcvd

    @property
    def close_frames(self) -> tuple[int, int]:
        """How many close frames we have sent, and the peer: none or one."""
        return int(self._protocol.close_sent is not None), int(self._protocol.close_rcvd is not None)

    @property
    def has_input(self) -> bool:
        """Bytes were kept only because no more messages were asked for, or one call has done enough."""
        return self._more

    # -- in ------------------------------------------------------------------------------------

    def receive_data(self, data: bytes, max_messages: int = sys.maxsize) -> list[Message]:
        """Take bytes from the peer; return the messages that they complete, in order.

        What one call does is bounded. If :attr:`has_input` is set after it, call again with ``b""``, after
        letting others run, before there is more to read.

        Args:
            data: bytes as read; ``b""`` to go on with what was kept.
            max_messages: return at most so many, 1 or more, and keep the bytes of the rest.

        After this, :meth:`control_to_send` may have frames, :attr:`pongs` payloads, and
        :attr:`peer_close` or :attr:`failure` may be set. After either of those, input is ignored.
        """
        messages: list[Message] = []
        self._more = False
        self._inflated = 0
        if self._rest:
            data = self._rest + data
            self._rest = b""
        pos, end, slow_frames = 0, len(data), 0
        while pos < end and self.failure is None and self._protocol.close_rcvd is None:
            if self._frame_left:
                pos = self._resume(data, pos, messages)
            elif self._feed_left:
                pos = self._feed(data, pos, messages)
            elif len(messages) >= max_messages or self._inflated >= _MAX_INFLATED or slow_frames >= _MAX_SLOW_FRAMES:
                self._rest = data[pos:]
                self._more = True
                break
            else:
                pos = self._cut(data, pos, messages, max_messages)
                if pos < end and len(messages) < max_messages and self.failure is None:
                    opened = self._open(data, pos, messages)
                    if opened == pos and not self._feed_left and self.failure is None:
                        self._rest = data[pos:]  # not even a whole header
                        break
                    pos = opened
                    slow_frames += 1
        return messages

    def receive_eof(self) -> None:
        """The peer has sent its last byte."""
        self._protocol.receive_eof()
        self._protocol.parser_exc = None  # as in _feed()

    def _cut(self, data: bytes, pos: int, messages: list[Message], max_messages: int) -> int:  # noqa: C901
        """The fast path: cut whole messages out of ``data`` until something else comes.

        One loop, not split into functions: calling one would cost as much as cutting a message does.
        """
        if self._message is not None:
            return pos  # a fragmented message is open
        end = len(data)
        last = end - 1  # the last place at which a header's second byte may stand
        limit = self._fast_limit
        short = min(limit, 125)
        room = max_messages - len(messages)
        append = messages.append
        try:
            while pos < last:
                length = data[pos + 1]
                if length <= short:
                    start = pos + 2
                elif length == 126:
                    start = pos + 4
                    length = int.from_bytes(data[pos + 2 : start])
                elif length == 127:
                    start = pos + 10
                    length = int.from_bytes(data[pos + 2 : start])
                else:
                    break  # masked, or over the limit
                stop = start + length
                if stop > end or length > limit:
                    break
                first = data[pos]
                # Written out, not by name: a global takes longer to find than to compare.
                if first == 0x81:  # _WHOLE_TEXT
                    append(data[start:stop].decode())
                elif first == 0x82:  # _WHOLE_BINARY
                    append(data[start:stop])
                else:
                    break
                pos = stop
                room -= 1
                if not room:
                    break
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, _BAD_UTF8)
        return pos

    def _open(self, data: bytes, pos: int, messages: list[Message]) -> int:
        """A frame begins at ``pos`` that the fast path left: find how it is to be read.

        Returns where to go on; ``pos`` itself, with nothing begun, if more bytes are needed first.
        """
        available = len(data) - pos
        if available < 2:
            return pos
        first, second = data[pos], data[pos + 1]
        opcode, length = first & 0x0F, second & 0x7F
        self._plain = False
        if second & 0x80 or opcode not in _DATA_OPCODES + _CONTROL_OPCODES:
            self._feed_left = 2  # Protocol fails on the first two bytes
            return pos
        header = 2
        if length > 125:
            header = 4 if length == 126 else 10
            if available < header:
                return pos
            length = int.from_bytes(data[pos + 2 : pos + header])
        if opcode in _CONTROL_OPCODES:
            return self._control(data, pos, header, length)
        if first in (_WHOLE_TEXT, _WHOLE_BINARY) and self._message is None and length <= self._fast_limit:
            self._message = _new_message(opcode)
            self._frame_left = length
            return pos + header
        whole = self._message is None and header + length <= available and length <= self._fast_limit
        inflates = whole and first in (_COMPRESSED_TEXT, _COMPRESSED_BINARY) and self._inflating is not None
        return (self._inflate if inflates else self._begin)(data, pos, header, length, messages)

    def _inflate(self, data: bytes, pos: int, header: int, length: int, messages: list[Message]) -> int:
        """A whole compressed message. Of what Protocol does with one, only the inflating is needed."""
        assert self._inflating is not None
        stop = pos + header + length
        try:
            inflated = self._inflating.inflate(data[pos + header : stop], self._fast_limit)
            self._inflated += len(inflated)
            messages.append(inflated.decode() if data[pos] == _COMPRESSED_TEXT else inflated)
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, _BAD_UTF8)
        except (ProtocolError, PayloadTooBig) as exc:
            self._fail(*_failure(exc))
        return stop

    def _begin(self, data: bytes, pos: int, header: int, length: int, messages: list[Message]) -> int:
        """Hand the header of a frame to Protocol; its payload is to follow."""
        first = data[pos]
        opcode = first & 0x0F
        starts = self._message is None and opcode in (Opcode.TEXT, Opcode.BINARY)
        if starts:
            self._message = _new_message(opcode)
            self._compressed = bool(first & COMPRESSED)
        plain = (starts or (self._message is not None and opcode == 0)) and not (self._compressed or first & _RESERVED)
        self._feed_left = header
        pos = self._feed(data, pos, messages)
        self._feed_left = length
        self._plain = plain
        return pos

    def _control(self, data: bytes, pos: int, header: int, length: int) -> int:
        """Hand a control frame to Protocol once it is whole, as if no message were open around it."""
        if length > 125:
            self._fail(CloseCode.PROTOCOL_ERROR, "control frame too long")
        if length > 125 or len(data) - pos < header + length:
            return pos
        protocol = self._protocol
        message = getattr(protocol, _SIZE), getattr(protocol, _LIMIT)
        setattr(protocol, _SIZE, None)
        setattr(protocol, _LIMIT, None)
        self._feed_left = header + length
        pos = self._feed(data, pos, [])
        setattr(protocol, _SIZE, message[0])
        setattr(protocol, _LIMIT, message[1])
        return pos

    def _resume(self, data: bytes, pos: int, messages: list[Message]) -> int:
        """More bytes of a whole-message frame that has begun."""
        part = data[pos : pos + self._frame_left]
        self._frame_left -= len(part)
        self._add(part, messages, last=not self._frame_left)
        return pos + len(part)

    def _feed(self, data: bytes, pos: int, messages: list[Message]) -> int:
        """More bytes of a frame that Protocol reads."""
        protocol = self._protocol
        part = data[pos : pos + self._feed_left]
        self._feed_left -= len(part)
        if self._plain:
            self._add(part, messages, last=False)
            if self.failure is not None:
                return pos
        protocol.receive_data(part)
        if protocol.parser_exc is not None:
            self.failure = _failure(protocol.parser_exc)
            protocol.parser_exc = None  # its traceback leads back to us: a cycle, which only the collector would free
        for event in protocol.events_received():
            assert isinstance(event, Frame)  # the handshake is over: no requests, no responses
            if event.opcode is Opcode.PONG:
                self.pongs_received += 1
                self.pongs.append(bytes(event.data))
            elif event.opcode is Opcode.PING:
                self.pings_received += 1
                self.pongs_sent += 1  # Protocol answers it
            elif event.opcode in _DATA_OPCODES:
                self._whole_frame(event, messages)
        return pos + len(part)

    def _whole_frame(self, frame: Frame, messages: list[Message]) -> None:
        """A whole data frame from Protocol; what is plain of it has been taken already."""
        if self._deflate is not None:
            self._inflated += len(frame.data)
        if not frame.fin:
            self.fragments_received += 1
        self._add(b"" if self._plain else bytes(frame.data), messages, last=frame.fin)

    def _add(self, part: bytes, messages: list[Message], *, last: bool) -> None:
        """One more part of the message in the making, and with the last one, the message."""
        assert self._message is not None
        try:
            self._message.add(part)
            if self._message.size > self._fast_limit:
                # zlib may hold back a few bytes at the limit, which come out with the next fragment.
                self._fail(CloseCode.MESSAGE_TOO_BIG, f"over size limit ({self._fast_limit} bytes)")
            elif last:
                messages.append(self._message.finish())
                self._message = None
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, _BAD_UTF8)

    def _fail(self, code: int, reason: str) -> None:
        self._protocol.fail(code, reason)
        self.failure = Failure(int(code), reason)

    # -- out -----------------------------------------------------------------------------------

    def encode(self, payload: bytes, kind: int) -> bytes:
        """The frame of a message, to be sent after those before it (compression depends on it).

        Args:
            payload: text as UTF-8, or binary data.
            kind: :data:`TEXT` or :data:`BINARY`.
        """
        self.messages_sent += 1
        if self._deflate is None:
            return masked_frame(payload, kind)
        frame = self._deflate.encode(Frame(Opcode(kind), payload))
        return masked_frame(frame.data, kind | COMPRESSED)

    def encode_parts(self, payload: bytes, kind: int) -> Iterator[bytes]:
        """As :meth:`encode`, in parts, which together are the frame."""
        if len(payload) < _LARGE or self._deflate is not None:
            return iter((self.encode(payload, kind),))
        self.messages_sent += 1
        return masked_parts(payload, kind)

    def encode_all(self, payloads: list[bytes], kind: int) -> list[bytes]:
        """The frames of several messages, as by :meth:`encode`."""
        if self._deflate is not None:
            return [self.encode(payload, kind) for payload in payloads]
        self.messages_sent += len(payloads)
        return masked_frames(payloads, kind)

    def ping(self, payload: bytes) -> bytes:
        """A ping frame (RFC 6455 §5.5.2)."""
        self._protocol.send_ping(payload)
        self.pings_sent += 1
        return self.control_to_send()

    def pong(self, payload: bytes) -> bytes:
        """An unsolicited pong frame (RFC 6455 §5.5.3)."""
        self._protocol.send_pong(payload)
        self.pongs_sent += 1
        return self.control_to_send()

    def close(self, code: int, reason: str) -> bytes:
        """Our close frame (RFC 6455 §5.5.1). No message may be sent after it."""
        self._protocol.send_close(code, reason)
        return self.control_to_send()

    def control_to_send(self) -> bytes:
        """Frames that answer what was received: pongs, the close frame."""
        return b"".join(self._protocol.data_to_send())


def _new_message(opcode: int) -> PartialText | PartialBytes:
    return PartialText() if opcode == Opcode.TEXT else PartialBytes()


def _failure(exc: Exception) -> Failure:
    """What Protocol met, as the code that it sent (or would have, had a close frame not gone before)."""
    if isinstance(exc, PayloadTooBig):
        return Failure(CloseCode.MESSAGE_TOO_BIG.value, str(exc))
    if isinstance(exc, UnicodeDecodeError):
        return Failure(CloseCode.INVALID_DATA.value, "close reason is not valid UTF-8")
    if isinstance(exc, ProtocolError):
        return Failure(CloseCode.PROTOCOL_ERROR.value, str(exc))
    return Failure(CloseCode.INTERNAL_ERROR.value, str(exc))
