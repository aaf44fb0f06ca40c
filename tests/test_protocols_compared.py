"""``benchmarks/protocols.py``: the three protocols agree where they are timed, and differ as the documentation quotes."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "protocols.py"))
WORKLOADS = SCRIPT["workloads"]()
PAGE = (ROOT / "docs" / "explanation" / "protocol.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_each_gives_the_same_messages(workload: Any) -> None:
    number = 10
    short = workload._replace(number=number, wire=workload.wire[: len(workload.wire) // workload.number * number])
    for peer in SCRIPT["PEERS"].values():
        assert SCRIPT["run"](peer(deflate=workload.deflate), short) > 0


def test_every_workload_is_quoted() -> None:
    for workload in WORKLOADS:
        assert re.search(rf"^\| {re.escape(workload.name)} \| [\d.]+ \| [\d.]+ \|$", PAGE, re.MULTILINE)


def without_sizes(table: str) -> str:
    """How much memory it takes depends on the versions of Python and zlib."""
    return re.sub(r"\d+ MiB at the peak", "… at the peak", table)


def test_the_behaviours_are_those_that_are_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    SCRIPT["compare_behaviours"]()
    printed = capsys.readouterr().out.strip()
    assert without_sizes(printed) in without_sizes(PAGE)
    ours, websockets, wsproto = map(int, re.findall(r"(\d+) MiB at the peak", printed))
    assert max(ours, websockets) < 4 < 64 < wsproto
