"""The engine of one session: its loops, how it fails, how it ends.

How a session ends, and by when, is :class:`Life`'s to say; here is who does it. :meth:`Engine.run` is one task. It reads, and
looks after the peer's silence, for which its reading is interrupted when it is time; and it has one child, the send loop,
which is there while there is something to send if the carrier can write without waiting, and else always. Both stand in
one cancel scope, and whatever ends the session sets that scope's deadline, so that no peer can keep it from ending for
longer than ``close_timeout_seconds``; then the transport is dropped. A failure that no call has told the user of when its
grace is over, or when the block is left, is raised by :meth:`Engine.run` in the nursery that it runs in.
"""

from __future__ import annotations

import contextlib
import math
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, NoReturn

from httpx2_trio_ws._carriers import WRITE_SIZE, CarrierError
from httpx2_trio_ws._core._life import FAREWELL, Do, Life, keepalive_timeout
from httpx2_trio_ws._core._statistics import Stopwatch
from httpx2_trio_ws._core._watermarks import DROPPED, HIGH_WATER
from httpx2_trio_ws._protocol import Keepalive, Verdict

from ._inbox import Inbox
from ._outbox import Outbox
from ._pings import Pings

if TYPE_CHECKING:
    from httpx2_trio_ws._carriers import Carrier
    from httpx2_trio_ws._core._watch import Watch
    from httpx2_trio_ws._exceptions import WebSocketException
    from httpx2_trio_ws._options import SessionOptions
    from httpx2_trio_ws._protocol import Connection
    from httpx2_trio_ws._runtime import Runtime

# A write that waited for room and then went through: the peer took bytes, so it lives. A socket tells that it waited;
# of a stream, it is one that had no room and took so many seconds. Time alone does not tell: a busy program delays all.
# The second, likewise, for the statistics.
_STALL, _WAIT = 0.25, 0.001


