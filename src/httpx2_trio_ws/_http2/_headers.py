"""Header sections: what is sent, and what may come (RFC 9113 §8.2, §8.3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpack import NeverIndexedHeaderTuple
from hpack.struct import HeaderTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 9113 §8.2.1: tokens without upper-case letters; values without NUL, CR, LF, or white space around them.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_STATUS = re.compile(rb"[1-9][0-9][0-9]")
# RFC 9113 §8.2.2.
_OF_A_CONNECTION = frozenset([b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"])
# Neither side may keep them for later header sections (RFC 7541 §7.1.3).
_SECRET = frozenset([b"authorization", b"cookie", b"proxy-authorization"])


class MalformedError(Exception):
    """A header section breaks a rule; the argument says which."""


def guarded(headers: Iterable[tuple[bytes, bytes]]) -> list[HeaderTuple]:
    """Headers for the encoder: credentials are never indexed, by us or by any proxy on the way."""
    return [(NeverIndexedHeaderTuple if name in _SECRET else HeaderTuple)(name, value) for name, value in headers]


def checked(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int | None, list[tuple[bytes, bytes]]]:
    """The status, ``None`` in trailers, and the headers that are no pseudo-headers.

    Raises:
        MalformedError: the answer must not be used (RFC 9113 §8.1.1).
    """
    status: int | None = None
    regular: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name == b":status":
            if status is not None or regular or not _STATUS.fullmatch(value):
                raise MalformedError("a second, late or invalid :status")
            status = int(value)
            continue
        if not _NAME.fullmatch(name):
            raise MalformedError(f"the header name {name[:100]!r}")
        if _BAD_VALUE.search(value):
            raise MalformedError(f"the value of the header {name[:100]!r}")
        if name in _OF_A_CONNECTION:
            raise MalformedError(f"the header {name.decode()!r}, which HTTP/2 does not have")
        regular.append((name, value))
    return status, regular
