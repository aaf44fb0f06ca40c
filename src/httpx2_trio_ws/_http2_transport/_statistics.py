"""What a transport tells of itself."""

from __future__ import annotations

from typing import NamedTuple


class ConnectionStatistics(NamedTuple):
    """One HTTP/2 connection of a transport.

    Attributes:
        number: of the connection, as in the log; counted over the whole process.
        origin: scheme, host and port.
        sessions: streams that are open, or about to be.
        max_sessions: how many the server, or ``max_sessions_per_connection``, allows; ``None`` for any number.
        draining: the server has said GOAWAY: it takes no new sessions, and ends with those that it has.
        round_trip_seconds: of the last PING; ``None`` before the first answer.
    """

    number: int
    origin: str
    sessions: int
    max_sessions: int | None
    draining: bool
    round_trip_seconds: float | None


class TransportStatistics(NamedTuple):
    """The HTTP/2 connections of a transport.

    Attributes:
        connections: one by one, oldest first. Those of HTTP/1.1 are not among them.
        sessions: on all of them together.
    """

    connections: tuple[ConnectionStatistics, ...]
    sessions: int
