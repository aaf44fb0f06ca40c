"""What some calls of a session return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._engine import Engine, PendingPing


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a session has done so far.

    ``messages_*`` count whole messages, ``bytes_*`` what went over the connection after the handshake,
    framing and control frames included. ``queued_messages`` wait for ``receive()``; ``unsent_bytes``
    were accepted by ``send()`` and are not with the operating system yet. ``latency`` is the last round
    trip of a ping in seconds, or ``None``.
    """

    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    queued_messages: int
    unsent_bytes: int
    latency: float | None


class PongWaiter:
    """Waits for the pong that answers one ping: ``round_trip = await waiter``."""

    __slots__ = ("_engine", "_ping")

    def __init__(self, engine: Engine, ping: PendingPing) -> None:
        self._engine = engine
        self._ping = ping

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
        ping, engine = self._ping, self._engine
        assert ping.event is not None
        await ping.event.wait()
        if ping.round_trip is None:
            engine.raise_ended(engine.no_receive)
        return ping.round_trip

    def __await__(self) -> Generator[Any, Any, float]:
        return self.wait().__await__()
