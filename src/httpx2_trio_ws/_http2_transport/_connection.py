"""A connection: two tasks over a carrier, and streams between them and the sessions."""

from __future__ import annotations

import contextlib
import logging
import math
from itertools import count
from typing import TYPE_CHECKING, Any

import httpcore2

from httpx2_trio_ws import _http2 as h
from httpx2_trio_ws._carriers import CarrierError
from httpx2_trio_ws._protocol import Keepalive, Verdict

from ._leaving import Leaving
from ._stream import HTTP2Stream, UnprocessedError
from ._turns import Turns
from ._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from httpx2_trio_ws._carriers import Carrier
    from httpx2_trio_ws._runtime import Nursery, Runtime

    from ._options import ConnectionOptions

# Bytes on the way for all streams together. They are handed back as they come, so this is no limit on memory.
_CONNECTION_WINDOW = 2**24
# What is to be said last is given so many seconds, and so is closing.
_FAREWELL = 0.5
# No event loop need be asked to sleep for ever.
_LONG = 3600.0
_logger = logging.getLogger("httpx2_trio_ws.http2")
_numbers = count(1)


class Connection:
    """One connection to an origin.

    Its tasks outlive the sessions that it carries, and belong to no nursery of anyone's: httpx2 leaves transports in the
    order in which it entered them, and often not at all. So they catch all that may happen, tell every stream of it, and
    end on their own. Sessions never touch the carrier: see :class:`Writer`.

    Args:
        runtime: where the tasks run.
        carrier: what the connection rides on.
        origin: for the log.
        options: of the transport.
        get_extra_info: of the network stream beneath.
        on_change: called when a stream has ended, and when the connection has.
    """

    def __init__(
        self,
        runtime: Runtime,
        carrier: Carrier,
        origin: str,
        options: ConnectionOptions,
        *,
        get_extra_info: Callable[[str], Any],
        on_change: Callable[[Connection], None],
    ) -> None:
        self._now = runtime.clock()
        now = self._now()
        self.runtime = runtime
        self.origin = origin
        self.get_extra_info = get_extra_info
        self.number = next(_numbers)
        #: Streams that are about to be opened; the first is whoever dials, so that it is not idle before it is used.
        self.reserved = 1
        #: It takes no new streams.
        self.draining = False
        #: Why it is of no more use.
        self.error: Exception | None = None
        #: Seconds that the last PING took.
        self.round_trip: float | None = None
        #: The server's settings have come, or never will.
        self.ready = runtime.event()
        #: Nothing is left of it.
        self.stopped = runtime.event()
        self._carrier = carrier
        self.turn = carrier.turn
        self._options = options
        self._on_change = on_change
        self._http2 = h.Connection(options.stream_window_bytes, _CONNECTION_WINDOW)
        self.turns = Turns(runtime, self._http2)
        self._writer = Writer(runtime, carrier, self._http2, self.turns, self._write_failed)
        self._scope = runtime.cancel_scope()
        self._leaving = Leaving(runtime, self.reset)
        self._tasks: Nursery
        self._read_all = False
        self._closing = False
        self._ending = False
        self._goodbye = ""
        self._lost: Exception | None = None
        self._refused_at = math.inf
        self._idle_since = now
        interval = options.keepalive_ping_interval_seconds
        timeout = options.keepalive_ping_timeout_seconds
        self._keepalive = None if interval is None else Keepalive(interval, timeout, now)
        self._pinged_at = math.inf

    # -- what the pool asks --------------------------------------------------------------------

    @property
    def sessions(self) -> int:
        """How many streams are open, or about to be."""
        return len(self._http2.streams) - len(self._leaving) + self.reserved

    @property
    def max_sessions(self) -> float:
        """How many may be."""
        own = math.inf if (limit := self._options.max_sessions_per_connection) is None else limit
        return min(self._http2.max_concurrent_streams, own, self._refused_at)

    @property
    def has_room(self) -> bool:
        """One more stream may be opened."""
        return self.is_usable and self.sessions + len(self._leaving) < self.max_sessions

    @property
    def is_usable(self) -> bool:
        """New streams may be opened, at some time at least."""
        return not self.draining and self.error is None

    @property
    def takes_websockets(self) -> bool:
        """The server's settings allow extended CONNECT."""
        return self._http2.connect_protocol

    # -- tasks ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be a connection until its end. Raises nothing but cancellation."""
        try:
            with self._scope:
                async with self.runtime.open_nursery() as self._tasks:
                    tasks = self._tasks
                    tasks.start_soon(self._write_loop)
                    tasks.start_soon(self._timer)
                    await self._read_loop()
                    # What is to be said last is on its way, unless nothing can be.
                    self._scope.deadline = -math.inf if self._lost else math.inf
                    self._end()
        except Exception as exc:  # noqa: BLE001 (a bug of ours: the streams tell)
            self._fail(httpcore2.ReadError(f"the HTTP/2 connection was ended by an internal error: {exc!r}"))
        finally:
            self._fail(self._lost or httpcore2.ReadError("the HTTP/2 connection was closed"))
            limit = self.runtime.cancel_scope(deadline=self.runtime.now() + _FAREWELL, shield=True)
            with limit, contextlib.suppress(Exception):
                await self._carrier.aclose()
            self.stopped.set()
            self._on_change(self)

    async def _read_loop(self) -> None:
        try:
            while not self._read_all and self.error is None:
                await self._carrier.pump(self._take)
        except CarrierError as exc:
            self._fail(httpcore2.ReadError(f"the HTTP/2 connection was lost: {_cause(exc)}{self._goodbye}"))
        else:
            self._fail(httpcore2.ReadError(f"the server closed the HTTP/2 connection{self._goodbye}"))

    async def _write_loop(self) -> None:
        await self._writer.run()
        if not self._lost:  # all is said
            self._scope.cancel()

    def _write_failed(self, exc: CarrierError) -> None:
        """Nothing can be sent any more. What has arrived may say why, so it is still read."""
        self.draining = True
        self._lost = httpcore2.WriteError(f"the HTTP/2 connection was lost: {_cause(exc)}{self._goodbye}")
        if self.error is not None:
            self._scope.cancel()
        self._scope.deadline = min(self._scope.deadline, self.runtime.now() + _FAREWELL)

    async def _timer(self) -> None:
        """Ping when nothing is heard, and end when nothing is carried."""
        runtime, keepalive = self.runtime, self._keepalive
        expiry = self._options.keepalive_expiry_seconds
        while True:
            now = runtime.now()
            if not self.sessions and now >= self._idle_since + expiry:
                self.close()
                return
            # What happens meanwhile makes it later, but for the end of the last stream; that is seen to a little late.
            due = now + min(max(expiry, 0.1), _LONG)
            if not self.sessions:
                due = min(due, self._idle_since + expiry)
            if keepalive is not None:
                due = min(due, keepalive.next_check(now))
            await runtime.sleep_until(due)
            verdict = Verdict.NOTHING if keepalive is None else keepalive.check(runtime.now())
            if verdict is Verdict.PING:
                self.ping()
            elif verdict is Verdict.DEAD:
                self._fail(httpcore2.ReadError(self._options.silence))
                self._scope.cancel()

    # -- reading -------------------------------------------------------------------------------

    def _take(self, data: bytes | memoryview) -> bool:
        if not data or self.error is not None:  # the streams have been told; they are told nothing more
            self._read_all = True
            return False
        now = self._now()
        if self._keepalive is not None:
            self._keepalive.heard_at = now
        self._writer.is_held = True
        try:
            for event in self._http2.receive_data(bytes(data), now):
                if type(event) is h.Stream:
                    event.owner.on_data(event.take())
                elif isinstance(event, h.Window):
                    self.turns.window_opened(event.stream)
                else:
                    self._act(event, now)
        finally:
            self._writer.is_held = False
        if self._http2.window_opened:
            self.turns.serve()
        self._writer.flush()
        self._writer.has_read()
        return self.error is None

    def _act(self, event: h.Event, now: float) -> None:
        match event:
            case h.Headers(stream):
                stream.owner.on_headers(event)
            case h.Ended(stream):
                stream.owner.on_end()
            case h.Reset(stream, code):
                stream.owner.on_reset(code)
            case h.Broken(stream, text):
                stream.owner.fail(httpcore2.RemoteProtocolError(f"the server broke HTTP/2 on the stream: {text}"))
            case _:
                self._act_on_connection(event, now)

    def _act_on_connection(self, event: h.Event, now: float) -> None:
        match event:
            case h.SettingsReceived():
                if not self.ready.is_set():
                    self.ready.set()
                    self.ping()  # to know the round trip
                self._on_change(self)
            case h.PingAnswered():
                self.round_trip = now - self._pinged_at
                self._log("round trip of %.6f s", self.round_trip)
            case h.GoAway():
                self._go_away(event)
            case _:
                assert isinstance(event, h.Failed)
                self._fail(httpcore2.RemoteProtocolError(f"the server broke HTTP/2: {event.error}"))

    def _go_away(self, event: h.GoAway) -> None:
        self.draining = True
        text = f" {event.debug[:200].decode('utf-8', 'replace')!r}" if event.debug else ""
        self._goodbye = f" after GOAWAY with {h.error_name(event.code)}{text}"
        self._log("GOAWAY with %s%s, last stream %d", h.error_name(event.code), text, event.last_stream_id)
        for stream in event.unprocessed:
            owner: HTTP2Stream = stream.owner
            if owner.answer is None:
                owner.fail(UnprocessedError())
            else:
                owner.fail(httpcore2.RemoteProtocolError(f"the server dropped the stream{self._goodbye}"))
        self.changed()

    # -- writing -------------------------------------------------------------------------------

    def open_stream(self, headers: Iterable[tuple[bytes, bytes]]) -> HTTP2Stream:
        """Open the stream for which room was reserved.

        Raises:
            UnprocessedError: there is none any more.
        """
        self.reserved -= 1
        if not self.is_usable:
            self.changed()
            raise UnprocessedError
        stream = HTTP2Stream(self)
        stream.http2 = self._http2.open_stream(headers, stream)
        self._log("stream %d opened, %d are open", stream.id, len(self._http2.streams))
        self._writer.kick()
        return stream

    def release(self) -> None:
        """The room that was reserved is not needed."""
        self.reserved -= 1
        self.changed()

    def send(self, stream: h.Stream, data: bytes | memoryview) -> int:
        """Write what there is room for."""
        written = self._http2.send(stream, data)
        if written:
            self._writer.kick()
        return written

    def credit(self, stream: h.Stream, size: int) -> None:
        """So many bytes of a stream were taken."""
        if self._http2.credit(stream, size):
            self._writer.kick()

    def reset(self, stream: h.Stream) -> None:
        """Nobody is interested in a stream any more."""
        self._http2.reset(stream, h.ErrorCode.CANCEL)
        self.forget(stream)
        self._writer.kick()

    def leave(self, stream: h.Stream) -> None:
        """Nobody is interested in a stream any more, but what was sent on it is to arrive."""
        if stream.ended or stream.forgotten or self._ending:
            self.reset(stream)
        else:
            self._leaving.add(stream, self._tasks)
            self.changed()

    def ping(self) -> None:
        """Ask for a sign of life, and how long it takes."""
        self._pinged_at = self.runtime.now()
        self._http2.ping(bytes(8))
        self._writer.kick()

    # -- ends ----------------------------------------------------------------------------------

    def refused(self) -> None:
        """The server takes no more than there are now, whatever its settings say; until one ends."""
        self._refused_at = len(self._http2.streams)
        if not self._refused_at:
            self.draining = True  # none at all: then it is not how many there are
            self.changed()

    def forget(self, stream: h.Stream) -> None:
        """A stream is no more."""
        self._leaving.discard(stream)
        if self._closing and not self._leaving:
            self._end()
        if stream.answered:
            self._refused_at = math.inf
        self.turns.release(stream)
        self.changed()

    def changed(self) -> None:
        """There may be room for a stream; or nothing is left to be done."""
        if not self.sessions:
            self._idle_since = self.runtime.now()
            if self.draining:
                self.close()
        self._on_change(self)

    def close(self) -> None:
        """End, and the streams with it, but for those on which all has been said: these may first arrive. Does not wait."""
        if not self._closing:
            self._closing = self.draining = True
            if not self._leaving:
                self._end()

    def _end(self) -> None:
        """Say goodbye; once all is written, it is over."""
        if not self._ending and self.error is None:
            self._http2.goaway(h.ErrorCode.NO_ERROR)
        self._ending = True
        self._scope.deadline = min(self._scope.deadline, self.runtime.now() + _FAREWELL)
        self._writer.end()

    def _fail(self, error: Exception) -> None:
        """Tell every stream, once."""
        if self.error is None:
            self.error = error
            self.draining = True
            self._log("closed: %s", error)
            self.ready.set()
            for stream in list(self._http2.streams.values()):
                stream.owner.fail(error)
            self._on_change(self)

    def abort(self) -> None:
        """End now. Does not wait."""
        self._scope.cancel()

    async def aclose(self) -> None:
        """End, within a second."""
        self.close()
        with self.runtime.cancel_scope(shield=True):
            await self.stopped.wait()

    def _log(self, text: str, *args: object) -> None:
        if _logger.isEnabledFor(logging.DEBUG):
            extra = {"http2_connection_id": self.number}
            _logger.debug(f"connection %d to %s: {text}", self.number, self.origin, *args, extra=extra)  # noqa: G004


def _cause(exc: CarrierError) -> str:
    return str(exc.__cause__) or type(exc.__cause__).__name__
