"""A thousand sessions, each a stream of one HTTP/2 connection where the server has that (RFC 8441).

Where it has not, each is a connection of its own, over HTTP/1.1, and all else is the same.

Run it with the URL of a server that echoes, and how many sessions there are to be. ``python -m httpx2_trio_ws --serve`` runs
one, over HTTP/1.1; a server with HTTP/2 needs ``wss://``. Certificates that are not the system's are found by the environment
variable ``SSL_CERT_FILE``::

    python examples/thousand_sessions.py ws://127.0.0.1:8765/echo 100
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter

import httpx2
import trio

from httpx2_trio_ws import open_websocket
from httpx2_trio_ws.http2 import HTTP2Transport

AT_ONCE = 50


async def main(url: str, count: int) -> None:
    versions: Counter[str] = Counter()
    opening = trio.CapacityLimiter(AT_ONCE)
    all_open, echoed = trio.Event(), 0
    transport = HTTP2Transport(limits=httpx2.Limits(max_connections=None))

    async def session(number: int) -> None:
        nonlocal echoed
        async with contextlib.AsyncExitStack() as stack:
            async with opening:
                ws = await stack.enter_async_context(open_websocket(client, url, compression=None))
            versions[ws.response.http_version] += 1
            if versions.total() == count:
                all_open.set()
            await all_open.wait()
            await ws.send(f"hello from {number}")
            answer = await ws.receive()
            echoed += answer == f"hello from {number}"

    began = time.perf_counter()
    async with httpx2.AsyncClient(transport=transport, timeout=30) as client, trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(session, number)
        await all_open.wait()
        print(f"{count} sessions in {time.perf_counter() - began:.1f} s: {dict(versions)}")
        for connection in transport.statistics().connections:
            print(f"  {connection.sessions} on connection {connection.number} to {connection.origin}")
    print(f"{echoed} echoes, all closed after {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(
            f"usage: python {sys.argv[0]} URL [COUNT], such as ws://127.0.0.1:8765/echo 100 (see docs/examples.md)"
        )
    trio.run(main, sys.argv[1], int((sys.argv[2:] or ["1000"])[0]))
