"""The tutorial's program: several feeds into one place, through failures, silence and restarts, until it is told to stop.

Each feed is followed in as many sessions as it takes. One that fails for good is given up, and the others go on.

Run it with the URL of a server that sends messages; the name of the feed is in the query.
``python -m httpx2_trio_ws --serve`` runs one::

    python examples/resilient_feeds.py ws://127.0.0.1:8765/count/30
"""

from __future__ import annotations

import math
import signal
import sys
from collections import Counter

import httpx2
import trio

from httpx2_trio_ws import WebSocketException
from httpx2_trio_ws.reconnect import RetryPolicy, reconnect

FEEDS = ("red", "green", "blue")
BACKLOG = 16
SILENCE_SECONDS = 30

Item = tuple[str, str | bytes]


class RetrySilence(RetryPolicy):
    """Also connect again when a feed has been silent for too long."""

    def retry_block(self, error: Exception) -> bool:
        """Whether to go on after an error of the block's own."""
        return isinstance(error, trio.TooSlowError)


async def follow(client: httpx2.AsyncClient, url: str, feed: str, out: trio.MemorySendChannel[Item]) -> None:
    """Put what one feed says into the channel, in as many sessions as it takes."""
    async with out:
        try:
            for connection in reconnect(client, url, params={"feed": feed}, policy=RetrySilence()):
                async with connection as ws:
                    with trio.fail_after(SILENCE_SECONDS) as silence:
                        async for message in ws:
                            silence.deadline = math.inf  # the consumer may take its time
                            await out.send((feed, message))
                            silence.deadline = trio.current_time() + SILENCE_SECONDS
        except* (WebSocketException, httpx2.TransportError) as group:
            print(f"{feed} is given up: {group.exceptions[0]!r}", flush=True)


async def stop_on_signal(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
    """Cancel ``scope`` on Ctrl-C and SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            print(f"{signal.Signals(number).name}: stopping", flush=True)
            scope.cancel()
            return


async def main(url: str) -> None:
    seen: Counter[str] = Counter()
    async with httpx2.AsyncClient() as client, trio.open_nursery() as nursery:
        await nursery.start(stop_on_signal, nursery.cancel_scope)
        out, incoming = trio.open_memory_channel[Item](BACKLOG)
        async with out:
            for feed in FEEDS:
                nursery.start_soon(follow, client, url, feed, out.clone())
        async for feed, message in incoming:
            seen[feed] += 1
            print(f"{feed}: {message!r}", flush=True)
        nursery.cancel_scope.cancel()  # all feeds have ended: no signal need be waited for
    print(f"{seen.total()} messages from {len(seen)} feeds")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/count/30 (see docs/examples.md)")
    trio.run(main, sys.argv[1])
