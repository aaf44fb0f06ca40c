"""What a transport is told about its connections, checked."""

from __future__ import annotations

import math
import sys
from typing import NamedTuple


class ConnectionOptions(NamedTuple):
    """See :class:`httpx2_trio_ws.http2.HTTP2Transport`."""

    max_sessions_per_connection: int | None
    stream_window_bytes: int
    keepalive_ping_interval_seconds: float | None
    keepalive_ping_timeout_seconds: float | None
    keepalive_expiry_seconds: float

    @property
    def silence(self) -> str:
        """What is said of a connection that is silent for too long."""
        return (
            f"no sign of life on the HTTP/2 connection within {self.keepalive_ping_timeout_seconds} s of a PING, sent "
            f"after {self.keepalive_ping_interval_seconds} s of silence"
        )


def check_options(
    max_sessions_per_connection: int | None,
    stream_window_bytes: int,
    keepalive_ping_interval_seconds: float | None,
    keepalive_ping_timeout_seconds: float | None,
    keepalive_expiry: float | None,
) -> ConnectionOptions:
    """The options.

    Raises:
        TypeError, ValueError: saying which, and what it may be.
    """
    if max_sessions_per_connection is not None:
        _check_int("max_sessions_per_connection", max_sessions_per_connection, 1, 2**31 - 1)
    # A window of less than a frame would cost a frame of credit for each of data.
    _check_int("stream_window_bytes", stream_window_bytes, 16384, 2**31 - 1)
    _check_seconds("keepalive_ping_interval_seconds", keepalive_ping_interval_seconds)
    _check_seconds("keepalive_ping_timeout_seconds", keepalive_ping_timeout_seconds)
    return ConnectionOptions(
        max_sessions_per_connection,
        stream_window_bytes,
        keepalive_ping_interval_seconds,
        keepalive_ping_timeout_seconds,
        math.inf if keepalive_expiry is None else keepalive_expiry,
    )


def _check_int(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an int, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} is from {least} to {most}, not {value}")


def _check_seconds(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds or None, not {value!r}")
    if not 0 < value <= sys.float_info.max:
        raise ValueError(f"{name} is a positive number of seconds, or None for none at all; not {value}")
