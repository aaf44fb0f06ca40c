"""Fifty price feeds in one process: each reconnects and subscribes again, and one task keeps the latest price of each.

A line each second says how it goes. Ctrl-C and SIGTERM end it in good order: every session is closed, and a summary
follows. A feed that fails for good, or that its server has finished with 1000, is no longer followed; the others are.

Run it with the URL of a server that sends numbers; the name of the feed is in the query and in the subscription.
``python -m httpx2_trio_ws --serve`` runs one; stop and start it meanwhile, too::

    python examples/price_feeds.py ws://127.0.0.1:8765/prices
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

import httpx2
import trio

from httpx2_trio_ws import WebSocketException
from httpx2_trio_ws.reconnect import reconnect

FEEDS = 50
BACKLOG = 100


@dataclass
class Feed:
    """What is known of one feed, over all of its sessions. A session's statistics are its own, so they are summed up."""

    name: str
    price: float | None = None
    updates: int = 0
    connected: bool = False
    sessions: int = 0
    bytes_received: int = 0


Update = tuple[Feed, float]


async def follow(client: httpx2.AsyncClient, url: str, feed: Feed, out: trio.MemorySendChannel[Update]) -> None:
    """Put one feed's prices into the channel, in as many sessions as it takes."""
    async with out:
        try:
            for connection in reconnect(client, url, params={"feed": feed.name}):
                async with connection as ws:
                    feed.connected = True
                    feed.sessions += 1
                    try:
                        await ws.send_json({"subscribe": feed.name})  # in each session anew
                        async for message in ws:
                            await out.send((feed, float(message)))
                    finally:
                        feed.connected = False
                        feed.bytes_received += ws.statistics().bytes_received
        except* (WebSocketException, httpx2.TransportError, ValueError) as group:  # ValueError: what came is no price
            print(f"{feed.name} is given up: {group.exceptions[0]}", flush=True)


async def collect(client: httpx2.AsyncClient, url: str, feeds: list[Feed]) -> None:
    """Keep the latest price of each feed, until all have ended."""
    out, updates = trio.open_memory_channel[Update](BACKLOG)
    async with trio.open_nursery() as nursery:
        async with out:
            for feed in feeds:
                nursery.start_soon(follow, client, url, feed, out.clone())
        async for feed, price in updates:
            feed.price = price
            feed.updates += 1


async def report(feeds: list[Feed], interval_seconds: float = 1) -> None:
    """Print a line each second."""
    before = 0
    while True:
        await trio.sleep(interval_seconds)
        updates = sum(feed.updates for feed in feeds)
        connected = sum(feed.connected for feed in feeds)
        prices = " ".join(f"{feed.name}={feed.price}" for feed in feeds[:3])
        print(f"{connected} of {len(feeds)} connected, {updates - before} updates, {prices} …", flush=True)
        before = updates


async def stop_on_signal(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
    """Cancel ``scope`` on Ctrl-C and SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            print(f"{signal.Signals(number).name}: stopping", flush=True)
            scope.cancel()


async def main(url: str) -> None:
    feeds = [Feed(f"feed-{number:02}") for number in range(1, FEEDS + 1)]
    limits = httpx2.Limits(max_connections=None)  # the default client has 100, and every open session keeps one
    async with httpx2.AsyncClient(limits=limits) as client, trio.open_nursery() as nursery:
        await nursery.start(stop_on_signal, nursery.cancel_scope)
        nursery.start_soon(report, feeds)
        await collect(client, url, feeds)
        nursery.cancel_scope.cancel()  # all have ended: nothing is left to report, and no signal need be waited for
    print(
        f"{sum(feed.updates for feed in feeds)} updates of {sum(feed.updates > 0 for feed in feeds)} feeds"
        f" in {sum(feed.sessions for feed in feeds)} sessions, {sum(feed.bytes_received for feed in feeds)} bytes"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/prices (see docs/examples.md)")
    trio.run(main, sys.argv[1])
