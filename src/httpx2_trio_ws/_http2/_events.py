"""What a connection tells of what it received, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ._streams import Stream

if TYPE_CHECKING:
    from ._frames import HTTP2Error


class Headers(NamedTuple):
    """The final header section of an answer; interim ones (1xx) and trailers are not told.

    Attributes:
        status: of three digits.
        headers: without pseudo-headers; names are lower-case.
        ended: END_STREAM was set on it, so no body and no tunnel follows.
    """

    stream: Stream
    status: int
    headers: list[tuple[bytes, bytes]]
    ended: bool


class Ended(NamedTuple):
    """END_STREAM: the server sends nothing more on the stream."""

    stream: Stream


class Reset(NamedTuple):
    """RST_STREAM: the server has forgotten the stream, and so has this connection."""

    stream: Stream
    code: int


class Broken(NamedTuple):
    """The server broke a rule on one stream only, which has been reset for it."""

    stream: Stream
    text: str


class Window(NamedTuple):
    """The window of a stream that was used up has opened, or that of any if ``stream`` is ``None``; not the connection's."""

    stream: Stream | None


class SettingsReceived(NamedTuple):
    """The server's settings have changed; the connection's attributes have them."""


class PingAnswered(NamedTuple):
    """A PING of ours came back."""

    payload: bytes


class GoAway(NamedTuple):
    """The server takes no new streams.

    Attributes:
        last_stream_id: of the streams above it, nothing was processed (RFC 9113 §6.8).
        unprocessed: those of them that were open; the connection has forgotten them.
    """

    last_stream_id: int
    code: int
    debug: bytes
    unprocessed: list[Stream]


class Failed(NamedTuple):
    """The connection is of no more use; a GOAWAY that says why is in its output. Always the last event."""

    error: HTTP2Error


# A stream itself: bytes have arrived on it, to be taken by its :meth:`~Stream.take`, whatever frames they came in.
Event: TypeAlias = (
    Stream | Headers | Ended | Reset | Broken | Window | SettingsReceived | PingAnswered | GoAway | Failed
)
