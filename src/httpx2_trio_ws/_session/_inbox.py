"""Messages received and not yet taken, and tasks that wait for one.

Only the task that has waited longest is called when there is a message. It takes the oldest one when it runs, and
calls the next. If it turns out to have been cancelled by then, it has taken nothing, and the next one is called all
the same. So no message is lost, and tasks take them in the order of their calls.

A message may be handed out as it arrives, to a task that waits for it so (:meth:`Inbox.wait_in_parts`). It is never in the
queue: it is the connection's, and comes after all that is. The task's turn lasts until it has the last part, or leaves
(:meth:`Inbox.end_turn`).

The queue is bounded by count and by size, not counting a message for each task that waits. When it is full, the
receive loop stops reading (:meth:`Inbox.wait_room`), so that TCP pushes back on the peer, and goes on when it is half
empty.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from httpx2_trio_ws._core._watermarks import LARGEST, MAX_SIZE, resume_at, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2_trio_ws._protocol import Connection, Incoming, Message
    from httpx2_trio_ws._runtime import Event, Runtime

MISUSED = "this task is in the block of {}, which comes first: leave that, or use another task"


# What an inbox has until it needs one of its own; nothing is ever put into them. An empty queue takes 760 bytes.
_NONE: deque[Message] = deque(maxlen=0)
_NOBODY: OrderedDict[Event, None] = OrderedDict()
_NO_STREAMS: set[Event] = set()


class Inbox:
    """The queue of one session.

    Args:
        runtime: the event loop's.
        connection: has what is handed out as it arrives.
        max_messages: how many messages it holds at most.
        turn: makes what a task waits for until it is its turn; ``None`` for an event of the loop's.
    """

    __slots__ = (
        "_connection",
        "_ended",
        "_in_parts",
        "_max_messages",
        "_more",
        "_owner",
        "_room",
        "_runtime",
        "_size_at_most",
        "_streams",
        "_taken",
        "_turn",
        "credit",
        "messages",
        "resume_at",
        "waiters",
    )

    def __init__(
        self, runtime: Runtime, connection: Connection, max_messages: int, turn: Callable[[], Event] | None = None
    ) -> None:
        self._runtime = runtime
        self._turn = turn or runtime.event
        self._connection = connection
        self._max_messages = max_messages
        self._room: Event | None = None
        self._ended = False
        # Not lessened when messages are taken, but counted anew when it comes to the limit.
        self._size_at_most = 0
        # Those of the waiters that take a message in parts; whether there has ever been one, or such a message; the turn
        # of the one that has one now, and its task, for which all else would wait for ever; and what it waits for.
        self._streams: set[Event] = _NO_STREAMS
        self._in_parts = False
        self._taken: Event | None = None
        self._owner: object = None
        self._more: Event | None = None
        #: The tasks in :meth:`wait_message` and the like, in the order of their calls.
        self.waiters: OrderedDict[Event, None] = _NOBODY
        #: So many of the :attr:`messages` may be taken with nothing else to be seen to.
        self.credit = 0
        #: The messages that wait, oldest first. With credit, one is taken from here; else by :meth:`take`.
        self.messages: deque[Message] = _NONE
        #: Reading goes on when so few are left; -1 while it has not stopped.
        self.resume_at = -1

    @property
    def room(self) -> int:
        """How many messages may be put now; 0 also if those that are there are large enough in all."""
        messages = self.messages
        queued = len(messages) - len(self.waiters) + (self._taken is not None)  # whose task waits for no other one
        if not messages:
            self._size_at_most = 0
        elif queued > 0 and self._size_at_most >= MAX_SIZE:
            self._size_at_most = size_of(messages)
            if self._size_at_most >= MAX_SIZE:
                return 0
        return max(0, self._max_messages - queued)

    @property
    def is_paused(self) -> bool:
        """Reading waits for room."""
        return self.resume_at >= 0

    def put(self, messages: list[Message], size: int) -> None:
        """Queue ``messages``, which had so many bytes at most, and call who waits for them."""
        if self.messages is _NONE:
            self.messages = deque()
        self.messages.extend(messages)
        self._size_at_most += LARGEST * size
        if self.waiters:
            self._call()

    def _call(self) -> None:
        """Call the task whose turn it is, if there is something to tell it."""
        if self.waiters and (self.messages or self._ended):
            next(iter(self.waiters)).set()
        if self._in_parts:
            self._call_in_parts()

    def _call_in_parts(self) -> None:
        """Likewise, if what there is arrives yet."""
        connection, turn = self._connection, next(iter(self.waiters), None)
        in_parts = turn is not None and turn in self._streams and turn is not self._taken
        connection.wanted = in_parts and not self.messages and not self._ended
        if connection.wanted:
            connection.open_up()
        incoming = connection.incoming
        if incoming is None or incoming.held or self.messages:
            return
        if not in_parts and connection.fits:
            whole = connection.fold()
            if whole is None:
                return
            self.messages = deque((whole,))
        if turn is not None:  # it is told of a message that is too large for it, too
            turn.set()

    def pause(self) -> None:
        """Reading stops: from now on, who takes a message may have it go on."""
        self.resume_at = resume_at(self.messages, self._max_messages)
        self.credit = 0

    async def wait_room(self) -> None:
        """After :meth:`pause`: wait until reading may go on. Once it may, it does not wait."""
        if self.is_paused:
            self._room = self._runtime.event()
            await self._room.wait()

    def grant(self, calls: int) -> int:
        """Set :attr:`credit` to ``calls`` or as many as it can be; return it."""
        free = len(self.messages) - self.resume_at - 1
        self.credit = 0 if self.waiters else min(calls, free)
        return self.credit

    def take(self) -> Message:
        """Take the oldest message, of which there is one. Who does while there are :attr:`waiters` is the first of them."""
        message = self.messages.popleft()
        if len(self.messages) <= self.resume_at:
            self.taken()
        return message

    def taken(self) -> None:
        """So little is left that reading may go on."""
        self.resume_at = -1
        if self._room is not None:
            self._room.set()
            self._room = None

    async def wait_message(self) -> Message | None:
        """Wait for the next message and take it; ``None`` if there is none: the session ended first, or it is too large.

        Always a schedule point, also where a message is there: others that ask meanwhile wait behind. Cancelling loses no
        message.
        """
        if self._owner is not None:
            self._refuse_owner()
        turn = self._turn()
        if self.waiters is _NOBODY:
            self.waiters = OrderedDict()
        self.waiters[turn] = None
        if self.messages or self._ended or self._in_parts:
            self._call()
        try:
            await turn.wait()
            return self.take() if self.messages else None
        finally:
            del self.waiters[turn]
            if self.waiters or self._in_parts:
                self._call()

    def _refuse_owner(self) -> None:
        if self._owner == self._runtime.current_task():
            raise RuntimeError(MISUSED.format("receive_stream()"))

    async def wait_in_parts(self, owner: object) -> Message | Incoming | None:
        """As :meth:`wait_message`; but if the next message is not all there, it is returned to be taken as it arrives.

        Then the turn is the caller's until :meth:`end_turn`.

        Args:
            owner: the task, if it is the only one that may call this; else ``None``.
        """
        if self._owner is not None:
            self._refuse_owner()
        turn = self._turn()
        self._in_parts = True
        if self.waiters is _NOBODY:
            self.waiters = OrderedDict()
        self.waiters[turn] = None
        if self._streams is _NO_STREAMS:
            self._streams = set()
        self._streams.add(turn)
        try:
            self._call()
            await turn.wait()
            if self.messages:
                return self.take()
            incoming = self._connection.incoming
            if incoming is not None and not incoming.held:
                self._taken, self._owner = turn, owner
                return self._connection.hand_out()
            return None
        finally:
            if self._taken is not turn:
                self._leave(turn)

    def _leave(self, turn: Event) -> None:
        self._streams.discard(turn)
        del self.waiters[turn]
        self._call()

    async def wait_part(self) -> None:
        """Wait until more has come of the message that is taken in parts, or no more will."""
        self._more = self._turn()
        await self._more.wait()

    def arrived(self) -> None:
        """Something has come of a message that is handed out as it arrives."""
        self._connection.news = False
        self._in_parts = True
        if self._more is not None:
            self._more.set()
        self._call_in_parts()

    def end_turn(self, incoming: Incoming) -> None:
        """The turn of a message that was taken in parts is over. What has not come of it yet is skipped when it does."""
        incoming.skip()
        turn, self._taken, self._owner, self._more = self._taken, None, None, None
        assert turn is not None
        self._leave(turn)
        if self.is_paused:
            self.taken()

    def rest(self) -> None:
        """Let go of what only messages need, if there are none: another may not come for long."""
        if not self.messages:
            self.messages = _NONE
        if not self.waiters:
            self.waiters = _NOBODY

    def wake(self) -> None:
        """The session has ended: tasks that wait get what is left, and then none."""
        self._ended = True
        if self._more is not None:
            self._more.set()
        self._call()

    def discard(self) -> None:
        """Drop what is queued, and keep the receive loop from waiting for room."""
        self.messages.clear()
        self.credit = 0
        self._connection.streams_large = False
        incoming = self._connection.incoming
        if incoming is not None:
            incoming.counts = False
            incoming.skip()
        self.taken()
