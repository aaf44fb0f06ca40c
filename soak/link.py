"""A network of two hosts: two namespaces of Linux, and between them a link that delays, loses and reorders packets.

The packets go through this process, from one TUN device to the other. Needs the right to make both (root), and ``ip`` of
Debian's iproute2.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from types import TracebackType

_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x1001
_LARGEST = 65536
_IDLE_SECONDS = 0.05


class Host(NamedTuple):
    """One end of the link: a namespace, its device, its address."""

    name: str
    device: str
    address: str

    def command(self, *arguments: object) -> list[str]:
        """What runs a command there."""
        return ["ip", "netns", "exec", self.name, *map(str, arguments)]


def _hosts() -> tuple[Host, Host]:
    number = os.getpid()
    return Host(f"near-{number}", f"n{number}", "10.213.0.1"), Host(f"far-{number}", f"f{number}", "10.213.0.2")


def lacking() -> str | None:
    """Why there can be no such network here; ``None`` if there can."""
    if sys.platform != "linux":
        return "it takes Linux"
    if shutil.which("ip") is None:
        return "there is no `ip` (on Debian: apt-get install iproute2)"
    if os.geteuid() != 0 or not os.access("/dev/net/tun", os.W_OK):
        return "it takes root, and /dev/net/tun"
    probe = f"probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False, text=True)
    if made.returncode:
        return f"no namespace can be made: {made.stderr.strip()}"
    _ip("netns", "del", probe)
    return None


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Link:
    """For a block: the two hosts, and the packets between them.

    Args:
        delay: seconds that a packet takes, at least and at most; each takes its own time, so they overtake each other.
        loss: the part of the packets that is lost.
        seed: of what is left to chance.
    """

    def __init__(self, delay: tuple[float, float], loss: float, seed: int) -> None:
        self.near, self.far = _hosts()
        self._delay = delay
        self._loss = loss
        self._random = random.Random(seed)
        self._cut_until = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="link")
        self._ends: list[int] = []
        self.carried = self.lost = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for host in (self.near, self.far):
                _ip("netns", "add", host.name)
                stack.callback(_ip, "netns", "del", host.name)
                self._ends.append(self._end(host))
                stack.callback(os.close, self._ends[-1])
            self._thread.start()
            self._undo = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._undo.close()

    def cut(self, seconds: float) -> None:
        """Pull the cable, for so long."""
        self._cut_until = time.monotonic() + seconds

    @staticmethod
    def _end(host: Host) -> int:
        import fcntl  # noqa: PLC0415 (POSIX only)

        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH14x", host.device.encode(), _TUN_WITHOUT_HEADER))
        _ip("link", "set", host.device, "netns", host.name)
        for name in ("lo", host.device):
            _ip("-n", host.name, "link", "set", name, "up")
        _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.device)
        return end

    def _carry(self) -> None:
        """The thread."""
        near, far = self._ends
        waiting: list[tuple[float, int, int, bytes]] = []
        while not self._over.is_set():
            due = waiting[0][0] - time.monotonic() if waiting else _IDLE_SECONDS
            readable, _, _ = select.select([near, far], [], [], min(_IDLE_SECONDS, max(0.0, due)))
            for end in readable:
                with contextlib.suppress(BlockingIOError):
                    packet = os.read(end, _LARGEST)
                    if self._is_lost():
                        self.lost += 1
                        continue
                    self.carried += 1
                    arrives = time.monotonic() + self._random.uniform(*self._delay)
                    heapq.heappush(waiting, (arrives, self.carried, far if end == near else near, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                *_, end, packet = heapq.heappop(waiting)
                with contextlib.suppress(OSError):  # no room in the device's queue: lost, as in any network
                    os.write(end, packet)

    def _is_lost(self) -> bool:
        return time.monotonic() < self._cut_until or self._random.random() < self._loss
