"""Streams whose sessions have said all, and so has the peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2_trio_ws._http2 import Stream
    from httpx2_trio_ws._runtime import Nursery, Runtime

# Seconds.
_PATIENCE = 0.5


class Leaving:
    """Gives the server some time to end a stream, and then has it reset. It may not be ended here: Hypercorn dies of that.

    Proxies drop what they have not passed on of a stream that is reset, and the last of it is the session's close frame.

    Args:
        runtime: of the task that waits, which is there while there is such a stream.
        reset: called with a stream whose time is over.
    """

    def __init__(self, runtime: Runtime, reset: Callable[[Stream], object]) -> None:
        self._runtime = runtime
        self._reset = reset
        self._deadlines: dict[Stream, float] = {}
        self._is_waiting = False

    def __len__(self) -> int:
        return len(self._deadlines)

    def add(self, stream: Stream, tasks: Nursery) -> None:
        """All has been said on a stream."""
        if not self._is_waiting:
            self._is_waiting = True
            tasks.start_soon(self._see_off)
        self._deadlines[stream] = self._runtime.now() + _PATIENCE

    def discard(self, stream: Stream) -> None:
        """A stream is no more."""
        self._deadlines.pop(stream, None)

    async def _see_off(self) -> None:
        while self._deadlines:
            stream, deadline = next(iter(self._deadlines.items()))
            if self._runtime.now() < deadline:
                await self._runtime.sleep_until(deadline)
            else:
                self._reset(stream)
        self._is_waiting = False
