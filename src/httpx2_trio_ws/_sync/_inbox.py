"""Messages received and not yet asked for, and threads that asked and have not received.

At most one of the two is there: a message goes to the thread that has waited longest, and is queued only when none
waits. The queue is bounded by count and by size. When it is full, the reader stops reading, so that TCP pushes back
on the peer, and goes on when it is half empty.

A message that is there is taken by a loop over :attr:`Inbox.oldest`, in one step and without the lock: Python looks for
Ctrl-C after a call, ``popleft()`` for one, and not between a loop's iterator and its variable. So that is left in the queue
or is in the variable.
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING

from httpx2_trio_ws._core._watermarks import LARGEST, MAX_SIZE, resume_at, size_of

from ._waiting import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx2_trio_ws._core._life import Life
    from httpx2_trio_ws._exceptions import WebSocketException
    from httpx2_trio_ws._protocol import Message


class _Receiver(Waiter):
    """A thread that waits for a message."""

    __slots__ = ("message",)

    def __init__(self) -> None:
        super().__init__()
        self.message: Message | None = None


class Inbox:
    """The queue of one session.

    Args:
        max_messages: how many messages it holds at most.
        wake: wakes the reader.
    """

    __slots__ = (
        "_life",
        "_max_messages",
        "_receivers",
        "_size_at_most",
        "_wake",
        "lock",
        "messages",
        "oldest",
        "resume_at",
    )

    def __init__(self, max_messages: int, wake: Callable[[], None], life: Life) -> None:
        self._life = life
        self.lock = threading.Lock()
        self._max_messages = max_messages
        self._wake = wake
        self._receivers: deque[_Receiver] = deque()
        # Not lessened when messages are taken, but counted anew when it comes to the limit.
        self._size_at_most = 0
        #: The messages that wait, oldest first. Whoever takes one calls :meth:`taken` when no more than
        #: :attr:`resume_at` are left.
        self.messages: deque[Message] = deque()
        #: Takes one of them at a time; raises :exc:`IndexError` if there is none.
        self.oldest: Iterator[Message] = map(type(self.messages).popleft, repeat(self.messages))
        #: Reading goes on when so few are left; -1 while it has not stopped.
        self.resume_at = -1

    @property
    def error(self) -> WebSocketException | None:
        """What receiving calls raise once no message is left."""
        return self._life.receiving

    # -- for receivers -------------------------------------------------------------------------

    def wait(self, seconds: float | None) -> Message | None:
        """The next message; ``None`` if there is an :attr:`error` instead. If it raises, no message is lost.

        Raises:
            TimeoutError: none came within ``seconds``. ``None`` waits for ever.
        """
        receiver = _Receiver()
        try:
            with self.lock:
                self._receivers.append(receiver)
                self._hand_out()
            late = not receiver.wait(seconds) and self._give_up(receiver)
        except BaseException:
            if not self._give_up(receiver):
                self.put_back(receiver.message)
            raise
        if late:
            raise TimeoutError(f"no message came within {seconds} s")
        return receiver.message

    def _give_up(self, receiver: _Receiver) -> bool:
        """The thread does not wait any more. False if it did not: it was handed a message, or the end."""
        with self.lock:
            waits = receiver in self._receivers
            if waits:
                self._receivers.remove(receiver)
            return waits

    def put_back(self, message: Message | None) -> None:
        """Ctrl-C came when the thread had ``message``."""
        if message is not None:
            with self.lock:
                self.messages.appendleft(message)
                self._hand_out()
            self._wake()  # it may have come before the reader was told that there is room

    def _hand_out(self) -> None:
        messages, receivers = self.messages, self._receivers
        while receivers and (messages or self.error is not None):
            try:
                receivers[0].message = messages.popleft()
            except IndexError:  # none, or taken by another thread just now
                if self.error is None:
                    break
            receivers.popleft().set()
        if len(messages) <= self.resume_at:
            self.taken()

    def taken(self) -> None:
        """Few enough messages are left to go on reading."""
        self.resume_at = -1
        self._wake()

    # -- for the reader ------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many messages may be put now; more, by the time that they are."""
        if self.messages and self._size_at_most >= MAX_SIZE:
            self._size_at_most = size_of(self.messages.copy())  # others take from the queue meanwhile
            if self._size_at_most >= MAX_SIZE:
                return len(self._receivers)
        return max(0, self._max_messages - len(self.messages)) + len(self._receivers)

    def put(self, messages: list[Message]) -> None:
        """Hand out ``messages``, and queue those that nobody waits for."""
        with self.lock:
            self.messages.extend(messages)
            self._size_at_most += LARGEST * sum(map(len, messages))
            self._hand_out()

    def pause(self) -> bool:
        """Reading stops: who takes a message wakes the reader when so few are left. False if they are by now."""
        self.resume_at = resume_at(self.messages.copy(), self._max_messages)  # others take from it meanwhile
        if len(self.messages) <= self.resume_at:  # before anyone could know
            self.resume_at = -1
        return self.resume_at >= 0

    def end(self) -> None:
        """No more messages will come: who waits, now or later, gets what is left, and then the :attr:`error`."""
        with self.lock:
            self._hand_out()

    def forked(self) -> None:
        """After the end: the messages are the parent's."""
        self.lock = threading.Lock()
        self.discard()
        self.end()

    def discard(self) -> None:
        """Drop what is queued, and do not wait for room."""
        self.messages.clear()
        self.resume_at = -1
