"""What sessions cost over HTTP/2 and over HTTP/1.1, both over TLS to one server that echoes and has both.

CPU time is of this process alone, and each kind has one of its own::

    python benchmarks/http2.py wss://127.0.0.1:8445/ --ca ca.pem --sessions 1000 --loop trio
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx2

from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.http2 import HTTP2Transport

if TYPE_CHECKING:
    from collections.abc import Callable

FIELDS = {
    "memory": "KiB for each idle session",
    "opening": "opening, ms each",
    "together": "echo, all sessions at once, µs each",
    "alone": "echo of one session, µs",
    "burst": "burst of 125 B, µs a message",
    "large": "echo of 1 MiB, ms",
}
OPTIONS: dict[str, Any] = {"compression": None, "keepalive_ping_interval_seconds": None, "max_message_size_bytes": None}


def transport_of(kind: str, context: ssl.SSLContext) -> httpx2.AsyncBaseTransport:
    limits = httpx2.Limits(max_connections=None)
    if kind == "HTTP/2":
        return HTTP2Transport(verify=context, http1=False, limits=limits)
    return httpx2.AsyncHTTPTransport(verify=context, limits=limits)


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 (no path of ours)
        return int(file.read().split()[1]) * resource.getpagesize()


async def cost(action: Callable[[], Any], times: int) -> float:
    """CPU seconds of one time."""
    began = time.process_time()
    for _ in range(times):
        await action()
    return (time.process_time() - began) / times


async def measure(kind: str, url: str, ca: str, count: int) -> dict[str, float]:
    transport = transport_of(kind, ssl.create_default_context(cafile=ca))
    found: dict[str, float] = {}
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, timeout=120))
        one = await stack.enter_async_context(open_websocket(client, url, **OPTIONS))

        async def echo(ws: Any = one, message: bytes = b"x" * 125) -> None:
            await ws.send(message)
            assert len(await ws.receive()) == len(message)

        async def burst() -> None:
            async with anyio.create_task_group() as tasks:

                async def send() -> None:
                    for _ in range(2000):
                        await one.send(b"x" * 125)

                tasks.start_soon(send)
                for _ in range(2000):
                    await one.receive()

        await cost(echo, 50)
        found["alone"] = await cost(echo, 300) * 1e6
        await burst()
        found["burst"] = await cost(burst, 5) / 2000 * 1e6
        found["large"] = await cost(lambda: echo(message=bytes(2**20)), 10) * 1e3

        sessions: list[Any] = []
        before = resident()

        async def open_all() -> None:
            sessions.extend(
                [await stack.enter_async_context(open_websocket(client, url, **OPTIONS)) for _ in range(count)]
            )

        found["opening"] = await cost(open_all, 1) / count * 1e3
        found["memory"] = (resident() - before) / count / 1024

        async def all_at_once() -> None:
            async with anyio.create_task_group() as tasks:
                for ws in sessions:
                    tasks.start_soon(echo, ws)

        await all_at_once()
        found["together"] = await cost(all_at_once, 3) / count * 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--ca", required=True)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--loop", choices=["trio", "asyncio"], default="trio")
    parser.add_argument("--kind", choices=["HTTP/1.1", "HTTP/2"])
    options = parser.parse_args()
    if options.kind:
        found = anyio.run(measure, options.kind, options.url, options.ca, options.sessions, backend=options.loop)
        print(json.dumps(found))
        return
    results = {}
    for kind in ("HTTP/1.1", "HTTP/2"):
        command = [sys.executable, *sys.argv, "--kind", kind]
        results[kind] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    print(f"{options.sessions} sessions on {options.loop}; CPU time")
    print(f"{'':40}{'HTTP/1.1':>10}{'HTTP/2':>10}{'ratio':>8}")
    for field, name in FIELDS.items():
        first, second = results["HTTP/1.1"][field], results["HTTP/2"][field]
        print(f"{name:40}{first:10.2f}{second:10.2f}{second / first:8.2f}")


if __name__ == "__main__":
    main()
