"""CPU time of what stands above a session, beside the same by hand: medians of rounds in one process.

A message through it, beside a memory channel that a task fills; a round trip, beside a dispatcher that is a dict of events and
a task that receives. The server is in the process, and its time counts in both: it answers with frames made before.

python benchmarks/multiplexing.py [ROUNDS]
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from typing import Any

import trio

from httpx2_trio_ws import WebSocketDisconnect, merge, multiplex, open_websocket
from httpx2_trio_ws.testing import ScriptedPeer, encode_frame, memory_server

COUNT = 20_000
FRAMES = encode_frame(1, json.dumps({"id": "a", "price": 17.5, "size": 3}).encode()) * COUNT


ROUND_TRIPS = 5_000
TASKS = 100
ANSWERS = [encode_frame(1, json.dumps({"id": number, "price": 17.5, "size": 3}).encode()) for number in range(TASKS)]


async def serve(peer: ScriptedPeer) -> None:
    at_once = json.loads(await peer.receive())
    if at_once:
        with contextlib.suppress(WebSocketDisconnect):
            await answer(peer, at_once)
        return
    await peer.send_raw(FRAMES)
    await peer.wait_closed()


async def answer(peer: ScriptedPeer, at_once: int) -> None:
    answers = b"".join(ANSWERS[:at_once])
    while True:
        for _ in range(at_once):
            await peer.receive()
        await peer.send_raw(answers)


async def session(ws: Any) -> None:
    for _ in range(COUNT):
        await ws.receive_json()


async def channel(ws: Any) -> None:
    async def hand_out() -> None:
        async with send:
            for _ in range(COUNT):
                await send.send(await ws.receive_json())

    send, receive = trio.open_memory_channel[Any](512)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hand_out)
        async for _ in receive:
            pass


async def multiplexer(ws: Any) -> None:
    async with multiplex(ws, when_full="wait") as mux:
        for _ in range(COUNT):
            await mux.receive()


async def subscription(ws: Any) -> None:
    async with multiplex(ws, key=lambda message: message["id"]) as mux, mux.subscribe("a", when_full="wait") as feed:
        for _ in range(COUNT):
            await feed.receive()


async def merged(ws: Any) -> None:
    async with merge({"a": ws}, capacity=512) as feeds:
        for _ in range(COUNT):
            await feeds.receive()


class ByHand:
    """What a program without ``multiplex`` has: no word on what happens when the session ends, or a key is in use."""

    def __init__(self, ws: Any) -> None:
        self._ws = ws
        self._waiting: dict[Any, tuple[trio.Event, list[Any]]] = {}

    async def receive_all(self) -> None:
        while True:
            message = await self._ws.receive_json()
            waiting = self._waiting.get(message["id"])
            if waiting is not None:
                waiting[1].append(message)
                waiting[0].set()

    async def request(self, key: Any, message: Any) -> Any:
        event, answer = self._waiting[key] = (trio.Event(), [])
        try:
            await self._ws.send_json(message)
            await event.wait()
        finally:
            del self._waiting[key]
        return answer[0]


async def by_hand(ws: Any, tasks: int) -> None:
    dispatcher = ByHand(ws)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher.receive_all)
        await ask(dispatcher, tasks)
        nursery.cancel_scope.cancel()


async def request(ws: Any, tasks: int) -> None:
    async with multiplex(ws, key=lambda message: message["id"]) as mux:
        await ask(mux, tasks)


async def ask(dispatcher: Any, tasks: int) -> None:
    """So many tasks, each of which asks again when it has its answer."""

    async def one(key: int) -> None:
        for _ in range(ROUND_TRIPS // tasks):
            await dispatcher.request(key, {"id": key, "ask": "price"})

    async with trio.open_nursery() as nursery:
        for key in range(tasks):
            nursery.start_soon(one, key)


async def round_trips(client: Any, rounds: int, tasks: int) -> None:
    ways = (by_hand, request)
    seconds: dict[str, list[float]] = {way.__name__: [] for way in ways}
    for number in range(rounds):
        for way in ways[:: 1 if number % 2 else -1]:
            async with open_websocket(client, "ws://test/", compression=None) as ws:
                await ws.send_json(tasks)
                began = time.process_time()
                await way(ws, tasks)
                seconds[way.__name__].append(time.process_time() - began)
    first = statistics.median(seconds["by_hand"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{name:13} {median / ROUND_TRIPS * 1e6:6.1f} µs per round trip, {tasks} at once, {median / first:.2f} of by hand"
        )


async def main(rounds: int) -> None:
    ways = (session, channel, multiplexer, subscription, merged)
    seconds: dict[str, list[float]] = {way.__name__: [] for way in ways}
    async with memory_server(serve) as client:
        for _ in range(rounds):
            for way in ways:
                async with open_websocket(client, "ws://test/", compression=None) as ws:
                    await ws.send("0")
                    began = time.process_time()
                    await way(ws)
                    seconds[way.__name__].append(time.process_time() - began)
        messages_through(seconds)
        for tasks in (1, TASKS):
            await round_trips(client, rounds, tasks)


def messages_through(seconds: dict[str, list[float]]) -> None:
    by_channel = statistics.median(seconds["channel"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{name:13} {median / COUNT * 1e6:6.1f} µs per message, {median / by_channel:.2f} of a memory channel by hand"
        )


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 7)
