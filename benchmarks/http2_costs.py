"""What sessions cost over HTTP/2 and over HTTP/1.1, both over TLS to one server that echoes and has both.

CPU time is of this process alone, and each kind has one of its own. Each session has a task of its own, as in programs::

    python benchmarks/http2.py --repeat 3 --write
    python benchmarks/http2.py wss://127.0.0.1:8445/ --ca ca.pem --loop trio

Without a URL, the server is HAProxy, see ``http2_server.py``. What is repeated is the whole, one kind after the other; the
figures are medians then. ``--write`` puts the table into the page on HTTP/2.

niquests is measured beside them on asyncio, where it is installed, as far as it goes: it sends no frame of more than
16 KiB, and does not send while it receives. Through nghttpx, servers refuse it, as it sends a Sec-WebSocket-Key to a proxy
that sends one of its own; it refuses servers that send no Sec-WebSocket-Accept, as over HTTP/2 they need not.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import platform
import resource
import ssl
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx2

from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.http2 import HTTP2Transport

from .http2_server import haproxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

FIELDS = {
    "memory": "KiB for each idle session",
    "opening": "opening, ms each",
    "together": "echo, all sessions at once, µs each",
    "alone": "echo of one session, µs",
    "flood": "flood of 125 B sent, µs a message",
    "burst": "burst of 125 B and back, µs a message",
    "large": "echo of 1 MiB, ms",
    "herd": "echo of 256 KiB by 200 at once, ms each",
}
# A neighbour's echo on the same connection, or beside it; not CPU time, but the time of the clock.
WAITS = {
    "calm": "echo p50, ms: nothing else",
    "beside flood": "echo p50, ms: beside a flood",
    "beside stall": "echo p50, ms: beside one that does not receive",
    "beside large": "echo p50, ms: beside an echo of 32 MiB",
}
KINDS = ["HTTP/1.1", "HTTP/2", "niquests"]
LOOPS = ["trio", "asyncio"]
PACKAGES = ["trio", "anyio", "httpx2", "niquests"]
PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "http2.md"
BEGIN, END = "<!-- http2 -->\n", "<!-- /http2 -->\n"
OPTIONS: dict[str, Any] = {"compression": None, "keepalive_ping_interval_seconds": None, "max_message_size_bytes": None}
SMALL = b"x" * 125


def transport_of(kind: str, context: ssl.SSLContext) -> httpx2.AsyncBaseTransport:
    """The transport to measure."""
    limits = httpx2.Limits(max_connections=None)
    if kind == "HTTP/2":
        return HTTP2Transport(verify=context, http1=False, limits=limits)
    return httpx2.AsyncHTTPTransport(verify=context, limits=limits)


def resident() -> int:
    """Bytes of memory."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 (no path of ours)
        return int(file.read().split()[1]) * resource.getpagesize()


async def cost(action: Callable[[], Awaitable[object]], times: int, rounds: int = 3) -> float:
    """CPU seconds of one time, in the best of some rounds."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(times):
            await action()
        found.append((time.process_time() - began) / times)
    return min(found)


async def echo(ws: Any, message: bytes = SMALL) -> None:
    """A message there and back."""
    await ws.send(message)
    assert len(await ws.receive()) == len(message)


async def burst(ws: Any, count: int = 2000) -> None:
    """Messages there and back, sent without waiting."""
    async with anyio.create_task_group() as tasks:

        async def send() -> None:
            for _ in range(count):
                await ws.send(SMALL)

        tasks.start_soon(send)
        for _ in range(count):
            await ws.receive()


class Crowd:
    """Many sessions, each in a task of its own that does what all are told to do."""

    def __init__(self, client: httpx2.AsyncClient, url: str, count: int) -> None:
        self._client = client
        self._url = url
        self._count = count
        self._left = 0
        self._go = anyio.Event()
        self._done = anyio.Event()
        self._message: bytes | None = None

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Open all."""
        await self._all(lambda: [tasks.start_soon(self._one) for _ in range(self._count)])

    async def echo(self, message: bytes) -> None:
        """All at once."""
        self._message = message
        await self._all(self._release)

    def stop(self) -> None:
        """Close all; the task group waits for it."""
        self._message = None
        self._release()

    async def _all(self, begin: Callable[[], object]) -> None:
        self._left = self._count
        self._done = anyio.Event()
        begin()
        await self._done.wait()

    def _release(self) -> None:
        go, self._go = self._go, anyio.Event()
        go.set()

    async def _one(self) -> None:
        async with open_websocket(self._client, self._url, **OPTIONS) as ws:
            while True:
                go = self._go
                self._left -= 1
                if not self._left:
                    self._done.set()
                await go.wait()
                if self._message is None:
                    return
                await echo(ws, self._message)


