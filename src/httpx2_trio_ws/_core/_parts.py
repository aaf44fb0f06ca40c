"""What messages in parts have in common, on every event loop and in threads."""

from __future__ import annotations

from typing import Literal, NoReturn

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


class PartsBlock:
    """The block of a message in parts. It is entered once, and in it, one call at a time is made."""

    __slots__ = ("_busy", "_state")

    def __init__(self) -> None:
        self._state = "was not entered"
        self._busy = False

    def _check_new(self, by: str) -> None:
        """Refuse to be entered again; ``by``: the call that makes one."""
        if self._state != "was not entered":
            raise RuntimeError(f"this block {self._state}; make another, by {by}()")

    def _check_entered(self, other: str = "") -> None:
        """Refuse a call outside of the block, and, as ``other`` says, beside another that has not returned."""
        if self._state != "was entered":
            self._refuse()
        if other and self._busy:
            raise RuntimeError(f"another {other} a part of this message already")

    def _refuse(self) -> NoReturn:
        raise RuntimeError(f"the message's block {self._state}")


class ReadingBlock(PartsBlock):
    """The block of a message that is received."""

    __slots__ = ("_kind", "_whole")

    def __init__(self) -> None:
        super().__init__()
        # What is there already, if it is a whole message.
        self._whole: str | bytes = b""
        self._kind: Literal["text", "binary"] | None = None

    @property
    def kind(self) -> Literal["text", "binary"]:
        """``"text"``, whose parts are ``str``, or ``"binary"``, whose parts are ``bytes``.

        Raises:
            RuntimeError: the block has not been entered.
        """
        return self._refuse() if self._kind is None else self._kind

    def _begin_whole(self, message: str | bytes) -> None:
        self._whole = message
        self._kind = "text" if isinstance(message, str) else "binary"
