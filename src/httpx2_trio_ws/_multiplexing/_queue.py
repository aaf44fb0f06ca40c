"""A bounded queue of messages, with the gaps between them marked: what a subscription and a multiplexer hold."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from httpx2_trio_ws._runtime import Event, Runtime

logger = logging.getLogger("httpx2_trio_ws.multiplex")

T = TypeVar("T")
WhenFull: TypeAlias = Literal["fail", "wait", "drop_oldest"]

# A receive that need not wait is a schedule point only this often, as a session's.
CALLS_PER_TURN = 32
# After so long of "wait", the log says who holds everything back.
_PATIENCE = 10


class SubscriptionOverflow(Exception):
    """Messages came faster than they were received, and so many were dropped here. The next call goes on.

    Attributes:
        dropped: how many.
    """

    def __init__(self, dropped: int) -> None:
        super().__init__(dropped)
        self.dropped = dropped

    def __str__(self) -> str:
        return (
            f"{self.dropped} messages were dropped: they came faster than they were received; raise capacity, or pass "
            'when_full="wait" to hold everything back, or when_full="drop_oldest"'
        )


class Ended(Exception):
    """Nothing more will come; who holds the queue knows why."""


def check_capacity(capacity: object) -> None:
    """Raise TypeError or ValueError if it is no number of messages."""
    if not isinstance(capacity, int) or isinstance(capacity, bool):
        raise TypeError(f"capacity must be an int, not {capacity!r}")
    if capacity < 1:
        raise ValueError(f"capacity must be at least 1, not {capacity}")


def check_when_full(when_full: object) -> None:
    """Raise ValueError if it is none of the three."""
    if when_full not in ("fail", "wait", "drop_oldest"):
        raise ValueError(f'when_full is "fail", "wait" or "drop_oldest", not {when_full!r}')


class Queue(Generic[T]):
    """Bounded, one producer, any number of consumers.

    Args:
        runtime: of the loop.
        capacity: messages.
        when_full: what becomes of the next one.
        name: of whose queue it is, for the log.
        is_read: whether somebody waits for the messages from the start. If not, until the first :meth:`take` the newest
            are kept, whatever ``when_full`` says.
    """

    def __init__(self, runtime: Runtime, capacity: int, when_full: WhenFull, name: str, *, is_read: bool) -> None:
        self._runtime = runtime
        self._capacity = capacity
        self._when_full = when_full
        self._name = name
        self._is_read = is_read
        self._items: deque[tuple[T, bool]] = deque()
        self._arrived: Event | None = None
        self._room: Event | None = None
        self._untold = 0  # dropped since that was told last
        self._is_over = self._is_closed = False
        self._budget = CALLS_PER_TURN
        #: The next message will not follow the one before it.
        self.gap_next = True
        #: The message taken last does not follow the one before it.
        self.gap = False
        #: How many messages have been dropped.
        self.dropped = 0

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    # -- for the producer ------------------------------------------------------------------------

    def put(self, message: T) -> bool:
        """Queue a message, or drop it if that is what there is to do; false if there must be room first."""
        if self._is_closed:
            return True
        if len(self._items) >= self._capacity or self._untold:
            if self._is_read and self._when_full == "wait":
                return False
            self.dropped += 1
            if self._is_read and self._when_full == "fail":
                self._untold += 1
                return True
            self._items.popleft()
            if self._items:
                self._items[0] = (self._items[0][0], True)
            else:
                self.gap_next = True
        self._items.append((message, self.gap_next))
        self.gap_next = False
        self._wake()
        return True

    async def _put_later(self, message: T) -> None:
        """Wait until there is room, and queue a message. If it takes long, the log says so, once."""
        late = self._runtime.cancel_scope(deadline=self._runtime.now() + _PATIENCE)
        while not self.put(message):
            self._room = self._runtime.event()
            with late:
                await self._room.wait()
            if late.cancelled_caught:
                logger.warning(
                    "%s has been full for %d s, and holds back everything behind it: it is not being read",
                    self._name,
                    _PATIENCE,
                )
            late = self._runtime.cancel_scope()

    def end(self) -> None:
        """No more will come. What is queued can be taken, before :exc:`Ended`."""
        self._is_over = True
        self._wake()

    def close(self) -> None:
        """Nobody takes any more: what is queued is dropped, and so is what comes."""
        self._is_closed = self._is_over = True
        self._items.clear()
        self._untold = 0
        self._make_room()
        self._wake()

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None

    # -- for consumers ---------------------------------------------------------------------------

    async def take(self) -> T:
        """The next message. A checkpoint; cancelling loses nothing.

        Raises:
            SubscriptionOverflow: some were dropped here.
            Ended: no more will come.
        """
        if self._budget <= 0:
            # The turn of others; before the message is taken, so that being cancelled loses none.
            self._budget = CALLS_PER_TURN
            await self._runtime.checkpoint()
        elif self._budget == CALLS_PER_TURN or self._runtime.is_cancelled():
            await self._runtime.checkpoint_if_cancelled()
        self._is_read = True
        waited = False
        while not self._items:
            if self._untold:
                untold, self._untold = self._untold, 0
                self.gap_next = True
                raise SubscriptionOverflow(untold)
            if self._is_over:
                if not waited:
                    await self._runtime.checkpoint()
                raise Ended
            if self._arrived is None:
                self._arrived = self._runtime.event()
            await self._arrived.wait()
            waited = True
        message, self.gap = self._items.popleft()
        self._make_room()
        self._budget = CALLS_PER_TURN if waited else self._budget - 1
        return message
