"""The frames of a blocking session, and the threads that wait for them.

Messages are coalesced: the reader takes all that have gathered, up to :data:`BATCH` bytes, in one write.

While nothing is queued, a *lone* message is written by the thread that sends it. A message that follows on another
within :data:`BURST` seconds is part of a *burst* and left for the reader, which writes many at once. Above the
high-water mark, a sender leaves its message here unencoded, and waits until the reader has queued it. While a message is
sent in parts, all others do so, too.

Ctrl-C may end a lone write after any step; so the next who takes the lock settles it (:meth:`Outbox._settle`).
"""

from __future__ import annotations

import math
import threading
import time
import zlib
from collections import deque
from typing import TYPE_CHECKING

from httpx2_trio_ws._core._watermarks import HIGH_WATER, LOW_WATER
from httpx2_trio_ws._protocol import BINARY, TEXT

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
# A write costs some ten microseconds. Who sends more often than this pays for that, and not for a message. To compress
# one costs more than to write it, so then there are no bursts: the reader would only get into the way.
BURST = 50e-6


class _LoneWrite:
    """A frame that its sender writes.

    Ctrl-C may end that between any two steps of Python's code, but not in one. So it is noted before it is begun, and how
    much was written in the same step in which it is: whoever comes next knows what is left, and may find out twice.
    """

    __slots__ = ("_written", "frame")

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self._written: list[int] = []

    def write(self, write_now: Callable[[bytes], int]) -> None:
        self._written.extend(map(write_now, (self.frame,)))  # one step

    @property
    def written(self) -> int:
        return sum(self._written)


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
        self._deflate = deflate
        self._encoding = False
        self._write_now = write_now
        self._burst = BURST if deflate is None or write_now is None else 0
        self._lone: _LoneWrite | None = None
        self._last = -math.inf
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
                    sender = self._send_frame(self._encoded(payload, text=text))
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
            self._deflate.encoder = zlib.compressobj(
                wbits=-self._deflate.local_max_window_bits, **self._deflate.compress_settings
            )
        self._encoding = True
        frame = self._encode(payload, TEXT if text else BINARY)
        self.messages_sent += 1
        return frame

    def _send_frame(self, frame: bytes) -> Sender | None:
        """Write or queue a frame; return what to wait with until it is written, if that is to be waited for."""
        now = time.monotonic()
        burst = now - self._last < self._burst
        self._last = now
        if burst or self._write_now is None or not self._is_idle:
            self.add_frame(frame)
            if not self.work:
                self._ask()
            if burst or self.size > len(frame):
                return None
        else:
            self._write_lone(frame, self._write_now)
            if self._wire is None:
                self._last = time.monotonic()
                return None
        sender = Sender(b"", text=False)
        sender.number = self._written + len(self._batch) + len(self._frames)
        self._unwritten.append(sender)
        return sender

    @property
    def _is_idle(self) -> bool:
        return self._wire is None and not self._frames and not self._control

    def _write_lone(self, frame: bytes, write_now: Callable[[bytes], int]) -> None:
        self._lone = _LoneWrite(frame)
        try:
            self._lone.write(write_now)
        except BlockingIOError:
            pass
        except OSError as exc:
            self._lone = None
            self._fail(exc)
            return
        self._settle()

    def _settle(self) -> None:
        """Queue what is left of a lone frame."""
        lone = self._lone
        assert lone is not None
        count = lone.written
        if count < len(lone.frame):
            # There was nothing else in here; but this may have been begun before, and ended by Ctrl-C.
            self.size = 0
            self._batch.clear()
            self.add_rest(memoryview(lone.frame)[count:])
            self._ask()
        self._lone = None
        self.wrote_beside(lone.frame, count)

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

        Args:
            whole: what was taken last must be written to its end before anything else.
        """
        with self.lock:
            if self._lone is not None:
                self._settle()
            if self._turns and self.size <= LOW_WATER:
                self._admit()
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
