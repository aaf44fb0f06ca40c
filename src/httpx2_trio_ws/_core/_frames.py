"""Frames on their way out, without I/O and without anyone who waits: for tasks and for threads.

Four places, in the order in which they are written:

1. the rest of what is partly on the wire already;
2. control frames: pongs, pings, the close frame that answers the peer's;
3. messages, in the order of the calls, and after them the close frame of our own ``close()``;
4. what has gathered of a message that is sent in parts, fragment by fragment. Until it is over, no other message comes.

Control frames thus wait for the frame now on the wire, and for nothing else of ours.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from httpx2_trio_ws._protocol import Outgoing


class FrameQueue:
    """See the module's text. Who waits for what is the subclass's: it is told by the methods that begin with ``_on``.

    Args:
        tell: called with all that has been handed to the transport, in that order, once it has been accounted for.
    """

    __slots__ = (
        "_batch",
        "_control",
        "_discarded",
        "_frames",
        "_is_rest",
        "_left",
        "_outgoing",
        "_wire",
        "_written",
        "bytes_sent",
        "control_size",
        "size",
        "tell",
    )

    #: One write takes so many bytes of messages, or one message.
    batch_size = sys.maxsize

    def __init__(self, tell: Callable[[bytes | memoryview], object] | None = None) -> None:
        self.tell = tell
        # Lists, not deques, of which an empty one takes ten times as much.
        self._frames: list[bytes] = []
        # The message that is sent in parts.
        self._outgoing: Outgoing | None = None
        self._control: list[bytes] = []
        self._wire: memoryview | None = None
        # The message frames in what is now on the wire, but for those that have left, to find the next place between
        # two frames; how many bytes of the first have left; and whether it is only the rest of one.
        self._batch: list[bytes] = []
        self._left = 0
        self._is_rest = False
        self._discarded = False
        # So many message frames have left.
        self._written = 0
        #: Bytes of messages that have not been handed to the transport.
        self.size: int = 0
        #: Bytes of control frames that wait.
        self.control_size: int = 0
        #: Bytes that have been handed to the transport, those included that never were in here.
        self.bytes_sent: int = 0

    # -- for the subclass ----------------------------------------------------------------------

    def _make_frames(self) -> None:
        """Of all that waits in another form."""

    def _unmade(self) -> Iterable[bytes]:
        """Their frames, for a last try."""
        return ()

    def _on_written(self) -> None:
        """So many message frames as :attr:`_written` says have been handed to the transport."""

    def _on_outgoing(self, outgoing: Outgoing) -> None:
        """All of the message that was sent in parts has been taken."""

    def _on_control(self) -> None:
        """No control frame waits any more."""

    # -- in ------------------------------------------------------------------------------------

    def add_frame(self, frame: bytes) -> None:
        """Queue a frame after the messages before it; inside of one that is sent in parts, and is not complete."""
        if self._outgoing is not None:
            self._outgoing.end_with(frame)
            return
        self._make_frames()
        self._frames.append(frame)
        self.size += len(frame)

    def add_rest(self, rest: bytes) -> None:
        """The rest of a frame, of which a part has been written. Only while nothing is on the wire."""
        self._wire = memoryview(rest)
        self._batch.append(rest)
        self._is_rest = True
        self.size += len(rest)

    def add_control(self, frames: bytes) -> None:
        """Queue control frames, ahead of the messages."""
        self._control.append(frames)
        self.control_size += len(frames)

    # -- out -----------------------------------------------------------------------------------

    def take(self, *, whole: bool = False) -> memoryview | None:
        """What to write next; :meth:`wrote` tells how much of it was. ``None`` if there is nothing.

        Args:
            whole: what was taken last must be written to its end before anything else.
        """
        if self._wire is not None and self._control and self._batch and not whole:
            self._cut()
        if self._wire is None:
            if self._control:
                self._wire = memoryview(b"".join(self._control))
                self._clear_control()
            else:
                self._make_frames()
                if self._frames:
                    self._fill()
                elif self._outgoing is not None:
                    self._fill_outgoing(self._outgoing)
        return self._wire

    def _fill_outgoing(self, outgoing: Outgoing) -> None:
        frame = outgoing.frame()
        if frame:
            self._frames.append(frame)
            self.size += len(frame)
            self._fill()
        if outgoing.over:
            self._outgoing = None
            self._on_outgoing(outgoing)

    def _fill(self) -> None:
        frames, batch = self._frames, self._batch
        if self.size <= self.batch_size:
            batch.extend(frames)
            frames.clear()
        else:
            size = 0
            for frame in frames:
                size += len(frame)
                if batch and size > self.batch_size:
                    break
                batch.append(frame)
            del frames[: len(batch)]
        self._wire = memoryview(b"".join(batch) if len(batch) > 1 else batch[0])
        if not frames:
            self.size = len(self._wire)

    def _cut(self) -> None:
        """Control frames wait: finish the frame that is part written, and put the others back."""
        assert self._wire is not None
        begun = self._is_rest or self._left > 0  # so many of them, and it is the first
        back = self._batch[begun:]
        size = sum(map(len, back))
        if self._discarded:
            self.size -= size
        else:
            self._frames[:0] = back
        del self._batch[begun:]
        self._wire = self._wire[: len(self._wire) - size]
        self._end_batch()

    def wrote(self, count: int) -> None:
        """``count`` bytes of what :meth:`take` gave have been handed to the transport."""
        assert self._wire is not None
        wire, self._wire = self._wire, self._wire[count:]
        batch = self._batch
        if batch:
            self.size -= count
            if self._wire:
                self._left += count
                whole = 0
                while self._left >= len(batch[whole]):
                    self._left -= len(batch[whole])
                    whole += 1
                if whole:
                    del batch[:whole]
                    self._written += whole
                    self._is_rest = False
                    self._on_written()
        self._end_batch()
        self.wrote_beside(wire, count)

    def wrote_beside(self, data: bytes | memoryview, count: int) -> None:
        """``count`` bytes of ``data`` have been, whether or not it ever was in here."""
        self.bytes_sent += count
        if self.tell is not None:
            self.tell(data[:count])

    def _end_batch(self) -> None:
        if not self._wire:
            self._wire = None
            self._written += len(self._batch)
            self._batch.clear()
            self._left = 0
            self._is_rest = False
            self._on_written()

    @property
    def gathered(self) -> int:
        """Bytes of messages that have not been handed to the transport, those in parts included."""
        return self.size if self._outgoing is None else self.size + self._outgoing.size

    # -- the end -------------------------------------------------------------------------------

    @property
    def between_frames(self) -> bool:
        """No frame is part written."""
        return self._wire is None

    def rest(self, size: int) -> bytes:
        """What waits, in order, in whole frames up to ``size`` bytes, for a last try. Only :attr:`between_frames`.

        All that waits is to be dropped after it.
        """
        rest = b"".join(self._control)
        of_outgoing = iter(self._outgoing.frame, b"") if self._outgoing is not None else ()
        for frames in (self._frames, self._unmade(), of_outgoing):
            for frame in frames:
                if len(rest) + len(frame) > size:
                    return rest
                rest += frame
        return rest

    def drop_messages(self) -> None:
        """Write no more messages, apart from the one that is part written."""
        self._discarded = True
        self.size = len(self._wire) if self._batch and self._wire is not None else 0
        self._frames.clear()
        self.drop_outgoing()

    def drop_outgoing(self) -> None:
        """Write nothing more of the message that is sent in parts."""
        self._outgoing = None

    def drop_all(self) -> None:
        """Nothing can be written any more."""
        self._wire = None
        self._batch.clear()
        self._clear_control()
        self.drop_messages()

    def _clear_control(self) -> None:
        self._control.clear()
        self.control_size = 0
        self._on_control()
