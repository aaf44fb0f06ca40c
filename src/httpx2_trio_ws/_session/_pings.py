"""Pings on their way, and who waits for their pongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from httpx2_trio_ws._runtime import Event


class PendingPing:
    """A ping on its way: when it was sent, and the event of who waits for its pong, if anyone."""

    __slots__ = ("event", "round_trip", "sent_at")

    def __init__(self, sent_at: float, event: Event | None) -> None:
        self.sent_at = sent_at
        self.event = event
        self.round_trip: float | None = None


class PongWaiter:
    """Waits for the pong that answers one ping: ``round_trip = await waiter``."""

    __slots__ = ("_ping", "_raise_ended")

    def __init__(self, ping: PendingPing, raise_ended: Callable[[], NoReturn]) -> None:
        self._ping = ping
        self._raise_ended = raise_ended

    def __repr__(self) -> str:
        ping = self._ping
        assert ping.event is not None
        state = "waiting"
        if ping.round_trip is not None:
            state = f"answered after {ping.round_trip:.6f} s"
        elif ping.event.is_set():
            state = "the session has ended"
        return f"<{type(self).__name__} ({state})>"

    async def wait(self) -> float:
        """Wait for the pong; return the round trip in seconds. Cancelling is safe; it may be waited for again.

        Raises:
            WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: the
                session ended before the pong came.
        """
        ping = self._ping
        assert ping.event is not None
        await ping.event.wait()
        if ping.round_trip is None:
            self._raise_ended()
        return ping.round_trip

    def __await__(self) -> Generator[Any, Any, float]:
        return self.wait().__await__()
