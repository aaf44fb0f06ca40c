"""The one thread of a session: it reads, writes what was queued, keeps the deadlines, and ends it all.

Everything here runs in that thread. What other threads do is in :mod:`._engine`.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from httpx2_trio_ws._carriers import _beneath, _descriptor
from httpx2_trio_ws._core._life import CLOSED, Do, Life, keepalive_timeout
from httpx2_trio_ws._core._statistics import Stopwatch
from httpx2_trio_ws._core._watermarks import DROPPED, HIGH_WATER
from httpx2_trio_ws._protocol import Keepalive, Verdict

from ._carrier import ClosedCarrier, read_stream
from ._forks import FORKED, to_tell
from ._inbox import Inbox
from ._orders import CloseOrder, ControlOrder
from ._outbox import PAUSE, Outbox
from ._pings import Pings
from ._poller import READ, WRITE, Poller
from ._waiting import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2
    from websockets.extensions.permessage_deflate import PerMessageDeflate

    from httpx2_trio_ws._core._watch import Watch
    from httpx2_trio_ws._exceptions import WebSocketException
    from httpx2_trio_ws._options import SessionOptions
    from httpx2_trio_ws._protocol import Connection

    from ._carrier import Carrier


class Reader:
    """See the module's text."""

    def __init__(
        self,
        response: httpx2.Response,
        carrier: Carrier,
        connection: Connection,
        deflate: PerMessageDeflate | None,
        options: SessionOptions,
        *,
        watch: Watch,
    ) -> None:
        self.connection = connection
        self.watch = watch
        self.poller = Poller(carrier.socket)
        self.life = Life(options.close_timeout_seconds)
        self.inbox = Inbox(options.queue_size, self.poller.wake, self.life, connection)
        self.outbox = Outbox(connection, deflate, carrier.write_now, self.poller.wake, self.life)
        self.pings = Pings()
        self.messages_received = 0
        self.bytes_received = 0
        #: Reading waits for the application; writing waits for the peer.
        self.consumer_wait = Stopwatch()
        self.peer_wait = Stopwatch()
        #: What other threads want done, and whether they want the connection dropped.
        self.orders: deque[CloseOrder | ControlOrder] = deque()
        self.cancelled = False
        #: An error of our own, or of a hook.
        self.bug: BaseException | None = None
        #: Set when nothing is left but the thread's last step.
        self.done = Signal()
        #: Whoever has it ends the session: the reader, or who could not start it.
        self.claim = threading.Lock()
        self._thread = threading.Thread(target=self.run, name="WebSocket reader", daemon=True)
        self._response = response
        self._carrier = carrier
        self._options = options
        # The time when the thread last woke; when it must end; and when keepalive is to be looked at.
        self._now = time.monotonic()
        self._deadline = math.inf
        self._due = math.inf
        self._heard_at: float | None = None
        self._keepalive: Keepalive | None = None
        if options.keepalive_ping_interval_seconds is not None:
            interval, timeout = options.keepalive_ping_interval_seconds, options.keepalive_ping_timeout_seconds
            self._keepalive = Keepalive(interval, timeout, self._now)
            self._due = self._now + interval
        self._write_failed = False
        # Reading has paused; because a message that is handed out as it arrives is not taken.
        self._paused = False
        self._full = False
        self._readable = False
        self._blocked = False
        _beneath.call_before_closing(response.extensions["network_stream"], self)
        to_tell.add(self)

    def client_closes(self) -> None:
        """The client closes the connection, under the session or as that has ended. In any thread."""
        self._carrier = ClosedCarrier(self._carrier.socket)
        self.poller.wake()  # poll() would not say so

    def forked(self) -> None:
        """We are a child of the process that the session is in. No other thread is here, and none gives a lock back."""
        if self.done.is_set():
            return
        self.cancelled = True  # if it is the thread that forked
        self.life.drop(FORKED, time.monotonic())
        self.life.told = True
        self.poller.forked()
        self.inbox.forked()
        self.outbox.forked()
        self.pings.forked()
        self._carrier.socket.close()  # the parent has it, too
        self.done.set()

    def run(self) -> None:
        """The thread."""
        if not self.claim.acquire(blocking=False):
            return
        # A bug of ours, or what a hook raised, comes out where the block is left.
        try:
            try:
                self._loop()
            except BaseException as exc:  # noqa: BLE001
                self.bug = exc
                self._tell(self.life.bug, exc)
            finally:
                self.drop()
        except BaseException as exc:  # noqa: BLE001
            self.bug = self.bug or exc

    def _loop(self) -> None:
        stream = self._response.extensions["network_stream"]
        if not self._read(lambda: read_stream(stream)):
            return
        while True:
            now, outbox = self._now, self.outbox
            while self.orders:
                self._obey(self.orders.popleft())
            if outbox.failed and not self._write_failed:
                self._notice_write_failure()
            if self.cancelled or now >= self._deadline or (now >= self._due and not self._peer_lives(now)):
                return
            self._see_to_room(now)
            if self._is_reading:
                if self.connection.has_input:
                    self._take(b"")
                elif self._readable and not self._read(self._carrier.read):
                    return
            self._sleep(more=outbox.work and not self._blocked and self._write())

    def _obey(self, order: CloseOrder | ControlOrder) -> None:
        if isinstance(order, CloseOrder):
            self.begin_close(order.code, order.reason)
        elif self.outbox.error is None:
            self.outbox.push_control(order.make(order.payload))

    @property
    def _is_reading(self) -> bool:
        # A peer that pings and does not read its pongs: let it wait, not our memory grow. Its silence counts: it
        # takes nothing, so it may well be dead.
        return not self._paused and self.outbox.control_size <= HIGH_WATER

    def _sleep(self, *, more: bool) -> None:
        """Sleep until there is something to do; ``more`` says that there is."""
        reading = self._is_reading
        more |= reading and (self.connection.has_input or self._carrier.more)
        events = (READ if reading else 0) | (WRITE if self._blocked else 0)
        until = min(self._deadline, self._due)
        seconds = None if until == math.inf else max(0, until - time.monotonic())
        if self.outbox.work and not self._blocked:
            seconds = PAUSE if seconds is None else min(seconds, PAUSE)
        happened = self.poller.wait(events, 0 if more else seconds)
        self._now = time.monotonic()
        self._readable = self._carrier.more or bool(happened & READ)
        if happened & WRITE:
            self._blocked = False
            self.peer_wait.stop()
            self._heard_at = self._now  # the peer has taken bytes, so it lives

    # -- keepalive -----------------------------------------------------------------------------

    def _peer_lives(self, now: float) -> bool:
        """Ping, if it is time to; false if the peer has been silent for too long."""
        keepalive, interval = self._keepalive, self._options.keepalive_ping_interval_seconds
        if keepalive is None or interval is None or self.outbox.error is not None:
            self._due = math.inf  # the session is ending, within a limit of its own
            return True
        verdict = self._verdict(keepalive, now)
        if verdict is Verdict.DEAD and self._is_reading:
            # If the whole process stood still, the answer may have come unread: read it first.
            if not self._read(self._carrier.read):
                return False
            verdict = self._verdict(keepalive, now)
        if verdict is Verdict.DEAD:
            self._tell(self.life.failed, keepalive_timeout(self._options), None)
            return False
        # Control frames that wait are a sign that the peer reads nothing; one more is of no use.
        if verdict is Verdict.PING and not self.outbox.control_size:
            payload, _ = self.pings.new(b"", lambda: None)
            self.outbox.push_control(self.connection.ping(payload))
        # Not later than a sign of life, which may come meanwhile, makes the next ping due.
        self._due = min(keepalive.next_check(now), now + interval)
        return True

    def _verdict(self, keepalive: Keepalive, now: float) -> Verdict:
        heard_at, self._heard_at = self._heard_at, None
        if heard_at is not None:
            keepalive.heard_at = heard_at
        return keepalive.check(now, _descriptor.in_flight(self._carrier.socket))

    # -- reading -------------------------------------------------------------------------------

    def _read(self, read: Callable[[], bytes | memoryview | None]) -> bool:
        """Read what is there; false if nothing more will come."""
        self._readable = False
        try:
            data = read()
        except Exception as exc:  # noqa: BLE001 (whatever it is, the connection is of no more use)
            self._lost(exc)
            return False
        if data is None:
            return True
        if not data:
            self._lost(None)
            return False
        self.bytes_received += len(data)
        self._heard_at = self._now
        if self.outbox.tell is not None:
            with self.outbox.lock:
                pass  # what this may answer has been told of by now
        self._take(data)
        return True

    def _take(self, data: bytes | memoryview) -> None:
        """Act on what was read."""
        connection = self.connection
        messages = connection.receive_data(data, DROPPED if self.life.closed_here else self.inbox.room)
        if connection.pongs:
            for round_trip in self.pings.answered(connection.pongs):
                self.watch.call("ping_answered", round_trip)
        control = connection.control_to_send()
        if control:
            self.outbox.push_control(control)
        if messages and not self.life.closed_here:
            self.messages_received += len(messages)
            self.inbox.put(messages, connection.size_of_messages)
        if connection.news or self.inbox.in_parts:
            self._look()
        if connection.failure is not None or connection.peer_close is not None:
            self._tell(self.life.heard, self.connection)
        if connection.has_part and not self.life.closed_here and self._must_pause():
            self._paused = True
            self.consumer_wait.start()
            self.watch.call("reading_paused")
            if self._keepalive is not None:
                self._keepalive.pause()
        self._go_on()

    def _see_to_room(self, now: float) -> None:
        if self.inbox.in_parts:
            self._look()
        if self._paused and (self.life.closed_here or self._has_room):
            self._resume(now)

    def _must_pause(self) -> bool:
        self._full = self.connection.is_full
        return self._full or (not self.inbox.room and self.inbox.pause())

    @property
    def _has_room(self) -> bool:
        return not self.connection.is_full if self._full else self.inbox.resume_at < 0

    def _look(self) -> None:
        """See to messages that are handed out as they arrive."""
        if not self.inbox.look():
            self.outbox.push_control(self.connection.control_to_send())
            self._tell(self.life.heard, self.connection)

    def _resume(self, now: float) -> None:
        """The inbox has room; the silence is not held against the peer."""
        self._paused = False
        self.consumer_wait.stop()
        self.watch.call("reading_resumed")
        if self._keepalive is not None:
            self._keepalive.resume(now)
            self._heard_at = None
        self._go_on()

    # -- writing -------------------------------------------------------------------------------

    def _write(self) -> bool:
        """Write what goes without waiting; true if there may be more."""
        data = self.outbox.take(whole=self._carrier.committed)
        if data is None:
            self._hurry()
            return False
        try:
            written = self._carrier.write(data)
        except Exception as exc:  # noqa: BLE001 (as in reading)
            self.outbox.fail(exc)
            return True
        self._blocked = not written
        if self._blocked:
            self.peer_wait.start()
        if written:
            self.outbox.wrote(written)
        return not self._blocked

    def _notice_write_failure(self) -> None:
        """Nothing can be sent any more. What has arrived is still read, as far as it comes soon."""
        self._write_failed = True
        self._blocked = False
        self.peer_wait.stop()
        self.pings.forget()
        self._hurry()

    # -- ends ----------------------------------------------------------------------------------

    @property
    def failure(self) -> WebSocketException | None:
        return self.life.failure

    def _go_on(self) -> None:
        """Something came, or there is room again."""
        if self.life.sending is not None:
            self.life.progress(time.monotonic())
            self._hurry()

    def _hurry(self) -> None:
        """If the session is ending, keep its limit."""
        life, connection = self.life, self.connection
        if life.sending is not None:
            if (connection.peer_close or connection.failure) and not self.outbox.work:
                life.said(time.monotonic())
            self._deadline = life.deadline(paused=self._paused)

    def _tell(
        self, happened: Callable[..., int], *args: Any, code: int = 1000, reason: str = "", **options: Any
    ) -> int:
        """Something has happened that ends the session: do what that asks for."""
        with self.outbox.lock:  # a sender may find meanwhile that writing fails
            do = happened(*args, now=time.monotonic(), **options)
        if do & Do.DISCARD_OUT:
            self.outbox.discard()
        if do & Do.WAKE:
            self.inbox.end()
            self.outbox.end(self.connection.close(code, reason) if do & Do.CLOSE_FRAME else b"")
        if do & Do.FORGET_PINGS:
            self.pings.forget()
        if do & Do.DISCARD_IN:
            self.inbox.discard()
        if do:
            self._hurry()
        return do

    def _lost(self, cause: BaseException | None) -> None:
        """Nothing more will be received, and there is nothing to wait for."""
        self._tell(self.life.eof, cause)
        self._hurry()

    def begin_close(self, code: int, reason: str) -> None:
        """Close from our side: flush what was sent, then the close frame. Once all is done, for any thread."""
        self._tell(self.life.close, can_say=True, code=code, reason=reason)

    def drop(self) -> None:
        """Say goodbye if that takes no waiting, and close the connection. For whoever has the claim."""
        self.consumer_wait.stop()
        self.peer_wait.stop()
        try:
            try:
                self._say_goodbye()
            finally:
                self.outbox.discard()
                with contextlib.suppress(Exception):
                    # A connection that cannot be closed properly is gone all the same.
                    self._response.close()
        finally:
            self.poller.close()
            self.done.set()
            self.watch.closed(self.failure)

    def _say_goodbye(self) -> None:
        goodbye = b""
        with self.outbox.lock:
            do = self.life.drop(CLOSED, time.monotonic())
        if do & Do.WAKE:
            self.inbox.end()
            self.outbox.end()
            self.pings.forget()
        if do & Do.CLOSE_FRAME:
            goodbye = self.connection.close(1001, "")
        last = self.outbox.last_words(goodbye)
        if last:
            with contextlib.suppress(Exception):
                self.outbox.wrote_beside(last, self._carrier.write(memoryview(last)))
