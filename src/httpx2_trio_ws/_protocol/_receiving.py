"""Bytes in, messages out: how data frames are read (RFC 6455 §5.2, §5.4; RFC 7692 §6.2).

One tight loop, :meth:`Receiving._cut`, cuts whole messages out of what was read, the compressed ones, too. Another,
:meth:`Receiving._cut_fragments`, does so with the short fragments of one message. What neither takes is opened by its
header, :meth:`Receiving._open`, and then read as its bytes come, :meth:`Receiving._payload`. Pings and pongs are cut out by
a loop of their own, too; other control frames are handed to ``websockets.protocol.Protocol`` once they are whole, as if no
message were open around them; and so are frames that break the most basic rules, so that it may say which.

What follows a frame never depends on where the network cut the bytes.

A message may be *opened up*, :meth:`Receiving.open_up`: it is :attr:`Receiving.incoming` then, whose parts are taken as they
come, and no message. That may be before it begins, as it is :attr:`Receiving.wanted`; in its middle; or when it turns out to
be larger than a message may be, if that is what is asked for.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import CloseCode, Opcode

from ._control import BAD_UTF8
from ._inflating import Inflating, compressed_limit
from ._partial import PartialBytes, PartialText
from ._straight import LEAST, ReadingStraight

if TYPE_CHECKING:
    from websockets.extensions.permessage_deflate import PerMessageDeflate

    from ._late_protocol import LateProtocol
    from ._opening_up import Message

_DATA_OPCODES, _CONTROL_OPCODES = (0, 1, 2), (8, 9, 10)
_RESERVED = 0x70
_COMPRESSED = 0x40  # RSV1 (RFC 7692 §6)
# One call does no more than this, so that its caller can let others run before the next. A small read may inflate to a
# thousand times its size, or to nothing at all, slowly: so many bytes are inflated, and one that goes in counts as many
# that come out. Of fragments and control frames, of which a read of 256 KiB may hold 131,072, it takes some 256.
_MAX_WORK = 2**20
_BYTE_TO_INFLATE = 16
_FRAME = _MAX_WORK // 256
# A compressed frame is inflated at once if it has so many bytes, or step by step, each of which gives so many.
_STEP = 65536


class Receiving(ReadingStraight):
    """The receiving half of a connection.

    Args:
        protocol: reads control frames, and answers them.
        max_message_size: the largest message taken, in bytes, before and after inflation; ``None`` for no limit.
        deflate: the permessage-deflate extension (RFC 7692) as negotiated, or ``None``.
    """

    __slots__ = (
        "_between",
        "_fin",
        "_inflating",
        "_limit_on_wire",
        "_more",
        "_pos",
        "_rest",
        "_short",
        "_size_on_wire",
        "_work",
        "fragments_received",
        "plain",
        "size_of_messages",
    )

    def __init__(self, protocol: LateProtocol, max_message_size: int | None, deflate: PerMessageDeflate | None) -> None:
        super().__init__(protocol, sys.maxsize if max_message_size is None else min(max_message_size, sys.maxsize))
        self._limit_on_wire = min(compressed_limit(self._limit), sys.maxsize)
        self._short = min(self._limit, 125)
        self._inflating = None if deflate is None else Inflating(deflate)
        # What was received and could not be used yet, from a position on: the beginning of a frame, or, when the caller
        # asked for no more, anything.
        self._rest: bytes = b""
        self._pos = 0
        self._more = False
        # Of how many bytes the message of which a part has come is, if it is compressed.
        self._size_on_wire = 0
        # Whether the frame that has been opened is its message's last.
        self._fin = False
        # What one call has done, in bytes inflated.
        self._work = 0
        # What is read next begins with a frame's header, and no message is open.
        self._between = True
        #: The last call was given whole messages and nothing else: there is nothing to look at but what it returned.
        self.plain = False
        #: Frames of messages that were not the last ones of theirs.
        self.fragments_received: int = 0
        #: How many bytes, at most, the messages have that :meth:`receive_data` returned last, before they were decoded.
        self.size_of_messages = 0

    @property
    def has_input(self) -> bool:
        """Bytes were kept only because no more messages were asked for, or one call has done enough."""
        return self._more

    @property
    def has_part(self) -> bool:
        """A part of a message has come, or more bytes than it was asked for: reading on may make one more message."""
        return self._more or self._message is not None

    def receive_data(self, data: bytes | memoryview, max_messages: int = sys.maxsize) -> list[Message]:
        """Take bytes from the peer; return the messages that they complete, in order.

        What one call does is bounded. If :attr:`has_input` is set after it, call again with ``b""``, after
        letting others run, before there is more to read.

        Args:
            data: bytes as read; ``b""`` to go on with what was kept; or what was read to :meth:`room`.
            max_messages: return at most so many, and keep the bytes of the rest; but see to control frames that come
                right after the last.

        After this, unless it was :attr:`plain`, ``control_to_send()`` may have frames, :attr:`pongs` payloads, and
        ``peer_close`` or :attr:`failure` may be set. After either of those, input is ignored.
        """
        messages: list[Message] = []
        pos, self._work, self.size_of_messages = self._pos, 0, 0
        if not isinstance(data, bytes):
            self.plain = False
            self._arrived(len(data), messages)
            return messages
        if self._between and max_messages:
            pos = self._cut(data, 0, messages, max_messages)
            self.size_of_messages += pos
        self.plain = self._between and pos == len(data)
        if not self.plain:
            self._receive(data, pos, messages, max_messages)
        return messages

    def _receive(self, data: bytes, pos: int, messages: list[Message], max_messages: int) -> None:
        """Likewise, whatever comes."""
        if self._rest:
            data, pos = (self._rest[pos:] + data, 0) if data else (self._rest, pos)
            self._rest = b""
        self._more, self._pos = False, 0
        end, protocol = len(data), self._protocol
        while pos < end and self.failure is None and protocol.close_rcvd is None:
            if self._work >= _MAX_WORK:
                self._keep(data, pos)
                break
            incoming = self.incoming
            full = incoming is not None and incoming.is_full
            if self._left and not full:
                pos = self._payload(data, pos, messages)
                continue
            if len(messages) < max_messages and not full:
                part, start = self._message, pos
                pos = (self._cut if part is None else self._cut_fragments)(data, pos, messages, max_messages)
                self.size_of_messages += pos - start
                if pos == end or self.failure is not None or self._work >= _MAX_WORK or self._message is not part:
                    continue  # a message that ended may be followed by one for the other loop
            if self._left or ((full or len(messages) >= max_messages) and data[pos] & 0x0F not in _CONTROL_OPCODES):
                self._keep(data, pos)
                break
            opened = self._open(data, pos, messages)
            if opened == pos:
                self._rest = data[pos:]  # not even a whole header, or control frame
                break
            pos = opened
            self._work += _FRAME
        over = self.failure is not None or protocol.close_rcvd is not None
        self._between = pos == end and not self._left and self._message is None and self.incoming is None and not over

    def _keep(self, data: bytes, pos: int) -> None:
        """Go on from here later."""
        self._rest, self._pos = data, pos
        self._more = True

    # -- the two loops -------------------------------------------------------------------------

    def _cut(self, data: bytes, pos: int, messages: list[Message], max_messages: int) -> int:  # noqa: C901, PLR0912
        """The fast path: cut whole messages out of ``data`` until something else comes.

        One loop, not split into functions: calling one would cost as much as cutting a message does.
        """
        end = len(data)
        last = end - 1  # the last place at which a header's second byte may stand
        limit, short = self._limit, self._short
        room = max_messages - len(messages)
        append = messages.append
        # What may turn out to be larger than a message may be, once it is inflated, is inflated step by step.
        inflating = None if self.wanted or self.streams_large else self._inflating
        try:
            while pos < last:
                length = data[pos + 1]
                if length <= short:
                    start = pos + 2
                elif length == 126:
                    start = pos + 4
                    if start > end:
                        break
                    length = data[pos + 2] << 8 | data[pos + 3]  # from_bytes() takes three times as long
                elif length == 127:
                    start = pos + 10
                    length = int.from_bytes(data[pos + 2 : start])
                else:
                    break  # masked, or over the limit
                stop = start + length
                if stop > end or length > limit:
                    break
                first = data[pos]
                # FIN set, no reserved bit or RSV1, opcode 1 or 2. Written out, not by name: a global takes longer to
                # find than to compare.
                if first == 0x81:
                    append(data[start:stop].decode())
                elif first == 0x82:
                    append(data[start:stop])
                elif (first == 0xC1 or first == 0xC2) and inflating is not None and length <= _STEP:  # noqa: PLR1714
                    inflated = inflating.whole(data[start:stop], limit)
                    append(inflated.decode() if first == 0xC1 else inflated)
                    self.size_of_messages += len(inflated)
                    self._work += len(inflated) + _BYTE_TO_INFLATE * length
                    if self._work >= _MAX_WORK:
                        return stop
                else:
                    break
                pos = stop
                room -= 1
                if not room:
                    break
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, BAD_UTF8)
        except (ProtocolError, PayloadTooBig) as exc:
            self._fail_as(exc)
        return pos

    def _cut_fragments(self, data: bytes, pos: int, messages: list[Message], max_messages: int) -> int:  # noqa: ARG002
        """Likewise the short, uncompressed fragments that go on with a message, up to its last one."""
        message = self._message
        assert message is not None
        if self._compressed:
            return pos
        last = len(data) - 1
        left = self._most - message.size
        parts: list[bytes] = []
        fin = False
        for _ in range((_MAX_WORK - self._work) // _FRAME + 1):
            if fin or pos >= last:
                break
            first, length = data[pos], data[pos + 1]
            stop = pos + 2 + length
            if length > 125 or first & 0x7F or stop > last + 1 or length > left:
                break
            parts.append(data[pos + 2 : stop])
            left -= length
            fin = first == 0x80
            pos = stop
        if parts:
            self.fragments_received += len(parts) - fin
            self._work += len(parts) * _FRAME
            self._fin = fin
            self._add(b"".join(parts), messages, ends=True)
        return pos

    # -- other frames --------------------------------------------------------------------------

    def _open(self, data: bytes, pos: int, messages: list[Message]) -> int:
        """A frame begins at ``pos`` that no loop took: find how it is to be read.

        Returns where to go on; ``pos`` itself, with nothing begun, if more bytes are needed first.
        """
        available = len(data) - pos
        if available < 2:
            return pos
        first, second = data[pos], data[pos + 1]
        opcode, length = first & 0x0F, second & 0x7F
        if second & 0x80 or opcode not in _DATA_OPCODES + _CONTROL_OPCODES:
            return self._feed(data[pos : pos + 2], pos)  # Protocol fails on the first two bytes
        header = 2
        if length > 125:
            header = 4 if length == 126 else 10
            if available < header:
                return pos
            length = int.from_bytes(data[pos + 2 : pos + header])
        if opcode in _CONTROL_OPCODES:
            stop, count = self._cut_control(data, pos, (_MAX_WORK - 1 - self._work) // _FRAME + 1)
            if not count:
                return self._control(data, pos, header, length)
            self._work += (count - 1) * _FRAME  # the caller counts one
            return stop
        self._begin(first, length, messages)
        return pos + header

    def _begin(self, first: int, length: int, messages: list[Message]) -> None:
        """A data frame begins, unless its header breaks a rule or a limit: then the connection has failed."""
        opcode = first & 0x0F
        large = self._is_large(first, length)
        wanted = self.wanted and not messages and bool(opcode)
        if (large and not self._may_be_large(first, length, wanted=wanted)) or not self._may_come(first):
            return
        if opcode:
            self._message = PartialText() if opcode == Opcode.TEXT else PartialBytes()
            self._compressed = bool(first & _COMPRESSED)
            self._size_on_wire = 0
        if wanted or large:
            self.open_up(large=large)
        self._fin = bool(first & 0x80)
        if not self._fin:
            self.fragments_received += 1
        self._left = length
        self._size_on_wire += length
        if not length:
            self._add(b"", messages, ends=True)

    def _is_large(self, first: int, length: int) -> bool:
        """Whether a frame's header shows that its message is over the limit."""
        goes_on = self._compressed and self._message is not None
        if self._inflating is not None and (first & _RESERVED == _COMPRESSED if first & 0x0F else goes_on):
            return self._begun(first) + length > self._limit_on_wire
        return self._begun(first) + length > self._limit

    def _begun(self, first: int) -> int:
        """How much has come of the message that a frame goes on with."""
        if first & 0x0F or self._message is None:
            return 0
        return self._size_on_wire if self._compressed else self._message.size

    def _may_be_large(self, first: int, length: int, *, wanted: bool) -> bool:
        """Whether a message over the limit is opened up; if it is not, the connection has failed."""
        if wanted or self.streams_large or self.incoming is not None:
            return True
        self._fail_as(PayloadTooBig(length, self._limit, self._begun(first) or None))
        return False

    def _may_come(self, first: int) -> bool:
        """Whether the header of a data frame breaks no rule; if it does, the connection has failed."""
        opcode, reserved = first & 0x0F, first & _RESERVED
        if reserved and not (reserved == _COMPRESSED and opcode and self._inflating is not None):
            self._fail(CloseCode.PROTOCOL_ERROR, "reserved bits must be 0")
        elif opcode and self._message is not None:
            self._fail(CloseCode.PROTOCOL_ERROR, "expected a continuation frame")
        elif not opcode and self._message is None:
            self._fail(CloseCode.PROTOCOL_ERROR, "unexpected continuation frame")
        return self.failure is None

    def _payload(self, data: bytes, pos: int, messages: list[Message]) -> int:
        """More bytes of the frame that has been opened."""
        if self._buffer is not None:  # they have come by another way
            self._give_back(self._buffer, messages)
            return pos
        part = data[pos : pos + self._left]
        used = len(part)
        if self._compressed:
            assert self._inflating is not None
            assert self._message is not None
            try:
                # No more than shows that it is too large.
                most = min(_STEP, self._most - self._message.size + 1)
                part, used = self._inflating.step(part[:_STEP], most)
            except ProtocolError as exc:
                self._fail_as(exc)
                return pos
            self._work += len(part) + _BYTE_TO_INFLATE * used
        self._left -= used
        if self.reads_straight and used >= LEAST and self._begin_straight(part):
            return pos + used
        self._add(part, messages, ends=not self._left)
        return pos + used

    def _add(self, part: bytes | memoryview, messages: list[Message], *, ends: bool) -> None:
        """One more part of the message in the making; and if its frame ends, and is the last, the message."""
        message = self._message
        assert message is not None
        if message.size + len(part) > self._most:
            if not self.streams_large:
                self._fail_as_too_big()
                return
            self.open_up(large=True)
        try:
            if ends and self._compressed:
                assert self._inflating is not None
                self._inflating.end_frame(fin=self._fin)
            message.add(part)
            ended = ends and self._fin
            if self.incoming is not None:
                self._tell(self.incoming, message, ended=ended)
            elif ended:
                self.size_of_messages += message.size
                messages.append(message.finish())
            if ended:
                self._message = None
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, BAD_UTF8)
        except ProtocolError as exc:
            self._fail_as(exc)
