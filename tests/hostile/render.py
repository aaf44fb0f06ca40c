"""The table as the documentation shows it: ``docs/conf.py`` puts it into the page where :data:`MARKER` stands."""

from __future__ import annotations

from pathlib import Path

from . import closing, compression, flow, frames, handshake, opening, parts
from .scenario import MIB, Does, Scenario

PAGE = Path(__file__).parent.parent.parent / "docs" / "what-happens-when.md"
MARKER = "<!-- table: {} -->"
THEMES = {
    "handshake": handshake.SCENARIOS + opening.SCENARIOS,
    "frames": frames.SCENARIOS + compression.SCENARIOS,
    "closing": closing.SCENARIOS,
    "flow": flow.SCENARIOS + parts.SCENARIOS,
}
_COLUMNS = ("scenario", "the server", "what the application sees", "close code that the server gets", "within")


def table(theme: str) -> str:
    """One theme's scenarios as a Markdown table."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(_row(scenario) for scenario in THEMES[theme])]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def page(source: str) -> str:
    """The page with the tables in it."""
    for theme in THEMES:
        source = source.replace(MARKER.format(theme), table(theme))
    return source


def _row(scenario: Scenario) -> tuple[str, ...]:
    code = {None: "none", 1005: "an empty close frame"}.get(scenario.code, str(scenario.code))
    within = f"{scenario.seconds:g} s"
    if scenario.memory is not None:
        within += f" and {scenario.memory / MIB:g} MiB"
    cells = (f"**{scenario.name}** ({scenario.source})", scenario.server, _application(scenario), code, within)
    return tuple(cell.replace("|", r"\|") for cell in cells)


def _application(scenario: Scenario) -> str:
    """What it does, and what comes of it."""
    parts = []
    if scenario.options:
        parts.append("with " + ", ".join(f"`{name}={value!r}`" for name, value in scenario.options.items()) + ":")
    if scenario.patience is not None or scenario.limit is not None or scenario.does is not Does.RECEIVES:
        parts.append(_doing(scenario))
    parts.append(_outcome(scenario))
    if scenario.defect:
        parts.append(f"(not yet so: {scenario.defect})")
    return " ".join(parts)


def _doing(scenario: Scenario) -> str:
    doing = f"it {scenario.does.value}"
    if scenario.patience is not None:
        doing += f", cancels that after {scenario.patience:g} s and leaves the block"
    if scenario.limit is not None:
        doing += f", and the block is cancelled after {scenario.limit:g} s"
    return doing + ":"


def _outcome(scenario: Scenario) -> str:
    outcome = scenario.outcome
    parts = []
    if outcome.messages:
        parts.append("the message" if len(outcome.messages) == 1 else f"{len(outcome.messages):,} messages")
    if outcome.error is not None:
        code = "" if outcome.code is None else f" ({outcome.code})"
        module = "httpx2." if outcome.error.__module__.partition(".")[0] == "httpx2" else ""
        then = "then " if parts else ""
        parts.append(f"{then}`{module}{outcome.error.__name__}`{code}")
    if scenario.body is not None:
        parts[-1] += f" with {scenario.body} bytes of the body"
    if scenario.pongs:
        pings = "the ping is answered" if len(scenario.pongs) == 1 else f"{len(scenario.pongs):,} pings are answered"
        parts.append(pings)
    return ", ".join(parts) or "no error"
