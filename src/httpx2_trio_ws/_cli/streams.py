"""Standard input and output, as far as they can be waited for without threads and without changing them.

Setting ``O_NONBLOCK`` would do it, but that is a property of what the shell has open as well: it would stay set after
us, and after a crash. So each read and write waits until it will not block.
"""

from __future__ import annotations

import contextlib
import os
import select

import trio

STDIN, STDOUT, STDERR = range(3)

_READ_SIZE = 65536
# As much as a pipe takes without blocking once it is writable: the least PIPE_BUF that POSIX allows.
_WRITE_SIZE = 512


def fill_standard() -> None:
    """Where a standard stream is closed, open the null device: or the next socket would get its number."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free


async def read_some(descriptor: int) -> bytes:
    """Read what there is, at least one byte; nothing at the end. Cancelling loses nothing.

    Raises:
        OSError: it cannot be read.
    """
    try:
        await trio.lowlevel.wait_readable(descriptor)
    except PermissionError:  # of a file, or the null device: reading these does not wait
        await trio.lowlevel.checkpoint()
    except OSError:  # of a console on Windows, and where kqueue does not take a device
        return await trio.to_thread.run_sync(os.read, descriptor, _READ_SIZE, abandon_on_cancel=True)
    return os.read(descriptor, _READ_SIZE)


def readable_now(descriptor: int) -> bool:
    """There is something to read. Where that cannot be asked, as on Windows, there is not."""
    try:
        return bool(select.select([descriptor], [], [], 0)[0])
    except OSError:
        return False


async def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it. If cancelled, a part may have been written.

    Raises:
        BrokenPipeError: its reader is gone.
        OSError: it cannot be written.
    """
    rest = memoryview(data)
    while rest:
        size = _WRITE_SIZE
        try:
            await trio.lowlevel.wait_writable(descriptor)
        except OSError:  # of a file; likewise
            await trio.lowlevel.checkpoint()
            size = len(rest)
        rest = rest[os.write(descriptor, rest[:size]) :]


def write_now(descriptor: int, data: bytes) -> None:
    """Write all of it, blocking; for notices, which nobody may read."""
    rest = memoryview(data)
    with contextlib.suppress(OSError):
        while rest:
            rest = rest[os.write(descriptor, rest) :]


class Lines:
    """The lines of a descriptor.

    Attributes:
        taken: how many have been handed out.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = bytearray()
        self._searched = 0
        self._ended = False
        self.taken = 0

    @property
    def left(self) -> bool:
        """There is more that has been read already."""
        return bool(self._data)

    async def read(self) -> str | None:
        """The next line, without its end; ``None`` after the last. A last one may lack its newline.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
        """
        while True:
            end = self._data.find(b"\n", self._searched)
            if end >= 0:
                return self._take(end).removesuffix(b"\r").decode()
            if self._ended:
                return self._take(len(self._data)).decode() if self._data else None
            self._searched = len(self._data)
            try:
                more = await read_some(self._descriptor)
            except OSError:  # the terminal is gone, or it was never open
                more = b""
            self._ended = not more
            self._data += more

    def _take(self, end: int) -> bytes:
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        self.taken += 1
        return line
