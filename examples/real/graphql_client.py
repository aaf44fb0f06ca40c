"""GraphQL over graphql-transport-ws: a query, an error and two subscriptions on one connection that reconnects.

    python examples/real/graphql_client.py ws://127.0.0.1:8000/ 100

Ends after so many ticks of each. Restart the server meanwhile: it logs in again, subscribes again, and tells where ticks are
missing. docs/real/graphql.md says how to start a server.
"""

from __future__ import annotations

import itertools
import sys
from contextlib import AbstractAsyncContextManager as Context
from typing import Any, TypeAlias, cast

import httpx2
import trio

from httpx2_trio_ws import WebSocketSession
from httpx2_trio_ws.multiplex import Multiplexer, Subscription, multiplex
from httpx2_trio_ws.reconnect import Backoff, reconnect

Message = dict[str, Any]
Mux: TypeAlias = Multiplexer[Message]
ids = itertools.count(1)


class GraphQLError(Exception): ...  # the server has refused


async def log_in(ws: WebSocketSession) -> None:
    await ws.send_json({"type": "connection_init", "payload": {}})
    answer = await ws.receive_json()
    if answer["type"] != "connection_ack":
        raise GraphQLError(f"not acknowledged: {answer}")


async def receive(ws: WebSocketSession) -> Message:
    """The protocol's own pings are answered here, and nobody else sees them."""
    while True:
        message: Message = await ws.receive_json()
        if message["type"] == "ping":
            await ws.send_json({"type": "pong"})
        elif message["type"] != "pong":
            return message


def operation(mux: Mux, query: str, **variables: Any) -> Context[Subscription[Message]]:
    """A query is an operation that completes after one answer."""
    number = str(next(ids))
    start = {"id": number, "type": "subscribe", "payload": {"query": query, "variables": variables}}
    stop = {"id": number, "type": "complete"}
    return mux.subscribe(
        number, subscribe=start, unsubscribe=stop, is_last=lambda m: m["type"] in {"complete", "error"}
    )


def data_of(message: Message) -> Message:
    if message["type"] == "error":
        raise GraphQLError(message["payload"][0]["message"])
    return cast("Message", message["payload"]["data"])


async def ask(mux: Mux, query: str, **variables: Any) -> None:
    async with operation(mux, query, **variables) as answers:
        try:
            print(data_of(await answers.receive()))
        except GraphQLError as error:
            print(f"refused: {error}")


async def listen(mux: Mux, name: str, every: float, count: int) -> None:
    query = "subscription ($every: Float!) { ticks(every: $every) }"
    async with operation(mux, query, every=every) as ticks:
        for total in range(count):
            tick = data_of(await ticks.receive())["ticks"]
            if ticks.gap:  # the first of a session: what came in between is lost
                print(f"{name}: from {tick}, after {total} ticks")
    print(f"{name}: {count} ticks")


async def main(url: str, count: int) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        backoff, offered = Backoff(initial_seconds=0.1, max_seconds=1), ["graphql-transport-ws"]
        source = reconnect(client, url, on_connect=log_in, backoff=backoff, subprotocols=offered)
        async with multiplex(source, key=lambda message: message.get("id"), receive=receive) as mux:
            await ask(mux, "query ($name: String!) { hello(name: $name) }", name="trio")
            await ask(mux, "{ goodbye }")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen, mux, "quick", 0.1, count)
                nursery.start_soon(listen, mux, "slow", 0.15, count)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} URL COUNT (see docs/real/graphql.md)")
    trio.run(main, sys.argv[1], int(sys.argv[2]))
