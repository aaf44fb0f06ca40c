"""What must never happen to a message, done to one on purpose: the soak must notice it.

Only a connection without TLS and without compression lets whole frames be handled.
"""

from __future__ import annotations

import struct

# A frame that is whole, binary and not compressed (RFC 6455 §5.2).
_BINARY = 0x82
_WHICH = 2  # of these frames is the one, counted from 1


class Defect:
    """One defect, for one direction of one connection.

    Args:
        name: ``drop``, ``double``, ``flip`` (a bit) or ``swap`` (two frames), after ``up:`` if it is for what the client
            sends.
    """

    def __init__(self, name: str) -> None:
        direction, _, self._what = name.rpartition(":")
        self.up = direction == "up"
        self._claimed = False
        self._buffer = b""
        self._shaken_hands = False
        self._seen = 0
        self._kept = b""

    def claim(self) -> bool:
        """Whether this is the first to ask for it."""
        first = not self._claimed
        self._claimed = True
        return first

    def feed(self, data: bytes) -> bytes:
        """What to pass on instead of ``data``: whole frames, one of them wrong."""
        self._buffer += data
        out = b""
        if not self._shaken_hands:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return b""
            out, self._buffer, self._shaken_hands = head + end, rest, True
        while frame := self._cut():
            out += self._pass(frame)
        return out

    def _cut(self) -> bytes:
        """The next whole frame; nothing if it has not come yet."""
        data = self._buffer
        if len(data) < 2:
            return b""
        length, header = data[1] & 0x7F, 2
        if length > 125:
            form, header = ("!H", 4) if length == 126 else ("!Q", 10)
            if len(data) < header:
                return b""
            (length,) = struct.unpack(form, data[2:header])
        size = header + (4 if data[1] & 0x80 else 0) + length
        if len(data) < size:
            return b""
        self._buffer = data[size:]
        return data[:size]

    def _pass(self, frame: bytes) -> bytes:
        if frame[0] != _BINARY:
            return frame
        self._seen += 1
        if self._kept:
            frame, self._kept = frame + self._kept, b""
        if self._seen != _WHICH:
            return frame
        if self._what == "drop":
            return b""
        if self._what == "double":
            return frame * 2
        if self._what == "flip":
            return frame[:-1] + bytes((frame[-1] ^ 1,))
        self._kept = frame
        return b""
