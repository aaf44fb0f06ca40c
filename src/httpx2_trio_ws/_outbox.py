"""Frames on their way out.

Three places, in the order in which they are written:

1. the rest of a frame of which a part is on the wire already;
2. control frames: pongs, pings, the close frame that answers the peer's;
3. messages, in the order of the calls, and after them the close frame of our own ``close()``.

Control frames thus wait for the frame now on the wire, and for nothing else of ours. Messages are
coalesced: the send loop takes all that have gathered, up to :data:`BATCH` bytes, in one write.

``idle`` is true while the send loop sleeps with nothing to write. Whoever sends then may write on its own
(a *lone* message); whoever sends while it is not is part of a *burst*, and leaves the frame here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._runtime import Event, Runtime

BATCH = 65536
# Above so many bytes queued, senders wait; they go on below a quarter of that.
HIGH_WATER = 65536
LOW_WATER = HIGH_WATER // 4


class _Turn:
    """A sender that waits for room."""

    __slots__ = ("came", "encode", "event")

    def __init__(self, event: Event, encode: Callable[[], bytes] | None) -> None:
        self.event = event
        self.encode = encode
        self.came = False


class Outbox:
    """The frames of one session that wait to be written."""

    __slots__ = (
        "_batch",
        "_control",
        "_discarded",
        "_drained",
        "_frames",
        "_handed",
        "_on_wire",
        "_pushed",
        "_runtime",
        "_turns",
        "_wake",
        "_written",
        "control_size",
        "idle",
        "size",
    )

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._frames: deque[bytes] = deque()
        self._control: list[bytes] = []
        self._on_wire: memoryview | None = None
        # The message frames in what is now on the wire, to find the next place between two frames.
        self._batch: list[bytes] = []
        self._wake: Event = runtime.event()
        # Senders that wait for their turn, and senders that wait until frame number n is written.
        self._turns: deque[_Turn] = deque()
        self._discarded = False
        self._handed: deque[tuple[int, Event]] = deque()
        self._drained: Event | None = None
        self._pushed = 0
        self._written = 0
        #: Bytes of messages that have not been handed to the transport.
        self.size = 0
        #: Bytes of control frames that wait.
        self.control_size = 0
        #: The send loop sleeps and nothing waits.
        self.idle = True

    # -- for senders ---------------------------------------------------------------------------

    @property
    def must_wait(self) -> bool:
        """Too much is queued, or others wait already: :meth:`wait_turn` instead of a push."""
        return self.size > HIGH_WATER or bool(self._turns)

    async def wait_turn(self, encode: Callable[[], bytes] | None = None) -> bool:
        """Wait until there is room, first come first served; false if the session has ended before.

        Args:
            encode: makes the frame, which is pushed as soon as there is room for it, not when the task runs again.
                So those that wait do not go out one by one, each after a trip through the scheduler.
        """
        turn = _Turn(self._runtime.event(), encode)
        self._turns.append(turn)
        try:
            await turn.event.wait()
        except BaseException:
            if turn in self._turns:
                self._turns.remove(turn)
            raise
        return turn.came

    def _admit(self) -> None:
        """Push what waits, as far as there is room."""
        while self._turns and self.size <= HIGH_WATER:
            turn = self._turns.popleft()
            turn.came = True
            if turn.encode is not None:
                self.push(turn.encode())
            turn.event.set()

    def push(self, frame: bytes) -> None:
        """Queue a message's frame, or our own close frame after the messages before it."""
        self._frames.append(frame)
        self.size += len(frame)
        self._pushed += 1
        self.wake()

    def push_rest(self, frame: bytes, written: int) -> None:
        """Queue a frame of which the sender has written a part. Only while :attr:`idle`."""
        self._on_wire = memoryview(frame)[written:]
        self._batch = [frame]
        self.size += len(frame) - written
        self._pushed += 1
        self.wake()

    def push_control(self, frames: bytes) -> None:
        """Queue control frames, ahead of the messages."""
        self._control.append(frames)
        self.control_size += len(frames)
        self.wake()

    def wake(self) -> None:
        """Have the send loop look; until it has, senders are part of a burst."""
        self.idle = False
        self._wake.set()

    async def wait_handed(self) -> bool:
        """Wait until what was pushed last has been handed to the transport; false if it never will be."""
        number = self._pushed
        handed = self._runtime.event()
        self._handed.append((number, handed))
        await handed.wait()
        return self._written >= number

    async def wait_control(self) -> None:
        """Wait until the control frames that wait now are being written, or never will be."""
        if self._drained is None:
            self._drained = self._runtime.event()
        await self._drained.wait()

    @property
    def only_control(self) -> bool:
        """Control frames are being written, and nothing else waits: a message now is a lone one."""
        return not self.size and (self._on_wire is not None or bool(self._control))

    # -- for the send loop ---------------------------------------------------------------------

    async def wait_work(self) -> None:
        """Sleep until something is queued."""
        self._wake = self._runtime.event()
        self.idle = True
        await self._wake.wait()

    def take(self) -> memoryview | None:
        """What to write next; :meth:`wrote` tells how much of it was. ``None`` if there is nothing."""
        if self._on_wire is None:
            if self._control:
                self._batch = []
                self._on_wire = memoryview(b"".join(self._control))
                self._clear_control()
            elif self._frames:
                self._take_batch()
        elif self._control and self._batch:
            self._cut_batch()
        return self._on_wire

    def _take_batch(self) -> None:
        frames, batch = self._frames, self._batch
        batch.clear()
        size = 0
        while frames and (not batch or size + len(frames[0]) <= BATCH):
            frame = frames.popleft()
            size += len(frame)
            batch.append(frame)
        self._on_wire = memoryview(b"".join(batch) if len(batch) > 1 else batch[0])

    def _cut_batch(self) -> None:
        """Control frames wait: finish the frame that is part written, and put the others back."""
        assert self._on_wire is not None
        left = len(self._on_wire)
        whole = 0
        while self._batch and whole + len(self._batch[-1]) <= left:
            frame = self._batch.pop()
            whole += len(frame)
            if self._discarded:
                self.size -= len(frame)
            else:
                self._frames.appendleft(frame)
        self._on_wire = self._on_wire[: left - whole] if left > whole else None
        if self._on_wire is None:
            self._batch_done()
            self.take()

    def wrote(self, count: int) -> None:
        """``count`` bytes of what :meth:`take` gave have been handed to the transport."""
        assert self._on_wire is not None
        self._on_wire = self._on_wire[count:]
        if self._batch:
            self.size -= count
        if not self._on_wire:
            self._on_wire = None
            self._batch_done()
        if self.size <= LOW_WATER:
            self._admit()

    def _batch_done(self) -> None:
        self._written += len(self._batch)
        self._batch.clear()
        handed = self._handed
        while handed and handed[0][0] <= self._written:
            handed.popleft()[1].set()

    # -- for the end ---------------------------------------------------------------------------

    @property
    def between_frames(self) -> bool:
        """No frame is part written."""
        return self._on_wire is None

    @property
    def is_empty(self) -> bool:
        """Nothing waits and nothing is on the wire."""
        return self._on_wire is None and not self._control and not self._frames

    def rest(self, size: int) -> bytes:
        """What waits, in order, in whole frames up to ``size`` bytes, for a last try. Only :attr:`between_frames`."""
        rest = b"".join(self._control)
        for frame in self._frames:
            if len(rest) + len(frame) > size:
                break
            rest += frame
        return rest

    def discard(self) -> None:
        """Write no more messages, apart from the one that is part written."""
        self._discarded = True
        self.size -= sum(map(len, self._frames))
        self._frames.clear()
        self.release_turns()
        for _, handed in self._handed:
            handed.set()
        self._handed.clear()

    def broken(self) -> None:
        """Nothing can be written any more."""
        self._on_wire = None
        self._clear_control()
        self.discard()

    def _clear_control(self) -> None:
        self._control.clear()
        self.control_size = 0
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def release_turns(self) -> None:
        """Let senders that have pushed nothing go; each finds out on its own what happened."""
        for turn in self._turns:
            turn.event.set()
        self._turns.clear()
