"""Socket.IO (protocol 5, over Engine.IO 4): events with acknowledgements, binary attachments, pings of its own.

    python examples/real/socketio_client.py ws://127.0.0.1:3000 40

Asks a hundred times at once, has bytes reversed, and listens to ticks. docs/real/socketio.md says how to start a server.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from typing import Any, NamedTuple

import httpx2
import trio

from httpx2_trio_ws import WebSocketSession
from httpx2_trio_ws.multiplex import multiplex
from httpx2_trio_ws.reconnect import Backoff, reconnect

EVENT, BINARY_EVENT = 2, 5
# Engine.IO's 4, the kind, how many attachments follow, and the number that an answer is to have.
PACKET = re.compile(r"4(\d)(?:(\d+)-)?(\d*)(.*)", re.DOTALL)
sending = trio.Lock()


class Packet(NamedTuple):
    kind: int
    number: int | None
    data: list[Any]


def key(packet: Packet) -> Any:  # an acknowledgement belongs to its number, an event to its name
    return packet.data[0] if packet.kind in {EVENT, BINARY_EVENT} else packet.number


async def receive(ws: WebSocketSession) -> Packet:  # with its attachments, which are messages of their own
    while not (match := PACKET.fullmatch(text := await ws.receive_text())):
        if text == "2":
            await ws.send_text("3")
    kind, count, number, data = match.groups()
    attachments = [await ws.receive_bytes() for _ in range(int(count or 0))]
    parts = json.loads(data or "[]", object_hook=lambda d: attachments[d["num"]] if d.get("_placeholder") else d)
    return Packet(int(kind), int(number) if number else None, parts)


async def send(ws: WebSocketSession, packet: Packet) -> None:
    attachments: list[bytes] = []

    def take(part: bytes) -> dict[str, Any]:
        attachments.append(part)
        return {"_placeholder": True, "num": len(attachments) - 1}

    data = json.dumps(packet.data, default=take)
    kind = f"{BINARY_EVENT}{len(attachments)}-" if attachments else EVENT
    async with sending:  # no other task's packet may come between
        await ws.send_text(f"4{kind}{packet.number}{data}")
        for attachment in attachments:
            await ws.send_bytes(attachment)


async def log_in(ws: WebSocketSession) -> None:
    await ws.receive_text()  # Engine.IO opens
    await ws.send_text("40")  # Socket.IO connects
    assert (await ws.receive_text()).startswith("40")


async def main(url: str, count: int) -> None:
    numbers = itertools.count()
    async with httpx2.AsyncClient(trust_env=False) as client:
        url += "/socket.io/?EIO=4&transport=websocket"
        source = reconnect(client, url, on_connect=log_in, backoff=Backoff(initial_seconds=0.1))
        async with multiplex(source, key=key, receive=receive, send=send) as mux:

            async def emit(*data: Any) -> Any:
                number = next(numbers)
                return (await mux.request(number, Packet(EVENT, number, [*data]))).data[0]

            async def double(number: int) -> None:
                assert await emit("double", number) == 2 * number

            async with mux.subscribe("tick") as ticks:
                async with trio.open_nursery() as nursery:
                    for number in range(100):
                        nursery.start_soon(double, number)
                print("100 numbers doubled at once")
                print(f"reversed: {await emit('reverse', b'socket')}")
                for total in range(count):
                    tick = (await ticks.receive()).data[1]
                    if ticks.gap:
                        print(f"from tick {tick}, after {total}")
                print(f"{count} ticks")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} URL COUNT (see docs/real/socketio.md)")
    trio.run(main, sys.argv[1], int(sys.argv[2]))
