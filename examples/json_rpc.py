"""JSON-RPC 2.0 over WebSocket: calls, errors, and notifications both ways, through reconnects.

It needs a server of its own, such as an Ethereum node's::

    python examples/json_rpc.py ws://127.0.0.1:8546 eth_blockNumber
"""

from __future__ import annotations

import itertools
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import trio

from httpx2_trio_ws import Multiplexer, multiplex, reconnect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class RpcError(Exception):
    """The server's answer is an error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(code, message, data)


class Rpc:
    """For any number of tasks."""

    def __init__(self, mux: Multiplexer[Any]) -> None:
        self._mux = mux
        self._ids = itertools.count(1)

    async def call(self, method: str, *params: Any) -> Any:
        """Raises a :exc:`WebSocketException` if the session ends first: it may have been carried out, or not."""
        number = next(self._ids)
        answer = await self._mux.request(number, {"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        if "error" in answer:
            raise RpcError(**answer["error"])
        return answer["result"]

    async def notify(self, method: str, *params: Any) -> None:
        """Waits for a session, if there is none."""
        await self._mux.send({"jsonrpc": "2.0", "method": method, "params": params})

    async def notification(self) -> tuple[str, Any]:
        """The server's next one. Those that nobody asks for are dropped, the oldest first."""
        message = await self._mux.receive()
        return message["method"], message.get("params")


@asynccontextmanager
async def connect(client: httpx2.AsyncClient, url: str) -> AsyncGenerator[Rpc]:
    async with multiplex(reconnect(client, url), key=lambda message: message.get("id")) as mux:
        yield Rpc(mux)


async def main(url: str, method: str, *params: str) -> None:
    async with httpx2.AsyncClient() as client, connect(client, url) as rpc:
        print(json.dumps(await rpc.call(method, *map(json.loads, params))))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"usage: python {sys.argv[0]} URL METHOD [PARAM…], such as ws://127.0.0.1:8546 eth_blockNumber")
    trio.run(main, sys.argv[1], sys.argv[2], *sys.argv[3:])
