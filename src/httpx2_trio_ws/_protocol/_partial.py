"""Messages that arrive in parts: fragments, or frames of which only the beginning has come.

Text is decoded as its bytes arrive, so that a peer that sends invalid UTF-8 is told at once (RFC 6455 §8.1 allows it, and
a 100 MB message that broke in its first byte need not be read to its end). Each byte is decoded once and copied once more,
into the whole message. Large parts are kept as they are until then; small ones are collected in one growing buffer, so
that memory is bounded by the message's size, however small they are.
"""

from __future__ import annotations

import io
from codecs import utf_8_decode

# From so many bytes on, a part is kept as it is: what an object takes beside them does not count any more. And so are the
# first few, whatever they have: most messages that come in parts have two.
_LARGE = 4096
_FEW = 4


class PartialText:
    """A text message in the making."""

    __slots__ = ("_begun", "_parts", "_small", "size")

    def __init__(self) -> None:
        # The beginning of a character.
        self._begun = b""
        self._parts: list[str] = []
        self._small: io.StringIO | None = None
        #: Bytes so far.
        self.size = 0

    def add(self, data: bytes | memoryview) -> None:
        """Take one more part; raises :exc:`UnicodeDecodeError` at the first byte that cannot be."""
        size = len(data)
        self.size += size
        if self._begun:
            data = self._begun + data
        text, used = utf_8_decode(data, "strict", False)  # noqa: FBT003
        self._begun = bytes(data[used:])
        if size >= _LARGE or len(self._parts) < _FEW:
            self._flush()
            self._parts.append(text)
            return
        if self._small is None:
            self._small = io.StringIO(newline="\n")  # with another newline, it would look for line ends
        self._small.write(text)

    def _flush(self) -> None:
        if self._small is not None:
            self._parts.append(self._small.getvalue())
            self._small = None

    def take(self) -> str:
        """What has come since this was called last, but for the beginning of a character."""
        self._flush()
        parts, self._parts = self._parts, []
        self.size = 0
        return parts[0] if len(parts) == 1 else "".join(parts)

    def check_end(self) -> None:
        """No more parts come; raises :exc:`UnicodeDecodeError` if it ends inside a character."""
        if self._begun:
            utf_8_decode(self._begun, "strict", True)  # noqa: FBT003

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

    def add(self, data: bytes | memoryview) -> None:
        """Take one more part. What is not ``bytes`` is copied."""
        data = bytes(data)
        self.size += len(data)
        if len(data) >= _LARGE or len(self._parts) < _FEW:
            self._flush()
            self._parts.append(data)
        else:
            self._small += data

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
