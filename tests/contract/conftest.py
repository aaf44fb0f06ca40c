"""A table at the end: how many checks each kind of session has passed, and how long they took."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


def reports(terminalreporter: pytest.TerminalReporter) -> Iterator[tuple[str, str, float]]:
    """Runtime, outcome and seconds of each check."""
    for outcome in ("passed", "failed", "xfailed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            properties: dict[str, Any] = dict(report.user_properties)
            if report.when == "call" and "runtime" in properties:
                yield properties["runtime"], outcome, report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    table: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for runtime, outcome, seconds in reports(terminalreporter):
        table[runtime][outcome] += 1
        table[runtime]["seconds"] += seconds
    if not table:
        return
    terminalreporter.section("session contract")
    terminalreporter.write_line(f"{'':20}{'checks':>8}{'passed':>8}{'failed':>8}{'seconds':>9}")
    for runtime, row in table.items():
        passed, seconds = row.pop("passed", 0), row.pop("seconds")
        failed = sum(row.values())
        terminalreporter.write_line(f"{runtime:20}{passed + failed:8.0f}{passed:8.0f}{failed:8.0f}{seconds:9.1f}")
