"""Instructions per message of the hot paths, compared with recorded ones: a guard that no slow machine sets off.

    python benchmarks/instructions.py                      compare with instructions.json
    python benchmarks/instructions.py --record             write it, for this Python version
    python benchmarks/instructions.py --show [PATH …]      print instructions per message: trio/echo, asyncio, …

`hot_paths.py` runs under Valgrind's callgrind, once for each event loop. Counts repeat within 0.2 %. What is recorded
is not the count itself but its ratio to that of a yardstick, a piece of plain Python in the same interpreter: so it
holds, if less exactly, for other builds of the same Python version, too. It does not hold for other versions of the
libraries under the paths, so these are recorded beside it.

The blocking session is shown and not compared: how often its threads take turns is up to the operating system.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
RECORD = HERE / "instructions.json"
# On the build of Python that was recorded, and on others: what optimisation by profile gains is not the same for all
# code. Between Debian's 3.11 and one made without it, ratios differed by up to 6 %.
TOLERANCE, TOLERANCE_OTHER_BUILD = 0.05, 0.10
LOOPS = ("protocol", "trio", "asyncio", "imports", "threads")
COMPARED = LOOPS[:4]
# What importing this package costs beside importing what its users import anyway, all of it compiled before. httpx2 imports
# httpcore2 when the first client is made.
MAX_IMPORT = 0.25
IMPORTS = """
from os import getpriority
getpriority(0, 0)
import httpcore2, httpx2, trio
getpriority(0, 0)
print("imports/before 1")
getpriority(0, 0)
import httpx2_trio_ws
getpriority(0, 0)
print("imports/ours 1")
"""
LIBRARIES = ("trio", "anyio", "httpx2", "websockets")
Counts = dict[str, float]


def count(loop: str) -> Counts:
    """Instructions per message of each path on one loop."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        valgrind = ["valgrind", "--tool=callgrind", "--dump-before=getpriority", f"--callgrind-out-file={out}"]
        env = {**os.environ, "PYTHONHASHSEED": "0"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run([sys.executable, "-c", IMPORTS], env=env, check=True, stdout=subprocess.DEVNULL)
        what = ["-c", IMPORTS] if loop == "imports" else [str(HERE / "hot_paths.py"), loop]
        command = [*valgrind, sys.executable, *what]
        ran = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
        if ran.returncode:
            raise SystemExit(f"{loop} failed under valgrind:\n{ran.stderr}")
        # It tells what it has counted, in this order. Of each, the first dump is what came before it.
        paths = [line.split() for line in ran.stdout.splitlines()]
        return {path: _total(Path(f"{out}.{2 * i}")) / int(n) for i, (path, n) in enumerate(paths, 1)}


def _total(dump: Path) -> int:
    [line] = [line for line in dump.read_text().splitlines() if line.startswith("totals: ")]
    return int(line.split()[1])


def count_all(loops: Iterable[str]) -> Counts:
    counts: Counts = {}
    with ThreadPoolExecutor(2) as processes:
        for found in processes.map(count, loops):
            counts.update(found)
    return counts


def build() -> str:
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    how = "with" if optimised else "without"
    return f"{platform.python_version()}, {platform.python_compiler()}, {platform.machine()}, {how} profile"


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def show(wanted: list[str]) -> None:
    loops = [loop for loop in LOOPS if any(path.startswith(loop) for path in wanted)]
    for path, instructions in count_all(loops or LOOPS).items():
        if not wanted or path.startswith(tuple(wanted)):
            print(f"{path:18} {instructions:10,.0f} instructions per message")


def ratios() -> Counts:
    counts = count_all(COMPARED)
    yardstick, before = counts.pop("protocol/yardstick"), counts.pop("imports/before")
    imports = counts.pop("imports/ours") / before
    if imports > MAX_IMPORT:
        sys.exit(
            f"importing httpx2_trio_ws takes {imports:.2f} of what httpx2, httpcore2 and trio take; {MAX_IMPORT} is the limit"
        )
    print(f"{'imports':18} {imports:8.3f} of importing httpx2, httpcore2 and trio", flush=True)
    return {path: round(instructions / yardstick, 3) for path, instructions in counts.items()}


def record(version: str) -> None:
    found = {"build": build(), "libraries": versions(), "ratios": ratios()}
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    recorded[version] = found
    RECORD.write_text(json.dumps(dict(sorted(recorded.items())), indent=4) + "\n")


def compare(version: str) -> str | None:
    """What is wrong, if anything is."""
    recorded: dict[str, Any] = json.loads(RECORD.read_text()).get(version, {})
    if not recorded:
        return f"nothing is recorded for Python {version}: run this with --record, and check in {RECORD.name}"
    tolerance = TOLERANCE if build() == recorded["build"] else TOLERANCE_OTHER_BUILD
    wrong = []
    for path, ratio in ratios().items():
        change = ratio / recorded["ratios"].get(path, ratio) - 1
        print(f"{path:18} {ratio:8.3f} times the yardstick, {change:+.1%}", flush=True)
        if path not in recorded["ratios"]:
            wrong.append(f"{path} is not recorded")
        elif abs(change) > tolerance:
            than = "more" if change > 0 else "fewer"
            wrong.append(f"{path} takes {abs(change):.1%} {than} instructions than recorded")
    if not wrong:
        return None
    now = {"Python": build(), **versions()}
    then = {"Python": recorded["build"], **recorded["libraries"]}
    others = [f"{name} is {now[name]}, and was {then.get(name)}" for name in now if now[name] != then.get(name)]
    advice = f"if that is as it should be, run this with --record, and check in {RECORD.name}"
    return "\n".join([*wrong, *others, advice])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", action="store_true", help="write what is found instead of comparing")
    parser.add_argument("--show", nargs="*", metavar="PATH", help="print instructions per message, compare nothing")
    args = parser.parse_args()
    version = ".".join(platform.python_version_tuple()[:2])
    if args.show is not None:
        show(args.show)
    elif args.record:
        record(version)
    else:
        sys.exit(compare(version))


if __name__ == "__main__":
    main()
