"""Messages that can be checked: whose they are, their place in the sequence, and a checksum over all of it."""

from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .records import Row

# What a message asks for, beside being counted. A close code asks the server to close with it.
ORDINARY = "-"
FINISH = "finish"  # send no more than one DONE
DONE = "done"  # the last one

_LARGEST = 18  # as a power of two: 256 KiB
_BINARY = random.Random(0).randbytes(2**_LARGEST)
_TEXT = "".join(random.Random(0).choices("abcdefghij äöü €§ 𝄞", k=2**_LARGEST))


class Size(NamedTuple):
    """A message to be made."""

    length: int
    text: bool


def traffic(rng: random.Random, per_second: float) -> Iterator[tuple[float, list[Size]]]:
    """For ever: a pause in seconds, and the messages that follow it in one go. Mostly one and small, at times many or large."""
    while True:
        count = rng.randint(20, 50) if rng.random() < 0.04 else 1
        largest = _LARGEST if rng.random() < 0.01 else 11
        sizes = [Size(int(2 ** rng.uniform(0, largest)), rng.random() < 0.5) for _ in range(count)]
        yield rng.expovariate(per_second), sizes


def build(row: Row, size: Size, *, unsure: int = 0, asks: str = ORDINARY) -> str | bytes:
    """The next message of a session.

    Args:
        row: whose it is; it is not counted yet.
        size: of its body.
        unsure: so many messages directly before it may have been sent or not, as their sending was cancelled.
        asks: see above.
    """
    body = _TEXT[: size.length].encode() if size.text else _BINARY[: size.length]
    data = b"%d %d %d %s " % (row.number, row.attempted, unsure, asks.encode()) + body
    data = b"%08x " % zlib.crc32(data) + data
    return data.decode() if size.text else data


class Checker:
    """Checks the messages of one direction of one session as they arrive, and counts in ``row``."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._missing: set[int] = set()

    def check(self, message: str | bytes) -> str:
        """Count a message. Returns what it asks for."""
        row = self._row
        row.received += 1
        data = message.encode() if isinstance(message, str) else message
        checksum, _, rest = data.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(rest):
            row.corrupted += 1
            return ORDINARY
        whose, place, unsure, asks, _ = rest.split(b" ", 4)
        number = int(place)
        if int(whose) != row.number:
            row.corrupted += 1  # right, but of another session
        elif number >= row.expected:
            self._missing.update(range(row.expected, number - int(unsure)))
            row.expected = number + 1
        elif number in self._missing:
            self._missing.remove(number)
            row.disordered += 1
        else:
            row.doubled += 1
        row.lost = len(self._missing)
        return asks.decode()
