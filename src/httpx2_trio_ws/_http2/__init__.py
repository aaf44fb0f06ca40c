"""The client's half of HTTP/2 (RFC 9113) as far as extended CONNECT (RFC 8441) needs it, without I/O, clock or loop.

Frames, settings, windows, streams and header blocks of one connection. Bytes go in, events and bytes come out; time is
passed in. ``h2`` is the other side of its property tests, both ways, and nothing that it needs to run.

May import: the standard library and ``hpack``; nothing else of the package. Is imported by ``_http2_transport``, which
does the I/O.
"""

from ._connection import Connection
from ._events import Broken, Ended, Event, Failed, GoAway, Headers, PingAnswered, Reset, SettingsReceived, Window
from ._frames import ErrorCode, HTTP2Error, error_name
from ._streams import Stream

__all__ = [
    "Broken",
    "Connection",
    "Ended",
    "ErrorCode",
    "Event",
    "Failed",
    "GoAway",
    "HTTP2Error",
    "Headers",
    "PingAnswered",
    "Reset",
    "SettingsReceived",
    "Stream",
    "Window",
    "error_name",
]
