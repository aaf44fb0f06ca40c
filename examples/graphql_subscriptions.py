"""GraphQL subscriptions (graphql-transport-ws): one session for all, which logs in and subscribes again by itself.

It needs a server of its own::

    python examples/graphql_subscriptions.py ws://127.0.0.1:4000/graphql "subscription { time }"
"""

from __future__ import annotations

import itertools
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import httpx2
import trio

from httpx2_trio_ws import Multiplexer, Subscription, WebSocketSession, multiplex, reconnect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

ids = itertools.count(1)


class GraphQLError(Exception):
    """The server could not execute the operation."""


class Results:
    """The results of one subscription, for a loop that ends when it is complete."""

    def __init__(self, messages: Subscription[Any]) -> None:
        self._messages = messages

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        message = await anext(self._messages)
        if message["type"] == "error":
            raise GraphQLError(message["payload"])
        if message["type"] == "complete":
            raise StopAsyncIteration
        return message["payload"]


async def log_in(ws: WebSocketSession) -> None:
    """On each session, before anything else is sent."""
    await ws.send_json({"type": "connection_init", "payload": {}})
    while (await ws.receive_json())["type"] != "connection_ack":
        pass


async def receive(ws: WebSocketSession) -> Any:
    """A message; the protocol's own pings are answered here."""
    while (message := await ws.receive_json())["type"] == "ping":
        await ws.send_json({"type": "pong"})
    return message


@asynccontextmanager
async def connect(client: httpx2.AsyncClient, url: str) -> AsyncGenerator[Multiplexer[Any]]:
    source = reconnect(client, url, subprotocols=["graphql-transport-ws"], on_connect=log_in)
    async with multiplex(source, key=lambda message: message.get("id"), receive=receive) as mux:
        yield mux


@asynccontextmanager
async def subscribe(mux: Multiplexer[Any], query: str, **variables: Any) -> AsyncGenerator[Results]:
    number = str(next(ids))
    async with mux.subscribe(
        number,
        subscribe={"id": number, "type": "subscribe", "payload": {"query": query, "variables": variables}},
        unsubscribe={"id": number, "type": "complete"},
        is_last=lambda message: message["type"] in {"complete", "error"},
    ) as messages:
        yield Results(messages)


async def main(url: str, query: str) -> None:
    async with httpx2.AsyncClient() as client, connect(client, url) as mux, subscribe(mux, query) as results:
        async for result in results:
            print(result)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(
            f'usage: python {sys.argv[0]} URL QUERY, such as ws://127.0.0.1:4000/graphql "subscription {{ time }}"'
        )
    trio.run(main, sys.argv[1], sys.argv[2])
