"""Feeds sharded over worker processes that publish into a Redis stream each, on asyncio; checked end to end.

    python examples/real/sharded_feeds.py ws://127.0.0.1:8766 redis://127.0.0.1:6379 FEEDS WORKERS COUNT

The number of a message is its id in the stream. So a worker that takes over asks Redis how far the feed has come, and
Redis refuses what it has already: kill a worker, and nothing is lost and nothing is there twice. docs/real/sharding.md
says how to start the servers.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
import httpx2
from redis.asyncio import Redis

from httpx2_trio_ws.anyio import WebSocketSession, reconnect


async def forward(client: httpx2.AsyncClient, broker: Any, url: str, feed: str, count: int) -> None:
    """Publish a feed, from where it has come to."""
    newest = await broker.xrevrange(feed, count=1)
    last = int(newest[0][0].partition("-")[0]) if newest else 0

    async def resume(ws: WebSocketSession) -> None:
        await ws.send_json({"after": last})

    for connection in reconnect(client, f"{url}/{feed}", on_connect=resume):
        async with connection as ws:
            while last < count:
                message = await ws.receive_json()
                await broker.xadd(feed, {"message": json.dumps(message)}, id=f"{message['number']}-0")
                last = message["number"]


async def work(url: str, redis: str, count: int, feeds: list[str]) -> None:
    """A worker: each of its feeds in a task. One that fails for good ends it, and another process begins anew."""
    limits = httpx2.Limits(max_connections=None)  # a session keeps its connection
    async with (
        httpx2.AsyncClient(limits=limits, trust_env=False) as client,
        Redis.from_url(redis, decode_responses=True) as broker,
        anyio.create_task_group() as tasks,
    ):
        for feed in feeds:
            tasks.start_soon(forward, client, broker, url, feed, count)


async def supervise(number: int, *args: str) -> None:
    """Keep a worker running until its feeds are through."""
    while True:
        async with await anyio.open_process(
            [sys.executable, __file__, "--work", *args], stdout=None, stderr=None
        ) as worker:
            print(f"worker {number}: process {worker.pid}")
            status = await worker.wait()
        if status == 0:
            return
        print(f"worker {number} died with {status}")


async def check(redis: str, feeds: list[str], count: int) -> None:
    """The consumer: every number of every feed, once, in order."""
    last = dict.fromkeys(feeds, 0)
    broker: Any
    async with Redis.from_url(redis, decode_responses=True) as broker:
        while unfinished := {feed: f"{number}-0" for feed, number in last.items() if number < count}:
            for feed, entries in await broker.xread(unfinished, block=1000):
                for _, fields in entries:
                    number = json.loads(fields["message"])["number"]
                    assert number == last[feed] + 1, f"{feed}: {number} after {last[feed]}"
                    last[feed] = number
    print(f"{len(feeds)} feeds, {sum(last.values())} messages: each once, in order")


async def main(url: str, redis: str, feeds: int, workers: int, count: int) -> None:
    names = [f"feed{number}" for number in range(feeds)]
    async with anyio.create_task_group() as tasks:
        for number in range(workers):
            tasks.start_soon(supervise, number, url, redis, str(count), *names[number::workers])
        await check(redis, names, count)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        anyio.run(work, sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])
    elif len(sys.argv) == 6:
        feeds, workers, count = map(int, sys.argv[3:])
        anyio.run(main, sys.argv[1], sys.argv[2], feeds, workers, count)
    else:
        sys.exit(f"usage: python {sys.argv[0]} URL REDIS FEEDS WORKERS COUNT (see docs/real/sharding.md)")
