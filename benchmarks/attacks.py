"""What hostile servers cost, beside other libraries: processor time, turns of others, memory.

    python benchmarks/attacks.py                    print the table
    python benchmarks/attacks.py --json FILE        write what was measured as well
    python benchmarks/attacks.py --docs FILE        write the table of a FILE into docs/explanation/security.md
    python benchmarks/attacks.py --only bombs ours  some attacks, some contenders

Each attack is `tests/attacks.py`'s, on each contender in a process of its own, with the contender's defaults, compression
included: 1 MiB of it, or 64 KiB of what inflates. The application receives all that comes. Takes some three minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import anyio
from tests.attacks import ATTACKS, KIB, MIB, Attacker, Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

Row = dict[str, Any]
PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "security.md"
BEGIN, END = "<!-- attacks -->\n", "<!-- /attacks -->\n"
SECONDS = 60


# -- contenders ------------------------------------------------------------------------------------
# Each receives until there is no more, and says how it ended.


async def ours_async(url: str, begin: Callable[[], None]) -> str:
    import httpx2

    from httpx2_trio_ws import WebSocketException
    from httpx2_trio_ws.anyio import open_websocket

    async with httpx2.AsyncClient(trust_env=False) as client, open_websocket(client, url) as ws:
        begin()
        try:
            async for _ in ws:
                pass
        except WebSocketException as exc:
            return str(getattr(exc, "code", 1006))
    return "1000"


def ours_blocking(url: str, begin: Callable[[], None]) -> str:
    import httpx2

    from httpx2_trio_ws import WebSocketException
    from httpx2_trio_ws.sync import open_websocket

    with httpx2.Client(trust_env=False) as client, open_websocket(client, url) as ws:
        begin()
        try:
            for _ in ws:
                pass
        except WebSocketException as exc:
            return str(getattr(exc, "code", 1006))
    return "1000"


async def websockets(url: str, begin: Callable[[], None]) -> str:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    async with connect(url, proxy=None) as ws:
        begin()
        with contextlib.suppress(ConnectionClosed):
            async for _ in ws:
                pass
        sent = ws.protocol.close_sent
        return str(ws.close_code) if sent is None else str(int(sent.code))


def websockets_blocking(url: str, begin: Callable[[], None]) -> str:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with connect(url, proxy=None) as ws:
        begin()
        with contextlib.suppress(ConnectionClosed):
            for _ in ws:
                pass
        sent = ws.protocol.close_sent
        return str(ws.close_code) if sent is None else str(int(sent.code))


async def aiohttp(url: str, begin: Callable[[], None]) -> str:
    from aiohttp import ClientSession

    async with ClientSession() as session, session.ws_connect(url, max_msg_size=MIB, compress=15) as ws:
        begin()
        async for _ in ws:
            pass
        return str(ws.close_code)


def _on_trio(function: Callable[[], Awaitable[str]]) -> str:
    import trio

    return trio.run(function)


def _on_asyncio(function: Callable[[], Awaitable[str]]) -> str:
    async def main() -> str:
        return await function()

    return asyncio.run(main())


CONTENDERS: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]] = {
    "ours, trio": (ours_async, _on_trio),
    "ours, asyncio": (ours_async, _on_asyncio),
    "ours, threads": (ours_blocking, None),
    "websockets, asyncio": (websockets, _on_asyncio),
    "websockets, threads": (websockets_blocking, None),
    "aiohttp, asyncio": (aiohttp, _on_asyncio),
}


# -- one measurement -------------------------------------------------------------------------------


def measure(contender: str, attack: str) -> Row:
    """In this process, which nobody else should use."""
    function, loop = CONTENDERS[contender]
    size = 64 * KIB if "bomb" in attack else MIB
    began, memory, turns = 0.0, 0, Turns()

    async def watched() -> str:
        result = ""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turns.watch)
            await anyio.sleep(0.01)
            result = await function(attacker.url, begin)
            tasks.cancel_scope.cancel()
        return str(result)

    def begin() -> None:
        nonlocal began, memory
        memory, turns.longest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
        began = time.process_time()
        attacker.go()

    with Attacker(ATTACKS[attack], size) as attacker:
        end = function(attacker.url, begin) if loop is None else loop(watched)
        spent = time.process_time() - began
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    return {
        "attack": attack,
        "contender": contender,
        "milliseconds_per_mib": 1000 * (spent - attacker.cpu) * MIB / size,
        "longest_milliseconds": None if loop is None else 1000 * turns.longest,
        "mebibytes": held / KIB,
        "end": end,
    }


def measure_all(attacks: list[str], contenders: list[str]) -> list[Row]:
    """Each in a process of its own."""
    rows: list[Row] = []
    for attack in attacks:
        for contender in contenders:
            command = [sys.executable, str(Path(__file__).resolve()), "--one", contender, attack]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
                row: Row = json.loads(done.stdout.splitlines()[-1]) if not done.returncode else {"end": "fails"}
            except subprocess.TimeoutExpired:
                row = {"end": f"over {SECONDS} s"}
            rows.append({"attack": attack, "contender": contender, **row})
            print(f"{contender:20} {attack:45}", shown(rows[-1]), file=sys.stderr, flush=True)
    return rows


# -- the table -------------------------------------------------------------------------------------


def shown(row: Mapping[str, Any]) -> str:
    """One cell: milliseconds for each MiB, the longest without a turn, and mebibytes; or how it ended instead."""
    if "milliseconds_per_mib" not in row:
        return str(row["end"])
    longest = row["longest_milliseconds"]
    parts = [f"{row['milliseconds_per_mib']:,.0f}"]
    if longest is not None:
        parts.append(f"{longest:.0f}")
    parts.append(f"{max(0, row['mebibytes']):.0f}")
    text = " / ".join(parts)
    return text if row["end"] == "1006" else f"{text} ({row['end']})"


def table(rows: list[Row]) -> str:
    """In Markdown."""
    contenders = list(dict.fromkeys(row["contender"] for row in rows))
    cells = {(row["attack"], row["contender"]): shown(row) for row in rows}
    lines = [["attack", *contenders], ["---", *["--:"] * len(contenders)]]
    attacks = dict.fromkeys(row["attack"] for row in rows)
    lines += [[attack, *(cells.get((attack, contender), "") for contender in contenders)] for attack in attacks]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def with_table(page: str, rows: list[Row]) -> str:
    """The page, with this table in its place."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table(rows) + END + rest.partition(END)[2]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="words that the names of attacks or contenders have")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one)))
        return 0
    if arguments.docs:
        rows = json.loads(arguments.docs.read_text(encoding="utf-8"))
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
        return 0

    def wanted(names: Mapping[str, object]) -> list[str]:
        return [name for name in names if any(word in name for word in arguments.only)] or list(names)

    rows = measure_all(wanted(ATTACKS), wanted(CONTENDERS))
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
