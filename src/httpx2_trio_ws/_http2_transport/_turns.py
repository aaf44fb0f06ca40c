"""Streams that want to write and cannot: who waits for what, and who is next."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from httpx2_trio_ws._http2 import Connection, Stream
    from httpx2_trio_ws._runtime import Event, Runtime


class Turns:
    """First come, first served.

    What makes room wakes the first that can use it, and who has written wakes the next (:meth:`pass_on`), also when it
    was cancelled instead. So a herd of writers costs no more than one each. A stream whose own window is used up waits
    apart, and keeps no other from its turn.

    Args:
        runtime: of the tasks that wait.
        http2: the connection that they write to.
    """

    def __init__(self, runtime: Runtime, http2: Connection) -> None:
        self._runtime = runtime
        self._http2 = http2
        self._waiting: deque[tuple[Stream, Event]] = deque()
        self._used_up: dict[Stream, Event] = {}
        #: One that has waited is about to write: no other may, until :meth:`pass_on`.
        self.is_taken = False

    async def wait(self, stream: Stream) -> None:
        """Wait for room, or for the end of the stream. The caller writes, and calls :meth:`pass_on`."""
        event = self._runtime.event()
        if self._http2.is_used_up(stream):
            self._used_up[stream] = event
            try:
                await event.wait()
            finally:
                self._used_up.pop(stream, None)
            return
        turn = stream, event
        self._waiting.append(turn)
        try:
            await event.wait()
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self.pass_on()  # it was ours
            raise

    def pass_on(self) -> None:
        """There may be room: wake the first that can use it."""
        self.is_taken = False
        if self._waiting and not self._http2.is_blocked:
            for turn in self._waiting:
                if self._http2.room(turn[0]) > 0:
                    self._waiting.remove(turn)
                    turn[1].set()
                    self.is_taken = True
                    return

    def window_opened(self, stream: Stream | None) -> None:
        """The server takes more, of one stream or of all."""
        if stream is None:
            for used_up, event in self._used_up.items():
                if not self._http2.is_used_up(used_up):
                    event.set()
        elif stream in self._used_up:
            self._used_up[stream].set()
        self.pass_on()

    def release(self, stream: Stream) -> None:
        """It is over: whoever waits to write to the stream finds out what happened."""
        if stream in self._used_up:
            self._used_up[stream].set()
        for turn in list(self._waiting):
            if turn[0] is stream:
                self._waiting.remove(turn)
                turn[1].set()
        self.pass_on()
