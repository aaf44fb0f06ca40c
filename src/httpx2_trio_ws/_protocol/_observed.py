"""A connection that tells of each frame. Slower than one that does not, so it is made only where someone listens."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from websockets.frames import Opcode, apply_mask  # type: ignore[attr-defined]  # pyright: ignore[reportPrivateImportUsage]

from ._connection import Connection
from ._masking import COMPRESSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._masking import LargeFrame
    from ._opening_up import Message

_DATA_OPCODES = (0, 1, 2)
# Where the payload begins after a header without a key, by the length's first seven bits; 2 for all others.
_PAYLOAD = {126: 4, 127: 10}
# A payload of so many bytes is shown whole; of a longer one, the first and the last ones.
_SHOWN = 64
_BEGIN, _END = 48, 8
# Of a frame whose message is handed out as it arrives, so many bytes are held.
_HELD = 65536


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """A frame of a session (RFC 6455 §5.2), as an instrument is shown it.

    ``str(frame)`` is short enough for a log: the middle of a long payload is left out.

    Attributes:
        opcode: 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong.
        payload: the payload, unmasked and not compressed. Of a frame of more than 64 KiB whose message is received in
            parts, these are its first 64 KiB, as the rest is not held.
        fin: the last frame of its message.
        compressed: its message crosses the network compressed (RFC 7692).
        size: the bytes of the whole payload.
    """

    opcode: int
    payload: bytes
    fin: bool = True
    compressed: bool = False
    size: int = -1

    def __post_init__(self) -> None:
        if self.size < 0:
            object.__setattr__(self, "size", len(self.payload))

    def __str__(self) -> str:
        name = Opcode(self.opcode).name
        marks = ("" if self.fin else ", to be continued") + (", compressed" if self.compressed else "")
        return f"{name} {self._shown()} ({self.size} bytes{marks})"

    def _shown(self) -> str:
        payload = self.payload
        if self.opcode == Opcode.CLOSE and len(payload) > 1:
            return f"{struct.unpack_from('!H', payload)[0]} {_text(payload[2:])}"
        show = _text if self.opcode == Opcode.TEXT else ascii
        if self.size > len(payload):
            return f"{show(payload[:_BEGIN])}…"
        return show(payload) if len(payload) <= _SHOWN else f"{show(payload[:_BEGIN])}…{show(payload[-_END:])}"


def _text(payload: bytes) -> str:
    """Text, with escapes for all that is not printable."""
    return ascii(payload.decode(errors="replace"))


class ObservedConnection(Connection):
    """As :class:`Connection`; calls ``received`` with each whole frame that came, and ``sent`` with each that left.

    A frame that is refused is not told of, nor is one that was made and never written to its end.
    """

    __slots__ = ("_frame", "_frame_size", "_head", "_leaving", "_made", "_opcode", "_received", "_sent")

    def __init__(
        self, received: Callable[[FrameInfo], object], sent: Callable[[FrameInfo], object], **options: Any
    ) -> None:
        super().__init__(**options)
        self._received = received
        self._sent = sent
        # What has come of the frame that is being read, and its opcode.
        self._frame = bytearray()
        self._frame_size = 0
        self._opcode = Opcode.CONT
        # Frames that were made, each with its payload's size, by their header, which ends in a random key. They do not
        # leave in the order in which they are made.
        self._made: dict[bytes, tuple[FrameInfo, int]] = {}
        # What has left of a header; the frame whose header has left, and how much of its payload has not.
        self._head = b""
        self._leaving: tuple[FrameInfo, int] | None = None

    # -- in ------------------------------------------------------------------------------------

    def _cut(self, data: bytes, pos: int, messages: list[Message], max_messages: int) -> int:
        """One frame after another, so that each is seen."""
        while len(messages) < max_messages:
            count = len(messages)
            stop = super()._cut(data, pos, messages, count + 1)
            if len(messages) == count:
                return pos if self.failure is None else stop
            message, first = messages[-1], data[pos]
            payload = message.encode() if isinstance(message, str) else message
            self._received(FrameInfo(Opcode(first & 0x0F), payload, compressed=bool(first & COMPRESSED)))
            pos = stop
            if self._work:
                break  # it may have been enough
        return pos

    def _cut_fragments(self, data: bytes, pos: int, messages: list[Message], max_messages: int) -> int:  # noqa: ARG002
        """None: each is opened by itself."""
        return pos

    def _open(self, data: bytes, pos: int, messages: list[Message]) -> int:
        self._opcode = Opcode(data[pos] & 0x0F) if data[pos] & 0x0F in _DATA_OPCODES else Opcode.CONT
        return super()._open(data, pos, messages)

    def _add(self, part: bytes | memoryview, messages: list[Message], *, ends: bool) -> None:
        in_parts = self.incoming is not None
        super()._add(part, messages, ends=ends)
        self._frame += part
        self._frame_size += len(part)
        if in_parts or self.incoming is not None:
            del self._frame[_HELD:]
        if ends:
            payload, self._frame = bytes(self._frame), bytearray()
            size, self._frame_size = self._frame_size, 0
            if self.failure is None:
                self._received(FrameInfo(self._opcode, payload, self._fin, self._compressed, size))

    def _cut_control(self, data: bytes, pos: int, most: int) -> tuple[int, int]:  # noqa: ARG002
        stop, count = super()._cut_control(data, pos, 1)
        if count:
            self._received(FrameInfo(Opcode(data[pos] & 0x0F), data[pos + 2 : stop]))
        return stop, count

    def _feed(self, frame: bytes, pos: int) -> int:
        stop = super()._feed(frame, pos)
        if self.failure is None:
            payload = frame[_PAYLOAD.get(frame[1], 2) :]
            self._received(FrameInfo(Opcode(frame[0] & 0x0F), payload))
        return stop

    # -- out -----------------------------------------------------------------------------------

    def encode(self, payload: bytes, kind: int) -> bytes:
        info = FrameInfo(Opcode(kind), payload, compressed=self._deflate is not None)
        return self._noted(super().encode(payload, kind), info)

    def encode_large(self, payload: bytes, kind: int) -> LargeFrame | None:  # noqa: ARG002
        return None

    def encode_all(self, payloads: list[bytes], kind: int) -> list[bytes]:
        return [self.encode(payload, kind) for payload in payloads]

    def encode_fragment(self, payload: bytes | memoryview, kind: int, *, fin: bool, compressed: bool) -> bytes:
        info = FrameInfo(Opcode(kind), bytes(payload), fin, compressed)
        return self._noted(super().encode_fragment(payload, kind, fin=fin, compressed=compressed), info)

    def control_to_send(self) -> bytes:
        data = super().control_to_send()
        pos = 0
        while pos < len(data):
            start = pos + 6
            stop = start + (data[pos + 1] & 0x7F)
            payload = apply_mask(data[start:stop], data[pos + 2 : start])
            self._noted(data[pos:stop], FrameInfo(Opcode(data[pos] & 0x0F), payload))
            pos = stop
        return data

    def _noted(self, frame: bytes, info: FrameInfo) -> bytes:
        """A frame that has been made."""
        head = frame[: _PAYLOAD.get(frame[1] & 0x7F, 2) + 4]
        self._made[head] = info, len(frame) - len(head)
        return frame

    @property
    def on_written(self) -> Callable[[bytes | memoryview], object]:
        return self._has_left

    def _has_left(self, data: bytes | memoryview) -> None:
        """This has been written, next to what was before it: tell of the frames that end in it."""
        data = memoryview(data)
        while data:
            if self._leaving is None:
                self._head += data[:1]
                data = data[1:]
                self._leaving = self._made.pop(self._head, None)  # no header begins with another one
                if self._leaving is None:
                    continue
                self._head = b""
            frame, due = self._leaving
            part = min(due, len(data))
            data = data[part:]
            self._leaving = (frame, due - part) if part < due else None
            if self._leaving is None:
                self._sent(frame)
