"""The frames of a blocking session, and the threads that wait for them.

Messages are coalesced: the reader takes all that have gathered, up to :data:`BATCH` bytes, in one write.

While nothing is queued, a *lone* message is written by the thread that sends it. A message that follows on another
within :data:`BURST` seconds is part of a *burst*: many are written at once, by the sender when they are worth it, and what
is left by the reader. Above the high-water mark, a sender leaves its message here unencoded, and waits until the reader has
queued it. While a message is sent in parts, all others do so, too.

Ctrl-C may end a lone write after any step; so the next who takes the lock settles it (:meth:`Outbox._settle`).
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from httpx2_trio_ws._core._watermarks import HIGH_WATER, LOW_WATER
from httpx2_trio_ws._protocol import BINARY, TEXT, LargeFrame, new_encoder

from ._sending_in_parts import Sender, SendingInParts
from ._waiting import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from websockets.extensions.permessage_deflate import PerMessageDeflate

    from httpx2_trio_ws._core._life import Life
    from httpx2_trio_ws._exceptions import WebSocketException
    from httpx2_trio_ws._protocol import Connection

BATCH = 65536
# The last try to write takes so many bytes, and a close frame.
LAST = 16384
# A control frame has so many bytes at most.
_CONTROL = 131
# When a burst has gathered so much, who sends writes it itself: to wake the reader for it would cost more. While that goes
# on, the reader looks only once in so many seconds.
WORTH_A_WRITE = BATCH - 4096
PAUSE = 0.001
# A write costs some ten microseconds. Who sends more often than this pays for that, and not for a message.
BURST = 50e-6
# Compressed messages, of which the reader would find one at a time, are a burst only after so many, written every so often.
ROW, GATHER = 8, PAUSE / 2


class _LoneWrite:
    """What a sender writes: the frame of a lone message, or those that a burst has gathered.

    Ctrl-C may end that between any two steps of Python's code, but not in one. So it is noted before it is begun, and how
    much was written in the same step in which it is: whoever comes next knows what is left, and may find out twice.
    """

    __slots__ = ("_frames", "_large", "_written", "gathered", "size", "wire")

    def __init__(self, frames: list[bytes], large: LargeFrame | None = None, *, gathered: bool = False) -> None:
        self._frames = frames
        self._large = large
        self._written: list[int] = []
        #: What is written, unless it is made part by part.
        self.wire = frames[0] if len(frames) == 1 else b"".join(frames)
        self.size = len(self.wire) if large is None else large.size
        #: The frames are still queued.
        self.gathered = gathered

    def write(self, write_now: Callable[[bytes], int]) -> None:
        if self._large is None:
            self._written.extend(map(write_now, (self.wire,)))  # one step
            return
        part = self._large.part(0)
        while part:
            self._written.extend(map(write_now, (part,)))  # likewise
            part = b"" if self._written[-1] < len(part) else self._large.part(self.written)

    @property
    def written(self) -> int:
        return sum(self._written)

    def left(self) -> tuple[bytes, list[bytes]]:
        """The rest of the frame that is part written, and the frames of which nothing is."""
        left = self.written
        if self._large is not None:
            return self._large.rest(left), []
        for number, frame in enumerate(self._frames):
            if left < len(frame):
                return (frame[left:], self._frames[number + 1 :]) if left else (b"", self._frames[number:])
            left -= len(frame)
        return b"", []


class Outbox(SendingInParts):
    """The frames of one session that wait to be written.

    Args:
        connection: encodes messages.
        deflate: the extension that compresses them, if any.
        write_now: writes to a plain socket; see :class:`Carrier`.
        wake: wakes the reader.
    """

    batch_size = BATCH

    def __init__(
        self,
        connection: Connection,
        deflate: PerMessageDeflate | None,
        write_now: Callable[[bytes], int] | None,
        wake: Callable[[], None],
        life: Life,
    ) -> None:
        super().__init__(connection.on_written, wake, life)
        self._encode = connection.encode
        self._encode_large = connection.encode_large
        self._deflate = deflate
        self._encoding = False
        self._write_now = write_now
        self._lone: _LoneWrite | None = None
        # When the last message was sent; after how many, and of how many that are no burst; when what that has gathered is due.
        self._last = -math.inf
        self._row = 0
        self._before_burst, self._gather = (0, math.inf) if deflate is None or write_now is None else (ROW, GATHER)
        self._due = math.inf
        # A sender has written what a burst had gathered, and the reader has not looked since.
        self._goes_on = False
        # Senders that wait until their frame is written, and who waits to send control frames until those that wait are
        # being written.
        self._unwritten: deque[Sender] = deque()
        self._drained: list[Waiter] = []
        #: Writing has failed.
        self.failed = False

    # -- for senders ---------------------------------------------------------------------------

    def send(self, payload: bytes, *, text: bool) -> WebSocketException | None:
        """Send a message, or return why not. If it raises, the message will be sent whole, or not at all."""
        sender: Sender | None = None
        try:
            with self.lock:
                if self._lone is not None:
                    self._settle()
                if self.error is not None:
                    return self.error
                if self._turns or self.size > HIGH_WATER or self._outgoing is not None:
                    self._refuse_owner()
                    sender = Sender(payload, text=text)
                    self._turns.append(sender)
                else:
                    sender = self._send_one(payload, text=text)
                    self._encoding = False
                error = self.error
        except BaseException:
            self.work = True  # what was noted must be seen to
            self._wake()
            raise
        if sender is None:
            return error
        sender.wait()
        # What follows at once is part of a burst: this was waited for to be written, and not for the application.
        self._last = time.monotonic()
        return None if sender.done else self.error

    def calm(self) -> None:
        """A thread has waited for something: what it sends next is an answer, and no part of a burst."""
        self._last = -math.inf

    def _encoded(self, payload: bytes, *, text: bool) -> bytes:
        """The message's frame, to be queued at once; then ``_encoding`` is false again."""
        if self._encoding and self._deflate is not None:
            # A frame was compressed and then not sent. Later ones must not refer to what it had.
            self._deflate.encoder = new_encoder(self._deflate)
        self._encoding = True
        frame = self._encode(payload, TEXT if text else BINARY)
        self.messages_sent += 1
        return frame

    def _send_one(self, payload: bytes, *, text: bool) -> Sender | None:
        """Write or queue a message; return what to wait with until it is written, if that is to be waited for."""
        now, write_now = time.monotonic(), self._write_now
        self._row = self._row + 1 if now - self._last < BURST else 0
        burst = self._row > self._before_burst
        self._last = now
        if write_now is not None and (not burst or len(payload) > BATCH) and self._is_idle:
            if not self._write_lone(self._lone_of(payload, text=text), write_now):
                return self._wait_written()
            self._last = time.monotonic()
            return None
        frame = self._encoded(payload, text=text)
        self.add_frame(frame)
        if not self.work:
            self._goes_on = self._before_burst > 0
            self._due = now + self._gather
            self._ask()
        if not burst and self.size <= len(frame):
            return self._wait_written()
        if burst and (self.size >= WORTH_A_WRITE or now >= self._due):
            self._write_gathered()
        return None

    def _lone_of(self, payload: bytes, *, text: bool) -> _LoneWrite:
        large = self._encode_large(payload, TEXT if text else BINARY) if len(payload) > BATCH else None
        if large is None:
            return _LoneWrite([self._encoded(payload, text=text)])
        self.messages_sent += 1
        return _LoneWrite([], large)

    def _write_gathered(self) -> None:
        """Write what a burst has gathered, if nothing else comes first."""
        if self._write_now is not None and self._wire is None and not self._control and not self._unwritten:
            self._write_lone(_LoneWrite(self._frames, gathered=True), self._write_now)
            self._goes_on = True
            self._last = time.monotonic()
            self._due = self._last + self._gather

    def _wait_written(self) -> Sender:
        sender = Sender(b"", text=False)
        sender.number = self._written + len(self._batch) + len(self._frames)
        self._unwritten.append(sender)
        return sender

    @property
    def _is_idle(self) -> bool:
        return self._wire is None and not self._frames and not self._control

    def _write_lone(self, lone: _LoneWrite, write_now: Callable[[bytes], int]) -> bool:
        """Write it; false if something is left of it, and queued."""
        self._lone = lone
        try:
            lone.write(write_now)
        except BlockingIOError:
            pass
        except OSError as exc:
            self._lone = None
            self._fail(exc)
            return True
        return self._settle()

    def _settle(self) -> bool:
        """Queue what is left of what a sender has written; true if that is nothing."""
        lone = self._lone
        assert lone is not None
        count = lone.written
        whole = count == lone.size
        if not whole or lone.gathered:
            self._queue_left(lone)
        self._lone = None
        self.wrote_beside(lone.wire, count)
        return whole

    def _queue_left(self, lone: _LoneWrite) -> None:
        rest, frames = lone.left()
        # There was nothing else in here; but this may have been begun before, and ended by Ctrl-C.
        self._frames, self.size = frames, sum(map(len, frames))
        self._batch.clear()
        self._wire = None
        if rest:
            self.add_rest(rest)
        if rest or frames:
            self._ask()

    def _push(self, frame: bytes) -> None:
        self.add_frame(frame)
        if not self.work:
            self._ask()

    # -- for those who send control frames -----------------------------------------------------

    def wait_control(self, ordered: Sized) -> None:
        """Wait until there is room for control frames, beside those that are ordered, or nothing can be sent any more."""
        while True:
            with self.lock:
                if self.error is not None or self.control_size + _CONTROL * len(ordered) <= HIGH_WATER:
                    return
                waiter = Waiter()
                self._drained.append(waiter)
            waiter.wait()

    # -- for the reader ------------------------------------------------------------------------

    def push_control(self, frames: bytes) -> None:
        """Queue control frames, ahead of the messages."""
        with self.lock:
            self.add_control(frames)
            self.work = True

    def take(self, *, whole: bool = False) -> memoryview | None:
        """What to write next; :meth:`wrote` tells how much of it was. ``None`` if there is nothing.

        If :attr:`work` is set all the same, a burst goes on, and is left alone for :data:`PAUSE`.

        Args:
            whole: what was taken last must be written to its end before anything else.
        """
        with self.lock:
            if self._lone is not None:
                self._settle()
            if self._turns and self.size <= LOW_WATER:
                self._admit()
            if self._goes_on and self._wire is None and not self._control:
                self._goes_on = False
                return None
            wire = super().take(whole=whole)
            if wire is None:
                self.work = False
            return wire

    def wrote(self, count: int) -> None:
        """``count`` bytes of what :meth:`take` gave have been handed to the operating system."""
        with self.lock:
            super().wrote(count)
            if self.size <= LOW_WATER:
                self._admit()
            if self._room and self.gathered <= HIGH_WATER:
                self._let_go(self._room)

    def _on_written(self) -> None:
        """Tell those who wait for their frames."""
        unwritten = self._unwritten
        while unwritten and unwritten[0].number <= self._written:
            sender = unwritten.popleft()
            sender.done = True
            sender.set()
        if not self._frames and self._wire is None:
            self.size = 0  # also where Ctrl-C came before a frame that was counted was queued

    def _admit(self) -> None:
        """Queue the messages of those who waited for room."""
        while self._turns and self.size <= HIGH_WATER and self._outgoing is None:
            sender = self._turns.popleft()
            self._outgoing = sender.outgoing
            if sender.outgoing is None:
                self._push(self._encoded(sender.payload, text=sender.text))
                self._encoding = False
            sender.done = True
            sender.set()

    # -- for the end ---------------------------------------------------------------------------

    def end(self, close_frame: bytes = b"") -> None:
        """Sending raises from now on; what was sent before is written, then ``close_frame``."""
        with self.lock:
            if self._lone is not None:
                self._settle()
            self._goes_on = False
            if close_frame:
                self._push(close_frame)
            self._release()

    def last_words(self, goodbye: bytes) -> bytes:
        """What may be written in one last try: what waits, in whole frames up to :data:`LAST` bytes, and ``goodbye``."""
        with self.lock:
            if self._lone is not None:
                self._settle()
            if self._wire is not None:
                return b""  # a frame is part written
            return self.rest(LAST) + goodbye

    def discard(self) -> None:
        """Write no more messages, apart from the one that is part written."""
        with self.lock:
            if self._lone is not None:
                self._settle()
            self.drop_messages()

    def forked(self) -> None:
        """After the end: what waits here is written by the parent."""
        self.lock = threading.Lock()
        self._lone = None
        self.drop_all()
        self._release()

    def fail(self, cause: Exception) -> None:
        """Writing has failed."""
        with self.lock:
            self._fail(cause)

    def _fail(self, cause: Exception) -> None:
        self.failed = True
        self._life.write_failed(cause, time.monotonic())
        self.drop_all()
        self._release()
        self._wake()

    def _release(self) -> None:
        """Let all who wait find out what has happened."""
        for senders in (self._turns, self._unwritten):
            while senders:
                senders.popleft().set()
        self._let_go(self._room)
        self._on_control()

    def _on_control(self) -> None:
        self._let_go(self._drained)

    def _let_go(self, waiters: list[Waiter]) -> None:
        while waiters:
            waiters.pop().set()
