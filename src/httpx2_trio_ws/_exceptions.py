"""The exceptions, and how they double as those of trio's and anyio's channels.

Generic code for channels and streams catches ``EndOfChannel``, ``BrokenResourceError`` and
``ClosedResourceError``; a session raises subclasses of these, so such code needs no change.
"""

from __future__ import annotations

import copy
import reprlib
from typing import TYPE_CHECKING, Self

import anyio
import trio

from ._texts import printable

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "WebSocketClosedError",
    "WebSocketDisconnect",
    "WebSocketException",
    "WebSocketHandshakeTimeout",
    "WebSocketInvalidTypeReceived",
    "WebSocketKeepaliveTimeout",
    "WebSocketNetworkError",
    "WebSocketProtocolError",
    "WebSocketUpgradeError",
]


class WebSocketException(Exception):
    """Base class of every exception of this library."""

    def _again(self) -> Self:
        """A copy to raise in one more task, so that tracebacks do not pile up on one object."""
        again = copy.copy(self)
        again.__cause__ = self.__cause__
        return again


class WebSocketUpgradeError(WebSocketException):
    """The server refused the handshake, or its answer breaks RFC 6455 §4.1.

    Attributes:
        reason: what is wrong, and what to do about it where that is known.
        response: the :class:`httpx2.Response`. Of a refusal, the first 64 KiB of the body have been
            read: ``response.text`` and ``response.json()`` work.
    """

    def __init__(self, reason: str, response: httpx2.Response) -> None:
        reason = printable(reason)
        super().__init__(reason, response)
        self.reason = reason
        self.response = response

    def __str__(self) -> str:
        return self.reason


class WebSocketHandshakeTimeout(WebSocketException, TimeoutError, trio.TooSlowError):
    """The whole opening took longer than ``handshake_timeout_seconds``."""


class WebSocketDisconnect(WebSocketException, trio.EndOfChannel, anyio.EndOfStream):
    """The peer closed the session with a close frame (RFC 6455 §7.1.5).

    Attributes:
        code: the close code; 1005 if the frame carried none, as that of ``ws.close()`` in a browser.
        reason: the close reason, often empty.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the peer closed the session: {describe_close(self.code, self.reason)}"


# The close codes that end an iteration without an error: the normal end, going away, and no code at all (RFC 6455 §7.1.5),
# which is what ``ws.close()`` in a browser sends.
QUIET_ENDS = frozenset({1000, 1001, 1005})


class SendDisconnect(WebSocketDisconnect, trio.BrokenResourceError, anyio.BrokenResourceError):
    """A :exc:`WebSocketDisconnect` from a call that sends: to channels, what breaks there is the resource."""


class EndOfMessages(trio.EndOfChannel, anyio.EndOfStream):
    """The end of what is no session, but made of sessions: nothing has closed or failed."""


class WebSocketNetworkError(WebSocketException, trio.BrokenResourceError, anyio.BrokenResourceError):
    """The connection was lost without a close frame (close code 1006)."""


class WebSocketKeepaliveTimeout(WebSocketNetworkError):
    """The peer showed no sign of life within ``keepalive_ping_timeout_seconds`` of a ping."""


class WebSocketProtocolError(WebSocketException, trio.BrokenResourceError, anyio.BrokenResourceError):
    """The peer broke the protocol or a limit of ours (RFC 6455 §7.1.7).

    Attributes:
        code: the close code that the peer was sent: 1002, 1007 or 1009.
        reason: what it did.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        what = "a message is over max_message_size_bytes" if self.code == 1009 else "the peer broke the protocol"
        return f"{what}: {describe_close(self.code, self.reason)}"


class WebSocketClosedError(WebSocketException, trio.ClosedResourceError, anyio.ClosedResourceError):
    """The session was used after it was closed on our side, by ``close()`` or by leaving its block."""


class WebSocketInvalidTypeReceived(WebSocketException):
    """Text arrived where bytes were asked for, or the other way round.

    Attributes:
        message: the ``str`` or ``bytes`` that arrived. It has left the queue; it is not lost, it is here.
    """

    def __init__(self, message: str | bytes) -> None:
        super().__init__(message)
        self.message = message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({reprlib.repr(self.message)})"  # a message may be long

    def __str__(self) -> str:
        got, wanted = ("text", "bytes") if isinstance(self.message, str) else ("bytes", "text")
        return f"expected {wanted}, but {got} arrived ({len(self.message)} long; it is in .message)"


_CODE_NAMES = {
    1000: "normal closure",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1005: "no code given",
    1006: "connection lost",
    1007: "invalid data",
    1008: "policy violation",
    1009: "message too big",
    1010: "mandatory extension",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    1015: "TLS handshake failed",
}


def describe_close(code: int, reason: str) -> str:
    """``1001 (going away): back at noon``, for error messages."""
    name = _CODE_NAMES.get(code)
    text = f"{code} ({name})" if name else str(code)
    return f"{text}: {printable(reason)}" if reason else text
