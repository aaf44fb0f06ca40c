"""Masked frames, cheaply.

RFC 6455 §5.3 wants a fresh, unpredictable key for every frame. Drawing four bytes from the system for
each costs more than all the rest of a small frame, so they are drawn a thousand keys at a time.
"""

from __future__ import annotations

import os
import struct

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # pyright: ignore[reportPrivateImportUsage]

_BLOCK = 4096

# The first two bytes of a small masked frame, by payload length, for each first byte that we send.
_TEXT, _BINARY, _COMPRESSED = 0x81, 0x82, 0x40
_SMALL = {
    first: tuple(bytes((first, 0x80 | length)) for length in range(126))
    for first in (_TEXT, _BINARY, _TEXT | _COMPRESSED, _BINARY | _COMPRESSED)
}


class Masker:
    """Builds the data frames of one connection."""

    __slots__ = ("_keys", "_position")

    def __init__(self) -> None:
        self._keys = b""
        self._position = 0

    def frame(self, *, text: bool, compressed: bool, payload: bytes | bytearray | memoryview) -> bytes:
        """A whole, final, masked frame (RFC 6455 §5.2)."""
        position = self._position
        key = self._keys[position : position + 4]
        if not key:
            self._keys = os.urandom(_BLOCK)
            key = self._keys[:4]
            position = 0
        self._position = position + 4
        first = _TEXT if text else _BINARY
        if compressed:
            first |= _COMPRESSED
        length = len(payload)
        if length < 126:
            head = _SMALL[first][length]
        elif length < 65536:
            head = struct.pack("!BBH", first, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", first, 0x80 | 127, length)
        return b"".join((head, key, apply_mask(payload, key)))
