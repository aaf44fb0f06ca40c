"""What a session tells of itself, on every event loop and in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ._statistics import Counted, Statistics, statistics

if TYPE_CHECKING:
    import httpx2

    from httpx2_trio_ws._exceptions import WebSocketException


class _Flag(Protocol):
    def is_set(self) -> bool: ...


class _Engine(Counted, Protocol):
    """What is asked of a session's engine."""

    @property
    def closed(self) -> bool: ...
    @property
    def done(self) -> _Flag: ...
    @property
    def failure(self) -> WebSocketException | None: ...


E = TypeVar("E", bound=_Engine)


class SessionState(Generic[E]):
    """The part of a session that only tells. May be used in any thread."""

    __slots__ = ("_engine", "_response", "_subprotocol")

    def __init__(self, engine: E, response: httpx2.Response, subprotocol: str | None) -> None:
        self._engine = engine
        self._response = response
        self._subprotocol = subprotocol

    def __repr__(self) -> str:
        url = self._response.request.url
        scheme = "wss" if url.scheme == "https" else "ws"
        state = "open"
        if self.closed:
            code = self.close_code
            state = "closing" if code is None else f"closed, {code}"
        where = url.copy_with(scheme=scheme, userinfo=b"", query=None)  # both may be secret
        return f"<{type(self).__name__} {where} ({state})>"

    @property
    def response(self) -> httpx2.Response:
        """The response to the handshake: status 101, headers, cookies, history."""
        return self._response

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server chose, or ``None``."""
        return self._subprotocol

    @property
    def latency(self) -> float | None:
        """The last round trip of a ping, keepalive's or the application's, in seconds; ``None`` before one."""
        return self._engine.pings.latency

    @property
    def closed(self) -> bool:
        """The session has ended: nothing can be sent. Messages may still wait to be received."""
        return self._engine.closed

    @property
    def close_code(self) -> int | None:
        """The close code that the peer sent; 1006 if the connection ended without one; ``None`` before."""
        peer_close = self._engine.connection.peer_close
        if peer_close is not None:
            return int(peer_close.code)
        return 1006 if self._engine.done.is_set() or self._engine.failure is not None else None

    @property
    def close_reason(self) -> str | None:
        """The close reason that the peer sent; empty if the connection ended without one; ``None`` before."""
        peer_close = self._engine.connection.peer_close
        if peer_close is not None:
            return peer_close.reason
        return None if self.close_code is None else ""

    def statistics(self) -> Statistics:
        """What the session has done so far. May be called in any thread."""
        return statistics(self._engine)
