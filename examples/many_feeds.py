"""Many feeds, each a session of its own, merged into one stream; memory stays bounded.

Three bounds stand between a fast server and a slow consumer: ``merge`` holds 16 messages of each feed, each session
``queue_size``, and when these are full the sessions stop reading, so that TCP holds the servers back. Nothing is dropped,
and no feed waits longer for its turn because another has much to say.

Run it with the URL of a server that sends messages and then closes; the name of the feed is in the query.
``python -m httpx2_trio_ws --serve`` runs one::

    python examples/many_feeds.py ws://127.0.0.1:8765/count/30
"""

from __future__ import annotations

import sys
from collections import Counter

import httpx2
import trio

from httpx2_trio_ws import merge, open_websocket

FEEDS = [f"feed-{number}" for number in range(20)]


async def main(url: str) -> None:
    seen: Counter[str] = Counter()
    # The default client has 100 connections, and every open session keeps one.
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(limits=limits) as client:
        sources = {feed: open_websocket(client, url, params={"feed": feed}, queue_size=8) for feed in FEEDS}
        async with merge(sources) as feeds:
            async for feed, message in feeds:
                seen[feed] += 1
                print(f"{feed}: {message!r}")
    print(f"{seen.total()} messages from {len(seen)} feeds")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/count/30 (see docs/examples.md)")
    trio.run(main, sys.argv[1])
