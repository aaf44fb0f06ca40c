"""Which pong answers which ping (RFC 6455 §5.5.3)."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# Nothing is ever put into it. Each session's own would take 128 bytes, and is needed between a ping and its pong.
_NONE: OrderedDict[bytes, Any] = OrderedDict()


class PingBook(Generic[T]):
    """The pings that wait for a pong, oldest first, each with whatever the caller keeps for it."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        # A plain dict would search ever longer for its oldest entry.
        self._waiting: OrderedDict[bytes, T] = _NONE

    def payload(self, wanted: bytes) -> bytes:
        """A payload to ping with: ``wanted``, or four random bytes where that is empty.

        Raises:
            ValueError: it waits for its pong already.
        """
        if wanted in self._waiting:
            raise ValueError(f"a ping with payload {wanted!r} waits for its pong already; choose another")
        while not wanted or wanted in self._waiting:
            wanted = os.urandom(4)
        return wanted

    def sent(self, payload: bytes, item: T) -> None:
        """A ping has been queued."""
        if not self._waiting:
            self._waiting = OrderedDict()
        self._waiting[payload] = item

    def forget(self) -> list[T]:
        """No pong will come any more: what was kept for the pings that wait."""
        forgotten = list(self._waiting.values())
        self._waiting = _NONE
        return forgotten

    def answered(self, payload: bytes) -> list[T]:
        """The pings that a pong answers: the one with its payload and those before it.

        A peer may answer only the latest ping (RFC 6455 §5.5.3). An unsolicited pong answers none.
        """
        answered: list[T] = []
        while payload in self._waiting:
            answered.append(self._waiting.popitem(last=False)[1])
        if not self._waiting:
            self._waiting = _NONE
        return answered
