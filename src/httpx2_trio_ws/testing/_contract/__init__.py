"""The session contract: what every kind of session promises, as checks that can be run against any.

Each module here is a chapter; its checks register themselves as it is imported.
"""

from . import (
    _cancelling,
    _closing,
    _failures,
    _keepalive,
    _limits,
    _nothing_left,
    _pings,
    _receiving,
    _receiving_in_parts,
    _sending,
    _sending_in_parts,
    _state,
    _turns,
    _wrong_use,
)
from ._registry import Check, SessionMaker, check_session, session_checks

__all__ = ["Check", "SessionMaker", "check_session", "session_checks"]

CHAPTERS = (
    _sending,
    _receiving,
    _sending_in_parts,
    _receiving_in_parts,
    _failures,
    _cancelling,
    _keepalive,
    _pings,
    _closing,
    _limits,
    _nothing_left,
    _turns,
    _state,
    _wrong_use,
)
