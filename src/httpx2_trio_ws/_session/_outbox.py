"""The frames of a session on an event loop, and who waits for them.

``idle`` is true while the send loop sleeps, or is not there, as there is nothing to write. Whoever sends then may write
on its own (a *lone* message). Whoever sends while it is not, or very soon after a lone message and without having waited
for anything of the session, is part of a *burst*, and leaves the message here.

A message that is sent in parts has its turn like any other, which lasts until its last frame has been taken; all who send
meanwhile wait for that.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from httpx2_trio_ws._core._frames import FrameQueue
from httpx2_trio_ws._core._watermarks import HIGH_WATER, LOW_WATER
from httpx2_trio_ws._protocol import TEXT

from ._inbox import MISUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx2_trio_ws._core._life import Life
    from httpx2_trio_ws._protocol import Connection, Outgoing
    from httpx2_trio_ws._runtime import Event, Runtime


# A write costs some ten microseconds. Who sends again so soon after one is about to pay that more often than need be.
_BURST = 100e-6
# A queued message's size is its payload's and this, the framing of a small one. So empty messages count, too.
_FRAMING = 6
# A write of some bytes costs as much as gathering that many more.
_WORTH_A_WRITE = 16384


@dataclass(eq=False, slots=True)
class _Turn:
    """A sender that waits for room."""

    event: Event
    message: tuple[bytes, int] | None
    outgoing: Outgoing | None
    came: bool = False


class _Writer(Protocol):
    def start_sending(self) -> None: ...  # in the send loop
    def write_at_once(self) -> bool: ...  # what takes no waiting; true if nothing is left


# What an outbox has until somebody waits; nothing is ever put into it.
_NO_TURNS: OrderedDict[_Turn, None] = OrderedDict()


class Outbox(FrameQueue):
    """The frames of one session that wait to be written."""

    __slots__ = (
        "_connection",
        "_drained",
        "_dropped",
        "_handed",
        "_kind",
        "_owner",
        "_payloads",
        "_room",
        "_runtime",
        "_turns",
        "_wake",
        "_writer",
        "credit",
        "idle",
        "last_lone",
        "now",
    )

    def __init__(self, runtime: Runtime, connection: Connection) -> None:
        self._runtime = runtime
        self._connection = connection
        super().__init__(connection.on_written)
        # Payloads, all of one kind, whose frames are made when they are taken: that takes half as long when it is done
        # for many at once.
        self._payloads: list[bytes] = []
        self._kind = TEXT
        self._wake: Event | None = None
        self._writer: _Writer | None = None
        # Senders that wait for their turn, and senders that wait until frame number n is written.
        self._turns: OrderedDict[_Turn, None] = _NO_TURNS
        # The task whose message in parts it is now, for which all others of its would wait for ever; and what that waits for.
        self._owner: object = None
        self._room: Event | None = None
        self._dropped = 0
        self._handed: list[tuple[int, Event]] = []
        self._drained: Event | None = None
        #: The send loop sleeps, or is not there, and nothing waits.
        self.idle = True
        #: Tells the time.
        self.now = runtime.clock()
        #: When the last lone message had been written; ``None`` if somebody has waited for anything of the session since.
        self.last_lone: float | None = None
        #: So many messages may be left with :meth:`deposit` with nothing else to be asked: a burst goes on. Who leaves
        #: one takes one off.
        self.credit = 0

    # -- for senders ---------------------------------------------------------------------------

    def is_lone(self) -> bool:
        """A message that is sent now is before no other: none waits, nor was one written just now. Control frames may wait."""
        if self._turns or self._outgoing is not None:
            return False
        if not self.idle:
            return not self.size and (self._wire is not None or bool(self._control))
        return self.last_lone is None or self.now() - self.last_lone >= _BURST

    def write(self, payload: bytes, kind: int, write_now: Callable[[bytes], int]) -> bool:
        """Write a lone message as far as takes no waiting; false if that is not all, and the send loop has the rest."""
        if not self.idle:
            self.push(payload, kind)
            return False
        large, written = self._connection.encode_large(payload, kind), 0
        part = self._connection.encode(payload, kind) if large is None else large.part(0)
        while part:
            count = write_now(part)
            self.wrote_beside(part, count)
            written += count
            if count < len(part):
                rest = part[count:] if large is None else large.rest(written)
                if written:
                    self.add_rest(rest)
                else:
                    self.add_frame(rest)
                self.wake()
                return False
            part = b"" if large is None else large.part(written)
        self.last_lone = self.now()
        return True

    @property
    def must_wait(self) -> bool:
        """Too much is queued, or others wait already: :meth:`wait_turn` instead of a push."""
        return self.size > HIGH_WATER or bool(self._turns) or self._outgoing is not None

    @property
    def messages_sent(self) -> int:
        """How many messages were accepted, those included of which no frame was made."""
        return self._connection.messages_sent + len(self._payloads) + self._dropped

    async def wait_turn(self, message: tuple[bytes, int] | None = None, *, outgoing: Outgoing | None = None) -> bool:
        """Wait until there is room, first come first served; false if the session has ended before.

        Always a schedule point, also where there is room: others that send meanwhile wait behind.

        Args:
            message: a payload and its kind, TEXT or BINARY. It is pushed as soon as there is room for it, not when
                the task runs again. So those that wait do not go out one by one, each after a trip through the
                scheduler.
            outgoing: likewise, a message in parts.

        Raises:
            RuntimeError: it would be waited for ever, as the task has one in its hands.
        """
        if self._owner is not None and self._outgoing is not None and self._owner == self._runtime.current_task():
            raise RuntimeError(MISUSED.format("send_stream()"))
        turn = _Turn(self._runtime.event(), message, outgoing)
        if not self.must_wait:
            turn.event.set()
        if self._turns is _NO_TURNS:
            self._turns = OrderedDict()
        self._turns[turn] = None
        try:
            await turn.event.wait()
        except BaseException:
            self._turns.pop(turn, None)
            raise
        finally:
            self._admit()
        return turn.came

    def _admit(self) -> None:
        """Push what waits, as far as there is room."""
        while self._turns and self.size <= HIGH_WATER and self._outgoing is None:
            turn, _ = self._turns.popitem(last=False)
            turn.came = True
            self._outgoing = turn.outgoing
            if turn.message is not None:
                self.push(*turn.message)
            turn.event.set()
        if self._room is not None and self.gathered <= HIGH_WATER:
            self._room.set()

    # -- for messages in parts -----------------------------------------------------------------

    async def begin(self, outgoing: Outgoing, owner: object) -> None:
        """Wait for the turn of a message in parts, which :meth:`complete` or :meth:`withdraw` ends, or the session's end.

        Args:
            outgoing: it.
            owner: the task that sends it.
        """
        try:
            if await self.wait_turn(outgoing=outgoing):
                self._owner = owner
        except BaseException:
            self.withdraw(outgoing)
            raise

    async def wait_room(self) -> None:
        """Wait until there is room for a part of it, or no part can be sent. Always a schedule point."""
        self._room = self._runtime.event()
        if self.gathered <= HIGH_WATER or self._outgoing is None:
            self._room.set()
        await self._room.wait()

    def add(self, outgoing: Outgoing, part: bytes) -> None:
        """Queue a part."""
        outgoing.add(part)
        self.wake()

    def complete(self, outgoing: Outgoing) -> None:
        """All parts have been added."""
        outgoing.complete = True
        self._owner = None
        self.wake()

    def withdraw(self, outgoing: Outgoing) -> None:
        """Nothing has been added, and nothing will be."""
        if self._outgoing is outgoing:
            self._outgoing = None
            self._on_outgoing(outgoing)

    def _on_outgoing(self, outgoing: Outgoing) -> None:  # noqa: ARG002
        self._owner = None
        self._admit()

    def deposit(self, payload: bytes, kind: int) -> None:
        """Queue a message while the send loop is awake."""
        if kind != self._kind:
            self._make_frames()
            self._kind = kind
        self._payloads.append(payload)
        self.size += len(payload) + _FRAMING
        if self.size > HIGH_WATER:
            self.credit = 0

    def grant(self, calls: int) -> int:
        """Set :attr:`credit` to ``calls`` if a burst goes on; return it."""
        self.credit = 0 if self.idle or self.must_wait or not self.size or self._discarded else calls
        return self.credit

    def push(self, payload: bytes, kind: int) -> None:
        """Queue a message."""
        self.deposit(payload, kind)
        self.wake()

    def _make_frames(self) -> None:
        """Of all messages that wait."""
        if self._payloads:
            frames = self._connection.encode_all(self._payloads, self._kind)
            self._payloads.clear()
            self._frames.extend(frames)

    def push_close(self, frame: bytes) -> None:
        """Send a close frame, after the messages that are queued; at once if none is. Whoever waits for room is let go."""
        self.release_turns()  # before there is room: nothing may come after it
        self.add_frame(frame)
        self._wake_at_once()

    def push_control(self, frames: bytes) -> None:
        """Send control frames, ahead of the messages that wait; at once if none does."""
        self.add_control(frames)
        self._wake_at_once()

    def _wake_at_once(self) -> None:
        """As :meth:`wake`, for what is not to be gathered with others: what takes no waiting is written here and now."""
        written = False
        try:
            written = self.idle and self._writer is not None and self._writer.write_at_once()
        finally:
            if not written:
                self.wake()

    def wake(self) -> None:
        """Have the send loop look; until it has, senders are part of a burst."""
        slept, self.idle = self.idle, False
        if self._wake is not None:
            self._wake.set()
        elif slept and self._writer is not None:
            self._writer.start_sending()

    async def wait_handed(self) -> bool:
        """Wait until what was pushed last has been handed to the transport; false if it never will be."""
        number = self._written + len(self._batch) + len(self._frames) + len(self._payloads)
        if number == self._written:
            return True
        handed = self._runtime.event()
        self._handed.append((number, handed))
        await handed.wait()
        return self._written >= number

    async def wait_control(self) -> None:
        """Wait until the control frames that wait now are being written, or never will be."""
        if self._drained is None:
            self._drained = self._runtime.event()
        await self._drained.wait()

    async def gather(self, life: Life) -> None:
        """Let a burst go on until it is worth a write, or pauses; some turns at most."""
        for _ in range(3):
            gathered = self.gathered
            in_a_burst = self.between_frames and not self.control_size and life.sending is None
            if not in_a_burst or not 0 < gathered < _WORTH_A_WRITE:
                return
            await self._runtime.checkpoint()
            if self.gathered == gathered:
                return

    # -- for the send loop ---------------------------------------------------------------------

    async def wait_work(self) -> None:
        """Sleep until something is queued."""
        self._wake = self._runtime.event()
        self.idle = True
        self.credit = 0
        await self._wake.wait()
        self._wake = None

    def start_with(self, writer: _Writer | None) -> None:
        """From now on, ``writer`` is told when there is something to write; ``None``: not any more."""
        self._writer = writer

    def ends(self) -> None:
        """The send loop ends, as nothing is queued."""
        self.idle = True
        self.credit = 0

    def wrote(self, count: int) -> None:
        super().wrote(count)
        if not self.size:
            self.credit = 0  # what is sent next may be a lone message
        if self.size <= LOW_WATER:
            self._admit()

    def _on_written(self) -> None:
        if not self._handed:
            return
        count = 0
        for number, handed in self._handed:
            if number > self._written:
                break
            handed.set()
            count += 1
        del self._handed[:count]

    # -- for the end ---------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Nothing waits and nothing is on the wire."""
        waits = self._control or self._frames or self._payloads
        return self._wire is None and not waits and self._outgoing is None

    def _unmade(self) -> Iterator[bytes]:
        # Taken out one by one, from the quick end of the list: those of which no frame is made are counted apart.
        self._payloads.reverse()
        while self._payloads:
            yield self._connection.encode(self._payloads.pop(), self._kind)

    def discard(self) -> None:
        """Write no more messages, apart from the one that is part written."""
        self.drop_messages()
        self._dropped += len(self._payloads)
        self._payloads.clear()
        self.release_turns()
        for _, handed in self._handed:
            handed.set()
        self._handed.clear()

    def broken(self) -> None:
        """Nothing can be written any more."""
        self.drop_all()
        self.discard()

    def _on_control(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def release_turns(self) -> None:
        """Let senders that have pushed nothing go; each finds out on its own what happened."""
        self.credit = 0
        for turn in self._turns:
            turn.event.set()
        self._turns.clear()
        if self._room is not None:
            self._room.set()
        self._on_control()
