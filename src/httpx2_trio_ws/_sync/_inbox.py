"""Messages received and not yet asked for, and threads that asked and have not received.

At most one of the two is there: a message goes to the thread that has waited longest, and is queued only when none
waits. The queue is bounded by count and by size. When it is full, the reader stops reading, so that TCP pushes back
on the peer, and goes on when it is half empty.

A message may be handed out as it arrives: then it is a :class:`Stream`, to the thread that waits for it so. All that has to
do with the connection is done in the reader's thread, by :meth:`Inbox.look`, which others ask for. What comes after such a
message is kept apart until it is over.

A message that is there is taken by a loop over :attr:`Inbox.oldest`, in one step and without the lock: Python looks for
Ctrl-C after a call, ``popleft()`` for one, and not between a loop's iterator and its variable. So that is left in the queue
or is in the variable.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict, deque
from itertools import repeat
from typing import TYPE_CHECKING

from httpx2_trio_ws._core._watermarks import LARGEST, MAX_SIZE, resume_at, size_of

from ._waiting import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx2_trio_ws._core._life import Life
    from httpx2_trio_ws._exceptions import WebSocketException
    from httpx2_trio_ws._protocol import Connection, Incoming, Message

MISUSED = "this thread is in the block of {}, which comes first: leave that, or use another thread"


class _Receiver(Waiter):
    """A thread that waits for a message."""

    __slots__ = ("in_parts", "message", "stream")

    def __init__(self, *, in_parts: bool = False) -> None:
        super().__init__()
        self.in_parts = in_parts
        self.message: Message | None = None
        self.stream: Stream | None = None


class Stream:
    """A message that is handed out as it arrives, between the reader and the thread that takes it."""

    __slots__ = ("asked", "ended", "incoming", "more", "oldest", "owner", "parts")

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        #: The thread that takes it; ``None`` if nobody does.
        self.owner: threading.Thread | None = None
        #: That has asked for a part, or has left it, so that it is no whole message any more.
        self.asked = False
        #: The next part; the rest is with the connection, so that it knows how much that is.
        self.parts: deque[Message] = deque()
        #: Takes it, as :attr:`Inbox.oldest` does.
        self.oldest: Iterator[Message] = map(type(self.parts).popleft, repeat(self.parts))
        #: No more parts will come, as it has ended.
        self.ended = False
        #: The thread waits for a part.
        self.more: Waiter | None = None

    def pour(self, *, all_of_it: bool = False) -> None:
        """Hand the next part to the thread, if it has none."""
        if self.parts and not all_of_it:
            return
        part = self.incoming.take()
        if part:
            self.parts.append(part)
        self.ended = self.incoming.ended
        if part or self.ended or all_of_it:
            self.wake()

    def wake(self) -> None:
        """Let the thread look."""
        if self.more is not None:
            self.more.set()
            self.more = None


class Inbox:
    """The queue of one session.

    Args:
        max_messages: how many messages it holds at most.
        wake: wakes the reader.
        connection: has what is handed out as it arrives.
    """

    __slots__ = (
        "_connection",
        "_later",
        "_left",
        "_life",
        "_max_messages",
        "_receivers",
        "_size_at_most",
        "_stream",
        "_wake",
        "in_parts",
        "lock",
        "messages",
        "oldest",
        "resume_at",
    )

    def __init__(self, max_messages: int, wake: Callable[[], None], life: Life, connection: Connection) -> None:
        self._life = life
        self._connection = connection
        # The message that is handed out as it arrives, if it is some thread's; what has come after it; and those that
        # were left, to be skipped.
        self._stream: Stream | None = None
        self._later: list[Message] = []
        self._left: list[Stream] = []
        #: There is, or was, such a message, or somebody who waits for one: :meth:`look` is worth a call.
        self.in_parts = False
        self.lock = threading.Lock()
        self._max_messages = max_messages
        self._wake = wake
        self._receivers: OrderedDict[_Receiver, None] = OrderedDict()
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
        return self._wait(_Receiver(), seconds).message

    def wait_in_parts(self, seconds: float | None) -> Message | Stream | None:
        """As :meth:`wait`; but if the next message is not all there, it is returned to be taken as it arrives.

        Then it is the thread's until :meth:`leave`.
        """
        receiver = self._wait(_Receiver(in_parts=True), seconds)
        return receiver.message if receiver.stream is None else receiver.stream

    def _wait(self, receiver: _Receiver, seconds: float | None) -> _Receiver:
        try:
            with self.lock:
                self._refuse_owner()
                self._receivers[receiver] = None
                self._hand_out()
            if receiver.in_parts or self.in_parts:
                self._ask()
            late = not receiver.wait(seconds) and self._give_up(receiver)
            if receiver.stream is not None:
                receiver.stream.owner = threading.current_thread()
        except BaseException:
            if not self._give_up(receiver):
                self.give_back(receiver.message if receiver.stream is None else receiver.stream)
            raise
        if late:
            raise TimeoutError(f"no message came within {seconds} s")
        return receiver

    def _refuse_owner(self) -> None:
        if self._stream is not None and self._stream.owner is threading.current_thread():
            raise RuntimeError(MISUSED.format("receive_stream()"))

    def _ask(self) -> None:
        """Have the reader look."""
        self.in_parts = True
        self._wake()

    def _give_up(self, receiver: _Receiver) -> bool:
        """The thread does not wait any more. False if it did not: it was handed a message, or the end."""
        with self.lock:
            return self._receivers.pop(receiver, receiver) is None  # which is kept for each

    def give_back(self, message: Message | Stream | None) -> None:
        """Likewise for what :meth:`wait_in_parts` returns: nothing of it has been taken."""
        if isinstance(message, Stream):
            self.leave(message)
        else:
            self.put_back(message)

    def put_back(self, message: Message | None) -> None:
        """Ctrl-C came when the thread had ``message``."""
        if message is not None:
            with self.lock:
                self.messages.appendleft(message)
                self._hand_out()
            self._wake()  # it may have come before the reader was told that there is room

    def _hand_out(self) -> None:
        messages, receivers = self.messages, self._receivers
        if self._stream is not None and not self._life.closed_here:
            return  # what comes after it has to wait
        while receivers and (messages or self.error is not None):
            try:
                next(iter(receivers)).message = messages.popleft()
            except IndexError:  # none, or taken by another thread just now
                if self.error is None:
                    break
                if next(iter(receivers)).in_parts and self._to_take and not self._life.closed_here:
                    self._give(receivers.popitem(last=False)[0])
                    return
            receivers.popitem(last=False)[0].set()
        if len(messages) <= self.resume_at:
            self.taken()

    def taken(self) -> None:
        """Few enough messages are left to go on reading."""
        self.resume_at = -1
        self._wake()

    # -- in parts ------------------------------------------------------------------------------

    @property
    def _to_take(self) -> bool:
        """The connection has a message that is handed out as it arrives, and nobody takes it."""
        incoming = self._connection.incoming
        return incoming is not None and not incoming.held

    def _give(self, receiver: _Receiver) -> None:
        """Hand it out. In the reader's thread, or when that has nothing more to read."""
        receiver.stream = self._stream = Stream(self._connection.hand_out())
        if self.error is not None:
            self._stream.pour(all_of_it=True)
        receiver.set()

    def look(self) -> bool:
        """See to messages that are handed out as they arrive. False if one is refused, as it is wanted whole."""
        connection = self._connection
        connection.news = False
        self.in_parts = True
        if self._life.closed_here:
            return True  # all is dropped
        with self.lock:
            if self._left:
                self._take_back()
            if self._stream is not None and self._stream.asked:
                self._stream.pour()
            head = next(iter(self._receivers), None) if self._stream is None else None
            in_parts = head is not None and head.in_parts
            connection.wanted = in_parts and not self.messages and self.error is None
            if connection.wanted:
                connection.open_up()
            if not self._to_take or self.messages:
                return True
            if head is not None and in_parts:
                self._receivers.popitem(last=False)
                self._give(head)
            elif connection.fits:
                whole = connection.fold()
                if whole is not None:
                    self.messages.append(whole)
                    self._hand_out()
            elif head is not None and self.error is None:
                connection.refuse()
                return False
            return True

    def _take_back(self) -> None:
        """Threads have left messages; those that came after them have waited for this."""
        while self._left:
            self._return(self._left.pop())
        self.messages.extend(self._later)
        self._later.clear()
        self._hand_out()

    def _return(self, stream: Stream) -> None:
        """A thread has left a message. If it was interrupted before it entered its block, the message is there again; else, the rest is skipped."""
        connection, incoming = self._connection, stream.incoming
        if stream.asked or (connection.incoming is None and not incoming.ended):
            incoming.skip()
        elif not incoming.ended:
            incoming.held = False
        elif not incoming.large:
            self.messages.appendleft(incoming.take())
        elif connection.incoming is None and not self._later:
            incoming.held = False
            connection.incoming = incoming
        else:  # it is too large to wait before others
            incoming.skip()

    def next_part(self, stream: Stream) -> Message | None:
        """The next part; ``None`` if there is none: the message has ended, or the session. No part is lost if it raises."""
        stream.asked = True
        while True:
            part = None
            try:
                with contextlib.suppress(IndexError):
                    for part in stream.oldest: break  # fmt: skip  # noqa: B007, E701 (one, in one step)
                if not stream.ended:
                    self._ask()
            except BaseException:  # Ctrl-C
                if part is not None:
                    stream.parts.appendleft(part)
                raise
            if part is not None:
                return part
            with self.lock:
                if stream.parts:
                    continue
                if stream.ended or self.error is not None:
                    return None
                more = stream.more = Waiter()
            more.wait()

    def leave(self, stream: Stream) -> None:
        """The message is over for its thread. What it has not taken is skipped. Leaving it again does nothing."""
        with self.lock:
            if self._stream is stream:
                self._stream = None
                self._left.append(stream)
                if self.error is not None and not self._life.closed_here:
                    self._take_back()  # the reader may be gone, and reads no more
        self._ask()

    # -- for the reader ------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many messages may be put now; more, by the time that they are."""
        if not self.messages:
            self._size_at_most = self._size_at_most if self._later else 0
        elif self._size_at_most >= MAX_SIZE:
            self._size_at_most = size_of(self.messages.copy())  # others take from the queue meanwhile
            if self._size_at_most >= MAX_SIZE:
                return len(self._receivers)
        return max(0, self._max_messages - len(self.messages) - len(self._later)) + len(self._receivers)

    def put(self, messages: list[Message], size: int) -> None:
        """Hand out ``messages``, which had so many bytes at most, and queue those that nobody waits for."""
        with self.lock:
            (self.messages if self._stream is None and not self._left else self._later).extend(messages)
            self._size_at_most += LARGEST * size
            self._hand_out()

    def pause(self) -> bool:
        """Reading stops: who takes a message wakes the reader when so few are left. False if they are by now."""
        waiting = self.messages.copy()  # others take from it meanwhile
        waiting.extend(self._later)
        self.resume_at = resume_at(waiting, self._max_messages)
        if len(self.messages) + len(self._later) <= self.resume_at:  # before anyone could know
            self.resume_at = -1
        return self.resume_at >= 0

    def end(self) -> None:
        """No more messages will come: who waits, now or later, gets what is left, and then the :attr:`error`."""
        with self.lock:
            if self._stream is not None:
                self._stream.pour(all_of_it=True)
            self._hand_out()

    def forked(self) -> None:
        """After the end: the messages are the parent's."""
        self.lock = threading.Lock()
        self.discard()
        self.end()

    def discard(self) -> None:
        """Drop what is queued, and do not wait for room."""
        self.messages.clear()
        with self.lock:
            self._later.clear()
            self._connection.streams_large = self._connection.wanted = False
            stream, incoming = self._stream, self._connection.incoming
            if stream is not None:
                stream.parts.clear()
                stream.ended, stream.asked = False, True
            if incoming is not None:
                incoming.counts = False
                incoming.skip()
        self.resume_at = -1
