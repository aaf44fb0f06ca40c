"""Inflating messages (RFC 7692), whole or step by step.

Whoever sends a message leaves out the end of its last block, four bytes (§7.2.1); who receives it adds them. Here they are
added by a call of their own, and with them empty blocks. At a block's end, where a whole message leaves off, they give
nothing; anywhere else they are taken for data, and give some, or none that is good: so a message that was cut short inside a
block is refused, and not delivered with rubbish at its end. Within the code lengths at the beginning of a block nothing is
given, either, so the empty blocks are more than any code lengths take: 316 of at most seven bits (RFC 1951 §3.2.7). One is
enough where no code lengths are to be expected, which is most of the small messages. Some who flush each fragment leave
nothing out; that shows.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

from websockets.exceptions import PayloadTooBig, ProtocolError

if TYPE_CHECKING:
    from websockets.extensions.permessage_deflate import PerMessageDeflate

_END = b"\x00\x00\xff\xff"
_EMPTY_BLOCK = b"\x00" + _END
_END_AND_EMPTY_BLOCK = _END + _EMPTY_BLOCK
_EMPTY_BLOCKS = _EMPTY_BLOCK * 64
_END_AND_EMPTY_BLOCKS = _END + _EMPTY_BLOCKS
# A message that begins with a block whose codes are the usual ones, or with a stored one (RFC 1951 §3.2.3), has seldom
# another if it is shorter than this; and it ends in a zero byte, since the usual code of a block's end is seven zero bits.
_OTHER_CODES = 0x04
_SHORT = 64
# The last byte of what leaves out _END has the last of a block's three zero bits, and zeros after it, up to its top.
_NO_LAST_BYTE = 0x20
_CUT_SHORT = "decompression failed: a message ends inside a block"


@lru_cache  # one number for all sessions with the same limit
def compressed_limit(limit: int) -> int:
    """How large a message of ``limit`` bytes may become when it is compressed: the most that zlib makes of one."""
    return limit + (limit >> 3) + (limit >> 6) + 64


def _ends_inside_a_block(decoder: zlib._Decompress, tail: bytes) -> bool:
    """Add the end of a message to what was inflated of it: true if it is taken for data, good or bad, or for a block's end.

    Args:
        decoder: has inflated the message, and has met no final block.
        tail: the message's last bytes, at least _SHORT of them if it has so many.
    """
    last = tail[-1]
    if not last and len(tail) < _SHORT and not tail[0] & _OTHER_CODES:
        end = _END_AND_EMPTY_BLOCK
    elif last < _NO_LAST_BYTE:
        end = _END_AND_EMPTY_BLOCKS
    elif tail.endswith(_END):  # it has left nothing out
        end = _EMPTY_BLOCKS
    else:
        return True
    try:
        return bool(decoder.decompress(end, 1)) or decoder.eof
    except zlib.error:
        return True


class Inflating:
    """The inflater of one connection.

    A final block ends zlib's stream, but messages go on after it (RFC 7692 §7.2.3.4): what comes next begins a new stream.
    More than a byte of padding after it in the same frame is refused, not lost: streams of a few bytes each, every one with
    an inflater of its own, would be a way to keep us busy.
    """

    __slots__ = ("_bits", "_decoder", "_tail", "_takeover")

    def __init__(self, deflate: PerMessageDeflate) -> None:
        self._bits = deflate.remote_max_window_bits
        self._takeover = not deflate.remote_no_context_takeover
        vars(deflate).pop("decoder", None)  # the extension's own is of no use
        self._decoder: zlib._Decompress | None = None
        # The last bytes of what was inflated of the message in the making.
        self._tail = b""

    def _new_decoder(self) -> zlib._Decompress:
        self._decoder = zlib.decompressobj(wbits=-self._bits)
        return self._decoder

    def whole(self, payload: bytes, max_size: int) -> bytes:
        """The payload of a whole message, inflated.

        Raises:
            ProtocolError: it cannot be inflated.
            PayloadTooBig: it would be larger than ``max_size`` bytes.
        """
        if not payload:
            return b""  # strictly, not even an empty message is so short; but this is what it says
        decoder = self._decoder or self._new_decoder()
        try:
            inflated = decoder.decompress(payload, max_size)
            if len(inflated) >= max_size and decoder.decompress(decoder.unconsumed_tail, 1):
                raise PayloadTooBig(None, max_size)
        except zlib.error as exc:
            raise ProtocolError("decompression failed") from exc
        if decoder.eof:
            self._end_stream(decoder.unused_data)
        elif _ends_inside_a_block(decoder, payload):
            raise ProtocolError(_CUT_SHORT)
        if not self._takeover:
            self._decoder = None  # some 40 KB
        return inflated

    def step(self, part: bytes, max_size: int) -> tuple[bytes, int]:
        """Inflate as much of a part as gives ``max_size`` bytes, more or less; and how much of it that was.

        Raises:
            ProtocolError: it cannot be inflated.
        """
        decoder = self._decoder or self._new_decoder()
        try:
            inflated = decoder.decompress(part, max_size)
            used = len(part) - len(decoder.unconsumed_tail)
            self._tail = (self._tail + part[max(0, used - _SHORT) : used])[-_SHORT:]
            if len(inflated) >= max_size and used == len(part):
                inflated += decoder.decompress(b"")  # what zlib has held back: not much
        except zlib.error as exc:
            raise ProtocolError("decompression failed") from exc
        return inflated, used

    def end_frame(self, *, fin: bool) -> None:
        """All parts of a frame have been inflated; if it is ``fin``, of its message.

        Raises:
            ProtocolError: the message ends inside a block, or there is something after a final block.
        """
        decoder = self._decoder
        if decoder is not None and decoder.eof:
            rest = decoder.unused_data
            decoder = self._end_stream(rest)
            self._tail = b""
            if rest and not fin:
                decoder.decompress(b"\0")  # the beginning of the empty block that ends the message
                self._tail = b"\0"
        elif fin and decoder is not None and self._tail and _ends_inside_a_block(decoder, self._tail):
            raise ProtocolError(_CUT_SHORT)
        if fin:
            self._tail = b""
            if not self._takeover:
                self._decoder = None

    def _end_stream(self, rest: bytes) -> zlib._Decompress:
        """A final block has come; ``rest`` is what came after it in its frame."""
        if rest.strip(b"\0"):
            raise ProtocolError("decompression failed: data after a final block")
        return self._new_decoder()
