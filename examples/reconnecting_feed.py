"""A feed that is followed for as long as it takes, through lost connections and restarts of the server.

What is lost between two sessions is not sent again by itself: here, a line says so each time.

Run it with the URL of a server that sends messages. It ends when the server closes with 1000, or after ``ENOUGH``
messages. ``python -m httpx2_trio_ws --serve`` runs a server that drops each connection after two; stop and start it
meanwhile, too::

    python examples/reconnecting_feed.py ws://127.0.0.1:8765/crash
"""

from __future__ import annotations

import logging
import sys

import httpx2
import trio

from httpx2_trio_ws import WebSocketException, WebSocketSession
from httpx2_trio_ws.reconnect import Backoff, reconnect

ENOUGH = 10


async def connected(ws: WebSocketSession) -> None:
    """Called with each new session: the place to log in, subscribe, and fetch what was missed."""
    print(f"connected to {ws.response.request.url.host}; what was sent in the meantime is lost")


async def follow(client: httpx2.AsyncClient, url: str, backoff: Backoff) -> str:
    """Print the messages, and return why there are no more of them."""
    count = 0
    for connection in reconnect(client, url, backoff=backoff, on_connect=connected):
        async with connection as ws:
            async for message in ws:
                count += 1
                print(f"received {message!r}")
                if count == ENOUGH:
                    return "that is enough"
    return "the server has closed for good"


async def main(url: str, seconds: float = 0.5) -> None:
    async with httpx2.AsyncClient() as client:
        try:
            print(await follow(client, url, Backoff(initial_seconds=seconds)))
        except* (
            WebSocketException,
            httpx2.TransportError,
        ) as group:  # what is not worth another attempt, such as 401 or a certificate
            print(f"given up: {group.exceptions}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/crash (see docs/examples.md)")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("httpx2_trio_ws.reconnect").setLevel(logging.INFO)  # says what has failed, and how long it waits
    trio.run(main, sys.argv[1])
