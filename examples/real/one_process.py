"""How much one process can take: receives from many feeds for some seconds, and tells what that cost.

    python examples/real/one_process.py 10 100 500

Each number is a measurement with so many sessions, against a server in another process that it starts. CPU time is what
counts: at 100 % the process is full, and what it takes a second by then is on the right.
"""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import trio

from httpx2_trio_ws import open_websocket

SECONDS = 5
EVERY = 0.2  # seconds between the messages of a feed


async def measure(client: httpx2.AsyncClient, url: str, feeds: int) -> tuple[int, float]:
    """Messages, and seconds of CPU time they took."""
    messages = 0
    opening, all_open, is_open = trio.Semaphore(20), trio.Event(), 0

    async def receive(feed: str) -> None:
        nonlocal messages, is_open
        await opening.acquire()  # not all at once
        async with open_websocket(client, f"{url}/{feed}?every={EVERY}", compression=None) as ws:
            opening.release()
            await ws.send_json({"after": 0})
            is_open += 1
            if is_open == feeds:
                all_open.set()
            while True:
                await ws.receive_json()
                messages += 1

    async with trio.open_nursery() as nursery:
        for number in range(feeds):
            nursery.start_soon(receive, f"{feeds}-{number}")
        await all_open.wait()
        await trio.sleep(1)
        before, began = messages, time.process_time()
        await trio.sleep(SECONDS)
        took = time.process_time() - began
        nursery.cancel_scope.cancel()
    return messages - before, took


async def main(url: str, counts: list[int]) -> None:
    limits = httpx2.Limits(max_connections=None)  # a session keeps its connection
    print(f"{'sessions':>8} {'messages/s':>10} {'CPU':>6} {'µs each':>8} {'full at, messages/s':>20}")
    async with httpx2.AsyncClient(limits=limits, timeout=30, trust_env=False) as client:
        for feeds in counts:
            messages, took = await measure(client, url, feeds)
            each = took / messages if messages else math.inf
            print(f"{feeds:8} {messages / SECONDS:10.0f} {took / SECONDS:6.1%} {each * 1e6:8.0f} {1 / each:20,.0f}")


def is_reachable(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    port = 8767
    with subprocess.Popen([sys.executable, Path(__file__).with_name("feed_server.py"), str(port)]) as server:
        try:
            while not is_reachable(port):
                time.sleep(0.1)
            trio.run(main, f"ws://127.0.0.1:{port}", [int(count) for count in sys.argv[1:] or (10, 100, 500)])
        finally:
            server.terminate()
