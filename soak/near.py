"""The near host's process: ``python -m soak.near URL SESSIONS SECONDS [AUTHORITY]``, with the event loop's name before it.

It prints what it has found, as JSON.
"""

from __future__ import annotations

import json
import random
import ssl
import statistics
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from websockets.asyncio.client import connect as connect_on_asyncio

from httpx2_trio_ws import Instrument, OpenOptions, WebSocketException, WebSocketHandshakeTimeout
from httpx2_trio_ws.anyio import WebSocketSession, open_websocket

from .client import leaves
from .messages import Checker, Size, build
from .records import Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2_trio_ws import FrameInfo

INTERVAL, TIMEOUT, OPENING, CLOSING = 5.0, 10.0, 15.0, 5.0
OPTIONS: OpenOptions = {
    "compression": None,
    "keepalive_ping_interval_seconds": INTERVAL,
    "keepalive_ping_timeout_seconds": TIMEOUT,
    "handshake_timeout_seconds": OPENING,
    "close_timeout_seconds": CLOSING,
    "failure_grace_seconds": 0.1,
}
# What is late by no more than this is in time: the machine has other things to do.
SLACK = 1.5
ROUND_TRIPS = 30
LARGE = 128 * 1024


class Ear(Instrument):
    """Knows when the peer was last heard of."""

    def __init__(self) -> None:
        self.heard = time.monotonic()

    def frame_received(self, session: Any, frame: FrameInfo) -> None:  # noqa: ARG002 (any frame is a sign of life)
        """A frame has come."""
        self.heard = time.monotonic()


class Holder:
    """Holds sessions, one after another in each place, and counts."""

    def __init__(self, client: httpx2.AsyncClient, url: str, until: float) -> None:
        self.client = client
        self.url = url
        self.until = until
        self.found: Counter[str] = Counter()
        self.late: list[str] = []

    async def hold(self, place: int) -> None:
        """Until time is up."""
        rng = random.Random(place)
        while time.monotonic() < self.until:
            await self.one(rng)

    async def one(self, rng: random.Random) -> None:
        """One session, to its end."""
        row, ear, began = Row(), Ear(), time.monotonic()
        options: OpenOptions = {**OPTIONS, "instruments": [ear]}
        opened = ended = 0.0
        try:
            async with open_websocket(self.client, self.url, **options) as ws:
                opened = time.monotonic()
                self.found["opened"] += 1
                await self.talk(ws, row, rng)
                ended = time.monotonic()
            self.found["left in peace"] += 1
            self.in_time("leaving", time.monotonic() - ended, CLOSING)
        except* (WebSocketHandshakeTimeout, httpx2.TransportError) as group:
            self.found[f"not opened: {type(leaves(group)[0]).__name__}"] += 1
            self.in_time("giving up an opening", time.monotonic() - began, OPENING)
        except* WebSocketException as group:
            self.found[f"failed: {type(leaves(group)[0]).__name__}"] += 1
            if opened:
                self.in_time("noticing a dead network", time.monotonic() - ear.heard, INTERVAL + TIMEOUT)
        for name in ("received", "lost", "doubled", "corrupted", "disordered"):
            self.found[name] += getattr(row, name)
        self.found["sent"] += row.attempted
        self.found["covered by a failure"] += row.attempted - row.received

    def in_time(self, what: str, seconds: float, most: float) -> None:
        """Note what took longer than was promised."""
        if seconds > most + SLACK:
            self.late.append(f"{what} took {seconds:.1f} s instead of {most:g}")

    async def talk(self, ws: WebSocketSession, row: Row, rng: random.Random) -> None:
        """Send for a while, and wait for all of it to come back."""
        over = time.monotonic() + min(rng.uniform(10, 40), max(1.0, self.until - time.monotonic()))
        checker = Checker(row)
        async with anyio.create_task_group() as group:
            group.start_soon(self.send, ws, row, rng, over)
            while time.monotonic() < over or row.received < row.attempted:
                with anyio.move_on_after(1):
                    checker.check(await ws.receive())
            group.cancel_scope.cancel()

    async def send(self, ws: WebSocketSession, row: Row, rng: random.Random, over: float) -> None:
        """Messages of many sizes."""
        while time.monotonic() < over:
            message = build(row, Size(int(2 ** rng.uniform(0, 13)), rng.random() < 0.5))
            row.attempted += 1
            await ws.send(message)
            row.completed = row.attempted
            await anyio.sleep(rng.expovariate(3))


async def round_trips(
    send: Callable[[Any], Awaitable[object]], receive: Callable[[], Awaitable[object]]
) -> list[float]:
    """Seconds of a small round trip, the median, and of a large one."""

    async def seconds(message: str | bytes) -> float:
        began = time.monotonic()
        await send(message)
        await receive()
        return time.monotonic() - began

    small = [await seconds("x") for _ in range(ROUND_TRIPS)]
    return [statistics.median(small), await seconds(b"x" * LARGE)]


async def beside(client: httpx2.AsyncClient, url: str, verify: ssl.SSLContext | None) -> dict[str, list[float]]:
    """Round trips of ours, and of ``websockets``."""
    async with open_websocket(client, url, compression=None) as ws:
        ours = await round_trips(ws.send, ws.receive)
    async with connect_on_asyncio(url, ssl=verify, compression=None, ping_interval=None) as other:
        return {"httpx2-trio-ws": ours, "websockets": await round_trips(other.send, other.recv)}


async def main(url: str, sessions: int, seconds: float, authority: str | None) -> None:
    """Hold the sessions, and print what was found."""
    verify = None if authority is None else ssl.create_default_context(cafile=authority)
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(
        verify=verify or True, limits=limits, trust_env=False, timeout=httpx2.Timeout(OPENING)
    ) as client:
        holder = Holder(client, url, time.monotonic() + seconds)
        async with anyio.create_task_group() as group:
            for place in range(sessions):
                group.start_soon(holder.hold, place)
        times = {}
        if sys.argv[1] == "asyncio":  # where both run
            times = await beside(client, url, verify)
    print(json.dumps({"found": holder.found, "late": holder.late, "times": times}))


if __name__ == "__main__":
    anyio.run(
        main,
        sys.argv[2],
        int(sys.argv[3]),
        float(sys.argv[4]),
        sys.argv[5] if len(sys.argv) > 5 else None,
        backend=sys.argv[1],
    )
