"""What messages in parts have in common, on every event loop and in threads."""

from __future__ import annotations

from typing import Literal

from httpx2_trio_ws._protocol import BINARY, TEXT

# The reason of the close frame.
BROKEN_OFF = "a message was broken off"
_KINDS = {"text": TEXT, "binary": BINARY}


def kind_of(kind: Literal["text", "binary"]) -> int:
    """The opcode of a kind of message.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in ("text", "binary"):
        raise ValueError(f'the kind of a message is "text" or "binary", not {kind!r}')
    return _KINDS[kind]


def check_part(part: str | bytes | bytearray | memoryview, kind: Literal["text", "binary"]) -> bytes:
    """A part of a message of that kind, as it is sent.

    Raises:
        TypeError: it is of another.
        UnicodeEncodeError: it has lone surrogates.
    """
    if kind == "text":
        if not isinstance(part, str):
            raise TypeError(f"a part of a text message is a str, not {type(part).__name__}")
        return part.encode()
    if isinstance(part, bytes):
        return part
    if not isinstance(part, (bytearray, memoryview)):
        raise TypeError(f"a part of a binary message is bytes, not {type(part).__name__}")
    return bytes(part)
