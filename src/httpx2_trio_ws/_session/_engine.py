"""The engine of one session: its loops, how it fails, how it ends.

How a session ends, and by when, is :class:`Life`'s to say; here is who does it. :meth:`Engine.run` is one task. It reads, and
looks after the peer's silence. For both, its reading stands in a cancel scope: that is left when it is time to look, or
when all is over, so that no peer can keep a session from ending for longer than ``close_timeout_seconds``; then the
transport is dropped. Beside it in the same nursery is the send loop (:mod:`._sending`), while something waits to be written.
A failure that no call has told the user of when its grace is over, or when the block is left, is raised by
:meth:`Engine.run` in the nursery that it runs in.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, NoReturn

from httpx2_trio_ws._carriers import WRITE_SIZE, CarrierError
from httpx2_trio_ws._core._life import FAREWELL, Do, Life, keepalive_timeout
from httpx2_trio_ws._core._statistics import UNUSED
from httpx2_trio_ws._core._watermarks import DROPPED, HIGH_WATER
from httpx2_trio_ws._protocol import Keepalive, Verdict

from ._inbox import Inbox
from ._late import LateEvent
from ._outbox import Outbox
from ._pings import Pings
from ._sending import SendingEngine

if TYPE_CHECKING:
    from httpx2_trio_ws._carriers import Carrier
    from httpx2_trio_ws._core._watch import Watch
    from httpx2_trio_ws._exceptions import WebSocketException
    from httpx2_trio_ws._options import SessionOptions
    from httpx2_trio_ws._protocol import Connection
    from httpx2_trio_ws._runtime import CancelScope, Nursery, Runtime


_NAME = f"{__name__}.Engine.run"  # as event loops call the task, but one for all


class Engine(SendingEngine):
    """See the module's text. The session's calls are in :mod:`._session`."""

    __slots__ = (
        "__weakref__",
        "_grace",
        "_grace_over",
        "_keepalive",
        "_limit",
        "_look",
        "_paused",
        "_read_all",
        "_reading",
        "bytes_received",
        "carrier",
        "connection",
        "consumer_wait",
        "done",
        "inbox",
        "life",
        "messages_received",
        "options",
        "outbox",
        "pings",
        "runtime",
        "watch",
    )

    def __init__(
        self, runtime: Runtime, carrier: Carrier, connection: Connection, options: SessionOptions, watch: Watch
    ) -> None:
        super().__init__()
        self.runtime = runtime
        self.carrier = carrier
        self.connection = connection
        self.options = options
        self.watch = watch
        self.inbox = Inbox(runtime, connection, options.queue_size, carrier.turn)
        self.outbox = Outbox(runtime, connection)
        self.pings = Pings(runtime, connection, self.outbox, watch)
        self.messages_received = 0
        self.bytes_received = 0
        #: Reading waits for the application.
        self.consumer_wait = UNUSED
        self.life = Life(options.close_timeout_seconds, options.failure_grace_seconds, carrier.linger_seconds)
        #: Set when nothing is left: no loop, no connection.
        self.done = LateEvent(runtime)
        interval, timeout = options.keepalive_ping_interval_seconds, options.keepalive_ping_timeout_seconds
        self._keepalive = None if interval is None else Keepalive(interval, timeout, runtime.now())
        self._grace = options.failure_grace_seconds
        self._grace_over = LateEvent(runtime)
        self._read_all = self._paused = False
        # When nothing more is to be waited for, whatever the peer does, if that is known.
        self._limit = math.inf
        # When to look after the peer's silence, and what reading stands in until then.
        self._look = math.inf
        self._reading: CancelScope | None = None

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more."""
        return self.life.sending is not None

    @property
    def failure(self) -> WebSocketException | None:
        return self.life.failure

    # -- loops ---------------------------------------------------------------------------------

    def start(self, nursery: Nursery) -> None:
        """Run in a nursery."""
        nursery.start_soon(self.run, name=_NAME)
        self._send_in(nursery)

    async def run(self) -> None:
        """Run the session to its end. Raises its failure if that was told to nobody."""
        keepalive = self._keepalive
        try:
            if keepalive is not None:
                self._look = keepalive.next_check(self.runtime.now())
            while not self._over:
                # Read until it is time to look after the peer's silence. All that is waited in is one coroutine, as each
                # more would hold a frame.
                with self.runtime.reading_scope(self.carrier, min(self._look, self._limit)) as self._reading:
                    cause = None
                    try:
                        while not self._read_all:
                            if self._start_due:  # before anything is waited for, which may be what it writes
                                self._start_due = False
                                self.start_sending()
                            await self._make_room()
                            await self.carrier.pump(self._take)
                    except CarrierError as exc:
                        cause = exc.__cause__
                    self.connection.receive_eof()
                    self._do(self.life.eof(cause, self.runtime.now()))
                    break
                if self.runtime.now() >= self._limit:
                    break
                if keepalive is not None and not self._over:
                    self._look = await self._see_to(keepalive)
        except BaseException as exc:
            if self.runtime.is_cancellation(exc):
                # Who waits in a call is cancelled, too, and is not to be told of the session's end before that. asyncio's
                # scopes take a turn for it.
                with self.runtime.cancel_scope(shield=True):
                    await self.runtime.checkpoint()
            self._note_bug(exc)
            raise
        finally:
            try:
                await self._end_sending()
            finally:
                await self._drop()
                await self._tell()

    def _note_bug(self, exc: BaseException) -> None:
        """A bug of ours, or a hook's, comes out of the nursery, and nobody is left waiting."""
        if not self.runtime.is_cancellation(exc):
            self._do(self.life.bug(exc, self.runtime.now()))

    async def _tell(self) -> None:
        """Raise a failure that no call has told when its grace is over, or when the block is left."""
        life = self.life
        if life.failure is None or life.told:
            return
        try:
            with self.runtime.cancel_scope(deadline=life.failed_at + self._grace):
                await self._grace_over.wait()
        finally:
            # Also if we are cancelled here: then the block is being left, and a failure must not be lost on the way.
            if not life.told:
                raise life.failure._again()

    async def _see_to(self, keepalive: Keepalive) -> float:
        """The peer has been silent: ping it, or give it up. Returns when to look again."""
        if self.closed:
            return math.inf  # the session is ending, within a limit of its own
        self.connection.rest()
        self.inbox.rest()
        verdict = keepalive.check(self.runtime.now(), self.carrier.in_flight)
        if verdict is Verdict.DEAD:
            # If the whole process stood still, the answer may have come unread: it is read next. If we do not read, as
            # the peer takes no pongs, what lies there says nothing.
            await self.runtime.checkpoint()
            await self.runtime.checkpoint()
            if self.carrier.has_unread and self.outbox.control_size <= HIGH_WATER:
                keepalive.heard_at = self.runtime.now()
            else:
                self._do(self.life.failed(keepalive_timeout(self.options), None, self.runtime.now()))
                self._over = True
        # Control frames that wait are a sign that the peer reads nothing; one more is of no use.
        elif verdict is Verdict.PING and not self.outbox.control_size:
            self.pings.send(b"", None)
        return keepalive.next_check(self.runtime.now())

    def _take(self, data: bytes | memoryview) -> bool:
        """Act on what was read; false if nothing more is to be read, or not at once."""
        if not data:
            self._read_all = True
            return False
        self.bytes_received += len(data)
        if self._keepalive is not None:
            self._keepalive.heard_at = self.outbox.now()
        return self._act(data)

    def _act(self, data: bytes | memoryview) -> bool:
        """Act on bytes, or on those that were left; false if there is something to wait for before more."""
        connection, life = self.connection, self.life
        messages = connection.receive_data(data, DROPPED if life.closed_here else self.inbox.room)
        if messages and not life.closed_here:
            self.messages_received += len(messages)
            self.inbox.put(messages, connection.size_of_messages)
        return (connection.plain and life.sending is None) or self._act_on_the_rest()

    def _act_on_the_rest(self) -> bool:
        """Likewise, on what came beside whole messages, or when the session is ending."""
        connection, outbox, life = self.connection, self.outbox, self.life
        if connection.news:
            self.inbox.arrived()
        if connection.pongs:
            self.pings.answered()
        if control := connection.control_to_send():
            outbox.push_control(control)
        if life.receiving is None:
            self._notice_end()
        if life.sending is not None:
            life.progress(self.runtime.now())
            self._hurry()
        return not (connection.has_input or outbox.control_size > HIGH_WATER or self._start_due or self._must_pause())

    def _must_pause(self) -> bool:  # not before a message comes that does not fit
        connection = self.connection
        return connection.has_part and not self.life.closed_here and (not self.inbox.room or connection.is_full)

    async def _make_room(self) -> None:
        """Wait until there is room, and act on what was left. It may be interrupted while it waits, and called again."""
        while True:
            if self.outbox.control_size > HIGH_WATER:
                # A peer that pings and does not read its pongs: let it wait, not our memory grow. Its silence
                # counts: it takes nothing, so it may well be dead.
                await self.outbox.wait_control()
            if self._paused or self._must_pause():
                await self._pause()
            elif self.connection.has_input:
                await self.runtime.checkpoint()  # much has been done without waiting: let others run
            self._go_on()
            if not self.connection.has_input or self._act(b""):
                return

    async def _pause(self) -> None:
        """Stop reading until the inbox has room; the silence is not held against the peer."""
        if not self._paused:
            self._paused = True
            if self._keepalive is not None:
                self._keepalive.pause()
            self.inbox.pause()
            self._go_on()
            self.consumer_wait = self.consumer_wait.ready()
            self.consumer_wait.start()
            self.watch.call("reading_paused")
        await self.inbox.wait_room()
        self._paused = False
        self.consumer_wait.stop()
        self.watch.call("reading_resumed")
        if self._keepalive is not None:
            self._keepalive.resume(self.runtime.now())

    def _go_on(self) -> None:
        """Reading has paused, or goes on."""
        if self.life.draining:
            self.life.progress(self.runtime.now())
            self._hurry()

    def _hurry(self) -> None:
        """The session is ending: keep its limit."""
        life, connection, now = self.life, self.connection, self.runtime.now()
        if self.outbox.is_empty and (connection.peer_close or connection.failure):
            life.said(now)
            if life.failure is not None and now >= life.failed_at + self._grace:
                self.cancel()  # the peer has been told why; nothing is left to wait for
        self._limit = life.deadline(paused=self.inbox.is_paused)
        if self._reading is not None:
            self._reading.deadline = min(self._look, self._limit)

    # -- ends ----------------------------------------------------------------------------------

    def raise_ended(self, error: WebSocketException | None) -> NoReturn:
        """Raise what ended the session, in one more task; a failure is told by this."""
        error = error or self.life.sending  # nothing but a write has failed yet, and this waits for a pong
        assert error is not None
        self.told()
        raise error._again()

    def raise_no_message(self) -> NoReturn:
        """Raise why there is none: the session has ended, or the next one is too large to be received whole."""
        if self.life.receiving is None:
            self.connection.refuse()
            self.outbox.push_control(self.connection.control_to_send())
            self._notice_end()
        self.raise_ended(self.life.receiving)

    def told(self) -> None:
        """The user knows of a failure, or does not want to: it is not raised in the nursery."""
        if not self.life.told:
            self.life.told = True
            self._grace_over.set()
            self._hurry()  # where the queue is full, that changes the limit; else, nothing has come

    def _do(self, do: int) -> None:
        """What the session's end asks for."""
        if do & Do.BREAK_OUT:
            self.outbox.broken()
        if do & Do.DISCARD_OUT:
            self.outbox.discard()
        if do & Do.WAKE:
            self.inbox.wake()
            self.outbox.release_turns()
        if do & Do.FORGET_PINGS:
            self.pings.forget()
        if do & Do.DISCARD_IN:
            self.inbox.discard()
        if do:
            self._hurry()

    def _notice_end(self) -> None:
        """End the session if what was just received does."""
        if self.connection.failure is not None or self.connection.peer_close is not None:
            self._do(self.life.heard(self.connection, self.runtime.now()))

    def write_failed(self, exc: CarrierError) -> None:
        """Nothing can be sent any more."""
        self._do(self.life.write_failed(exc.__cause__, self.runtime.now()))

    def begin_close(self, code: int, reason: str) -> None:
        """Close from our side: flush what was sent, then the close frame. Does not wait."""
        do = self.life.close(self.runtime.now(), can_say=self.connection.is_open)
        try:
            if do & Do.CLOSE_FRAME:
                self.outbox.push_close(self.connection.close(code, reason))
        finally:  # whatever a hook raises, the session has ended, and within its limit
            self._do(do)
            self._grace_over.set()  # a failure that was not told is raised now

    def cancel(self) -> None:
        """Drop the connection now. Does not wait."""
        self._over = True
        if self._reading is not None:
            self._reading.cancel()

    def leave(self) -> None:
        """The block is left: a failure that was not told is raised now."""
        self._grace_over.set()

    async def _drop(self) -> None:
        """Say goodbye if that takes no waiting, and close the connection. Whatever fails in it, all who wait are woken."""
        try:
            try:
                await self._say_goodbye()
            finally:
                self.outbox.discard()
                self.carrier.said_all = self.connection.peer_close is not None
                await self._close_carrier()
        finally:
            self.done.set()
            self.watch.closed(self.failure)

    async def _close_carrier(self) -> None:
        try:
            limit = self.runtime.cancel_scope(deadline=self.runtime.now() + FAREWELL, shield=True)
        except BaseException:
            await self.carrier.aclose()  # all the same
            raise
        with limit, contextlib.suppress(Exception):
            # A connection that cannot be closed properly is gone all the same.
            await self.carrier.aclose()

    async def _say_goodbye(self) -> None:
        self.consumer_wait.stop()
        self.peer_wait.stop()
        outbox, carrier = self.outbox, self.carrier
        do = self.life.drop("the session was cancelled", self.runtime.now())
        try:
            goodbye = self.connection.close(1001, "") if do & Do.CLOSE_FRAME else b""
        finally:
            self._do(do)
        rest = outbox.rest(WRITE_SIZE) + goodbye if outbox.between_frames else b""
        with contextlib.suppress(Exception):  # as in closing
            if not rest:
                return
            if carrier.writes_now:
                outbox.wrote_beside(rest, carrier.write_now(rest))
                return
            with self.runtime.cancel_scope(deadline=self.runtime.now() + FAREWELL, shield=True):
                while rest:
                    written = await carrier.write(memoryview(rest))
                    outbox.wrote_beside(rest, written)
                    rest = rest[written:]
