"""What a session tells of itself while it lives: to the application's instruments, and to the log.

The log is an instrument like any other. So a session with no instruments, whose loggers are off, does without all of it.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from httpx2_trio_ws._instruments import Instrument
from httpx2_trio_ws._protocol import Connection, ObservedConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.extensions.permessage_deflate import PerMessageDeflate

    from httpx2_trio_ws._exceptions import WebSocketException
    from httpx2_trio_ws._options import SessionOptions
    from httpx2_trio_ws._protocol import FrameInfo

_NAME = "httpx2_trio_ws"
logging.getLogger(_NAME).addHandler(logging.NullHandler())
_session_logger = logging.getLogger(f"{_NAME}.session")
_frame_logger = logging.getLogger(f"{_NAME}.frames")
_instrument_logger = logging.getLogger(f"{_NAME}.instruments")

_numbers = count(1)

_HOOKS = [name for name in vars(Instrument) if not name.startswith("_")]


class Watch:
    """Calls the instruments of one session."""

    __slots__ = ("_hooks", "_session")

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._session: Any = None
        # For each hook, the instruments that define it.
        self._hooks = {
            name: tuple(i for i in instruments if getattr(type(i), name, None) is not getattr(Instrument, name))
            for name in _HOOKS
            if instruments
        }

    @property
    def has_hooks(self) -> bool:
        """There is something to call."""
        return bool(self._hooks)

    @property
    def sees_frames(self) -> bool:
        """Frames have to be told of."""
        return self.has_hooks and any(self._hooks.get(name) for name in ("frame_received", "frame_sent"))

    def opened(self, session: object) -> None:
        """``session`` is the one that is watched."""
        if self._hooks:
            self._session = session
            self.call("session_opened")

    def closed(self, failure: WebSocketException | None) -> None:
        """Nothing is left of the session, and nothing more is to be told of it."""
        session = self._session
        if session is not None:
            self.call("session_closed", session.close_code, session.close_reason, failure)
        self._hooks = {}
        self._session = None  # which refers to us

    def call(self, hook: str, *args: object) -> None:
        """Call it."""
        for instrument in self._hooks.get(hook, ()):
            try:
                getattr(instrument, hook)(self._session, *args)
            except Exception:
                self._hooks = {
                    name: tuple(i for i in given if i is not instrument) for name, given in self._hooks.items()
                }
                _instrument_logger.exception(
                    "%s() of %r raised; it is not called for this session any more", hook, instrument
                )


# Of most sessions, which tell nobody anything; it is never told of one.
_UNWATCHED = Watch(())


def watched_connection(options: SessionOptions, deflate: PerMessageDeflate | None) -> tuple[Connection, Watch]:
    """A session's connection, and who tells its instruments."""
    instruments = [*options.instruments, *_logs()]
    watch = Watch(instruments) if instruments else _UNWATCHED
    size = options.max_message_size_bytes
    if watch.sees_frames:
        received, sent = partial(watch.call, "frame_received"), partial(watch.call, "frame_sent")
        connection: Connection = ObservedConnection(received, sent, max_message_size=size, deflate=deflate)
    else:
        connection = Connection(max_message_size=size, deflate=deflate)
    connection.streams_large = options.stream_large_messages
    return connection, watch


# -- the log ---------------------------------------------------------------------------------------


def _logs() -> list[Instrument]:
    """The log of one more session, if anyone wants it."""
    if _frame_logger.isEnabledFor(logging.DEBUG):
        return [_FrameLog()]
    return [_SessionLog()] if _session_logger.isEnabledFor(logging.INFO) else []


class _Numbered(logging.LoggerAdapter["logging.Logger"]):
    """Puts the connection's number in front, which tells the sessions of a process apart, and into the record."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        assert self.extra is not None
        return f"#{self.extra['connection_id']} {msg}", {**kwargs, "extra": self.extra}


class _SessionLog(Instrument):
    """What happens to one session."""

    def __init__(self) -> None:
        number = {"connection_id": next(_numbers)}
        self._session_log = _Numbered(_session_logger, number)
        self._frame_log = _Numbered(_frame_logger, number)

    def session_opened(self, session: Any) -> None:
        url = session.response.request.url
        # A query may have a token in it.
        shown = url.copy_with(scheme="wss" if url.scheme == "https" else "ws", userinfo=b"", query=None)
        self._session_log.info("opened %s, subprotocol %s", shown, session.subprotocol)

    def session_closed(self, session: Any, code: int, reason: str, failure: WebSocketException | None) -> None:  # noqa: ARG002
        if failure is None:
            self._session_log.info("closed with %d", code)
        else:
            self._session_log.info("failed: %r", failure)

    def ping_answered(self, session: Any, round_trip: float) -> None:  # noqa: ARG002
        self._session_log.debug("a ping was answered after %.6f s", round_trip)

    def reading_paused(self, session: Any) -> None:  # noqa: ARG002
        self._session_log.debug("reading pauses: the queue is full")

    def reading_resumed(self, session: Any) -> None:  # noqa: ARG002
        self._session_log.debug("reading goes on")


class _FrameLog(_SessionLog):
    """And its frames."""

    def frame_received(self, session: Any, frame: FrameInfo) -> None:  # noqa: ARG002
        self._frame_log.debug("< %s", frame)

    def frame_sent(self, session: Any, frame: FrameInfo) -> None:  # noqa: ARG002
        self._frame_log.debug("> %s", frame)
