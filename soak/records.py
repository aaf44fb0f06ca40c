"""What both sides of each session have counted, in files that are mapped into memory.

A server that is killed cannot tell what it had received; what it has written here stays.
"""

from __future__ import annotations

import ctypes
import enum
import mmap
import time
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

MOST = 2**17  # sessions; what is not used of the file takes no space


class End(enum.IntFlag):
    """How a session ended, as one side saw it."""

    #: It is over, and all that had arrived has been counted.
    OVER = 1
    #: The peer answered our close frame: it has received all that was sent.
    ANSWERED = 2
    #: All that the peer sent has arrived, as it has said that this was all.
    COMPLETE = 4
    #: The connection failed, and a call said so.
    FAILED = 8
    #: The peer broke the protocol.
    COMPLAINED = 16


class Row(ctypes.Structure):
    """The counts of one side of one session."""

    number: int
    #: Messages whose sending was begun, and the place after the last one whose sending returned.
    attempted: int
    completed: int
    #: Messages received, and the place after the last one of them.
    received: int
    expected: int
    lost: int
    doubled: int
    corrupted: int
    disordered: int
    #: An :class:`End`.
    end: int
    _fields_: ClassVar = [
        (name, ctypes.c_uint64)
        for name in (
            "number", "attempted", "completed", "received", "expected", "lost", "doubled", "corrupted", "disordered", "end"
        )
    ]  # fmt: skip


def _mapped(path: Path, size: int) -> mmap.mmap:
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(size)
        return mmap.mmap(file.fileno(), size)


class Records:
    """The counts of all sessions.

    Args:
        directory: where the file is; all processes name the same one.
    """

    def __init__(self, directory: Path) -> None:
        self._map = _mapped(directory / "records", 2 * MOST * ctypes.sizeof(Row))
        #: Sessions that this process has begun.
        self.count = 0

    def begin(self) -> Row:
        """The client's row of a new session."""
        if self.count == MOST:
            raise RuntimeError(f"more than {MOST} sessions")
        self.count += 1
        return self.client(self.count - 1)

    def client(self, number: int) -> Row:
        """The client's counts of a session."""
        return self._row(number, 2 * number)

    def server(self, number: int) -> Row:
        """The server's counts of a session."""
        return self._row(number, 2 * number + 1)

    def _row(self, number: int, place: int) -> Row:
        row = Row.from_buffer(self._map, place * ctypes.sizeof(Row))
        row.number = number
        return row


class Faults:
    """When connections have been broken, by the client's port, or sessions, by their numbers.

    Args:
        directory: as for :class:`Records`.
        name: of the file.
    """

    def __init__(self, directory: Path, name: str = "faults") -> None:
        self._times = memoryview(_mapped(directory / name, MOST * 8)).cast("d")

    def mark(self, port: int) -> None:
        """The connection from this port is going to be broken."""
        self._times[port] = time.monotonic()

    def broken(self, port: int, since: float) -> bool:
        """Whether one from this port has been broken since a time, by :func:`time.monotonic`."""
        return self._times[port] >= since
