"""SETTINGS (RFC 9113 §6.5, RFC 8441 §3)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ._frames import MAX_FRAME_SIZE, MAX_WINDOW, ErrorCode, HTTP2Error

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER_TABLE_SIZE = 1
ENABLE_PUSH = 2
MAX_CONCURRENT_STREAMS = 3
INITIAL_WINDOW_SIZE = 4
MAX_FRAME_SIZE_SETTING = 5
MAX_HEADER_LIST_SIZE = 6
ENABLE_CONNECT_PROTOCOL = 8

_LARGEST_FRAME = 2**24 - 1


def written(settings: Mapping[int, int]) -> bytes:
    """The payload of a SETTINGS frame."""
    return b"".join(struct.pack(">HI", name, value) for name, value in settings.items())


def read(payload: bytes) -> dict[int, int]:
    """The settings in a payload; of several values of one, the last, which is what counts (§6.5.3).

    Raises:
        HTTP2Error: a value that may not be.
    """
    if len(payload) % 6:
        raise HTTP2Error(ErrorCode.FRAME_SIZE_ERROR, "a SETTINGS frame of a size that none has")
    settings = dict(struct.iter_unpack(">HI", payload))
    if settings.get(ENABLE_PUSH, 0):
        raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "a server that enables push")
    if settings.get(INITIAL_WINDOW_SIZE, 0) > MAX_WINDOW:
        raise HTTP2Error(ErrorCode.FLOW_CONTROL_ERROR, "a SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
    if not MAX_FRAME_SIZE <= settings.get(MAX_FRAME_SIZE_SETTING, MAX_FRAME_SIZE) <= _LARGEST_FRAME:
        raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "a SETTINGS_MAX_FRAME_SIZE out of bounds")
    if settings.get(ENABLE_CONNECT_PROTOCOL, 0) > 1:
        raise HTTP2Error(ErrorCode.PROTOCOL_ERROR, "a SETTINGS_ENABLE_CONNECT_PROTOCOL that is neither 0 nor 1")
    return settings
