"""Frames as a server reads and writes them (RFC 6455 §5.2). Written for tests: nothing here keeps rules when sending."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from websockets.frames import Opcode, apply_mask  # type: ignore[attr-defined]  # pyright: ignore[reportPrivateImportUsage]

__all__ = ["Frame", "Opcode", "close_payload", "deflate", "encode_frame", "inflate", "parse_close", "parse_frame"]

_EMPTY_BLOCK = b"\x00\x00\xff\xff"  # what RFC 7692 §7.2.1 takes off the end of a compressed message


class Frame(NamedTuple):
    """A frame that a client sent.

    Attributes:
        opcode: 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong; see :class:`Opcode`.
        payload: unmasked, and compressed if the message is.
        fin: the last frame of its message.
        rsv1: set in the first frame of a compressed message (RFC 7692 §6).
    """

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv1: bool = False


def encode_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv1: bool = False,
    rsv2: bool = False,
    rsv3: bool = False,
) -> bytes:
    """The bytes of an unmasked frame, whatever the protocol thinks of it.

    Args:
        opcode: 0 to 15.
        payload: of any length, also for control frames.
        fin: this is the last frame of its message.
        rsv1: the first reserved bit; with compression, the mark of a compressed message.
        rsv2: the second reserved bit.
        rsv3: the third reserved bit.

    Raises:
        ValueError: the opcode does not fit into four bits.
    """
    if not 0 <= opcode <= 15:
        raise ValueError(f"an opcode is 0 to 15, not {opcode}")
    first = opcode | fin << 7 | rsv1 << 6 | rsv2 << 5 | rsv3 << 4
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, length)
    elif length < 65536:
        head = struct.pack("!BBH", first, 126, length)
    else:
        head = struct.pack("!BBQ", first, 127, length)
    return head + payload


def parse_frame(data: bytes | bytearray) -> tuple[Frame, int] | None:
    """The frame at the beginning of ``data`` and its length in bytes; ``None`` if it has not come whole.

    Raises:
        ValueError: no client may send it (RFC 6455 §5.1, §5.2, §5.5).
    """
    if len(data) < 2:
        return None
    first, second = data[0], data[1]
    opcode, length = first & 0x0F, second & 0x7F
    fin = bool(first & 0x80)
    if not second & 0x80:
        raise ValueError("the frame is not masked")
    if opcode not in set(Opcode):
        raise ValueError(f"the frame has the reserved opcode {opcode}")
    if first & 0x30:
        raise ValueError("the frame has a reserved bit set")
    if opcode >= Opcode.CLOSE and (length > 125 or not fin):
        raise ValueError("a control frame is fragmented or longer than 125 bytes")
    start = 2 + {126: 2, 127: 8}.get(length, 0)
    if start > 2:
        if len(data) < start:
            return None
        length = int.from_bytes(data[2:start])
    stop = start + 4 + length
    if len(data) < stop:
        return None
    payload = apply_mask(bytes(data[start + 4 : stop]), bytes(data[start : start + 4]))
    return Frame(opcode, payload, fin, bool(first & 0x40)), stop


def close_payload(code: int, reason: str = "") -> bytes:
    """The payload of a close frame (RFC 6455 §5.5.1), whatever the code."""
    return code.to_bytes(2) + reason.encode()


def parse_close(payload: bytes) -> tuple[int, str]:
    """The code and the reason in a close frame; 1005 if it has none (RFC 6455 §7.1.5).

    Raises:
        ValueError: the payload is one byte, or the reason is no UTF-8.
    """
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise ValueError("a close frame has half a close code")
    return int.from_bytes(payload[:2]), payload[2:].decode()


def deflate(payload: bytes) -> bytes:
    """A message's payload, compressed on its own (RFC 7692 §7.2.1)."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_EMPTY_BLOCK)


def inflate(payload: bytes) -> bytes:
    """The reverse of :func:`deflate` (RFC 7692 §7.2.2).

    Raises:
        ValueError: it is not compressed data.
    """
    try:
        return zlib.decompressobj(wbits=-15).decompress(payload + _EMPTY_BLOCK)
    except zlib.error as exc:
        raise ValueError(f"a compressed message does not inflate: {exc}") from exc