class Engine:
    """See the module's text. The session's calls are in :mod:`._session`."""

    def __init__(
        self, runtime: Runtime, carrier: Carrier, connection: Connection, options: SessionOptions, watch: Watch
    ) -> None:
        self.runtime = runtime
        self.carrier = carrier
        self.connection = connection
        self.options = options
        self.watch = watch
        self.inbox = Inbox(runtime, connection, options.queue_size)
        self.outbox = Outbox(runtime, connection)
        self.pings = Pings(runtime, connection, self.outbox, watch)
        self.messages_received = 0
        self.bytes_received = 0
        #: Reading waits for the application; writing waits for the peer.
        self.consumer_wait = Stopwatch()
        self.peer_wait = Stopwatch()
        self.life = Life(options.close_timeout_seconds, options.failure_grace_seconds, carrier.linger_seconds)
        #: Set when nothing is left: no loop, no connection.
        self.done = runtime.event()
        interval = options.keepalive_ping_interval_seconds
        self._keepalive = (
            None if interval is None else Keepalive(interval, options.keepalive_ping_timeout_seconds, runtime.now())
        )
        self._scope = runtime.cancel_scope()
        # Made now, so that nothing that the end needs can fail to be made then.
        self._goodbye = runtime.cancel_scope(shield=True)
        self._closing = runtime.cancel_scope(shield=True)
        self._grace = options.failure_grace_seconds
        self._grace_over = runtime.event()
        self._read_all = False
        self._paused = False

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more."""
        return self.life.sending is not None

    @property
    def failure(self) -> WebSocketException | None:
        return self.life.failure

    # -- loops ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the session to its end. Raises its failure if that was told to nobody."""
        try:
            with self._scope:
                async with self.runtime.open_nursery() as loops:
                    start = partial(loops.start_soon, self._send_loop)
                    self.outbox.start_with(start, at_once=self.carrier.calls_back)
                    try:
                        await self._receive()
                    finally:
                        self.outbox.start_with(None)
                    loops.cancel_scope.cancel()
        except BaseException as exc:  # a bug of ours, or a hook's: it comes out below, and nobody is left waiting
            if not self.runtime.is_cancellation(exc):
                self._do(self.life.bug(exc, self.runtime.now()))
            raise
        finally:
            await self._drop()
            await self._tell()

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

    async def _receive(self) -> None:
        """Read to the end; when the peer has been silent for long enough, stop for a moment to see to that."""
        keepalive = self._keepalive
        look = math.inf if keepalive is None else keepalive.next_check(self.runtime.now())
        while True:
            with self.runtime.cancel_scope(deadline=look):
                await self._receive_loop()
                return
            assert keepalive is not None
            look = await self._see_to(keepalive)

    async def _see_to(self, keepalive: Keepalive) -> float:
        """The peer has been silent: ping it, or give it up. Returns when to look again."""
        if self.closed:
            return math.inf  # the session is ending, within a limit of its own
        verdict = keepalive.check(self.runtime.now())
        if verdict is Verdict.DEAD:
            # If the whole process stood still, the answer may have come unread: it is read next. If we do not read, as
            # the peer takes no pongs, what lies there says nothing.
            await self.runtime.checkpoint()
            await self.runtime.checkpoint()
            if self.carrier.has_unread and self.outbox.control_size <= HIGH_WATER:
                keepalive.heard(self.runtime.now())
            else:
                self._do(self.life.failed(keepalive_timeout(self.options), None, self.runtime.now()))
                self._scope.cancel()
        # Control frames that wait are a sign that the peer reads nothing; one more is of no use.
        elif verdict is Verdict.PING and not self.outbox.control_size:
            self.pings.send(b"", None)
        return keepalive.next_check(self.runtime.now())

    async def _receive_loop(self) -> None:
        carrier, connection = self.carrier, self.connection
        while True:
            await self._make_room()
            try:
                await carrier.pump(self._take)
            except CarrierError as exc:
                connection.receive_eof()
                self._do(self.life.eof(exc.__cause__, self.runtime.now()))
                return
            if self._read_all:
                connection.receive_eof()
                self._do(self.life.eof(None, self.runtime.now()))
                return

    def _take(self, data: bytes) -> bool:
        """Act on what was read; false if nothing more is to be read, or not at once."""
        if not data:
            self._read_all = True
            return False
        self.bytes_received += len(data)
        if self._keepalive is not None:
            self._keepalive.heard(self.runtime.now())
        return self._act(data)

    def _act(self, data: bytes) -> bool:
        """Act on bytes, or on those that were left; false if there is something to wait for before more."""
        connection, inbox, outbox, life = self.connection, self.inbox, self.outbox, self.life
        messages = connection.receive_data(data, DROPPED if life.closed_here else inbox.room)
        if messages and not life.closed_here:
            self.messages_received += len(messages)
            inbox.put(messages)
        if connection.news:
            inbox.arrived()
        if connection.pongs:
            self.pings.answered()
        control = connection.control_to_send()
        if control:
            outbox.push_control(control)
        if life.receiving is None:
            self._notice_end()
        if life.sending is not None:
            life.progress(self.runtime.now())
            self._hurry()
        return not (connection.has_input or outbox.control_size > HIGH_WATER or self._must_pause())

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
        life, connection = self.life, self.connection
        if (connection.peer_close or connection.failure) and self.outbox.is_empty:
            life.said(self.runtime.now())
        self._scope.deadline = life.deadline(paused=self.inbox.is_paused)

    async def _send_loop(self) -> None:
        carrier, outbox, runtime, peer_wait = self.carrier, self.outbox, self.runtime, self.peer_wait
        while True:
            data = outbox.take()
            if data is None:
                if self.life.sending is not None:
                    if self.failure is not None and runtime.now() >= self.life.failed_at + self._grace:
                        self._scope.cancel()  # the peer has been told why; nothing is left to wait for
                    self._hurry()
                if carrier.writes_now and not carrier.calls_back:
                    outbox.ends()  # lone messages do not need it, so an idle session has no such task
                    return
                await outbox.wait_work()
                continue
            began = runtime.now()
            peer_wait.since = monotonic()
            try:
                written = await carrier.write(data)
            except CarrierError as exc:
                peer_wait.stop()
                self.write_failed(exc)
                return
            outbox.wrote(written)
            waited = 0.0 if carrier.had_room else runtime.now() - began
            if not written or waited > _WAIT:
                peer_wait.stop()
                if self._keepalive is not None and (not written or waited > _STALL):
                    self._keepalive.heard(runtime.now())
            peer_wait.since = None
            # Whoever waited for this may go on now, and find us awake if it sends more at once.
            await runtime.checkpoint()
            await outbox.gather(self.life)

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
            self._go_on()

    def _do(self, do: Do) -> None:
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
        connection = self.connection
        if connection.failure is not None or connection.peer_close is not None:  # asked for each read: flags are slow
            self._do(self.life.heard(connection, self.runtime.now()))

    def write_failed(self, exc: CarrierError) -> None:
        """Nothing can be sent any more."""
        self._do(self.life.write_failed(exc.__cause__, self.runtime.now()))

    def begin_close(self, code: int, reason: str) -> None:
        """Close from our side: flush what was sent, then the close frame. Does not wait."""
        do = self.life.close(self.runtime.now(), can_say=self.connection.is_open)
        try:
            if do & Do.CLOSE_FRAME:
                self.outbox.push_frame(self.connection.close(code, reason))
        finally:  # whatever a hook raises, the session has ended, and within its limit
            self._do(do)
            self._grace_over.set()  # a failure that was not told is raised now

    def cancel(self) -> None:
        """Drop the connection now. Does not wait."""
        self._scope.cancel()

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
                with self._closing, contextlib.suppress(Exception):
                    # A connection that cannot be closed properly is gone all the same.
                    try:
                        self._closing.deadline = self.runtime.now() + FAREWELL
                    finally:
                        await self.carrier.aclose()
        finally:
            self.done.set()
            self.watch.closed(self.failure)

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
        with contextlib.suppress(Exception), self._goodbye:  # as in closing
            self._goodbye.deadline = self.runtime.now() + FAREWELL
            if carrier.writes_now:
                outbox.wrote_beside(rest, carrier.write_now(rest))
            else:
                while rest:
                    written = await carrier.write(memoryview(rest))
                    outbox.wrote_beside(rest, written)
                    rest = rest[written:]
