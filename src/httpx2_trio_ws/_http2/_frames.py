"""Frames (RFC 9113 §4.1, §6): kinds, flags, error codes, and how one is written."""

from __future__ import annotations

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # §3.4

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

ACK = END_STREAM = 1
END_HEADERS = 4
PADDED = 8
PRIORITY_FLAG = 32

# Of a frame: the length in two parts, as it has 24 bits; kind, flags, stream.
HEADER = struct.Struct(">HBBBI")
HEADER_SIZE = HEADER.size
# The largest frame that we take: what every side must (§4.2), and one TLS record.
MAX_FRAME_SIZE = 16384
MAX_WINDOW = 2**31 - 1


class ErrorCode(IntEnum):
    """Why a stream or a connection ended (RFC 9113 §7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def error_name(code: int) -> str:
    """A code as messages show it: ``CANCEL (8)``, or ``code 77`` for one without a name."""
    try:
        return f"{ErrorCode(code).name} ({code})"
    except ValueError:
        return f"code {code}"


class HTTP2Error(Exception):
    """The server broke HTTP/2, or a limit of ours: the whole connection has failed.

    Attributes:
        code: what the server is told.
        text: what it did.
    """

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.text} ({self.code.name})"


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    length = len(payload)
    return HEADER.pack(length >> 8, length & 255, kind, flags, stream_id) + payload


def unpadded(payload: bytes) -> bytes:
    """What a padded frame carries (§6.1)."""
    if not payload or payload[0] >= len(payload):
        raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "padding that is longer than its frame")
    return payload[1 : len(payload) - payload[0]]
