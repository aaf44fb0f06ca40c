"""Measure the contenders in turns, print what was found, and write it to a file."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import figures, matrix
from .contenders import CONTENDERS
from .processes import FailedError, Importing, Server, Worker
from .resources import allow_open_files

PACKAGES = ["httpx2-trio-ws", "httpx2", "httpx-ws", "trio-websocket", "websockets", "aiohttp", "picows"]
PACKAGES += ["trio", "anyio", "uvloop"]


def machine() -> dict[str, str]:
    """Where this runs."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "cpu": model,
        "cores": str(os.cpu_count()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class Run:
    """All measurements of one run."""

    def __init__(
        self, workloads: list[str], contenders: list[str], rounds: int, seconds: float, *, exact: bool = False
    ) -> None:
        self.workloads, self.rounds, self.seconds, self.exact = workloads, rounds, seconds, exact
        self.skipped = {name: missing for name in contenders if (missing := CONTENDERS[name].missing())}
        self.contenders = [name for name in contenders if name not in self.skipped]
        self.results: figures.Results = {}
        self.failed: dict[str, str] = {}
        self.stack = ExitStack()
        self.workers: dict[str, Worker] = {}
        self.counts: dict[tuple[str, str], Any] = {}

    def measure(self) -> None:
        with self.stack:
            self.server = self.stack.enter_context(Server())
            self.importing = self.stack.enter_context(Importing())
            self.workers = {name: self.stack.enter_context(Worker(name, self.server)) for name in self.contenders}
            for workload in self.workloads:
                self.calibrate(workload)
            for number in range(self.rounds):
                begun = time.monotonic()
                self.one_round(number)
                print(f"round {number + 1} of {self.rounds}: {time.monotonic() - begun:.0f} s", file=sys.stderr)

    def calibrate(self, name: str) -> None:
        """Warm up, and find for each contender how many messages take about as long as is wanted."""
        workload = matrix.WORKLOADS[name]
        if workload.alone:
            return
        for contender in self.contenders:
            if not matrix.takes_part(contender, workload):
                continue
            job = replace(workload.job, count=workload.start, verify=workload.job.deflate)
            try:
                for share in (0.2, 1):
                    took = self.workers[contender].do(job)["wall"]
                    job = replace(matrix.scaled(job, share * self.seconds, took), verify=False)
            except FailedError as error:
                self.fail(name, contender, error)
                continue
            self.counts[name, contender] = job

    def one_round(self, number: int) -> None:
        for name in self.workloads:
            workload = matrix.WORKLOADS[name]
            if number >= workload.rounds and not self.exact:
                continue
            turn = number % len(self.contenders)
            for contender in self.contenders[turn:] + self.contenders[:turn]:
                if (name, contender) in self.counts or (workload.alone and matrix.takes_part(contender, workload)):
                    self.one(name, contender)

    def one(self, name: str, contender: str) -> None:
        workload = matrix.WORKLOADS[name]
        try:
            if workload.job.kind == "import":
                measured = self.importing.measure(contender)
            elif workload.alone:
                with Worker(contender, self.server) as worker:
                    worker.do(replace(workload.job, kind="echo", size=125, count=20))
                    measured = worker.do(workload.job)
            else:
                measured = self.workers[contender].do(self.counts[name, contender])
        except FailedError as error:
            self.fail(name, contender, error)
            return
        self.results.setdefault(name, {}).setdefault(contender, []).append(figures.per_message(measured))

    def fail(self, name: str, contender: str, error: Exception) -> None:
        """A contender that fails once in a workload is out of it. For the others it gets a new process if it needs one."""
        self.counts.pop((name, contender), None)
        self.results.get(name, {}).pop(contender, None)
        if contender in self.workers and not self.workers[contender].alive:
            self.workers[contender] = self.stack.enter_context(Worker(contender, self.server))
        self.failed[f"{name}: {contender}"] = str(error).strip()
        print(f"{name}: {contender} failed: {str(error).strip().splitlines()[-1]}", file=sys.stderr)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks/run.py", description=__doc__)
    parser.add_argument("--rounds", type=int, help="default 7, but 3 of what has a process each time; with --quick 3")
    parser.add_argument("--only-workloads", nargs="+", choices=list(matrix.WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), metavar="CONTENDER")
    parser.add_argument("--seconds", type=float, help=f"for a measurement; default {matrix.SECONDS}; with --quick 0.05")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    parser.add_argument("--quick", action="store_true", help=f"by default these workloads only: {matrix.QUICK}")
    parser.add_argument("--list", action="store_true", help="print the names of workloads and contenders")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    if options.list:
        print("workloads: ", *matrix.WORKLOADS, "\ncontenders:", *CONTENDERS)
        return 0
    workloads = options.only_workloads or (matrix.QUICK if options.quick else list(matrix.WORKLOADS))
    rounds = options.rounds or (3 if options.quick else 7)
    seconds = options.seconds or (0.05 if options.quick else matrix.SECONDS)
    allow_open_files()
    run = Run(workloads, options.contenders or list(CONTENDERS), rounds, seconds, exact=bool(options.rounds))
    for name, missing in run.skipped.items():
        print(f"{name} is left out: {', '.join(missing)} not installed", file=sys.stderr)
    run.measure()
    settings = {"rounds": rounds, "seconds_per_measurement": seconds, "server": run.server.told["loop"]}
    found = figures.Found(machine(), versions(), settings, run.results, run.skipped, run.failed)
    print("\n".join(figures.report(found)))
    if options.json:
        found.write(options.json)
    return 1 if run.failed else 0
