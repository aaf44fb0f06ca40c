"""What is given to be sent: JSON, UTF-8 as bytes, and bytes of other kinds. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Made once: json.dumps() with arguments makes an encoder for each call.
_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_escaped = json.JSONEncoder(separators=(",", ":")).encode


def encode_json(data: Any, mode: str, dumps: Callable[[Any], str | bytes] | None) -> bytes:
    """The payload of a message that says ``data``.

    Raises:
        TypeError, ValueError: as ``send_json()``.
    """
    if mode not in ("text", "binary"):
        raise ValueError(f'mode is "text" or "binary", not {mode!r}')
    if dumps is None:
        try:
            return _compact(data).encode()
        except UnicodeEncodeError:
            # Half an emoji, say, which JSON can escape (RFC 8259 §8.2), and UTF-8 cannot express.
            return _escaped(data).encode()
    encoded: object = dumps(data)
    if isinstance(encoded, str):
        return encoded.encode()
    if not isinstance(encoded, bytes):
        raise TypeError(f"dumps must return str or bytes, not {type(encoded).__name__}")
    return check_utf8(encoded) if mode == "text" else encoded


def check_loads(loads: object) -> None:
    """Before a message is received, which would be lost.

    Raises:
        TypeError: it cannot be called.
    """
    if not callable(loads):
        raise TypeError(
            f"loads must be a function that takes str or bytes, not {loads!r}; a timeout is passed by its name"
        )


def check_utf8(data: bytes) -> bytes:
    """``data``, for a text message (RFC 6455 §8.1).

    Raises:
        TypeError: it is neither ``bytes`` nor, which is seen to before this, ``str``.
        UnicodeDecodeError: it is not UTF-8.
    """
    if not isinstance(data, bytes):
        raise TypeError(
            f"send_text() takes str, or bytes that are UTF-8, not {type(data).__name__}; for binary messages there is "
            "send_bytes()"
        )
    if not data.isascii():
        data.decode()
    return data


def as_bytes(data: bytearray | memoryview) -> bytes:
    """A copy of ``data``, for a binary message.

    Raises:
        TypeError: it is none of the kinds of bytes.
    """
    given: object = data
    if isinstance(given, (bytearray, memoryview)):
        return bytes(given)
    if isinstance(given, str):
        raise TypeError("send_bytes() takes bytes, bytearray or memoryview, not str; for text there is send_text()")
    raise TypeError(f"a message is str or bytes, not {type(given).__name__}; for other data there is send_json()")
