"""What an engine writes: what takes no waiting at once, and the rest in the send loop.

The send loop is a task in the session's nursery, from the first moment at which something waits to be written: while that
lasts if the carrier can write without waiting, and else to the end. What is not to be gathered with others, pongs and close
frames, is written where it turns up, as far as that takes no waiting.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from httpx2_trio_ws._carriers import CarrierError
from httpx2_trio_ws._core._statistics import UNUSED

if TYPE_CHECKING:
    from httpx2_trio_ws._carriers import Carrier
    from httpx2_trio_ws._core._life import Life
    from httpx2_trio_ws._protocol import Keepalive
    from httpx2_trio_ws._runtime import CancelScope, Event, Nursery, Runtime

    from ._outbox import Outbox

# A write that waited for room and then went through: the peer took bytes, so it lives. A socket tells that it waited;
# of a stream, it is one that had no room and took so many seconds. Time alone does not tell: a busy program delays all.
# The second, likewise, for the statistics.
_STALL, _WAIT = 0.25, 0.001


class SendingEngine:
    """This part of an engine."""

    __slots__ = ("_nursery", "_over", "_sending", "_sent", "_start_due", "peer_wait")

    if TYPE_CHECKING:
        runtime: Runtime
        carrier: Carrier
        outbox: Outbox
        life: Life
        _keepalive: Keepalive | None

        def write_failed(self, exc: CarrierError) -> None: ...
        def _hurry(self) -> None: ...
        def _note_bug(self, exc: BaseException) -> None: ...

    def __init__(self) -> None:
        self._nursery: Nursery | None = None
        # Nothing more is to be waited for.
        self._over = False
        # What the send loop stands in while it runs; and what its end is waited for with.
        self._sending: CancelScope | None = None
        self._sent: Event | None = None
        # The reading task is to start it, as it is wanted where no task runs.
        self._start_due = False
        #: Writing waits for the peer.
        self.peer_wait = UNUSED

    def _send_in(self, nursery: Nursery) -> None:
        """From here on, something may be written. The nursery stays open until :meth:`_end_sending` has returned."""
        self._nursery = nursery
        self.outbox.start_with(self)

    def write_at_once(self) -> bool:
        """Write what waits as far as that takes no waiting; true if nothing is left."""
        carrier, outbox = self.carrier, self.outbox
        if not carrier.writes_now:
            return False
        while (data := outbox.take()) is not None:
            try:
                written = carrier.write_now(data)
            except CarrierError as exc:
                self.write_failed(exc)
                break
            outbox.wrote(written)
            if written < len(data):
                return False
        return True

    def start_sending(self) -> None:
        """Something waits to be written: start the send loop, or have it started."""
        assert self._nursery is not None
        # In a callback of the loop's own, where no task runs, asyncio's task groups start nothing.
        if self.runtime.current_task() is None:
            self._start_due = True
        else:
            self._nursery.start_soon(self._send_loop)

    async def _send_loop(self) -> None:
        try:
            with self.runtime.cancel_scope() as scope:
                if self._over:
                    return  # before this began
                self._sending = scope
                await self._write_all()
        except BaseException as exc:
            self._note_bug(exc)
            raise
        finally:
            self._sending = None
            if self._sent is not None:
                self._sent.set()

    async def _end_sending(self) -> None:
        """Nothing more is to be written: wait until the send loop is gone, and have no other one."""
        self._over = True
        self.outbox.start_with(None)
        if self._sending is not None:
            self._sending.cancel()
            self._sent = self.runtime.event()
            with self.runtime.cancel_scope(shield=True):
                await self._sent.wait()

    async def _write_all(self) -> None:
        carrier, outbox, runtime = self.carrier, self.outbox, self.runtime
        peer_wait = self.peer_wait = self.peer_wait.ready()
        while True:
            data = outbox.take()
            if data is None:
                if self.life.sending is not None:
                    self._hurry()
                if carrier.writes_now:
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
                    self._keepalive.heard_at = runtime.now()
            peer_wait.since = None
            # Whoever waited for this may go on now, and find us awake if it sends more at once.
            await runtime.checkpoint()
            await outbox.gather(self.life)
