"""An order book that keeps in step with its server: changes by WebSocket, a snapshot by HTTP, through restarts.

The server numbers the changes. A session begins with a snapshot, taken when the first change has come: those that come
meanwhile wait in the session. Whatever fails, session or request, the next session begins anew.

It needs a server of its own::

    python examples/order_book.py http://127.0.0.1:8000 BTC-USD
"""

from __future__ import annotations

import sys
from typing import Any

import httpx2
import trio

from httpx2_trio_ws import RetryPolicy, WebSocketSession, reconnect


class Book:
    """Prices with their sizes, as of change ``number``."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.number: int = snapshot["number"]
        self.sizes: dict[float, float] = dict(snapshot["sizes"])

    def apply(self, change: dict[str, Any]) -> bool:
        """False if a change is missing before this one. Those that the snapshot has already are passed over."""
        if change["number"] == self.number + 1:
            self.number = change["number"]
            self.sizes[change["price"]] = change["size"]
            if not change["size"]:
                del self.sizes[change["price"]]
        return bool(change["number"] <= self.number)


async def follow(client: httpx2.AsyncClient, symbol: str, books: dict[str, Book]) -> None:
    """Keep ``books[symbol]`` in step until the server has finished."""

    async def subscribe(ws: WebSocketSession) -> None:
        await ws.send_json({"subscribe": symbol})

    policy = RetryPolicy(retry_requests=True)  # a restart ends requests, too
    for connection in reconnect(client, "/changes", policy=policy, on_connect=subscribe):
        async with connection as ws:
            books.pop(symbol, None)
            async for change in ws.iter_json():
                if symbol not in books or not books[symbol].apply(change):
                    response = await client.get("/snapshot", params={"symbol": symbol})
                    books[symbol] = Book(response.raise_for_status().json())
                    books[symbol].apply(change)


async def main(base_url: str, *symbols: str) -> None:
    books: dict[str, Book] = {}
    async with httpx2.AsyncClient(base_url=base_url) as client, trio.open_nursery() as nursery:
        for symbol in symbols:
            nursery.start_soon(follow, client, symbol, books)
    for symbol, book in books.items():
        print(f"{symbol}: {len(book.sizes)} prices as of change {book.number}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"usage: python {sys.argv[0]} URL SYMBOL…, such as http://127.0.0.1:8000 BTC-USD")
    trio.run(main, sys.argv[1], *sys.argv[2:])
