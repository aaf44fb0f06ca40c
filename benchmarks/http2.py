"""What sessions cost over HTTP/2 and over HTTP/1.1, both over TLS to one server that echoes and has both.

CPU time is of this process alone, and each kind has one of its own. Each session has a task of its own, as in programs::

    python benchmarks/http2.py wss://127.0.0.1:8445/ --ca ca.pem --sessions 1000 --loop trio

niquests is measured beside them on asyncio, where it is installed and the server takes what it asks for.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import resource
import ssl
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx2

from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.http2 import HTTP2Transport

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
        found["large"] = await cost(lambda: there_and_back(one, bytes(2**20)), 5) * 1e3
        before = resident()
        found["opening"] = await cost(opened, count, rounds=1) * 1e3
        found["memory"] = (resident() - before) / count / 1024
    return found


def measured(kind: str, options: argparse.Namespace) -> dict[str, float] | None:
    """One kind's figures, from a process of its own; ``None`` if it failed."""
    command = [sys.executable, *sys.argv, "--kind", kind]
    may_fail = kind == "niquests"
    errors = subprocess.DEVNULL if may_fail else None
    done = subprocess.run(command, check=not may_fail, stdout=subprocess.PIPE, stderr=errors, timeout=options.patience)
    found: dict[str, float] | None = None if done.returncode else json.loads(done.stdout)
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--ca", required=True)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--loop", choices=["trio", "asyncio"], default="trio")
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--patience", type=float, default=600, help="seconds for each kind")
    options = parser.parse_args()
    if options.kind == "niquests":
        print(json.dumps(anyio.run(measure_niquests, options.url, options.ca, options.sessions, backend="asyncio")))
        return
    if options.kind:
        found = anyio.run(measure, options.kind, options.url, options.ca, options.sessions, backend=options.loop)
        print(json.dumps(found))
        return
    kinds = KINDS if importlib.util.find_spec("niquests") and options.loop == "asyncio" else KINDS[:2]
    results = {kind: measured(kind, options) or {} for kind in kinds}
    print(f"{options.sessions} sessions on {options.loop}; CPU time")
    print(f"{'':50}{'HTTP/1.1':>10}{'HTTP/2':>10}{'ratio':>8}{'niquests':>10}")
    for field, name in (FIELDS | WAITS).items():
        first, second = results["HTTP/1.1"][field], results["HTTP/2"][field]
        other = results.get("niquests", {}).get(field)
        shown = "" if other is None else f"{other:10.2f}"
        print(f"{name:50}{first:10.2f}{second:10.2f}{second / first:8.2f}{shown}")


if __name__ == "__main__":
    main()
