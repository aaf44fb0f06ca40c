"""What a session has done so far, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sized

    from httpx2_trio_ws._protocol import Connection


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a session has done so far.

    Attributes:
        messages_sent: whole messages that were accepted by ``send()`` and its kin, and those sent in parts once their last
            frame is made.
        messages_received: whole messages that came, also those that are received in parts; those that came after our own ``close()`` are not counted.
        bytes_sent: what went over the connection after the handshake, framing and control frames included.
        bytes_received: likewise.
        queued_messages: messages that wait for ``receive()``, now.
        unsent_bytes: accepted by ``send()`` and not with the operating system yet, now.
        latency: the last round trip of a ping in seconds, or ``None``.
        frames_sent: frames of the messages, one for each that is not sent in parts, and control frames.
        frames_received: all frames of the messages, and control frames.
        pings_sent: keepalive's and the application's.
        pings_received: each was answered.
        pongs_sent: the answers and those of ``pong()``.
        pongs_received: asked for or not.
        consumer_wait_seconds: how long reading has paused in all, because the queue was full: the application was
            slower than the peer.
        peer_wait_seconds: how long writing has waited in all, because the peer took no bytes.
    """

    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    queued_messages: int
    unsent_bytes: int
    latency: float | None
    frames_sent: int
    frames_received: int
    pings_sent: int
    pings_received: int
    pongs_sent: int
    pongs_received: int
    consumer_wait_seconds: float
    peer_wait_seconds: float


class _Inbox(Protocol):
    @property
    def messages(self) -> Sized: ...


class _Outbox(Protocol):
    bytes_sent: int
    control_size: int

    @property
    def messages_sent(self) -> int: ...
    @property
    def gathered(self) -> int: ...


class _Pings(Protocol):
    @property
    def latency(self) -> float | None: ...


class Counted(Protocol):
    """A session's engine, as far as it counts."""

    messages_received: int
    bytes_received: int

    @property
    def connection(self) -> Connection: ...
    @property
    def inbox(self) -> _Inbox: ...
    @property
    def outbox(self) -> _Outbox: ...
    @property
    def pings(self) -> _Pings: ...
    @property
    def consumer_wait(self) -> Stopwatch: ...
    @property
    def peer_wait(self) -> Stopwatch: ...


def statistics(engine: Counted) -> Statistics:
    """The record of a session."""
    connection, outbox = engine.connection, engine.outbox
    sent, received = outbox.messages_sent, engine.messages_received + connection.received_in_parts
    control_sent = connection.pings_sent + connection.pongs_sent
    control_received = connection.pings_received + connection.pongs_received
    close_sent, close_received = connection.close_frames
    return Statistics(
        messages_sent=sent,
        messages_received=received,
        bytes_sent=outbox.bytes_sent,
        bytes_received=engine.bytes_received,
        queued_messages=len(engine.inbox.messages),
        unsent_bytes=outbox.gathered + outbox.control_size,
        latency=engine.pings.latency,
        frames_sent=sent + connection.fragments_sent + control_sent + close_sent,
        frames_received=received + connection.fragments_received + control_received + close_received,
        pings_sent=connection.pings_sent,
        pings_received=connection.pings_received,
        pongs_sent=connection.pongs_sent,
        pongs_received=connection.pongs_received,
        consumer_wait_seconds=engine.consumer_wait.seconds,
        peer_wait_seconds=engine.peer_wait.seconds,
    )


class Stopwatch:
    """How long something has lasted in all. It may be read in any thread."""

    __slots__ = ("_before", "since")

    def __init__(self) -> None:
        self._before = 0.0
        #: When it began to last; ``None`` if it does not.
        self.since: float | None = None

    def start(self) -> None:
        """It lasts from now on."""
        self.since = monotonic()

    def ready(self) -> Stopwatch:
        """This one, to be started; another one, if this is :data:`UNUSED`."""
        return Stopwatch() if self is UNUSED else self

    def stop(self) -> None:
        """It does not, or no longer."""
        self._before, self.since = self.seconds, None

    @property
    def seconds(self) -> float:
        """All the time, that from the last start to now included."""
        since = self.since
        return self._before if since is None else self._before + monotonic() - since


#: What has not lasted yet, as one for all.
UNUSED = Stopwatch()
