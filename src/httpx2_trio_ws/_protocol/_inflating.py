"""Inflating messages (RFC 7692), where a deflate stream may end and messages go on."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions import Extension
from websockets.frames import CTRL_OPCODES, Opcode

if TYPE_CHECKING:
    from websockets.extensions.permessage_deflate import PerMessageDeflate
    from websockets.frames import Frame

_EMPTY_BLOCK = b"\x00\x00\xff\xff"  # what a receiver adds to each message (RFC 7692 §7.2.2)

# The block is appended to shorter payloads, and follows longer ones, which would be copied; as in websockets.
_LONG = 2044


class Inflating(Extension):
    """What websockets' extension does with received frames, and in addition final blocks.

    A final block ends zlib's stream, but messages go on after it (RFC 7692 §7.2.3.4): what comes next begins a new
    stream. More than a byte of padding after it in the same frame is refused, not lost: streams of a few bytes each,
    every one with an inflater of its own, would be a way to keep us busy.
    """

    def __init__(self, deflate: PerMessageDeflate) -> None:
        self._deflate = deflate
        # Without context takeover, the extension throws its inflater away before anyone can see where its stream
        # ended. So that is done here.
        self._takeover = not deflate.remote_no_context_takeover
        deflate.remote_no_context_takeover = False

    def _new_decoder(self) -> zlib._Decompress:
        self._deflate.decoder = zlib.decompressobj(wbits=-self._deflate.remote_max_window_bits)
        return self._deflate.decoder

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """The frame, inflated if its message is compressed.

        Raises:
            ProtocolError: it cannot be inflated.
            PayloadTooBig: it would be larger than ``max_size`` bytes.
        """
        if frame.opcode in CTRL_OPCODES:
            return frame
        deflate = self._deflate
        if frame.rsv1 and frame.opcode is not Opcode.CONT and not self._takeover:
            self._new_decoder()
        inflated = deflate.decode(frame, max_size=max_size)
        self._end_frame(fin=frame.fin)
        return inflated

    def inflate(self, payload: bytes, max_size: int) -> bytes:
        """As :meth:`decode`, for the payload of a whole message."""
        decoder = self._deflate.decoder if self._takeover else self._new_decoder()
        ending = _EMPTY_BLOCK if len(payload) < _LONG else b""
        try:
            inflated = decoder.decompress(payload + ending, max_size)
            if decoder.unconsumed_tail or (not ending and decoder.decompress(_EMPTY_BLOCK, 1)):
                raise PayloadTooBig(None, max_size)
        except zlib.error as exc:
            raise ProtocolError("decompression failed") from exc
        if decoder.eof or not self._takeover:
            self._end_frame(fin=True)
        return inflated

    def _end_frame(self, *, fin: bool) -> None:
        """See to a final block in a frame, and to the inflater."""
        deflate = self._deflate
        decoder: zlib._Decompress | None = getattr(deflate, "decoder", None)
        if decoder is not None and decoder.eof:
            rest = decoder.unused_data[: -len(_EMPTY_BLOCK) if fin else None]
            if rest.strip(b"\0"):
                raise ProtocolError("decompression failed: data after a final block")
            decoder = self._new_decoder()
            if rest and not fin:
                decoder.decompress(b"\0")  # the beginning of the empty block that ends the message
        if fin and not self._takeover:
            vars(deflate).pop("decoder", None)  # some 40 KB

    def encode(self, frame: Frame) -> Frame:
        """The frame, compressed if it is one of a message."""
        return self._deflate.encode(frame)
