"""How the cost of our sessions on trio grows with the size of messages, and with the number of what there is of them.

Each series gives the cost of the whole for n: a message of n bytes, messages from each of n sessions, a message of n
fragments, a queue of n messages. An exponent is the slope of a straight line through the logarithms: 1 is linear. Where
a fixed cost hides the growth at first, the line goes through the upper half of the points. Of several measurements the
least counts, as what else a machine does only ever adds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import main as running
from . import matrix
from .jobs import KIB, MIB, Job
from .processes import Server, Worker
from .resources import allow_open_files

if TYPE_CHECKING:
    from collections.abc import Callable

LINEAR = 1.1  # an exponent up to here is called linear
REPEATS = 3
PER_CLIENT = 100  # sessions with a client, where it is not the client's pool that matters
POOL = [100, 200, 500, 1000, 2000]
EACH = 50  # messages from each session
SIZES = [16, 64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB]
SESSIONS = [1, 10, 100, 500, 1000, 2000, 5000]
FRAGMENTS = [1, 10, 100, 300, 1000, 3000, 10_000]
DEPTHS = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536]
FRAGMENTED = 64 * KIB


@dataclass
class Series:
    """What the whole costs for each n."""

    title: str
    unit: str
    """Of n."""
    cost: str = "seconds"
    points: list[tuple[int, float]] = field(default_factory=list)
    ours: bool = True
    """It depends on this library."""

    @property
    def exponent(self) -> float:
        """The slope for the upper half of the points."""
        upper = [(n, value) for n, value in self.points[len(self.points) // 2 :] if value > 0]
        if len(upper) < 2:
            return math.nan
        line = statistics.linear_regression([math.log(n) for n, _ in upper], [math.log(value) for _, value in upper])
        return line.slope

    @property
    def verdict(self) -> str:
        if math.isnan(self.exponent):
            return "too few points"
        return "linear or better" if self.exponent <= LINEAR else "MORE THAN LINEAR"


class Growth:
    """All series, measured with one server. Sessions have a process for each measurement, the others share one."""

    def __init__(self, server: Server, seconds: float, most: int) -> None:
        self.server, self.seconds, self.most = server, seconds, most

    def measure(self) -> list[Series]:
        with Worker("ours-trio", self.server) as self.worker:
            return [
                self.series("Receive messages of n bytes", "bytes", SIZES, lambda n: self.timed(Job("flood", n))),
                self.series("Send messages of n bytes", "bytes", SIZES, lambda n: self.timed(Job("burst", n))),
                self.series(
                    f"Receive messages of {FRAGMENTED // KIB} KiB in n fragments",
                    "fragments",
                    FRAGMENTS,
                    lambda n: self.timed(Job("flood", FRAGMENTED, fragments=n)),
                ),
                self.series(
                    "Receive a full queue of n messages",
                    "messages",
                    DEPTHS,
                    lambda n: n * self.once(Job("slow", count=DEPTHS[-1], queue_size=n)),
                ),
                *self.sessions(),
                self.pool(),
            ]

    def series(self, title: str, unit: str, ns: list[int], cost: Callable[[int], float]) -> Series:
        print(title, file=sys.stderr)
        made = Series(title, unit)
        for n in ns:
            if n <= self.most:
                made.points.append((n, min(cost(n) for _ in range(REPEATS))))
        return made

    def once(self, job: Job) -> float:
        """Seconds per message."""
        measured = self.worker.do(job)
        return measured["wall"] / measured["count"]

    def timed(self, job: Job) -> float:
        """As :meth:`once`, with as many messages as take the time that is wanted."""
        job = replace(job, count=3)
        for share in (0.05, 0.3, 1):
            job = matrix.scaled(job, share * self.seconds, self.once(job) * job.count)
        return self.once(job)

    def sessions(self) -> list[Series]:
        """Opening, memory, and a message from each, of the same sessions."""
        titles = {
            "open_wall": f"Open n sessions, {PER_CLIENT} with a client",
            "memory": "Memory of n sessions",
            "wall": f"Receive {EACH} messages from each of n sessions",
        }
        made = {
            name: Series(title, "sessions", "bytes" if name == "memory" else "seconds")
            for name, title in titles.items()
        }
        for n in SESSIONS:
            if n > self.most:
                continue
            print(f"{n} sessions", file=sys.stderr)
            runs = []
            for _ in range(REPEATS):
                with Worker("ours-trio", self.server) as worker:
                    worker.do(Job("echo", count=20))
                    measured = worker.do(Job("sessions", count=n, each=EACH, per_client=PER_CLIENT))
                    runs.append(measured | {"wall": measured["wall"] / n})
            for name, series in made.items():
                if n >= 100 or name == "wall":  # the first sessions are opened before memory and time are looked at
                    series.points.append((n, n * min(run[name] for run in runs)))
        return list(made.values())

    def pool(self) -> Series:
        """All sessions with one client, whose pool looks at all its connections when one comes or goes."""
        made = Series("Open n sessions with one client (httpx2's pool)", "sessions", ours=False)
        for n in POOL:
            if n <= self.most:
                with Worker("ours-trio", self.server) as worker:
                    worker.do(Job("echo", count=20))
                    made.points.append((n, n * worker.do(Job("sessions", count=n))["open_wall"]))
        return made


def table(found: list[Series]) -> list[str]:
    lines = []
    for series in found:
        lines += ["", f"{series.title}: exponent {series.exponent:.2f}, {series.verdict}"]
        for n, cost in series.points:
            each = f"{cost / n * 1e6:12.4g} µs each" if series.cost == "seconds" else f"{cost / n / KIB:12.1f} KiB each"
            whole = f"{cost * 1e6:14,.1f} µs" if series.cost == "seconds" else f"{cost / KIB:14,.0f} KiB"
            lines.append(f"{n:>12,} {series.unit:10}{whole}{each}")
    return lines


def as_dict(series: Series) -> dict[str, Any]:
    return {**vars(series), "exponent": round(series.exponent, 3), "verdict": series.verdict}


def read(path: Path) -> tuple[list[Series], dict[str, Any]]:
    told = json.loads(path.read_text())
    series = [
        Series(s["title"], s["unit"], s["cost"], [(n, cost) for n, cost in s["points"]], s["ours"])
        for s in told["series"]
    ]
    return series, told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python benchmarks/growth.py", description=__doc__)
    parser.add_argument("--json", type=Path, help="write all points to this file")
    parser.add_argument("--most", type=int, default=max(SIZES), help="leave out what has a larger n")
    parser.add_argument("--seconds", type=float, default=matrix.SECONDS, help="for a measurement")
    options = parser.parse_args()
    most = min(options.most, max(SIZES))
    if allow_open_files() < 2 * max(SESSIONS):
        print("few open files are allowed: sessions may fail", file=sys.stderr)
    with Server() as server:
        found = Growth(server, options.seconds, most).measure()
    machine, versions = running.machine(), running.versions()
    print(", ".join(f"{name}: {value}" for name, value in (machine | versions).items()))
    print("\n".join(table(found)))
    if options.json:
        told = {"machine": machine, "versions": versions, "series": [as_dict(series) for series in found]}
        options.json.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if all(series.exponent <= LINEAR for series in found if series.ours) else 1
