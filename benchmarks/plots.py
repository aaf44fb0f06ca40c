"""Plots as SVG, each for light and for dark pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from .contenders import CONTENDERS

if TYPE_CHECKING:
    from pathlib import Path

    from .figures import Found
    from .growing import Series

WIDTH = 5.2  # inches: a plot is as wide as a telephone, where it is read without zooming; its parts stand on each other
LIGHT, DARK = "", "-dark"


class Theme(NamedTuple):
    """The colours for one kind of page."""

    ink: str
    grid: str
    loops: dict[str, str]


THEMES = {
    LIGHT: Theme(
        "#404040", "#d8d8d8", {"trio": "#1d7f73", "asyncio": "#2f66c4", "uvloop": "#7d49b0", "threads": "#a8650f"}
    ),
    DARK: Theme(
        "#d0d0d0", "#4a4a4a", {"trio": "#4fc7b8", "asyncio": "#86aef5", "uvloop": "#c3a0ea", "threads": "#e6ab5c"}
    ),
}


def style(theme: Theme) -> Any:
    inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    return {
        "svg.hashsalt": "benchmarks",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": theme.grid,
        "savefig.transparent": True,
        **dict.fromkeys(inks, theme.ink),
    }


def draw(found: Found, series: list[Series] | None, folder: Path) -> set[str]:
    """Write the plots that there are figures for, each for light and for dark pages. Returns their names."""
    folder.mkdir(exist_ok=True)
    drawn: set[str] = set()
    for suffix, theme in THEMES.items():
        with mpl.rc_context(style(theme)):
            for name, plot in plots(theme, found, series).items():
                if plot is not None:
                    drawn.add(name)
                    save(plot, folder / f"{name}{suffix}.svg")
    return drawn


def save(plot: Any, path: Path) -> None:
    plot.savefig(path, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    plt.close(plot)
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def plots(theme: Theme, found: Found, series: list[Series] | None) -> dict[str, Any]:
    return {
        "throughput": dots(
            theme,
            [per_second(found, "flood-125-text"), per_second(found, "burst-125-text")],
            ["Receive a flood: messages per second", "Send a burst: messages per second"],
        ),
        "echo": dots(
            theme,
            [figure(found, "echo-125", "cpu_us"), figure(found, "echo-125", "p99_us")],
            ["Echo: µs of CPU per round trip", "Echo: 99th percentile, µs"],
        ),
        "memory": dots(theme, [figure(found, "sessions", "memory", 1 / 1024)], ["Memory per idle session, KiB"]),
        "growth": lines(theme, series or []),
    }


def figure(found: Found, workload: str, name: str, scale: float = 1) -> dict[str, float]:
    values = {contender: found.median(workload, contender, name) for contender in CONTENDERS}
    return {contender: value * scale for contender, value in values.items() if value is not None}


def per_second(found: Found, workload: str) -> dict[str, float]:
    """Without the floors, which do not make messages of the bytes."""
    values = figure(found, workload, "wall_us")
    return {name: 1e6 / value for name, value in values.items() if not name.startswith("bare-")}


def dots(theme: Theme, data: list[dict[str, float]], titles: list[str]) -> Any:
    """A dot for each contender, on a logarithmic axis; ``None`` without figures.

    No bars: such an axis has no zero for them to begin at, so their lengths would say nothing.
    """
    if not all(data):
        return None
    rows = [len(values) for values in data]
    plot, axes = plt.subplots(
        len(data), 1, figsize=(WIDTH, sum(rows) * 0.24 + 0.8 * len(data)), squeeze=False, height_ratios=rows
    )
    for axis, values, title in zip(axes[:, 0], data, titles, strict=True):
        names = list(values)[::-1]
        for place, name in enumerate(names):
            ours = name.startswith("ours-")
            colour = theme.loops[CONTENDERS[name].loop]
            axis.plot(
                [values[name]], [place], "o", color=colour, markersize=7, markerfacecolor=colour if ours else "none"
            )
            axis.annotate(
                short(values[name]), (values[name], place), (7, 0), textcoords="offset points", va="center", fontsize=9
            )
        axis.set_yticks(range(len(names)), names)
        for label, name in zip(axis.get_yticklabels(), names, strict=True):
            label.set_fontweight("bold" if name.startswith("ours-") else "normal")
        axis.set_xscale("log")
        axis.margins(x=0.14)
        axis.grid(axis="both", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.set_title(title, fontsize=11, loc="left")
        axis.tick_params(axis="y", length=0)
    plot.tight_layout()
    return plot


def short(value: float) -> str:
    for bound, letter in ((1e6, "M"), (1e3, "k")):
        if value >= bound:
            return f"{value / bound:.3g} {letter}"
    return f"{value:.3g}"


def lines(theme: Theme, series: list[Series]) -> Any:
    """A small plot for each series, with a line that is linear; ``None`` without series."""
    if not series:
        return None
    across = 2
    down = -(-len(series) // across)
    plot, axes = plt.subplots(down, across, figsize=(WIDTH, 2.2 * down), squeeze=False)
    for axis in axes.flat[len(series) :]:
        axis.set_visible(False)
    for axis, one in zip(axes.flat, series, strict=False):
        ns, costs = [n for n, _ in one.points], [cost for _, cost in one.points]
        axis.loglog(ns, costs, marker="o", markersize=4, color=theme.loops["trio"])
        axis.loglog(ns, [costs[-1] * n / ns[-1] for n in ns], linestyle=":", color=theme.ink, linewidth=1)
        axis.set_title(f"{one.title}\nexponent {one.exponent:.2f}", fontsize=9, loc="left")
        axis.set_xlabel(one.unit, fontsize=9)
        axis.set_ylabel(one.cost, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.minorticks_off()
    plot.tight_layout()
    return plot
