"""Masked frames, cheaply.

RFC 6455 §5.3 wants a fresh, unpredictable key for every frame. Drawing four bytes from the system for
each costs more than all the rest of a small frame, so many keys are drawn at a time.
"""

from __future__ import annotations

import os
import struct

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # pyright: ignore[reportPrivateImportUsage]

TEXT, BINARY, PONG = 1, 2, 10  # opcodes (RFC 6455 §5.2)
COMPRESSED = 0x40  # RSV1 (RFC 7692 §6)
_FIN = 0x80
_MASKED = 0x80

# The first two bytes of a masked frame of fewer than 126 bytes, by its length, for each first byte that we send.
_SMALL = {
    kind: tuple(bytes((_FIN | kind, _MASKED | length)) for length in range(126))
    for kind in (TEXT, BINARY, TEXT | COMPRESSED, BINARY | COMPRESSED, PONG)
}

# So much of a large payload is masked at a time; and of its beginning, which is copied once more, to its header. The less at
# a time, the more writes, each of which wakes the peer; of 512 KiB, the system provides the memory page by page.
PART = 2**18
BEGINNING = 65536

# Keys that were drawn and not used yet. All connections of all threads take theirs from here, so that an idle one
# holds none. What is here when the process forks is the parent's.
_BLOCK = struct.Struct("4s" * 256)
_keys: list[bytes] = []
getattr(os, "register_at_fork", dict)(after_in_child=_keys.clear)  # Windows has no fork


def _key() -> bytes:
    """A key that has not been used."""
    key: bytes
    try:
        key = _keys.pop()
    except IndexError:
        key, *others = _BLOCK.unpack(os.urandom(_BLOCK.size))
        _keys.extend(others)
    return key


def _head(kind: int, length: int) -> bytes:
    """All before the key, for 126 bytes and more."""
    if length < 65536:
        return struct.pack("!BBH", _FIN | kind, _MASKED | 126, length)
    return struct.pack("!BBQ", _FIN | kind, _MASKED | 127, length)


def masked_frame(payload: bytes | bytearray | memoryview, kind: int) -> bytes:
    """A whole, final, masked frame (RFC 6455 §5.2).

    Args:
        payload: as it is sent, before masking.
        kind: :data:`TEXT` or :data:`BINARY`, with :data:`COMPRESSED` if it is.
    """
    try:
        key = _keys.pop()
    except IndexError:
        key = _key()
    length = len(payload)
    head = _SMALL[kind][length] if length < 126 else _head(kind, length)
    return b"".join((head, key, apply_mask(payload, key)))


def masked_fragment(payload: bytes | bytearray | memoryview, kind: int, *, fin: bool) -> bytes:
    """A masked frame of a message in fragments (RFC 6455 §5.4); ``kind`` is 0 for all but its first."""
    key = _key()
    length = len(payload)
    first = kind | _FIN if fin else kind
    lengths = bytes((_MASKED | length,)) if length < 126 else _head(0, length)[1:]
    return b"".join((bytes((first,)), lengths, key, apply_mask(payload, key)))


class LargeFrame:
    """The frame of a large payload, made part by part; see :func:`masked_frame`.

    A part is short enough for its memory to be used again for the next. For a whole frame it comes from the system, page
    by page, which costs more than masking it. Nothing is kept of a part, and any may be made again.
    """

    __slots__ = ("_head", "_key", "_payload", "size")

    def __init__(self, payload: bytes, kind: int) -> None:
        self._key = _key()
        self._head = _head(kind, len(payload)) + self._key
        self._payload = memoryview(payload)
        #: Bytes of the whole frame.
        self.size = len(self._head) + len(payload)

    def part(self, start: int) -> bytes:
        """What is at ``start`` and after it, up to the end of a part."""
        head = len(self._head)
        return self._bytes(start, BEGINNING if start < head else start - head + PART)

    def rest(self, start: int) -> bytes:
        """What is at ``start`` and after it, up to the end."""
        return self._bytes(start, self.size)

    def _bytes(self, start: int, stop: int) -> bytes:
        key, at = self._key, start - len(self._head)
        if at < 0:
            return b"".join((self._head[start:], apply_mask(self._payload[:stop], key)))
        turned = at % len(key)
        return apply_mask(self._payload[at:stop], key[turned:] + key[:turned])


def masked_frames(payloads: list[bytes], kind: int) -> list[bytes]:
    """The frames of several payloads of one kind; see :func:`masked_frame`."""
    frames: list[bytes] = []
    append, join, pop, mask, small = frames.append, b"".join, _keys.pop, apply_mask, _SMALL[kind]
    for payload in payloads:
        try:
            key = pop()
        except IndexError:
            key = _key()
        length = len(payload)
        append(join((small[length] if length < 126 else _head(kind, length), key, mask(payload, key))))
    return frames
