"""Run the cases of Autobahn|Testsuite against sessions of this library, and judge what the suite reports.

    python conformance/install.py DIRECTORY
    python conformance/run.py DIRECTORY [--profile full] [--on asyncio] [--in-parts]

The suite's fuzzing server is started on loopback, and drive.py goes through its cases. The server's own report is then held against the rules below, in both of its fields: what
was exchanged (behavior), and how the connection was closed (behaviorClose). The exit status is 1 if anything is
outside the rules.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from drive import DRIVERS, Drive

import httpx2_trio_ws

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
AGENT = "httpx2-trio-ws"
SHOWN = 5  # so many of the longest cases are named

# The two compression suites run the same exchanges with 18 sizes of messages. The quick profile takes 4 of them.
_OTHER_SIZES = "(2|4|6|7|8|9|10|12|13|14|15|16|17|18)$"
PROFILES: dict[str, tuple[int, list[str]]] = {  # number of cases, patterns of those that are left out
    "quick": (349, [f"12.*.{_OTHER_SIZES}", f"13.*.{_OTHER_SIZES}"]),
    "full": (517, []),
}
# A message and a violation after it come together. The echo is in time, and the case OK, only if it is written
# before the violation is read; RFC 6455 §7.1.7 wants the connection failed at once.
RACES = {"3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"}
# Cases without a right answer: the suite itself never calls them anything else.
OPEN_ENDED = re.compile(r"7\.1\.6|7\.13\.\d+")


class Verdict(NamedTuple):
    """What the suite says of one case."""

    behavior: str
    close: str

    def within_rules(self, case: str) -> bool:
        """Whether this is good enough."""
        if self == ("OK", "OK"):
            return True
        if self == ("NON-STRICT", "OK"):
            return case in RACES
        return self == ("INFORMATIONAL", "INFORMATIONAL") and OPEN_ENDED.fullmatch(case) is not None

    def __str__(self) -> str:
        """One word where both fields are as good as each other, or only the first is of interest."""
        return self.behavior if self.close in ("OK", self.behavior) else f"{self.behavior}, close {self.close}"


class Server(NamedTuple):
    """The fuzzing server, as it listens."""

    url: str
    version: str


@contextlib.contextmanager
def fuzzing_server(suite: Path, report: Path, port: int, *, cases: list[str], left_out: list[str]) -> Iterator[Server]:
    """Run the server for a block; its log and its reports go to ``report``."""
    python = suite / "env" / "bin" / "python"
    if not python.is_file():
        sys.exit(f"{suite} has no fuzzing server in it; run {HERE / 'install.py'} first")
    shutil.rmtree(report, ignore_errors=True)
    report.mkdir(parents=True)
    specification = report / "specification.json"
    # The URL is read, but the port is the one that the server is given beside it.
    options = {"url": "ws://127.0.0.1:9001", "outdir": str(report), "cases": cases, "exclude-cases": left_out}
    specification.write_text(json.dumps(options | {"exclude-agent-cases": {}}))
    command: list[str | Path] = [python, "-u", HERE / "fuzzingserver.py", specification, str(port)]
    log = report / "server.log"
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                sys.exit(f"the fuzzing server did not start:\n{log.read_text(encoding='utf-8')}")
            announced = json.loads(line)
            yield Server(f"ws://127.0.0.1:{announced['port']}", announced["version"])
        finally:
            process.terminate()


@contextlib.contextmanager
def nghttpx(url: str, report: Path) -> Iterator[str]:
    """Run nghttpx for a block, which speaks HTTP/2 here and HTTP/1.1 to the server at the URL; where it listens."""
    program = shutil.which("nghttpx")
    if program is None:
        print("skipped: there is no nghttpx (on Debian: apt-get install nghttp2-proxy)")
        sys.exit(0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    backend = url.rpartition(":")[2]
    options = [
        "--conf=/dev/null",
        "--workers=1",
        "--host-rewrite",  # the server wants to be asked for by its own port
        f"--frontend=127.0.0.1,{port};no-tls",
        f"--backend=127.0.0.1,{backend}",
    ]
    log = report / "nghttpx.log"
    with log.open("w", encoding="utf-8") as errors, subprocess.Popen([program, *options], stderr=errors) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            else:
                sys.exit(f"nghttpx did not start:\n{log.read_text(encoding='utf-8')}")
            yield f"ws://127.0.0.1:{port}"
        finally:
            process.terminate()


def read_report(report: Path) -> dict[str, Verdict]:
    """The server's verdicts by case, in the suite's order."""
    found = json.loads((report / "index.json").read_text(encoding="utf-8")).get(AGENT, {})
    ordered = sorted(found, key=lambda case: [int(part) for part in case.split(".")])
    return {case: Verdict(found[case]["behavior"], found[case]["behaviorClose"]) for case in ordered}


def judge(verdicts: dict[str, Verdict], driven: Drive, count: int | None) -> list[str]:
    """All that is outside the rules, a line for each."""
    wrong = [f"{case}: {verdict}" for case, verdict in verdicts.items() if not verdict.within_rules(case)]
    wrong += [f"{case}: {error}" for case, error in driven.errors.items()]
    wrong += [f"{case}: not in the report" for case in driven.seconds if case not in verdicts]
    if count is not None and not count == len(verdicts) == len(driven.seconds):
        wrong.append(f"{count} cases were to run, {len(driven.seconds)} did, {len(verdicts)} are in the report")
    if not verdicts:
        wrong.append("no case has run")
    return wrong


def show(verdicts: dict[str, Verdict], driven: Drive, wrong: list[str]) -> None:
    """Print the figures."""
    for verdict, count in Counter(map(str, verdicts.values())).most_common():
        print(f"{verdict:15} {count:4}")
    others = [f"  {case:8} {verdict}" for case, verdict in verdicts.items() if verdict != ("OK", "OK")]
    print("\nNot OK:", *(others or ["  none"]), sep="\n")
    longest = sorted(driven.seconds.items(), key=lambda item: -item[1])[:SHOWN]
    print("\nThe longest:", ", ".join(f"{case} {seconds:.1f} s" for case, seconds in longest))
    print("\nOutside the rules:", *(f"  {line}" for line in wrong or ["none"]), sep="\n")


def main() -> None:
    """Start the server, run the cases, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("suite", type=Path, help="the directory that install.py was given")
    parser.add_argument("--profile", choices=list(PROFILES), default="quick", help="quick: 349 cases; full: all 517")
    parser.add_argument("--on", choices=list(DRIVERS), default="trio", help="which sessions; default: %(default)s")
    parser.add_argument("--in-parts", action="store_true", help="echo the parts of messages as they come")
    parser.add_argument("--through", choices=["nghttpx"], help="over HTTP/2, to a proxy in front of the suite's server")
    parser.add_argument("--cases", nargs="+", metavar="PATTERN", help="only these, such as 9.* (instead of a profile)")
    parser.add_argument("--port", type=int, default=0, help="the server's, on 127.0.0.1; default: a free one")
    parser.add_argument("--seconds", type=float, default=60, help="time limit of one case; default: %(default)s")
    parser.add_argument("--report", type=Path, help="where the report goes; default: in SUITE/reports")
    args = parser.parse_args()
    if args.through and args.on == "threads":
        parser.error("there is no HTTP/2 in threads")
    name = "selection" if args.cases else args.profile
    count, left_out = (None, []) if args.cases else PROFILES[args.profile]
    suite: Path = args.suite.resolve()
    kind = f"{args.on}, in parts" if args.in_parts else args.on
    kind += f", through {args.through}" if args.through else ""
    report: Path = (args.report or suite / "reports" / f"{kind.replace(', ', '-').replace(' ', '-')}-{name}").resolve()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            fuzzing_server(suite, report, args.port, cases=args.cases or ["*"], left_out=left_out)
        )
        url, options = server.url, {"in_parts": args.in_parts}
        if args.through:
            url, options["http2"] = stack.enter_context(nghttpx(url, report)), True
        began = time.perf_counter()
        driven = DRIVERS[args.on](url, AGENT, args.seconds, **options)
        took = time.perf_counter() - began
    versions = [f"{package} {importlib.metadata.version(package)}" for package in ("trio", "websockets")]
    print(
        f"Autobahn|Testsuite {server.version}; {AGENT} {httpx2_trio_ws.__version__}, {', '.join(versions)}, Python {platform.python_version()}"
    )
    print(f"{kind}, profile {name}: {len(driven.seconds)} cases in {took:.0f} s; report: {report / 'index.html'}\n")
    verdicts = read_report(report)
    wrong = judge(verdicts, driven, count)
    show(verdicts, driven, wrong)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
