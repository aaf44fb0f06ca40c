"""Messages received and not yet asked for, and tasks that asked and have not received.

At most one of the two is there: a message goes to the task that has waited longest, and is queued only
when none waits. The queue is bounded by count and by size. When it is full, the receive loop stops reading
(:meth:`Inbox.wait_room`), so that TCP pushes back on the peer, and goes on when it is half empty.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._protocol import Message
    from ._runtime import Event, Runtime

# Reading stops above so many characters and bytes in the queue, however few messages they are.
MAX_SIZE = 2**20


class _Waiter:
    __slots__ = ("event", "message")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.message: Message | None = None


class Inbox:
    """The queue of one session.

    Args:
        runtime: the event loop's.
        max_messages: how many messages it holds at most.
    """

    __slots__ = ("_max_messages", "_room", "_runtime", "_size_at_most", "_waiters", "messages", "resume_at")

    def __init__(self, runtime: Runtime, max_messages: int) -> None:
        self._runtime = runtime
        self._max_messages = max_messages
        self._waiters: deque[_Waiter] = deque()
        self._room: Event | None = None
        # Not lessened when messages are taken, but counted anew when it comes to the limit.
        self._size_at_most = 0
        #: The messages that wait, oldest first. Whoever takes one calls :meth:`taken` when no more
        #: than :attr:`resume_at` are left.
        self.messages: deque[Message] = deque()
        #: Reading goes on when so few are left; -1 while it has not stopped.
        self.resume_at = -1

    @property
    def room(self) -> int:
        """How many messages may be put now."""
        return max(0, self._max_messages - len(self.messages)) + len(self._waiters)

    def put(self, messages: list[Message]) -> None:
        """Hand out ``messages``, and queue those that nobody waits for."""
        waiters = self._waiters
        if waiters:
            handed = min(len(waiters), len(messages))
            for message in messages[:handed]:
                waiter = waiters.popleft()
                waiter.message = message
                waiter.event.set()
            messages = messages[handed:]
        self.messages.extend(messages)
        self._size_at_most += sum(map(len, messages))

    def is_full(self) -> bool:
        """No more may be put; if so, :attr:`resume_at` is set."""
        messages = self.messages
        if not messages:
            return False
        if len(messages) < self._max_messages:
            if self._size_at_most < MAX_SIZE:
                return False
            self._size_at_most = sum(map(len, messages))
            if self._size_at_most < MAX_SIZE:
                return False
        keep = size = 0
        for message in reversed(messages):
            size += len(message)
            if size > MAX_SIZE // 2:
                break
            keep += 1
        self.resume_at = min(keep, self._max_messages // 2)
        return True

    async def wait_room(self) -> None:
        """After :meth:`is_full`: wait until it no longer is."""
        self._room = self._runtime.event()
        await self._room.wait()

    def taken(self) -> None:
        """Few enough messages are left to go on reading."""
        self.resume_at = -1
        if self._room is not None:
            self._room.set()
            self._room = None

    async def wait_message(self) -> Message | None:
        """The next message; ``None`` if :meth:`wake` came first. Cancelling loses no message."""
        waiter = _Waiter(self._runtime.event())
        self._waiters.append(waiter)
        try:
            await waiter.event.wait()
        except BaseException:
            if waiter.message is not None:
                # Handed out and cancelled in one breath (a loop with edge-triggered cancellation).
                self._put_back(waiter.message)
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
        return waiter.message

    def _put_back(self, message: Message) -> None:
        if self._waiters:
            self.put([message])
        else:
            self.messages.appendleft(message)

    def wake(self) -> None:
        """The session has ended: no waiting task will get a message."""
        for waiter in self._waiters:
            waiter.event.set()
        self._waiters.clear()

    def discard(self) -> None:
        """Drop what is queued, and keep the receive loop from waiting for room."""
        self.messages.clear()
        self.taken()
