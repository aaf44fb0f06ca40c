"""The client's side of one connection, after the handshake.

``websockets.protocol.Protocol`` decides all that is hard: control frames, the closing handshake,
fragments, deflate, error codes. In front of it stands one fast path, for the frame that makes up nearly
all traffic: whole, uncompressed, text or binary, while no fragmented message is open. Such frames are
cut out of what was read in one tight loop and never reach ``Protocol``. Everything else is handed to it
one frame at a time, so that what follows a frame never depends on where the network cut the bytes.

A property test holds the two together to what ``Protocol`` alone would do. They differ on purpose in
three places, where the RFC lets us be kinder or asks us to be quicker:

* text that arrives slowly is checked as it arrives, not once its frame is complete;
* a close frame inside a fragmented message is answered like any other (``Protocol`` alone takes it for a
  protocol error; RFC 6455 §5.4 lets control frames come there);
* a control frame does not count against the size limit of the message that it interrupts.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from ._masking import Masker
from ._text import PartialBytes, PartialText

if TYPE_CHECKING:
    import logging

    from websockets.extensions.permessage_deflate import PerMessageDeflate

Message = str | bytes

_WHOLE_TEXT = 0x81  # FIN set, no reserved bit, opcode 1 (RFC 6455 §5.2)
_WHOLE_BINARY = 0x82
_DATA_OPCODES = (0, 1, 2)
_CONTROL_OPCODES = (8, 9, 10)
_BAD_UTF8 = "text is not valid UTF-8"


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
        logger: for ``Protocol``, which logs the frames it sees at DEBUG, payloads elided.
    """

    __slots__ = (
        "_deflate",
        "_fast_limit",
        "_feed_left",
        "_fragments",
        "_frame_left",
        "_masker",
        "_more",
        "_partial",
        "_protocol",
        "_rest",
        "failure",
        "pongs",
    )

    def __init__(
        self,
        *,
        max_message_size: int | None = 2**20,
        deflate: PerMessageDeflate | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._protocol = Protocol(CLIENT, max_size=max_message_size, logger=logger)
        self._protocol.extensions = [] if deflate is None else [deflate]
        self._deflate = deflate
        self._masker = Masker()
        self._fast_limit = sys.maxsize if max_message_size is None else max_message_size
        # What was received and could not be used yet: the beginning of a frame, or, when the caller
        # asked for no more messages, anything.
        self._rest: bytes = b""
        self._more = False
        # A whole-message frame of which a part has come, and how many bytes of it have not.
        self._partial: PartialText | PartialBytes | None = None
        self._frame_left = 0
        # How many bytes of the frame that Protocol is reading have not come, and the fragmented
        # message that it has given us so far.
        self._feed_left = 0
        self._fragments: PartialText | PartialBytes | None = None
        #: Set once the peer has broken the protocol; nothing is received after that.
        self.failure: Failure | None = None
        #: Payloads of pongs received; the caller takes them out.
        self.pongs: list[bytes] = []

    # -- state ---------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Neither side has sent a close frame: messages may be sent."""
        return self._protocol.state is OPEN

    @property
    def peer_close(self) -> Close | None:
        """The close frame that the peer has sent, if it has."""
        return None if self.failure else self._protocol.close_rcvd

    @property
    def has_input(self) -> bool:
        """Bytes were kept only because no more messages were asked for."""
        return self._more

    # -- in ------------------------------------------------------------------------------------

    def receive_data(self, data: bytes, max_messages: int = sys.maxsize) -> list[Message]:
        """Take bytes from the peer; return the messages that they complete, in order.

        Args:
            data: bytes as read; ``b""`` to go on with what was kept.
            max_messages: return at most so many, and keep the bytes of the rest.

        After this, :meth:`control_to_send` may have frames, :attr:`pongs` payloads, and
        :attr:`peer_close` or :attr:`failure` may be set. After either of those, input is ignored.
        """
        messages: list[Message] = []
        self._more = False
        if self._rest:
            data = self._rest + data
            self._rest = b""
        pos, end = 0, len(data)
        while pos < end and self.failure is None and self._protocol.close_rcvd is None:
            if self._partial is not None:
                pos = self._resume(data, pos, messages)
            elif self._feed_left:
                pos = self._feed(data, pos, messages)
            elif len(messages) >= max_messages:
                self._rest = data[pos:]
                self._more = True
                break
            else:
                pos = self._cut(data, pos, messages, max_messages)
                if pos < end and len(messages) < max_messages and self.failure is None:
                    opened = self._open(data, pos)
                    if opened == pos and not self._feed_left:
                        self._rest = data[pos:]  # not even a whole header
                        break
                    pos = opened
        return messages

    def receive_eof(self) -> None:
        """The peer has sent its last byte."""
        self._protocol.receive_eof()

    def _cut(self, data: bytes, pos: int, messages: list[Message], max_messages: int) -> int:
        """The fast path: cut whole messages out of ``data`` until something else comes."""
        if self._protocol.current_size is not None:
            return pos
        end = len(data) - 1  # the last place at which a header's second byte may stand
        limit = self._fast_limit
        room = max_messages - len(messages)
        append = messages.append
        try:
            while pos < end and room:
                first = data[pos]
                if first != _WHOLE_TEXT and first != _WHOLE_BINARY:  # noqa: PLR1714 (this is the hot loop)
                    break
                length = data[pos + 1]
                start = pos + 2
                if length > 125:
                    if length == 126:
                        start = pos + 4
                        length = int.from_bytes(data[pos + 2 : start])
                    elif length == 127:
                        start = pos + 10
                        length = int.from_bytes(data[pos + 2 : start])
                    else:
                        break  # masked
                stop = start + length
                if stop > end + 1 or length > limit:
                    break
                if first == _WHOLE_TEXT:
                    append(str(data[start:stop], "utf-8"))
                else:
                    append(data[start:stop])
                pos = stop
                room -= 1
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, _BAD_UTF8)
        return pos

    def _open(self, data: bytes, pos: int) -> int:
        """A frame begins at ``pos`` that the fast path left: find how it is to be read.

        Returns where to go on; ``pos`` itself, with nothing begun, if more bytes are needed first.
        """
        available = len(data) - pos
        if available < 2:
            return pos
        first, second = data[pos], data[pos + 1]
        opcode, length = first & 0x0F, second & 0x7F
        if second & 0x80 or opcode not in _DATA_OPCODES + _CONTROL_OPCODES:
            self._feed_left = 2  # Protocol fails on the first two bytes
            return pos
        header = 2
        if length > 125:
            header = 4 if length == 126 else 10
            if available < header:
                return pos
            length = int.from_bytes(data[pos + 2 : pos + header])
        if opcode in _CONTROL_OPCODES and length <= 125:
            return self._control(data, pos, header + length)
        whole = first in (_WHOLE_TEXT, _WHOLE_BINARY) and self._protocol.current_size is None
        if whole and length <= self._fast_limit:
            self._partial = PartialText() if first == _WHOLE_TEXT else PartialBytes()
            self._frame_left = length
            return pos + header
        self._feed_left = header + length
        return pos

    def _control(self, data: bytes, pos: int, size: int) -> int:
        """Hand a control frame to Protocol once it is whole, as if no message were open around it."""
        if len(data) - pos < size:
            return pos
        protocol = self._protocol
        message = protocol.current_size, protocol.max_message_size
        protocol.current_size = protocol.max_message_size = None
        self._feed_left = size
        pos = self._feed(data, pos, [])
        protocol.current_size, protocol.max_message_size = message
        return pos

    def _resume(self, data: bytes, pos: int, messages: list[Message]) -> int:
        """More bytes of a whole-message frame that has begun."""
        assert self._partial is not None
        part = data[pos : pos + self._frame_left]
        self._frame_left -= len(part)
        try:
            self._partial.add(part)
            if not self._frame_left:
                messages.append(self._partial.finish())
                self._partial = None
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, _BAD_UTF8)
        return pos + len(part)

    def _feed(self, data: bytes, pos: int, messages: list[Message]) -> int:
        """More bytes of a frame that Protocol reads."""
        protocol = self._protocol
        part = data[pos : pos + self._feed_left]
        self._feed_left -= len(part)
        protocol.receive_data(part)
        if protocol.parser_exc is not None:
            self.failure = _failure(protocol.parser_exc)
        for event in protocol.events_received():
            assert isinstance(event, Frame)  # the handshake is over: no requests, no responses
            if event.opcode is Opcode.PONG:
                self.pongs.append(bytes(event.data))
            elif event.opcode in _DATA_OPCODES:
                self._assemble(event, messages)
        return pos + len(part)

    def _assemble(self, frame: Frame, messages: list[Message]) -> None:
        """One data frame, inflated, from Protocol."""
        if self._fragments is None:
            self._fragments = PartialText() if frame.opcode is Opcode.TEXT else PartialBytes()
        try:
            self._fragments.add(bytes(frame.data))
            if frame.fin:
                messages.append(self._fragments.finish())
                self._fragments = None
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, _BAD_UTF8)

    def _fail(self, code: int, reason: str) -> None:
        self._protocol.fail(code, reason)
        self.failure = Failure(int(code), reason)

    # -- out -----------------------------------------------------------------------------------

    def encode(self, payload: bytes, *, text: bool) -> bytes:
        """The frame of a message, to be sent after those before it (compression depends on it)."""
        if self._deflate is None:
            return self._masker.frame(text=text, compressed=False, payload=payload)
        frame = self._deflate.encode(Frame(Opcode.TEXT if text else Opcode.BINARY, payload))
        return self._masker.frame(text=text, compressed=True, payload=frame.data)

    def ping(self, payload: bytes) -> bytes:
        """A ping frame (RFC 6455 §5.5.2)."""
        self._protocol.send_ping(payload)
        return self.control_to_send()

    def pong(self, payload: bytes) -> bytes:
        """An unsolicited pong frame (RFC 6455 §5.5.3)."""
        self._protocol.send_pong(payload)
        return self.control_to_send()

    def close(self, code: int, reason: str) -> bytes:
        """Our close frame (RFC 6455 §5.5.1). No message may be sent after it."""
        self._protocol.send_close(code, reason)
        return self.control_to_send()

    def control_to_send(self) -> bytes:
        """Frames that answer what was received: pongs, the close frame."""
        return b"".join(self._protocol.data_to_send())


def _failure(exc: Exception) -> Failure:
    """What Protocol met, as the code that it sent (or would have, had a close frame not gone before)."""
    if isinstance(exc, PayloadTooBig):
        return Failure(CloseCode.MESSAGE_TOO_BIG.value, str(exc))
    if isinstance(exc, UnicodeDecodeError):
        return Failure(CloseCode.INVALID_DATA.value, "close reason is not valid UTF-8")
    if isinstance(exc, ProtocolError):
        return Failure(CloseCode.PROTOCOL_ERROR.value, str(exc))
    return Failure(CloseCode.INTERNAL_ERROR.value, str(exc))
