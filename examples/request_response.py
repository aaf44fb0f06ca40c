"""Requests and responses over one session: several tasks ask, and one task hands out the answers.

Each request carries an id, and its answer carries the same id; answers may come in any order.

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

from httpx2_trio_ws import WebSocketSession, open_websocket


class Caller:
    """Calls over one session, from any number of tasks."""

    def __init__(self, ws: WebSocketSession) -> None:
        self._ws = ws
        self._ids = itertools.count(1)
        self._waiting: dict[int, trio.MemorySendChannel[Any]] = {}

    async def call(self, method: str, argument: Any) -> Any:
        """Send a request and wait for its answer. It may be cancelled; a late answer is then passed over."""
        number = next(self._ids)
        answer, result = trio.open_memory_channel[Any](1)
        with answer, result:
            self._waiting[number] = answer
            try:
                await self._ws.send_json({"id": number, method: argument})
                return await result.receive()
            finally:
                del self._waiting[number]

    async def dispatch(self) -> None:
        """Hand out the answers.

        This is ``receive_json()`` and not ``async for``, which would end quietly when the server closes. Here
        that is an error: it cancels the calls that still wait, as they are in the same nursery.
        """
        while True:
            answer = await self._ws.receive_json()
            if waiting := self._waiting.get(answer["id"]):
                waiting.send_nowait(answer["result"])


async def ask(caller: Caller, number: int) -> None:
    """One of many tasks that share a session."""
    with trio.fail_after(5):
        print(f"{number} squared is {await caller.call('square', number)}")


async def main(url: str) -> None:
    async with httpx2.AsyncClient() as client, open_websocket(client, url) as ws:
        caller = Caller(ws)
        async with trio.open_nursery() as dispatcher:
            dispatcher.start_soon(caller.dispatch)
            async with trio.open_nursery() as tasks:
                for number in range(1, 11):
                    tasks.start_soon(ask, caller, number)
            # All have their answers.
            dispatcher.cancel_scope.cancel()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/square (see docs/examples.md)")
    trio.run(main, sys.argv[1])
