"""Checks of what the application wants to send, before anything is sent."""

from __future__ import annotations


def check_close(code: int, reason: str) -> None:
    """Refuse what may not stand in a close frame (RFC 6455 §7.4, §5.5)."""
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"a close code is an int, not {code!r}")
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise ValueError(
            f"close code {code} may not be sent: use 1000 to 1003, 1007 to 1014 or 3000 to 4999 (RFC 6455 §7.4)"
        )
    if not isinstance(reason, str):
        raise TypeError(f"a close reason is a str, not {reason!r}")
    size = len(reason.encode())
    if size > 123:
        raise ValueError(f"a close reason is 123 bytes of UTF-8 at most (RFC 6455 §5.5), not {size}")


def check_payload(payload: bytes) -> bytes:
    """Refuse what may not be the payload of a ping or a pong (RFC 6455 §5.5)."""
    if not isinstance(payload, bytes):
        raise TypeError(f"the payload is bytes, not {type(payload).__name__}")
    if len(payload) > 125:
        raise ValueError(f"the payload is 125 bytes at most (RFC 6455 §5.5), not {len(payload)}")
    return payload
