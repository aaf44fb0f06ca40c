"""CPU time per message of what stands above a session, beside a memory channel by hand: medians of rounds in one process.

python benchmarks/multiplexing.py [ROUNDS]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import trio

from httpx2_trio_ws import merge, multiplex, open_websocket
from httpx2_trio_ws.testing import ScriptedPeer, encode_frame, memory_server

COUNT = 20_000
FRAMES = encode_frame(1, json.dumps({"id": "a", "price": 17.5, "size": 3}).encode()) * COUNT


async def serve(peer: ScriptedPeer) -> None:
    await peer.receive()
    await peer.send_raw(FRAMES)
    await peer.wait_closed()


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


async def main(rounds: int) -> None:
    ways = (session, channel, multiplexer, subscription, merged)
    seconds: dict[str, list[float]] = {way.__name__: [] for way in ways}
    async with memory_server(serve) as client:
        for _ in range(rounds):
            for way in ways:
                async with open_websocket(client, "ws://test/", compression=None) as ws:
                    await ws.send("go")
                    began = time.process_time()
                    await way(ws)
                    seconds[way.__name__].append(time.process_time() - began)
    by_hand = statistics.median(seconds["channel"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{name:13} {median / COUNT * 1e6:6.1f} µs per message, {median / by_hand:.2f} of a memory channel by hand"
        )


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 7)
