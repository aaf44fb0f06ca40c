"""A message that is sent in parts, of a length that need not be known: what has gathered of it becomes its next fragment."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._connection import Connection

# A fragment has so many bytes at most, however large the parts: control frames find their places between two.
FRAGMENT = 65536
# What is kept of a part beside its bytes counts as so many more, so that empty ones count, too.
_FRAMING = 6
# A message whose first fragment is shorter than this is not compressed: what must go out at once, piece by piece, of so
# few bytes each, does not become smaller by it.
_TINY = 16


class Outgoing:
    """One such message. What is added to it goes out in the order in which it was added.

    Args:
        connection: makes its frames.
        kind: :data:`TEXT` or :data:`BINARY`.
    """

    __slots__ = (
        "_chunks",
        "_compressed",
        "_connection",
        "_kind",
        "_then",
        "begun",
        "complete",
        "ended",
        "over",
        "size",
    )

    def __init__(self, connection: Connection, kind: int) -> None:
        self._connection = connection
        self._kind = kind
        self._chunks: deque[bytes | memoryview] = deque()
        self._compressed = False
        self._then = b""
        #: Something was added, so that it can no longer be taken back.
        self.begun = False
        #: Nothing more will be added: the next fragment that takes all that there is is the last.
        self.complete = False
        #: :meth:`frame` has given the last frame of the message; all frames.
        self.ended = False
        self.over = False
        #: Bytes that wait.
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """Add a part, which must not be empty."""
        self.begun = True
        self.size += len(chunk) + _FRAMING
        self._chunks.append(chunk)

    def drop(self) -> None:
        """Send nothing of what waits."""
        self._chunks.clear()
        self.size = 0

    def end_with(self, frame: bytes) -> None:
        """A close frame is to follow on what there is, whether or not the message is complete."""
        self._then = frame

    def frame(self) -> bytes:
        """The next frame, of what has gathered; empty if there is nothing to be sent."""
        if self._chunks or (self.complete and not self.ended):
            payload = self._gathered()
            fin = self.ended = self.complete and not self._chunks
            self.over = fin and not self._then
            return self._framed(payload, fin=fin)
        frame, self._then = self._then, b""
        self.over |= bool(frame)
        return frame

    def _framed(self, payload: bytes | memoryview, *, fin: bool) -> bytes:
        kind, self._kind = self._kind, 0
        if kind and fin:
            return self._connection.encode(bytes(payload), kind)
        if kind:
            self._compressed = self._connection.compresses and len(payload) >= _TINY
        return self._connection.encode_fragment(payload, kind, fin=fin, compressed=self._compressed)

    def _gathered(self) -> bytes | memoryview:
        """As much as goes into one fragment."""
        chunks = self._chunks
        parts: list[bytes | memoryview] = []
        room = FRAGMENT
        while chunks and room:
            part = chunks.popleft()
            self.size -= len(part) + _FRAMING
            if len(part) > room:
                rest = memoryview(part)[room:]
                part = memoryview(part)[:room]
                chunks.appendleft(rest)
                self.size += len(rest) + _FRAMING
            parts.append(part)
            room -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
