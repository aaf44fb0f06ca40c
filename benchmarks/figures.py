"""What is made of measurements: medians per message, ratios, and the targets."""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .contenders import CONTENDERS, REFERENCES
from .matrix import WORKLOADS

if TYPE_CHECKING:
    from pathlib import Path

Measured = dict[str, float]
Results = dict[str, dict[str, list[Measured]]]
TIMES = {"wall", "cpu", "p50", "p99", "open_wall", "open_cpu"}


def per_message(measured: Measured) -> Measured:
    """Microseconds per message instead of seconds for all; bytes stay."""
    count = measured["count"]
    made = {f"{name}_us": measured[name] / count * 1e6 for name in ("wall", "cpu")}
    made |= {f"{name}_us": value * 1e6 for name, value in measured.items() if name in TIMES - {"wall", "cpu"}}
    made |= {name: value for name, value in measured.items() if name not in TIMES}
    return {name: float(f"{value:.5g}") for name, value in made.items()}


@dataclass
class Found:
    """A run: what is written to the file."""

    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Any]
    results: Results
    skipped: dict[str, list[str]]
    failed: dict[str, str]

    def write(self, path: Path) -> None:
        """As JSON, with a line for each measurement."""
        text = json.dumps(dataclasses.asdict(self), indent=1)
        flat = re.sub(r"\{[^{}\[\]]*\}", lambda found: " ".join(found[0].split()), text)
        path.write_text(flat + "\n")

    @classmethod
    def read(cls, path: Path) -> Found:
        return cls(**json.loads(path.read_text()))

    def median(self, workload: str, contender: str, figure: str) -> float | None:
        """``None`` if there is none."""
        values = [run[figure] for run in self.results.get(workload, {}).get(contender, []) if figure in run]
        return statistics.median(values) if values else None

    def ratio(self, workload: str, contender: str, to: str, figure: str) -> float | None:
        """How many times as much it is as another's."""
        above, below = self.median(workload, contender, figure), self.median(workload, to, figure)
        return above / below if above is not None and below else None


class Target(NamedTuple):
    """A peer's figure divided by ours on trio, and the bound for it."""

    workload: str
    figure: str
    peer: str
    bound: float
    at_least: bool = True
    inverse: bool = False
    """Ours divided by the peer's."""
    ours: str = "ours-trio"

    @property
    def rule(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def measured(self, found: Found) -> float | None:
        if self.inverse:
            return found.ratio(self.workload, self.ours, self.peer, self.figure)
        return found.ratio(self.workload, self.peer, self.ours, self.figure)

    def met(self, ratio: float) -> bool:
        return ratio >= self.bound if self.at_least else ratio <= self.bound


NATIVE, WEBSOCKETS, AIOHTTP, PICOWS = "httpx2-trio", "websockets-trio", "aiohttp-asyncio", "picows-asyncio"


def _faster(workload: str, figure: str, **bounds: float) -> list[Target]:
    peers = {"native": NATIVE, "websockets": WEBSOCKETS, "aiohttp": AIOHTTP, "picows": PICOWS}
    return [Target(workload, figure, peers[name], bound) for name, bound in bounds.items()]


TARGETS = [
    *_faster("flood-125-text", "wall_us", native=40, websockets=10, aiohttp=1.3, picows=0.45),
    *_faster("burst-125-text", "wall_us", native=25, websockets=18, aiohttp=4, picows=2.5),
    *_faster("echo-125", "cpu_us", native=3, websockets=1.6, aiohttp=1.0),
    Target("echo-125", "cpu_us", "bare-trio", 1.6, at_least=False, inverse=True),
    Target("echo-125-later", "cpu_us", "bare-trio", 1.0, at_least=False, inverse=True),
    *_faster("echo-1m", "wall_us", native=2.7, websockets=1.5, aiohttp=1.4, picows=0.6),
    Target("sessions", "memory", NATIVE, 0.5, at_least=False, inverse=True),
    Target("sessions", "memory", WEBSOCKETS, 0.6, at_least=False, inverse=True),
    *_faster("flood-125-tls", "wall_us", native=20, websockets=6, aiohttp=1.0),
    *_faster("burst-125-tls", "wall_us", native=12, websockets=6, aiohttp=1.0),
    *(
        Target(workload, figure, f"{library}-{loop}", 1.0, ours=f"ours-{loop}")
        for loop in ("asyncio", "uvloop")
        for library, workload, figure in (
            ("websockets", "flood-125-text", "wall_us"),
            ("aiohttp", "flood-125-text", "wall_us"),
            ("websockets", "burst-125-text", "wall_us"),
            ("aiohttp", "burst-125-text", "wall_us"),
            ("aiohttp", "echo-125", "cpu_us"),
        )
    ),
]
FIGURES = {"wall_us": "wall", "cpu_us": "CPU", "memory": "memory"}


def targets(found: Found) -> list[tuple[Target, float]]:
    """Those that this run can tell of."""
    return [(target, ratio) for target in TARGETS if (ratio := target.measured(found)) is not None]


def columns(found: Found, workload: str) -> list[str]:
    """The figures of a workload that differ from one to another, wall and CPU first."""
    names = [name for runs in found.results[workload].values() for run in runs for name in run if name != "count"]
    return list(dict.fromkeys(names))


def shown(name: str, value: float | None) -> str:
    """A figure for people: microseconds, or bytes as KiB."""
    if value is None:
        return "n/a"
    return (
        f"{value:,.3g}"
        if name.endswith("_us") and value < 100
        else f"{value if name.endswith('_us') else value / 1024:,.0f}"
    )


def unit(name: str) -> str:
    return name.replace("_us", " µs").replace("_", " ").replace("cpu", "CPU") if name.endswith("_us") else f"{name} KiB"


def ratios(found: Found, workload: str, contender: str) -> str:
    """Wall and CPU as multiples of ours on trio, and of ours on the same event loop."""
    made = []
    for to in dict.fromkeys(("ours-trio", REFERENCES[CONTENDERS[contender].loop])):
        pair = [found.ratio(workload, contender, to, figure) for figure in ("wall_us", "cpu_us")]
        if None not in pair:
            made.append("/".join(f"{ratio:.2f}" for ratio in pair))
    return "  ".join(f"{text:>13}" for text in made)


def report(found: Found) -> list[str]:
    """All of it, as lines of text."""
    lines = [", ".join(f"{name}: {value}" for name, value in found.machine.items())]
    lines.append(", ".join(f"{name} {version}" for name, version in found.versions.items()))
    lines.append(", ".join(f"{name}: {value}" for name, value in found.settings.items()))
    lines.append(
        "Medians per message. Ratios are wall/CPU of ours on trio, then of ours on the same loop: more is slower."
    )
    for workload, contenders in found.results.items():
        names = columns(found, workload)
        lines += ["", WORKLOADS[workload].title]
        lines.append(" " * 20 + "".join(f"{unit(name):>16}" for name in names) + "   ratios")
        for contender in contenders:
            values = [shown(name, found.median(workload, contender, name)) for name in names]
            lines.append(
                f"  {contender:18}" + "".join(f"{v:>16}" for v in values) + "   " + ratios(found, workload, contender)
            )
    told = targets(found)
    if told:
        lines += ["", "Targets (times as fast as, or so much of, the peer's)"]
    for target, ratio in told:
        met = "met" if target.met(ratio) else "MISSED"
        what = f"{target.workload} {FIGURES[target.figure]}, {target.ours} and {target.peer}"
        lines.append(f"  {what:62} {target.rule:>7}  {ratio:8.2f}  {met}")
    return lines
