"""Requests and responses over one session, from several tasks: answers by id, in any order, through reconnects.

Run it with the URL of a server that answers ``{"id": 1, "square": 7}`` with ``{"id": 1, "result": 49}``.
``python -m httpx2_trio_ws --serve`` runs one::

    python examples/request_response.py ws://127.0.0.1:8765/square
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

import httpx2
import trio

from httpx2_trio_ws import Multiplexer, multiplex, reconnect

ids = itertools.count(1)


async def ask(server: Multiplexer[Any], number: int) -> None:
    """One of many tasks that share a session. It may be cancelled; a late answer is then passed over."""
    request = next(ids)
    with trio.fail_after(5):
        answer = await server.request(request, {"id": request, "square": number})
    print(f"{number} squared is {answer['result']}")


async def main(url: str) -> None:
    async with (
        httpx2.AsyncClient() as client,
        multiplex(reconnect(client, url), key=lambda message: message["id"]) as server,
        trio.open_nursery() as tasks,
    ):
        for number in range(1, 11):
            tasks.start_soon(ask, server, number)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/square (see docs/examples.md)")
    trio.run(main, sys.argv[1])
