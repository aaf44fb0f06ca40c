"""What is sent: from a pipe or a file, from the command line, or from a terminal that edits the lines itself."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from .streams import read_some, unread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable


class Pieces:
    """A binary message of any size, which is read while it is sent.

    Args:
        first: its first bytes.
        rest: where the others come from.
        total: bytes in all; ``None`` if nobody knows.
    """

    def __init__(self, first: bytes, rest: Chunks, total: int | None) -> None:
        self._first = first
        self._rest = rest
        self.total = total

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        yield self._first
        while (chunk := await self._rest.read()) is not None:
            yield chunk


Message = str | bytes | Pieces

# A terminal cuts off what is beyond, and tells nobody.
_LONGEST_TYPED = 1023 if sys.platform == "darwin" else 4095


class BadInput(Exception):
    """The input is not what ``--input`` says."""


class Source(Protocol):
    """Where messages come from."""

    @property
    def taken(self) -> int:
        """How many have been handed out."""
        ...

    @property
    def left(self) -> bool:
        """There are more already, that have not been handed out."""
        ...

    async def read(self) -> Message | None:
        """The next one; ``None`` after the last. Cancelling loses nothing.

        Raises:
            BadInput: it cannot be read.
        """
        ...


class Given:
    """Messages that are there from the beginning: those of ``-x``."""

    def __init__(self, messages: Iterable[str]) -> None:
        self._messages = deque(messages)
        self.taken = 0

    @property
    def left(self) -> bool:
        """As :class:`Source`."""
        return bool(self._messages)

    async def read(self) -> Message | None:
        """As :class:`Source`."""
        if not self._messages:
            return None
        self.taken += 1
        return self._messages.popleft()


class Lines:
    """The lines of a descriptor, each of any length.

    Args:
        descriptor: what to read.
        parse: makes a message of a line that lacks its end; a ``ValueError`` is bad input.
    """

    def __init__(self, descriptor: int, parse: Callable[[bytes], Message | None] = bytes.decode) -> None:
        self._descriptor = descriptor
        self._parse = parse
        self._data = bytearray()
        self._searched = 0
        self._ended = False
        self.taken = 0

    @property
    def left(self) -> bool:
        """As :class:`Source`."""
        return bool(self._data) or (not self._ended and unread(self._descriptor))

    async def read(self) -> Message | None:
        """As :class:`Source`. A last line may lack its newline."""
        while (line := await self._line()) is not None:
            try:
                message = self._parse(line)
            except ValueError as exc:
                raise BadInput(_what(exc)) from exc
            if message is not None:
                self.taken += 1
                return message
        return None

    async def _line(self) -> bytes | None:
        while True:
            end = self._data.find(b"\n", self._searched)
            if end >= 0:
                return self._take(end).removesuffix(b"\r")
            if self._ended:
                return self._take(len(self._data)) if self._data else None
            self._searched = len(self._data)
            more = await _read(self._descriptor)
            self._ended = not more
            self._data += more

    def _take(self, end: int) -> bytes:
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        return line


class Chunks:
    """Bytes as they come, in messages of up to 64 KiB."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ended = False
        self.taken = 0

    @property
    def left(self) -> bool:
        """As :class:`Source`."""
        return not self._ended and unread(self._descriptor)

    async def read(self) -> bytes | None:
        """As :class:`Source`."""
        data = await _read(self._descriptor)
        self._ended = not data
        self.taken += bool(data)
        return data or None


class Whole:
    """All there is, as one text message; none of nothing."""

    def __init__(self, descriptor: int, parse: Callable[[bytes], Message]) -> None:
        self._chunks = Chunks(descriptor)
        self._parse = parse
        self._data: bytearray | None = bytearray()
        self.taken = 0

    @property
    def left(self) -> bool:
        """As :class:`Source`."""
        return bool(self._data)

    async def read(self) -> Message | None:
        """As :class:`Source`."""
        if self._data is None:
            return None
        while (chunk := await self._chunks.read()) is not None:
            self._data += chunk
        data, self._data = bytes(self._data), None
        if not data:
            return None
        self.taken = 1
        try:
            return self._parse(data)
        except ValueError as exc:
            raise BadInput(_what(exc)) from exc


class WholeBinary:
    """All there is, as one binary message that is not held; none of nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._chunks = Chunks(descriptor)
        self.taken = 0

    @property
    def left(self) -> bool:
        """As :class:`Source`."""
        return self._chunks.left

    async def read(self) -> Message | None:
        """As :class:`Source`."""
        if self.taken or (first := await self._chunks.read()) is None:
            return None
        self.taken = 1
        found = os.fstat(self._descriptor)
        return Pieces(first, self._chunks, found.st_size if stat.S_ISREG(found.st_mode) else None)


class Typed:
    """The lines that a terminal edits, with a prompt before each.

    Args:
        descriptor: the terminal.
        prompt: shows that a line may be typed.
        complain: says what is wrong with one.
    """

    def __init__(self, descriptor: int, prompt: Callable[[], None], complain: Callable[[str], None]) -> None:
        self._lines = Lines(descriptor, self._parse_line)
        self._prompt = prompt
        self._complain = complain

    @property
    def taken(self) -> int:
        """As :class:`Source`."""
        return self._lines.taken

    @property
    def left(self) -> bool:
        """As :class:`Source`."""
        return self._lines.left

    async def read(self) -> Message | None:
        """As :class:`Source`."""
        self._prompt()
        return await self._lines.read()

    def _parse_line(self, line: bytes) -> Message | None:
        if len(line) < _LONGEST_TYPED:
            return line.decode()
        self._complain(
            f"not sent: it has {len(line)} bytes, and the terminal cuts off what is beyond. "
            "Lines of any length: pip install 'httpx2-trio-ws[cli]'; or from a file: /text @FILE"
        )
        self._prompt()
        return None


def piped(form: str, descriptor: int) -> Source:
    """The messages that come from a pipe or a file, by what ``--input`` says."""
    if form == "text":
        return Whole(descriptor, bytes.decode)
    if form == "binary":
        return WholeBinary(descriptor)
    if form == "chunks":
        return Chunks(descriptor)
    return Lines(descriptor, _from_ndjson if form == "ndjson" else bytes.decode)


async def _read(descriptor: int) -> bytes:
    try:
        return await read_some(descriptor)
    except OSError:  # the terminal is gone, or it was never open
        return b""


def _from_ndjson(line: bytes) -> Message | None:
    """The message of a line as ``--output ndjson`` prints it; ``None`` for an empty line."""
    if not line.strip():
        return None
    record: Any = json.loads(line)
    match record:
        case {"type": "text", "data": str(data)}:
            return data
        case {"type": "binary", "base64": str(data)}:
            return base64.b64decode(data, validate=True)
        case _:
            raise ValueError('a line is {"type": "text", "data": …} or {"type": "binary", "base64": …}')


def _what(exc: ValueError) -> str:
    return (
        "the input is not UTF-8" if isinstance(exc, UnicodeDecodeError) else f"the input is not as it should be: {exc}"
    )
