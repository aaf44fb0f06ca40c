"""Messages that arrive in parts: fragments, or frames of which only the beginning has come.

Text is validated as its bytes arrive, so that a peer that sends invalid UTF-8 is told at once (RFC 6455
§8.1 allows it, and a 100 MB message that broke in its first byte need not be read to its end).
Memory is bounded by the message's size, however small the parts: both kinds are collected in one
growing buffer, not in a list of parts.
"""

from __future__ import annotations

import codecs
import io

_new_decoder = codecs.getincrementaldecoder("utf-8")


class PartialText:
    """A text message in the making."""

    __slots__ = ("_decode", "_text", "size")

    def __init__(self) -> None:
        self._decode = _new_decoder().decode
        self._text = io.StringIO(newline="")
        #: Bytes so far.
        self.size = 0

    def add(self, data: bytes) -> None:
        """Take one more part; raises :exc:`UnicodeDecodeError` at the first byte that cannot be."""
        self._text.write(self._decode(data))
        self.size += len(data)

    def finish(self) -> str:
        """The whole message; raises :exc:`UnicodeDecodeError` if it ends inside a character."""
        self._decode(b"", final=True)
        return self._text.getvalue()


class PartialBytes:
    """A binary message in the making."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        """Take one more part."""
        self._data += data

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._data)

    def finish(self) -> bytes:
        """The whole message."""
        return bytes(self._data)
