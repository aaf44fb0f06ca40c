"""Messages that a thread sends in parts: their turns among the other messages, and room for their parts.

The frames are made in the reader's thread, where no Ctrl-C comes.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from httpx2_trio_ws._core._frames import FrameQueue
from httpx2_trio_ws._core._watermarks import HIGH_WATER

from ._inbox import MISUSED
from ._waiting import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2_trio_ws._core._life import Life
    from httpx2_trio_ws._exceptions import WebSocketException
    from httpx2_trio_ws._protocol import Outgoing


class Sender(Waiter):
    """A thread that waits for room, or for its frame to be written."""

    __slots__ = ("done", "number", "outgoing", "payload", "text")

    def __init__(self, payload: bytes, *, text: bool, outgoing: Outgoing | None = None) -> None:
        super().__init__()
        self.payload = payload
        self.outgoing = outgoing
        self.text = text
        self.number = 0
        self.done = False


class SendingInParts(FrameQueue):
    """This part of an outbox.

    Args:
        tell: as of :class:`FrameQueue`.
        wake: wakes the reader.
        life: the session's.
    """

    def __init__(
        self, tell: Callable[[bytes | memoryview], object] | None, wake: Callable[[], None], life: Life
    ) -> None:
        super().__init__(tell)
        self._life = life
        self.lock = threading.Lock()
        self._wake = wake
        # Senders that wait for room or for their turn.
        self._turns: deque[Sender] = deque()
        # The thread whose message in parts it is now, and who waits for room for a part.
        self._owner: threading.Thread | None = None
        self._room: list[Waiter] = []
        #: Something is queued, and the reader has been woken for it.
        self.work = False
        self.messages_sent = 0

    @property
    def error(self) -> WebSocketException | None:
        """What sending calls raise."""
        return self._life.sending

    def _ask(self) -> None:
        self.work = True
        self._wake()

    def _refuse_owner(self) -> None:
        if self._outgoing is not None and self._owner is threading.current_thread():
            raise RuntimeError(MISUSED.format("send_stream()"))

    def begin(self, outgoing: Outgoing) -> WebSocketException | None:
        """Wait for the turn of a message in parts; return why there is none. :meth:`complete` or :meth:`withdraw` ends it."""
        sender = Sender(b"", text=False, outgoing=outgoing)
        try:
            with self.lock:
                if self.error is not None:
                    return self.error
                self._refuse_owner()
                self._turns.append(sender)
                self._ask()  # the reader sees whose turn it is
            sender.wait()
            self._owner = threading.current_thread()
        except BaseException:
            self.withdraw(outgoing)
            raise
        return None if sender.done else self.error

    def add(self, outgoing: Outgoing, part: bytes) -> WebSocketException | None:
        """Queue a part once there is room, or return why not. If it raises, the part has been taken whole, or not at all."""
        while True:
            with self.lock:
                if self.error is not None:
                    return self.error
                if self.gathered <= HIGH_WATER:
                    if part:
                        outgoing.add(part)
                        self._ask()
                    return None
                waiter = Waiter()
                self._room.append(waiter)
            waiter.wait()

    def complete(self, outgoing: Outgoing) -> WebSocketException | None:
        """All parts have been added; return why they cannot be sent."""
        with self.lock:
            if self.error is not None:
                return self.error
            self._owner = None
            outgoing.complete = True
            self._ask()
            return None

    def withdraw(self, outgoing: Outgoing) -> bool:
        """Nothing more will be added. False, if something has been: only the session's end is left."""
        with self.lock:
            self._turns = deque(sender for sender in self._turns if sender.outgoing is not outgoing)
            if self._outgoing is outgoing:
                self._owner = None
            if outgoing.begun:
                outgoing.drop()
                return False
            if self._outgoing is outgoing:
                self._outgoing = None
            self._ask()
            return True

    def _on_outgoing(self, outgoing: Outgoing) -> None:
        self.messages_sent += outgoing.ended
