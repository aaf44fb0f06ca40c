"""Messages received and not yet taken, and tasks that wait for one.

Only the task that has waited longest is called when there is a message. It takes the oldest one when it runs, and
calls the next. If it turns out to have been cancelled by then, it has taken nothing, and the next one is called all
the same. So no message is lost, and tasks take them in the order of their calls.

The queue is bounded by count and by size, not counting a message for each task that waits. When it is full, the
receive loop stops reading (:meth:`Inbox.wait_room`), so that TCP pushes back on the peer, and goes on when it is half
empty.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from httpx2_trio_ws._core._watermarks import LARGEST, MAX_SIZE, resume_at, size_of

if TYPE_CHECKING:
    from httpx2_trio_ws._protocol import Message
    from httpx2_trio_ws._runtime import Event, Runtime


class Inbox:
    """The queue of one session.

    Args:
        runtime: the event loop's.
        max_messages: how many messages it holds at most.
    """

    __slots__ = (
        "_ended",
        "_max_messages",
        "_room",
        "_runtime",
        "_size_at_most",
        "credit",
        "messages",
        "resume_at",
        "waiters",
    )

    def __init__(self, runtime: Runtime, max_messages: int) -> None:
        self._runtime = runtime
        self._max_messages = max_messages
        self._room: Event | None = None
        self._ended = False
        # Not lessened when messages are taken, but counted anew when it comes to the limit.
        self._size_at_most = 0
        #: The tasks in :meth:`wait_message`, in the order of their calls.
        self.waiters: OrderedDict[Event, None] = OrderedDict()
        #: So many of the :attr:`messages` may be taken with nothing else to be seen to.
        self.credit = 0
        #: The messages that wait, oldest first. While there are no :attr:`waiters`, they may be taken from here;
        #: whoever does calls :meth:`taken` when no more than :attr:`resume_at` are left.
        self.messages: deque[Message] = deque()
        #: Reading goes on when so few are left; -1 while it has not stopped.
        self.resume_at = -1

    @property
    def room(self) -> int:
        """How many messages may be put now; 0 also if those that are there are large enough in all."""
        messages = self.messages
        queued = len(messages) - len(self.waiters)
        if queued > 0 and self._size_at_most >= MAX_SIZE:
            self._size_at_most = size_of(messages)
            if self._size_at_most >= MAX_SIZE:
                return 0
        return max(0, self._max_messages - queued)

    @property
    def is_paused(self) -> bool:
        """Reading waits for room."""
        return self.resume_at >= 0

    def put(self, messages: list[Message]) -> None:
        """Queue ``messages``, and call who waits for them."""
        self.messages.extend(messages)
        self._size_at_most += LARGEST * sum(map(len, messages))
        self._call()

    def _call(self) -> None:
        """Call the task whose turn it is, if there is something to tell it."""
        if self.waiters and (self.messages or self._ended):
            next(iter(self.waiters)).set()

    def pause(self) -> None:
        """Reading stops: from now on, who takes a message looks at :attr:`resume_at`."""
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

    def taken(self) -> None:
        """Few enough messages are left to go on reading."""
        self.resume_at = -1
        if self._room is not None:
            self._room.set()
            self._room = None

    async def wait_message(self) -> Message | None:
        """Wait for the next message and take it; ``None`` if the session ended first. Cancelling loses no message.

        Always a schedule point, also where a message is there: others that ask meanwhile wait behind.
        """
        turn = self._runtime.event()
        self.waiters[turn] = None
        self._call()
        try:
            await turn.wait()
            message = self.messages.popleft() if self.messages else None
            if len(self.messages) <= self.resume_at:
                self.taken()
            return message
        finally:
            del self.waiters[turn]
            self._call()

    def wake(self) -> None:
        """The session has ended: tasks that wait get what is left, and then none."""
        self._ended = True
        self._call()

    def discard(self) -> None:
        """Drop what is queued, and keep the receive loop from waiting for room."""
        self.messages.clear()
        self.credit = 0
        self.taken()
