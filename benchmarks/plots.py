"""Plots as SVG, readable on light and on dark pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from .contenders import CONTENDERS

if TYPE_CHECKING:
    from pathlib import Path

    from .figures import Found
    from .growing import Series

GREY = "#808080"
COLOURS = {"trio": "#2a9d8f", "asyncio": "#4a7fd4", "uvloop": "#9a6fc4", "threads": "#d08a2e"}
STYLE: Any = {
    "svg.hashsalt": "benchmarks",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.transparent": True,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), GREY),
}


def draw(found: Found, series: list[Series] | None, folder: Path) -> set[str]:
    """Write the plots that there are figures for. Returns their names."""
    folder.mkdir(exist_ok=True)
    made = {}
    with mpl.rc_context(STYLE):
        made["throughput"] = bars(
            [per_second(found, "flood-125-text"), per_second(found, "burst-125-text")],
            ["Receive a flood: messages per second", "Send a burst: messages per second"],
        )
        made["echo"] = bars(
            [figure(found, "echo-125", "cpu_us"), figure(found, "echo-125", "p99_us")],
            ["Echo: µs of CPU per round trip", "Echo: 99th percentile, µs"],
        )
        made["memory"] = bars([figure(found, "sessions", "memory", 1 / 1024)], ["Memory per idle session, KiB"])
        made["growth"] = lines(series or [])
        drawn = {name: plot for name, plot in made.items() if plot is not None}
        for name, plot in drawn.items():
            plot.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
            plt.close(plot)
            lines_of = (folder / f"{name}.svg").read_text().splitlines()
            (folder / f"{name}.svg").write_text("\n".join(line.rstrip() for line in lines_of) + "\n")
    return set(drawn)


def figure(found: Found, workload: str, name: str, scale: float = 1) -> dict[str, float]:
    values = {contender: found.median(workload, contender, name) for contender in CONTENDERS}
    return {contender: value * scale for contender, value in values.items() if value is not None}


def per_second(found: Found, workload: str) -> dict[str, float]:
    """Without the floors, which do not make messages of the bytes."""
    values = figure(found, workload, "wall_us")
    return {name: 1e6 / value for name, value in values.items() if not name.startswith("bare-")}


def bars(data: list[dict[str, float]], titles: list[str]) -> Any:
    """Bars side by side, one for each contender; ``None`` without figures."""
    if not all(data):
        return None
    height = max(len(values) for values in data) * 0.23 + 0.8
    plot, axes = plt.subplots(1, len(data), figsize=(4.6 * len(data), height), squeeze=False)
    for axis, values, title in zip(axes[0], data, titles, strict=True):
        names = list(values)[::-1]
        colours = [COLOURS[CONTENDERS[name].loop] for name in names]
        drawn = axis.barh(names, [values[name] for name in names], color=colours, height=0.7)
        for bar, name in zip(drawn, names, strict=True):
            bar.set_alpha(1 if name.startswith("ours-") else 0.5)
        axis.bar_label(drawn, labels=[f" {short(values[name])}" for name in names], color=GREY, fontsize=7)
        axis.set_xscale("log")
        axis.set_title(title, fontsize=9)
        axis.tick_params(axis="y", length=0)
    plot.tight_layout()
    return plot


def short(value: float) -> str:
    for bound, letter in ((1e6, "M"), (1e3, "k")):
        if value >= bound:
            return f"{value / bound:.3g} {letter}"
    return f"{value:.3g}"


def lines(series: list[Series]) -> Any:
    """A small plot for each series, with a line that is linear; ``None`` without series."""
    if not series:
        return None
    across = 4
    down = -(-len(series) // across)
    plot, axes = plt.subplots(down, across, figsize=(3.1 * across, 2.5 * down), squeeze=False)
    for axis in axes.flat[len(series) :]:
        axis.set_visible(False)
    for axis, one in zip(axes.flat, series, strict=False):
        ns, costs = [n for n, _ in one.points], [cost for _, cost in one.points]
        axis.loglog(ns, costs, marker="o", markersize=3, color=COLOURS["trio"])
        axis.loglog(ns, [costs[-1] * n / ns[-1] for n in ns], linestyle=":", color=GREY, linewidth=1)
        axis.set_title(f"{one.title}\nexponent {one.exponent:.2f}", fontsize=8)
        axis.set_xlabel(one.unit, fontsize=8)
        axis.set_ylabel(one.cost, fontsize=8)
    plot.tight_layout()
    return plot
