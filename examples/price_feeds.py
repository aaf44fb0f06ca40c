"""Fifty price feeds in one process: each reconnects and subscribes again, merged into one stream.

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
from functools import partial

import httpx2
import trio

from httpx2_trio_ws import SourceEnded, WebSocketSession, merge, reconnect

FEEDS = 50


@dataclass(eq=False)
class Feed:
    """What is known of one feed, over all of its sessions."""

    name: str
    price: float | None = None
    updates: int = 0
    sessions: int = 0


async def subscribe(feed: Feed, ws: WebSocketSession) -> None:
    """In each session anew."""
    feed.sessions += 1
    await ws.send_json({"subscribe": feed.name})


async def collect(client: httpx2.AsyncClient, url: str, feeds: list[Feed]) -> None:
    """Keep the latest price of each feed, until all have ended."""
    sources = {
        feed: reconnect(client, url, params={"feed": feed.name}, on_connect=partial(subscribe, feed)) for feed in feeds
    }
    async with merge(sources, failures="tell") as prices:
        async for feed, message in prices:
            if isinstance(message, SourceEnded):
                if message.error is not None:
                    print(f"{feed.name} is given up: {message.error}", flush=True)
                continue
            try:
                feed.price = float(message)
                feed.updates += 1
            except ValueError as exc:
                print(f"{feed.name} is given up: {exc}", flush=True)
                prices.remove(feed)


async def report(feeds: list[Feed], interval_seconds: float = 1) -> None:
    """Print a line each second."""
    before = [0] * len(feeds)
    while True:
        await trio.sleep(interval_seconds)
        now = [feed.updates for feed in feeds]
        alive = sum(map(int.__ne__, now, before))
        prices = " ".join(f"{feed.name}={feed.price}" for feed in feeds[:3])
        print(f"{alive} of {len(feeds)} alive, {sum(now) - sum(before)} updates, {prices} …", flush=True)
        before = now


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
    updates, sessions = [feed.updates for feed in feeds], sum(feed.sessions for feed in feeds)
    print(f"{sum(updates)} updates of {sum(map(bool, updates))} feeds in {sessions} sessions")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/prices (see docs/examples.md)")
    trio.run(main, sys.argv[1])
