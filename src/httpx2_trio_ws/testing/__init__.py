"""Testing WebSocket clients and ASGI applications without a server."""

from ._asgi import ASGIWebSocketTransport
from ._contract import Check, SessionMaker, check_session, session_checks
from ._frames import Frame, Opcode, encode_frame
from ._memory import memory_server
from ._peer import ScriptedPeer

__all__ = [
    "ASGIWebSocketTransport",
    "Check",
    "Frame",
    "Opcode",
    "ScriptedPeer",
    "SessionMaker",
    "check_session",
    "encode_frame",
    "memory_server",
    "session_checks",
]


def __dir__() -> list[str]:
    return list(__all__)
