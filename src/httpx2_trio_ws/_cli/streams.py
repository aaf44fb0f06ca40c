"""Standard input and output, as far as they can be waited for without threads and without changing them.

Setting ``O_NONBLOCK`` would do it, but that is a property of what the shell has open as well: it would stay set after
us, and after a crash. So each read and write waits until it will not block.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat

import trio

STDIN, STDOUT, STDERR = range(3)

_READ_SIZE = 65536
# As much as a pipe takes without blocking once it is writable, and as much as anything else does: the least PIPE_BUF
# that POSIX allows.
_PIPE_SIZE = getattr(select, "PIPE_BUF", 512)
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


def unread(descriptor: int) -> bool:
    """There is input that has not been read, as far as the system tells."""
    try:
        import fcntl  # noqa: PLC0415 (Windows has neither)
        import termios  # noqa: PLC0415

        return any(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    except (ImportError, OSError):
        return False


async def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it. If cancelled, a part may have been written.

    Raises:
        BrokenPipeError: its reader is gone.
        OSError: it cannot be written.
    """
    rest = memoryview(data)
    room = _PIPE_SIZE if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else _WRITE_SIZE
    while rest:
        size = room
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
