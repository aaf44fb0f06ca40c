"""How far a large message has come."""

from __future__ import annotations

import re

import pytest

from httpx2_trio_ws._cli import progress as module
from httpx2_trio_ws._cli.progress import Progress

MIB = 2**20


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written to the terminal; a quarter of a second passes between two looks at the clock."""
    seconds = iter(number / 4 for number in range(1000))
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    written: list[str] = []
    monkeypatch.setattr(module, "write_now", lambda _, data: written.append(data.decode()))
    return written


def test_a_bar(drawn: list[str]) -> None:
    progress = Progress("sent", 4 * MIB, shown=True)
    for _ in range(4):
        progress.add(MIB)
    progress.end()
    assert drawn == [
        "\r\x1b[Ksent [##########          ]  50% 2.0 of 4.0 MiB, 4.0 MiB/s",
        "\r\x1b[Ksent [###############     ]  75% 3.0 of 4.0 MiB, 4.0 MiB/s",
        "\r\x1b[Ksent [####################] 100% 4.0 of 4.0 MiB, 4.0 MiB/s",
        "\r\x1b[K",
    ]


def test_a_size_that_nobody_knows(drawn: list[str]) -> None:
    progress = Progress("received", None, shown=True)
    for _ in range(2):
        progress.add(MIB)
    assert re.fullmatch(r"\r\x1b\[Kreceived 2.0 MiB, 4.0 MiB/s", drawn[-1])


def test_nothing_is_drawn_of_what_is_soon_done_or_where_there_is_no_terminal(drawn: list[str]) -> None:
    progress = Progress("sent", None, shown=True)
    progress.add(MIB)
    progress.end()
    hidden = Progress("sent", None, shown=False)
    for _ in range(10):
        hidden.add(MIB)
    hidden.end()
    assert drawn == []
