"""How messages, and what servers say besides, are written: never so that a terminal would act on it."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# A terminal acts on C0, DEL and C1; some act on C1 even where it is encoded as UTF-8. The others reorder what is shown,
# or break lines in some programs: marks and overrides of the direction (UAX #9), U+2028, U+2029, and old format controls.
_FORMAT = r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb"
_CONTROL = re.compile(rf"[\x00-\x1f\x7f-\x9f{_FORMAT}]")
_CONTROL_BUT_LINES = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_FORMAT}]")

# Laid out, a message may grow to many times its size, so a long one is printed as it is.
_MAX_PRETTY = 100_000
_MAX_INDENT = 20

_TOKEN = re.compile(r'[ \t\r\n]*("(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,"\s]+)')


def escape(text: str) -> str:
    r"""Control characters as ``\x1b`` and so on, but for newlines and tabs."""
    return _CONTROL_BUT_LINES.sub(_escaped, text)


def escape_line(text: str) -> str:
    """As :func:`escape`, newlines and tabs as well."""
    return _CONTROL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


# -- JSON ------------------------------------------------------------------------------------------


def pretty_json(text: str, *, color: bool) -> str | None:
    """JSON laid out over several lines; ``None`` if it is none, or neither an object nor an array.

    Strings and numbers stay as they are written, and so do names that are there twice. Only control characters in
    strings become JSON's own escapes, so that it is the same JSON.
    """
    if len(text) > _MAX_PRETTY or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return "".join(_lay_out(_TOKEN.findall(text), color=color))


def _lay_out(parts: list[str], *, color: bool) -> list[str]:
    out: list[str] = []
    depth = 0
    for index, part in enumerate(parts):
        following = parts[index + 1] if index + 1 < len(parts) else ""
        if part in "{[":
            depth += 1
            out.append(part if following in ("}", "]") else part + _new_line(depth))
        elif part in "}]":
            depth -= 1
            out.append(part if parts[index - 1] in ("{", "[") else _new_line(depth) + part)
        elif part == ",":
            out.append(part + _new_line(depth))
        elif part == ":":
            out.append(": ")
        else:
            value = _CONTROL.sub(_escaped_in_json, part)
            out.append(_colored(value, name=following == ":") if color else value)
    return out


def _new_line(depth: int) -> str:
    return "\n" + "  " * min(depth, _MAX_INDENT)


def _colored(token: str, *, name: bool) -> str:
    code = "36"  # cyan
    if token.startswith('"'):
        code = "34;1" if name else "32"  # blue; green
    elif token in ("true", "false", "null"):
        code = "33"  # yellow
    return f"\x1b[{code}m{token}\x1b[0m"


def _escaped_in_json(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


# -- messages --------------------------------------------------------------------------------------


def as_text(message: str | bytes) -> str:
    """A message for people."""
    return escape(message) if isinstance(message, str) else hex_dump(message)


def as_ndjson(message: str | bytes) -> str:
    """A message for programs: a line of JSON, in ASCII."""
    if isinstance(message, str):
        return json_line({"type": "text", "data": message})
    return json_line({"type": "binary", "base64": base64.b64encode(message).decode()})


def json_line(record: Mapping[str, object]) -> str:
    """A record with the time, as a line of JSON, in ASCII. What a terminal would act on is escaped."""
    text = json.dumps({"time": datetime.now(UTC).isoformat(timespec="microseconds"), **record})
    return text.replace("\x7f", "\\u007f")


def as_raw(message: str | bytes) -> bytes:
    """A message as it came: text with a newline after it, binary with nothing."""
    return message.encode() + b"\n" if isinstance(message, str) else message


def hex_dump(data: bytes) -> str:
    """Sixteen bytes a line: where they are, what they are, and the ASCII characters among them."""
    lines = [f"binary, {len(data)} {'byte' if len(data) == 1 else 'bytes'}"]
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  |{shown}|")
    return "\n".join(lines)
