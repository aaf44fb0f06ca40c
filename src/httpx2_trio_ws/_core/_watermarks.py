"""How full the queues of a session may become, on every event loop and in threads."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, islice
from sys import getsizeof
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable

    from httpx2_trio_ws._protocol import Message

# Reading stops above so many bytes of memory in the queue, however few messages they are.
MAX_SIZE = 2**20
# A character takes so many of them at most.
LARGEST = 4
# Above so many bytes queued, senders wait; they go on below a quarter of that.
HIGH_WATER = 65536
LOW_WATER = HIGH_WATER // 4
# Messages that come after the session was closed here are dropped, so many in a step: a read may hold 131,072.
DROPPED = 4096


def size_of(messages: Iterable[Message]) -> int:
    """Bytes of memory that messages take."""
    return sum(map(getsizeof, messages))


def resume_at(messages: deque[Message], max_messages: int) -> int:
    """When so few of the queued messages are left, reading may go on: half of what the queue holds, by count and size."""
    sizes = accumulate(map(getsizeof, islice(reversed(messages), max_messages // 2)))
    return bisect_right(list(sizes), MAX_SIZE // 2)
