"""Streams that want to write and cannot: who waits for what, and who is next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from httpx2_trio_ws._http2 import Connection, Stream
    from httpx2_trio_ws._runtime import Event, Runtime


# So long a writer sleeps on while what it wants to write goes out bit by bit, in seconds: whoever waits for it wants to know
# that the server still takes something, and may have something more urgent to write.
_SLEEPS = 0.2


class _Turn:
    """A writer that waits."""

    __slots__ = ("began", "event", "rest", "stream", "written")

    def __init__(self, stream: Stream, data: bytes | memoryview, event: Event, began: float) -> None:
        self.stream = stream
        self.rest = data
        self.event = event
        self.began = began
        self.written = 0


class Turns:
    """First come, first served, so much at a time as a connection sends at once.

    What those who wait want to write is with their turns, so whoever makes room writes it for them (:meth:`serve`), and wakes
    each when all of it, or much, has been written. So a herd of writers costs no more than one each, and nobody waits for
    a task to run before room is used. A stream whose own window is used up waits apart, and keeps no other from its turn.

    Args:
        runtime: of the tasks that wait.
        http2: the connection that they write to.
    """

    def __init__(self, runtime: Runtime, http2: Connection) -> None:
        self._runtime = runtime
        self._now = runtime.clock()
        self._http2 = http2
        self._waiting: dict[_Turn, None] = {}
        self._used_up: dict[Stream, _Turn] = {}

    async def write(self, stream: Stream, data: bytes | memoryview) -> int:
        """Wait for room, and write what there is room for, or more; return how much that was: 0 at the end of the stream.

        If it is cancelled, some may have been written.
        """
        turn = _Turn(stream, data, self._runtime.event(), self._now())
        self._queue(turn)
        try:
            await turn.event.wait()
        finally:
            self._used_up.pop(stream, None)
            self._waiting.pop(turn, None)
        return turn.written

    def _queue(self, turn: _Turn) -> None:
        if self._http2.is_used_up(turn.stream):
            self._used_up[turn.stream] = turn
        else:
            self._waiting[turn] = None

    def serve(self) -> None:
        """There may be room: write for those that can use it, in their order."""
        http2 = self._http2
        for turn in () if http2.is_blocked else tuple(self._waiting):
            if http2.is_blocked:
                return
            if len(turn.rest) > http2.longest:
                continue
            written = http2.send(turn.stream, turn.rest)
            if not written:
                continue
            del self._waiting[turn]
            turn.written += written
            turn.rest = turn.rest[written:]
            if turn.rest and self._now() < turn.began + _SLEEPS:
                self._queue(turn)
            else:
                turn.event.set()

    def window_opened(self, stream: Stream | None) -> None:
        """The server takes more, of one stream or of all; :meth:`serve` is to be called."""
        if self._used_up:
            for used_up in [stream] if stream is not None else list(self._used_up):
                if used_up in self._used_up and not self._http2.is_used_up(used_up):
                    self._waiting[self._used_up.pop(used_up)] = None

    def release(self, stream: Stream) -> None:
        """It is over: whoever waits to write to the stream finds out what happened."""
        for turn in (*self._used_up.values(), *self._waiting):
            if turn.stream is stream:
                turn.event.set()
        self.serve()  # a stream less is more for the others
