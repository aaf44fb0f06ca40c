"""The WebSocket protocol of RFC 6455 and RFC 7692 without I/O, clock or event loop.

Bytes go in, messages and bytes come out. It stands on ``websockets.protocol.Protocol``, with one fast path in front.

May import: the standard library and the sans-IO part of websockets; nothing else of the package. Is imported by all who
have to do with frames: ``_core``, ``_session``, ``_sync``, ``testing`` and the faces.
"""

from ._checks import check_close, check_payload
from ._connection import Connection, new_encoder
from ._control import Failure
from ._incoming import Incoming
from ._keepalive import Keepalive, Verdict
from ._masking import BINARY, TEXT, LargeFrame
from ._observed import FrameInfo, ObservedConnection
from ._opening_up import Message
from ._outgoing import Outgoing
from ._pings import PingBook

__all__ = [
    "BINARY",
    "TEXT",
    "Connection",
    "Failure",
    "FrameInfo",
    "Incoming",
    "Keepalive",
    "LargeFrame",
    "Message",
    "ObservedConnection",
    "Outgoing",
    "PingBook",
    "Verdict",
    "check_close",
    "check_payload",
    "new_encoder",
]
