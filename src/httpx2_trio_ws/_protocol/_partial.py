"""Messages that arrive in parts: fragments, or frames of which only the beginning has come.

Text is decoded as its bytes arrive, so that a peer that sends invalid UTF-8 is told at once (RFC 6455 §8.1 allows it, and
a 100 MB message that broke in its first byte need not be read to its end). Each byte is decoded once and copied once more,
into the whole message. Large parts are kept as they are until then; small ones are collected in one growing buffer, so
that memory is bounded by the message's size, however small they are.
"""

from __future__ import annotations

import codecs
import io

_new_decoder = codecs.getincrementaldecoder("utf-8")

# From so many bytes on, a part is kept as it is: what an object takes beside them does not count any more.
_LARGE = 4096


class PartialText:
    """A text message in the making."""

    __slots__ = ("_decode", "_parts", "_small", "size")

    def __init__(self) -> None:
        self._decode = _new_decoder().decode
        self._parts: list[str] = []
        # With another newline, it would look for line ends.
        self._small = io.StringIO(newline="\n")
        #: Bytes so far.
        self.size = 0

    def add(self, data: bytes) -> None:
        """Take one more part; raises :exc:`UnicodeDecodeError` at the first byte that cannot be."""
        text = self._decode(data)
        self.size += len(data)
        if len(data) < _LARGE:
            self._small.write(text)
            return
        self._flush()
        self._parts.append(text)

    def _flush(self) -> None:
        if self._small.tell():
            self._parts.append(self._small.getvalue())
            self._small = io.StringIO(newline="\n")

    def take(self) -> str:
        """What has come since this was called last, but for the beginning of a character."""
        self._flush()
        parts, self._parts = self._parts, []
        self.size = 0
        return parts[0] if len(parts) == 1 else "".join(parts)

    def check_end(self) -> None:
        """No more parts come; raises :exc:`UnicodeDecodeError` if it ends inside a character."""
        self._decode(b"", final=True)

    def finish(self) -> str:
        """The rest; raises as :meth:`check_end`."""
        self.check_end()
        return self.take()


class PartialBytes:
    """A binary message in the making."""

    __slots__ = ("_parts", "_small", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._small = bytearray()
        #: Bytes so far.
        self.size = 0

    def add(self, data: bytes) -> None:
        """Take one more part."""
        self.size += len(data)
        if len(data) < _LARGE:
            self._small += data
            return
        self._flush()
        self._parts.append(data)

    def _flush(self) -> None:
        if self._small:
            self._parts.append(bytes(self._small))
            self._small.clear()

    def take(self) -> bytes:
        """What has come since this was called last."""
        self._flush()
        parts, self._parts = self._parts, []
        self.size = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def check_end(self) -> None:
        """No more parts come, which is always right."""

    def finish(self) -> bytes:
        """The rest."""
        return self.take()