async def p50(ws: Any, seconds: float = 2.0) -> float:
    """Milliseconds that an echo takes, in the median, once a millisecond or as fast as they come."""
    found = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        await echo(ws)
        found.append((time.perf_counter() - start) * 1e3)
        await anyio.sleep(0.001)
    return statistics.median(found)


async def beside(ws: Any, other: Any, action: Callable[[Any], Coroutine[Any, Any, None]]) -> float:
    """The same while another session is busy."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(action, other)
        await anyio.sleep(0.2)
        found = await p50(ws)
        tasks.cancel_scope.cancel()
    return found


async def floods(ws: Any) -> None:
    """Send and receive without end."""
    while True:
        await burst(ws)


async def stalls(ws: Any) -> None:
    """Send what the buffers on the way back hold, and receive none of it."""
    for _ in range(32):
        await ws.send(bytes(65536))
    await anyio.sleep_forever()


async def sends_much(ws: Any) -> None:
    """Large messages without end."""
    while True:
        await echo(ws, bytes(2**25))


async def waits(client: httpx2.AsyncClient, url: str) -> dict[str, float]:
    """What sessions do to each other."""
    found: dict[str, float] = {}
    actions = {"beside flood": floods, "beside stall": stalls, "beside large": sends_much}
    async with open_websocket(client, url, **OPTIONS) as ws:
        await p50(ws, 0.5)
        found["calm"] = await p50(ws)
        for name, action in actions.items():
            with anyio.CancelScope() as scope:
                async with open_websocket(client, url, **OPTIONS) as other:
                    found[name] = await beside(ws, other, action)
                    scope.cancel()  # it may have much to say, and nobody waits for it
    return found


async def measure(kind: str, url: str, ca: str, count: int) -> dict[str, float]:
    """All figures of one kind."""
    transport = transport_of(kind, ssl.create_default_context(cafile=ca))
    found: dict[str, float] = {}
    async with httpx2.AsyncClient(transport=transport, timeout=120) as client:
        async with open_websocket(client, url, **OPTIONS) as one:
            await cost(lambda: echo(one), 50)
            found["alone"] = await cost(lambda: echo(one), 300) * 1e6
            await burst(one)
            found["burst"] = await cost(lambda: burst(one), 3) / 2000 * 1e6
            found["large"] = await cost(lambda: echo(one, bytes(2**20)), 5) * 1e3

            async def flood() -> None:
                for _ in range(2000):
                    await one.send(SMALL)

            began = time.process_time()
            await flood()
            found["flood"] = (time.process_time() - began) / 2000 * 1e6
            for _ in range(2000):
                await one.receive()

            async with anyio.create_task_group() as tasks:
                crowd, before = Crowd(client, url, count), resident()
                found["opening"] = await cost(lambda: crowd.start(tasks), 1, rounds=1) / count * 1e3
                found["memory"] = (resident() - before) / count / 1024
                await crowd.echo(SMALL)
                found["together"] = await cost(lambda: crowd.echo(SMALL), 1, rounds=5) / count * 1e6
                crowd.stop()
            async with anyio.create_task_group() as tasks:
                herd = Crowd(client, url, 200)
                await herd.start(tasks)
                found["herd"] = await cost(lambda: herd.echo(bytes(2**18)), 1) / 200 * 1e3
                herd.stop()
        found |= await waits(client, url)
    return found


async def measure_niquests(url: str, ca: str, count: int) -> dict[str, float]:
    """What can be measured of niquests: sessions that are opened one after the other."""
    niquests: Any = importlib.import_module("niquests")
    found: dict[str, float] = {}
    async with niquests.AsyncSession() as session, contextlib.AsyncExitStack() as stack:

        async def opened() -> Any:
            response = await session.get(url.replace("wss://", "wss+rfc8441://"), verify=ca, timeout=60)
            stack.push_async_callback(response.extension.close)
            return response.extension

        async def there_and_back(ws: Any, message: bytes = SMALL) -> None:
            await ws.send_payload(message)
            assert len(await ws.next_payload()) == len(message)

        one = await opened()
        await there_and_back(one)
        found["alone"] = await cost(lambda: there_and_back(one), 300) * 1e6
        began = time.process_time()
        for _ in range(2000):
            await one.send_payload(SMALL)
        found["flood"] = (time.process_time() - began) / 2000 * 1e6
        for _ in range(2000):
            await one.next_payload()
        before, many = resident(), []

        async def open_one() -> None:
            many.append(await opened())

        found["opening"] = await cost(open_one, count, rounds=1) * 1e3
        found["memory"] = (resident() - before) / count / 1024

        async def together() -> None:
            async with anyio.create_task_group() as tasks:
                for ws in many:
                    tasks.start_soon(there_and_back, ws)

        await together()
        found["together"] = await cost(together, 1, rounds=5) / count * 1e6
    return found


def measured(loop: str, kind: str, url: str, options: argparse.Namespace) -> dict[str, float]:
    """One kind's figures, from a process of its own; none if it failed and may."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("http2.py")),
        url,
        "--ca",
        options.ca,
        "--loop",
        loop,
        "--kind",
        kind,
    ]
    command += ["--sessions", str(options.sessions)]
    may_fail = kind == "niquests"
    errors = subprocess.DEVNULL if may_fail else None
    done = subprocess.run(command, check=not may_fail, stdout=subprocess.PIPE, stderr=errors, timeout=options.patience)
    found: dict[str, float] = {} if done.returncode else json.loads(done.stdout)
    return found


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Field by field."""
    return {name: statistics.median(found[name] for found in rounds if name in found) for name in rounds[0]}


def rows(results: dict[str, dict[str, dict[str, float]]]) -> list[list[str]]:
    """The table: of each loop, both kinds and their ratio, and niquests where there are figures of it."""
    table = [["client CPU"]]
    for loop, of_loop in results.items():
        table[0] += [f"{loop}: HTTP/1.1", "HTTP/2", "ratio", *(["niquests"] if "niquests" in of_loop else [])]
    for field, name in (FIELDS | WAITS).items():
        row = [name]
        for of_loop in results.values():
            first, second = of_loop["HTTP/1.1"][field], of_loop["HTTP/2"][field]
            row += [f"{first:.2f}", f"{second:.2f}", f"{second / first:.2f}"]
            if "niquests" in of_loop:
                other = of_loop["niquests"].get(field)
                row.append("" if other is None else f"{other:.2f}")
        table.append(row)
    return table


def with_table(page: str, table: list[list[str]], said: str) -> str:
    """The page with the table between its marks, and what is said of it."""
    lines = [f"| {' | '.join(row)} |" for row in table]
    lines.insert(1, "|---" + "|---:" * (len(table[0]) - 1) + "|")
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n".join([*lines, "", said, ""]) + END + rest.partition(END)[2]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="of a server that echoes; default: HAProxy before one, started for this")
    parser.add_argument("--ca", help="the certificate to trust, if the URL is named")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--loop", choices=LOOPS, nargs="+", default=LOOPS)
    parser.add_argument("--kind", choices=KINDS, help="print the figures of this one as JSON")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    parser.add_argument("--patience", type=float, default=600, help="seconds for each kind")
    options = parser.parse_args()
    if options.url and not options.ca:
        parser.error("a URL needs --ca")
    if options.kind == "niquests":
        print(json.dumps(anyio.run(measure_niquests, options.url, options.ca, options.sessions, backend="asyncio")))
    elif options.kind:
        [loop] = options.loop
        found = anyio.run(measure, options.kind, options.url, options.ca, options.sessions, backend=loop)
        print(json.dumps(found))
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Measure all, and show it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rounds: dict[str, dict[str, list[dict[str, float]]]] = {loop: {} for loop in options.loop}
    with contextlib.ExitStack() as stack:
        url = options.url
        if not url:
            url, options.ca = stack.enter_context(haproxy())
        for _ in range(options.repeat):
            for loop in options.loop:
                with_niquests = loop == "asyncio" and importlib.util.find_spec("niquests")
                for kind in KINDS if with_niquests else KINDS[:2]:
                    if found := measured(loop, kind, url, options):
                        rounds[loop].setdefault(kind, []).append(found)
    table = rows({loop: {kind: medians(found) for kind, found in kinds.items()} for loop, kinds in rounds.items()})
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print(
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            sep="  ",
        )
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES if importlib.util.find_spec(name)]
    said = f"{options.sessions:,} sessions; medians of {options.repeat}; CPython {platform.python_version()}, {', '.join(versions)}."
    print(said)
    if options.write:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table, said), encoding="utf-8")


if __name__ == "__main__":
    main()
