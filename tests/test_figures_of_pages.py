"""Figures that the pages tell of the tests are those of the tests."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from httpx2_trio_ws.testing import session_checks

from . import test_every_checkpoint
from .contract.runtimes import RUNTIMES
from .hostile.test_hostile import SCENARIOS

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
CHECKS = len(session_checks())
OF_KINDS = {name: len(runtime.checks()) for name, runtime in RUNTIMES.items()}
SCRIPTS = sum(len(scenario.scripts) for scenario in SCENARIOS)
OPERATIONS = len(test_every_checkpoint.RUNS)
MARKS: list[pytest.Mark] = vars(test_every_checkpoint.test_cancelled_at_each)["pytestmark"]
CASES = math.prod([len(mark.args[1]) for mark in MARKS])


@pytest.mark.parametrize(
    "told",
    [
        f"{sum(OF_KINDS.values()):,} checks on {len(OF_KINDS)} kinds of sessions",
        f"\n{CHECKS} checks say what a session does",
        *(f"\n| {name} | {count} |\n" for name, count in OF_KINDS.items()),
        f"{len(SCENARIOS)} scenarios in {SCRIPTS} scripts",
        f"| {CASES} cases |",
        f"\n{OPERATIONS} operations, from opening to leaving the block",
    ],
)
def test_the_page_on_reliability(told: str) -> None:
    assert told in PAGE.read_text(encoding="utf-8")


def test_scenarios_that_are_known_to_fail_are_told() -> None:
    known = [scenario.name for scenario in SCENARIOS if scenario.defect]
    page = PAGE.read_text(encoding="utf-8")
    assert all(name in page for name in known)
