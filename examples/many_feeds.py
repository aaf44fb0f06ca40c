"""Many feeds, each a session of its own, multiplexed into one memory channel; memory stays bounded.

Three bounds stand between a fast server and a slow consumer: the memory channel takes ``BACKLOG``
messages, each session ``queue_size``, and when these are full the sessions stop reading, so that TCP
holds the servers back. Nothing is dropped.

Run it with the URL of a server that sends messages and then closes; the name of the feed is in the query.
``python -m httpx2_trio_ws --serve`` runs one::

    python examples/many_feeds.py ws://127.0.0.1:8765/count/30
"""

from __future__ import annotations

import sys
from collections import Counter

import httpx2
import trio

from httpx2_trio_ws import open_websocket

FEEDS = [f"feed-{number}" for number in range(20)]
BACKLOG = 16

Item = tuple[str, str | bytes]


async def follow(client: httpx2.AsyncClient, url: str, feed: str, out: trio.MemorySendChannel[Item]) -> None:
    """Put what one feed says into the channel."""
    async with out, open_websocket(client, url, params={"feed": feed}, queue_size=8) as ws:
        async for message in ws:
            await out.send((feed, message))


async def main(url: str) -> None:
    seen: Counter[str] = Counter()
    # The default client has 100 connections, and every open session keeps one.
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(limits=limits) as client, trio.open_nursery() as nursery:
        out, incoming = trio.open_memory_channel[Item](BACKLOG)
        # Each task has a clone of the sending end and closes it. The loop ends with the last of them.
        async with out:
            for feed in FEEDS:
                nursery.start_soon(follow, client, url, feed, out.clone())
        async with incoming:
            async for feed, message in incoming:
                seen[feed] += 1
                print(f"{feed}: {message!r}")
    print(f"{seen.total()} messages from {len(seen)} feeds")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/count/30 (see docs/examples.md)")
    trio.run(main, sys.argv[1])
