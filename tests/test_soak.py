"""The soak, in small: it passes as it is, and does not pass where a message goes wrong on the way."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if sys.platform == "win32":
    pytest.skip("the soak counts open files as POSIX has them", allow_module_level=True)

import resource

from soak.main import DEFECTS, allow_open_files
from soak.messages import DONE, Checker, Size, build
from soak.records import MOST, End, Records, Row
from soak.report import Way

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--sessions", "20", "--seconds")
RUNS = {
    "TCP": (*SMALL, "3"),
    "TLS": (*SMALL, "3", "--tls"),
    "HTTP/2": (*SMALL, "3", "--http2"),
    "defects": (*SMALL, "1", "--defect", *DEFECTS),
}
SECONDS = 50  # for each; they take 3 to 8


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All of them, side by side, as they wait more than they work."""
    started = {
        name: subprocess.Popen(
            [sys.executable, "soak/run.py", *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONWARNINGS": "error"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, arguments in RUNS.items()
    }
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


def counts(output: str, what: str) -> tuple[int, int]:
    """A line of the table: messages to the server, and to the client."""
    found = re.search(rf"^  {what} +([\d,]+) +([\d,]+)$", output, re.MULTILINE)
    assert found is not None, output
    return int(found[1].replace(",", "")), int(found[2].replace(",", ""))


@pytest.mark.parametrize("over", ["TCP", "TLS", "HTTP/2"])
def test_whatever_breaks_no_message_goes_wrong(runs: dict[str, subprocess.Popen[str]], over: str) -> None:
    output, errors = runs[over].communicate(timeout=SECONDS)
    assert (runs[over].returncode, errors) == (0, ""), output
    assert "sessions held     20 at most" in output
    assert "server killed 1, server stopped 1" in output
    assert "left              0 tasks, 0 sockets" in output
    assert min(counts(output, "received")) > 100
    assert min(counts(output, "sessions proven whole")) > 10


def test_a_message_that_goes_wrong_is_noticed(runs: dict[str, subprocess.Popen[str]]) -> None:
    output, errors = runs["defects"].communicate(timeout=SECONDS)
    assert (runs["defects"].returncode, errors) == (1, ""), output
    assert "not met: no message is lost, doubled, corrupted or out of order" in output
    assert output.count("not met:") == 1
    assert counts(output, "lost") == (2, 2)  # the one that was dropped, and the one that had a bit flipped
    for what in ("doubled", "corrupted", "out of order"):
        assert counts(output, what) == (1, 1)


# -- the parts that count --------------------------------------------------------------------------------------------------


def row(number: int = 7) -> Row:
    return Row(number=number)


def sent(sender: Row, unsure: int = 0) -> str | bytes:
    message = build(sender, Size(10, text=bool(sender.attempted % 2)), unsure=unsure, asks=DONE)
    sender.attempted += 1
    sender.completed = sender.attempted
    return message


def test_what_is_said_to_be_unsure_may_be_missing() -> None:
    sender, receiver = row(), row()
    checker = Checker(receiver)
    messages = [sent(sender), sent(sender), sent(sender), sent(sender, unsure=1)]
    assert checker.check(messages[0]) == DONE
    checker.check(messages[3])
    assert (receiver.received, receiver.expected, receiver.lost) == (2, 4, 1)


def test_a_message_of_another_session_is_corrupt() -> None:
    receiver = row()
    Checker(receiver).check(sent(row(8)))
    assert (receiver.corrupted, receiver.expected) == (1, 0)


@pytest.mark.parametrize(
    ("all_arrived", "failed", "expected"),
    [(True, False, (2, 0, 0)), (False, True, (0, 2, 0)), (False, False, (0, 0, 2))],
    ids=["nothing covers it", "a failure", "a close"],
)
def test_the_last_messages_may_be_missing_only_with_a_reason(
    all_arrived: bool, failed: bool, expected: tuple[int, int, int]
) -> None:
    sender, receiver, way = row(), row(), Way()
    messages = [sent(sender) for _ in range(5)]
    checker = Checker(receiver)
    for message in messages[:3]:
        checker.check(message)
    way.add(sender, receiver, all_arrived=all_arrived, failed=failed)
    assert (way.lost, way.covered, way.closed) == expected
    assert way.wrong == expected[0]


def test_messages_that_were_never_sent_are_wrong() -> None:
    sender, receiver, way = row(), row(), Way()
    Checker(receiver).check(sent(sender))
    sender.attempted = sender.completed = 0
    way.add(sender, receiver, all_arrived=False, failed=True)
    assert way.wrong == 1


def test_counts_are_shared_by_processes(tmp_path: Path) -> None:
    ours, theirs = Records(tmp_path), Records(tmp_path)
    ours.begin()
    ours.begin().end = int(End.OVER)
    theirs.server(1).received = 5
    assert (theirs.client(1).end, ours.server(1).received, ours.server(0).received) == (End.OVER, 5, 0)
    ours.count = MOST
    with pytest.raises(RuntimeError, match="sessions"):
        ours.begin()


def test_too_low_a_limit_of_open_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"soft": 256, "hard": 4096}
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limits["soft"], limits["hard"]))
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.update(soft=new[0], hard=new[1]))
    allow_open_files(1000)
    assert limits == {"soft": 2200, "hard": 4096}
    with pytest.raises(SystemExit, match=r"4200 open files.* hold 1948 sessions at most"):
        allow_open_files(2000)
