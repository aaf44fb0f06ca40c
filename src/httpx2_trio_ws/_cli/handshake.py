"""The handshake, shown: with ``--verbose``, or since it was refused. Secrets are left out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from httpx2_trio_ws._handshake._versions import VERSIONS

from .printing import escape, escape_line

if TYPE_CHECKING:
    import httpx2

_SECRET = re.compile(r"auth|cookie|key|passw|secret|session|sig|token", re.IGNORECASE)
# Sent in the clear by design: they say nothing of who sends them.
_NO_SECRET = {"sec-websocket-key", "www-authenticate", "proxy-authenticate"}
_IN_QUERY = re.compile(r"([?&])([^=&#]*)=([^&#]*)")

# So much of a refusal's body is shown.
_BODY_LINES = 20
_BODY_CHARACTERS = 2000


def show_request(request: httpx2.Request, http_version: str) -> str:
    """The request line and the headers, as the version of HTTP has them."""
    target = escape_line(elide_query(request.url.raw_path.decode("ascii", "replace")))
    version = VERSIONS[http_version]
    return "\n".join([f"> {version.method} {target} HTTP/{version.name}", *_headers(">", version.fields(request))])


def show_response(response: httpx2.Response) -> str:
    """The status line and the headers."""
    return "\n".join([f"< {response.http_version} {status_of(response)}", *_headers("<", response.headers.raw)])


def status_of(response: httpx2.Response) -> str:
    """``404 Not Found``, in the server's words."""
    return escape_line(f"{response.status_code} {response.reason_phrase}".rstrip())


def start_of_body(response: httpx2.Response) -> str:
    """What a refusal says, as far as a person would read; empty if that is nothing."""
    text = _text_of(response).strip()
    lines = text[:_BODY_CHARACTERS].splitlines()
    shown = "\n".join(lines[:_BODY_LINES])
    more = "\n…" if len(text) > _BODY_CHARACTERS or len(lines) > _BODY_LINES else ""
    return escape(shown) + more


def _text_of(response: httpx2.Response) -> str:
    """The body, whatever charset its header names: some that Python knows are none of text, or refuse any byte."""
    try:
        return response.content.decode(response.charset_encoding or "utf-8", "replace")
    except (LookupError, ValueError):
        return response.content.decode(errors="replace")


def _headers(mark: str, fields: list[tuple[bytes, bytes]]) -> list[str]:
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
    return [escape_line(f"{mark} {name}: {elide(name, value)}") for name, value in pairs]


def elide(name: str, value: str) -> str:
    """A header's value without secrets: of cookies their names are left, of authentication its scheme."""
    lower = name.lower()
    if lower in _NO_SECRET or not _SECRET.search(lower):
        return elide_query(value) if lower == "location" else value
    if lower == "cookie":
        return "; ".join(_first_value(pair) for pair in value.split("; "))
    if lower == "set-cookie":
        pair, semicolon, attributes = value.partition(";")
        return _first_value(pair) + semicolon + attributes
    scheme, space, _ = value.partition(" ")
    return f"{scheme} ***" if space and lower.endswith("authorization") else "***"


def _first_value(pair: str) -> str:
    return f"{pair.partition('=')[0]}=***"


def elide_query(target: str) -> str:
    """A URL or its path without the values of parameters whose names sound like secrets, and without a password."""

    def hide(match: re.Match[str]) -> str:
        mark, name, value = match.groups()
        return f"{mark}{name}={'***' if _SECRET.search(name) else value}"

    return _IN_QUERY.sub(hide, re.sub(r"^(\w+://)[^/?#]*@", r"\1", target))
