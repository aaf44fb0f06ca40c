"""The client's side of one connection, after the handshake.

Data frames are read and made here: how they are read is in :mod:`._receiving`. ``websockets.protocol.Protocol`` has the
rest of what is hard: the closing handshake, error codes. It is handed close frames, and control frames that break rules.

A property test holds the two together to what ``Protocol`` alone would do. They differ on purpose where the RFC lets us be
kinder, or asks us to be quicker:

* what a frame's header shows to be wrong is refused by its header, not once its payload has come: reserved bits, a
  continuation of nothing, a control frame that is too long; and text that arrives slowly is checked as it arrives;
* a close frame inside a fragmented message is answered like any other (``Protocol`` alone takes it for a
  protocol error; RFC 6455 §5.4 lets control frames come there);
* the limit on a message's size does not apply to control frames, nor do they count against it.

And where ``Protocol``'s inflating falls short: the limit is one on messages, which deflate may make a little larger; a
message cannot pass it by the bytes that zlib held back; messages after a final deflate block are inflated, too; and a
message that was cut short inside a block is refused.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN

from ._control import NOTHING
from ._late_protocol import LateProtocol
from ._masking import BEGINNING, COMPRESSED, LargeFrame, masked_fragment, masked_frame, masked_frames
from ._receiving import Receiving

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.extensions.permessage_deflate import PerMessageDeflate

# A message of so many bytes is sent in parts.
_LARGE = 2 * BEGINNING


def _compressed(deflate: PerMessageDeflate, payload: bytes) -> bytes:
    """A whole message, compressed (RFC 7692 §7.2.1). The extension's own way makes a frame of it, which takes longer."""
    encoder = new_encoder(deflate) if deflate.local_no_context_takeover else deflate.encoder
    return (encoder.compress(payload) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]


def new_encoder(deflate: PerMessageDeflate) -> zlib._Compress:
    """What compresses as was agreed, and has seen nothing yet."""
    return zlib.compressobj(wbits=-deflate.local_max_window_bits, **deflate.compress_settings)


class Connection(Receiving):
    """The state of one connection.

    Args:
        max_message_size: the largest message taken, in bytes, before and after inflation;
            ``None`` for no limit.
        deflate: the permessage-deflate extension (RFC 7692) as negotiated, or ``None``.
    """

    __slots__ = ("_deflate", "fragments_sent", "messages_sent", "pings_sent")

    def __init__(self, *, max_message_size: int | None = 2**20, deflate: PerMessageDeflate | None = None) -> None:
        super().__init__(LateProtocol(), max_message_size, deflate)
        self._deflate = deflate
        #: Messages that :meth:`encode` has made frames of, and pings.
        self.messages_sent = self.pings_sent = 0
        #: Frames of messages that were not the last ones of theirs.
        self.fragments_sent = 0

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
    def on_written(self) -> Callable[[bytes | memoryview], object] | None:
        """To be called with what has been written, in that order, where somebody listens."""
        return None

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
        return masked_frame(_compressed(self._deflate, payload), kind | COMPRESSED)

    def encode_large(self, payload: bytes, kind: int) -> LargeFrame | None:
        """As :meth:`encode`, if the frame is worth being made part by part; ``None`` if it is not: then nothing was done."""
        if len(payload) < _LARGE or self._deflate is not None:
            return None
        self.messages_sent += 1
        return LargeFrame(payload, kind)

    def encode_all(self, payloads: list[bytes], kind: int) -> list[bytes]:
        """The frames of several messages, as by :meth:`encode`."""
        deflate = self._deflate
        if deflate is not None:
            payloads = [_compressed(deflate, payload) for payload in payloads]
            kind |= COMPRESSED
        self.messages_sent += len(payloads)
        return masked_frames(payloads, kind)

    @property
    def compresses(self) -> bool:
        """Messages may be compressed."""
        return self._deflate is not None

    def encode_fragment(self, payload: bytes | memoryview, kind: int, *, fin: bool, compressed: bool) -> bytes:
        """One of several frames of a message (RFC 6455 §5.4), to be sent after those before it.

        Args:
            payload: a part of the message; of text, it may end inside a character.
            kind: :data:`TEXT` or :data:`BINARY` for the first, which is not the last as well; 0 for the others.
            fin: it is the last.
            compressed: the message is; the same for all of them.
        """
        if fin:
            self.messages_sent += 1
        else:
            self.fragments_sent += 1
        deflate = self._deflate
        if not compressed or deflate is None:
            return masked_fragment(payload, kind, fin=fin)
        if fin:
            return masked_fragment(deflate.encode(Frame(Opcode.CONT, payload)).data, kind, fin=True)
        if kind and deflate.local_no_context_takeover:
            deflate.encoder = new_encoder(deflate)
        # All that has come can be inflated after this, as after a sync flush, which takes three bytes more (RFC 7692
        # §7.2.1 has one at the message's end only).
        data = deflate.encoder.compress(payload) + deflate.encoder.flush(zlib.Z_PARTIAL_FLUSH)
        return masked_fragment(data, kind | COMPRESSED if kind else 0, fin=False)

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

    def rest(self) -> None:
        """Let go of what only control frames need, if it can be made again: another may not come for long."""
        self.pongs = self.pongs or NOTHING
        if self._protocol.may_rest:
            self._protocol.parser.close()  # it leads back to the Protocol: a cycle, which only the collector would free
            self._protocol = LateProtocol()

    def control_to_send(self) -> bytes:
        """Frames that answer what was received: pongs, the close frame."""
        writes = self._protocol.data_to_send()
        if self._answers:
            writes = self._answers + writes
            self._answers = NOTHING
        return b"".join(writes)
