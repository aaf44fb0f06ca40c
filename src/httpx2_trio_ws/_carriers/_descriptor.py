"""A socket's descriptor: whether it has bytes or room, what is on its way, and writing to it without waiting."""

from __future__ import annotations

import contextlib
import os
import select
import struct
from typing import Any

from ._base import CarrierError


def has_room(socket: Any) -> bool:
    """Whether a socket takes bytes without waiting; false also where that cannot be told."""
    return _is_ready(socket, "POLLOUT")


def has_bytes(socket: Any) -> bool:
    """Whether there is something to be read from a socket; false also where that cannot be told."""
    return _is_ready(socket, "POLLIN")


def _is_ready(socket: Any, what: str) -> bool:
    if not hasattr(socket, "fileno") or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    with contextlib.suppress(ValueError):  # it has been closed
        poll.register(socket.fileno(), getattr(select, what))
    return bool(poll.poll(0))


def in_flight(socket: Any) -> int:
    """Bytes that a socket has taken and the peer's system has not; 0 also where that cannot be told."""
    # It may have been closed, or be of another kind; Windows has no such call.
    with contextlib.suppress(AttributeError, ImportError, OSError, ValueError):
        import fcntl
        import termios

        told = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))  # of a socket, it is called SIOCOUTQ
        return int(struct.unpack("i", told)[0])
    return 0


def write_now(descriptor: int, data: bytes | memoryview) -> int:
    """Write to a descriptor what goes without waiting. Raises :exc:`CarrierError`."""
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0
    except OSError as exc:
        raise CarrierError("writing to the connection failed") from exc
