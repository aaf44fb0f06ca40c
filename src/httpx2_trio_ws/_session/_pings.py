"""Pings on their way, and who waits for their pongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from httpx2_trio_ws._protocol import PingBook

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from httpx2_trio_ws._core._watch import Watch
    from httpx2_trio_ws._protocol import Connection
    from httpx2_trio_ws._runtime import Event, Runtime

    from ._outbox import Outbox


class PendingPing:
    """A ping on its way: when it was sent, and the event of who waits for its pong, if anyone."""

    __slots__ = ("event", "round_trip", "sent_at")

    def __init__(self, sent_at: float, event: Event | None) -> None:
        self.sent_at = sent_at
        self.event = event
        self.round_trip: float | None = None


class Pings:
    """The pings of one session."""

    __slots__ = ("_book", "_connection", "_outbox", "_runtime", "_watch", "latency")

    def __init__(self, runtime: Runtime, connection: Connection, outbox: Outbox, watch: Watch) -> None:
        self._runtime = runtime
        self._connection = connection
        self._outbox = outbox
        self._watch = watch
        self._book: PingBook[PendingPing] = PingBook()
        #: Seconds, of the last round trip; ``None`` before the first.
        self.latency: float | None = None

    def send(self, payload: bytes, event: Event | None) -> PendingPing:
        """Queue a ping, ahead of the messages."""
        payload = self._book.payload(payload)
        ping = PendingPing(self._runtime.now(), event)
        frame = self._connection.ping(payload)
        self._book.sent(payload, ping)
        self._outbox.push_control(frame)
        return ping

    def answered(self) -> None:
        """Pongs have come."""
        now, pongs = self._runtime.now(), self._connection.pongs
        answered = [ping for payload in pongs for ping in self._book.answered(payload)]
        pongs.clear()
        if answered:
            self._connection.rest()
        for ping in answered:
            self.latency = ping.round_trip = now - ping.sent_at
            if ping.event is not None:
                ping.event.set()
        for ping in answered:  # once all are woken, whatever a hook raises
            self._watch.call("ping_answered", ping.round_trip)

    def forget(self) -> None:
        """No pong will come any more."""
        for ping in self._book.forget():
            if ping.event is not None:
                ping.event.set()


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
