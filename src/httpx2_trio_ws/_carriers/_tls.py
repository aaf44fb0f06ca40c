"""TLS between a session and a socket, past the stream that made the handshake: plaintext here, records there.

The stream's own ``SSLObject`` goes on being used, with the two buffers on either side of it. Nothing here waits, so it
serves every event loop.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

from ._base import READ_SIZE, CarrierError
from ._descriptor import write_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._beneath import TLS

_RECORD = 16384  # the most that one record holds, RFC 8446 §5.1
# So much is encrypted at a time. More would lie here if the peer takes none.
_WRITE_SIZE = 5 * _RECORD
# Where a full read of the socket holds less than this, its records are tiny, each costs as much as a large one, and no more
# of them are read at a time.
SPARSE = READ_SIZE // 2


class Records:
    """One connection's.

    Args:
        socket: the connection's.
        tls: the layer on it.
    """

    __slots__ = (
        "_error",
        "_held",
        "_incoming",
        "_on_read",
        "_outgoing",
        "_socket",
        "_tls",
        "_unsent",
        "ended",
        "must_read",
    )

    def __init__(self, socket: Any, tls: TLS) -> None:
        self._socket = socket
        self._tls, self._incoming, self._outgoing = tls
        # Records that the socket has not taken; and whether a byte that they hold has not been reported as written.
        self._unsent = b""
        self._held = False
        self._error: ssl.SSLError | None = None
        self._on_read: list[Callable[[], object]] = []
        #: Nothing more is to come from the socket: the peer has said so, or has broken TLS. :meth:`read` tells.
        self.ended = False
        #: Nothing can be written before something has been read: the peer wants to negotiate anew (TLS 1.2).
        self.must_read = False

    def read(self, records: bytes | None) -> bytes:
        """What records hold; ``b""`` at the end.

        Args:
            records: as read from the socket, ``b""`` at its end; ``None`` for those that the stream had read.

        Raises:
            BlockingIOError: that is nothing yet.
            OSError: they are not what they should be.
        """
        incoming, read = self._incoming, self._tls.read
        if records:
            incoming.write(records)
        elif records is not None:
            incoming.write_eof()
        parts: list[bytes] = []
        try:
            # One record at a time. A record is read whole, so when all bytes are taken, so is all that they hold.
            while not self.ended and (incoming.pending or not parts):
                parts.append(read(_RECORD))
                self.ended = not parts[-1]
        except ssl.SSLWantReadError:
            if not parts:
                raise BlockingIOError from None
        except ssl.SSLError as exc:
            self.ended = True
            if not isinstance(exc, ssl.SSLEOFError):  # that is an end without a word; frames have an end of their own
                self._error = exc
        finally:
            if self._outgoing.pending or self.must_read or self._on_read:
                self._after_read()
        if self._error is not None and not parts:
            raise self._error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def rest(self) -> bytes:
        """What the stream had read and not handed out; ``b""`` if that is nothing."""
        try:
            return self.read(None)
        except BlockingIOError:
            return b""

    def _after_read(self) -> None:
        """Send what reading asks for: an answer to a new key, an alert. What does not go now goes with the next write."""
        with contextlib.suppress(CarrierError):  # the next write meets it, too
            self._flush()
        self.must_read = False
        while self._on_read:
            self._on_read.pop()()

    def call_on_read(self, function: Callable[[], object]) -> None:
        """Call ``function`` once something has been read, while :attr:`must_read`."""
        self._on_read.append(function)

    def write(self, data: bytes | memoryview) -> int:
        """Encrypt and write what goes without waiting; return how much of the plaintext that was.

        If it returns less, what is written next begins with the bytes that were left, as with a socket. One byte stands
        for the records that did not go: it is encrypted by then, and reported when they have gone.

        Raises:
            CarrierError: writing failed.
        """
        if (self._unsent or self._outgoing.pending) and not self._flush():
            return 0
        if self._held:
            self._held = False
            return 1
        written, view = 0, data if len(data) <= _RECORD else memoryview(data)[:_WRITE_SIZE]
        try:
            while written < len(view):
                written += self._tls.write(view[written:])  # one record
        except ssl.SSLWantReadError:
            self.must_read = not written
        except ssl.SSLError as exc:
            raise CarrierError("writing to the connection failed") from exc
        if not self._flush() and written:
            self._held = True
            return written - 1
        return written

    def _flush(self) -> bool:
        """Write records; true if none are left."""
        records = self._unsent + self._outgoing.read() if self._unsent else self._outgoing.read()
        self._unsent = records[write_now(self._socket.fileno(), records) :]
        return not self._unsent

    def close(self) -> None:
        """Tell the peer that no more is to come (RFC 8446 §6.1), if that takes no waiting."""
        with contextlib.suppress(Exception):
            # It need not answer: that is what waiting for its bytes would be for.
            if not self._unsent:
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()
                self._flush()
