"""Sessions with httpx2's own WebSockets; ``moved_from_httpx2.py`` is the same program with httpx2-trio-ws.

Run it with the URL of the demonstration's server (``python -m httpx2_trio_ws --serve``); it needs ``httpx2[ws]``::

    python examples/before_moving.py ws://127.0.0.1:8765
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import trio
from httpx2.websockets import (
    ASGIWebSocketTransport,
    WebSocketDisconnect,
    WebSocketInvalidTypeReceived,
    WebSocketNetworkError,
    WebSocketUpgradeError,
)
from wsproto.events import BytesMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from httpx2.websockets import AsyncWebSocketSession

    Event = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]


async def squares(ws: AsyncWebSocketSession, numbers: range) -> list[int]:
    """Ask for the squares of some numbers, in JSON."""
    results = []
    for number in numbers:
        await ws.send_json({"id": number, "square": number})
        answer = await ws.receive_json(timeout=5)
        results.append(answer["result"])
    return results


async def follow(client: httpx2.AsyncClient, url: str, ends: dict[str, str]) -> None:
    """Count the messages of one feed, and note how it ends."""
    count = 0
    try:
        async with client.websocket(url) as ws:
            while True:
                await ws.receive_text()
                count += 1
    except* WebSocketDisconnect as group:
        (exc,) = group.exceptions
        assert isinstance(exc, WebSocketDisconnect)
        ends[url] = f"{count} messages, closed with {exc.code:d}"
    except* WebSocketNetworkError:
        ends[url] = f"{count} messages, lost"


async def talk(client: httpx2.AsyncClient) -> None:
    ends: dict[str, str] = {}
    async with trio.open_nursery() as nursery:
        for url in ("/count/3", "/count/5", "/crash"):
            nursery.start_soon(follow, client, url, ends)
    for url in sorted(ends):
        print(url, ends[url])

    async with client.websocket("/square", keepalive_ping_interval_seconds=10, queue_size=16) as ws:
        print(await squares(ws, range(5)))

    async with client.websocket("/echo", max_message_size_bytes=1000) as ws:
        pong = await ws.ping()
        with trio.fail_after(5):
            await pong.wait()
        try:
            await ws.receive(timeout=0.1)
        except TimeoutError:
            print("nothing came")
        await ws.send_bytes(b"binary")
        try:
            await ws.receive_text()
        except WebSocketInvalidTypeReceived as exc:
            if isinstance(exc.event, BytesMessage):
                print("not text:", exc.event.data)
        await ws.send_text("x" * 1001)
        try:
            await ws.receive_text()
        except WebSocketDisconnect as exc:
            print("too long:", int(exc.code))

    try:
        async with client.websocket("/nowhere"):
            pass
    except WebSocketUpgradeError as exc:
        print("refused:", exc.response.status_code)


async def app(_scope: Event, receive: Receive, send: Send) -> None:
    """Play the server of /square, for a test."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        question = json.loads(event["text"])
        await send({"type": "websocket.send", "text": json.dumps({"result": question["square"] ** 2})})


async def test_squares() -> None:
    async with (
        httpx2.AsyncClient(transport=ASGIWebSocketTransport(app), base_url="ws://test") as client,
        client.websocket("/square") as ws,
    ):
        assert await squares(ws, range(5)) == [0, 1, 4, 9, 16]
    print("tested")


async def main(url: str) -> None:
    async with httpx2.AsyncClient(base_url=url) as client:
        await talk(client)
    await test_squares()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765 (see docs/examples.md)")
    trio.run(main, sys.argv[1])
