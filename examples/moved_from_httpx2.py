"""What became of ``before_moving.py``, a program with httpx2's own WebSockets, with httpx2-trio-ws. It prints the same.

Run it with the URL of the demonstration's server (``python -m httpx2_trio_ws --serve``)::

    python examples/moved_from_httpx2.py ws://127.0.0.1:8765
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import trio

from httpx2_trio_ws import (
    WebSocketInvalidTypeReceived,
    WebSocketNetworkError,
    WebSocketProtocolError,
    WebSocketUpgradeError,
    open_websocket,
)
from httpx2_trio_ws.testing import ASGIWebSocketTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from httpx2_trio_ws import WebSocketSession

    Event = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]


async def squares(ws: WebSocketSession, numbers: range) -> list[int]:
    """Ask for the squares of some numbers, in JSON."""
    results = []
    for number in numbers:
        await ws.send_json({"id": number, "square": number})
        with trio.fail_after(5):
            answer = await ws.receive_json()
        results.append(answer["result"])
    return results


async def follow(client: httpx2.AsyncClient, url: str, ends: dict[str, str]) -> None:
    """Count the messages of one feed, and note how it ends."""
    count = 0
    try:
        async with open_websocket(client, url) as ws:
            async for _ in ws:  # ends on 1000, 1001 and no code, raises on others
                count += 1
        ends[url] = f"{count} messages, closed with {ws.close_code}"
    except* WebSocketNetworkError:
        ends[url] = f"{count} messages, lost"


async def talk(client: httpx2.AsyncClient) -> None:
    ends: dict[str, str] = {}
    async with trio.open_nursery() as nursery:
        for url in ("/count/3", "/count/5", "/crash"):
            nursery.start_soon(follow, client, url, ends)
    for url in sorted(ends):
        print(url, ends[url])

    async with open_websocket(client, "/square", keepalive_ping_interval_seconds=10, queue_size=16) as ws:
        print(await squares(ws, range(5)))

    async with open_websocket(client, "/echo", max_message_size_bytes=1000) as ws:
        pong = await ws.ping()
        with trio.fail_after(5):
            await pong.wait()
        try:
            with trio.fail_after(0.1):
                await ws.receive()
        except trio.TooSlowError:
            print("nothing came")
        await ws.send_bytes(b"binary")
        try:
            await ws.receive_text()
        except WebSocketInvalidTypeReceived as exc:
            print("not text:", exc.message)
        await ws.send_text("x" * 1001)
        try:
            await ws.receive_text()
        except WebSocketProtocolError as exc:
            print("too long:", exc.code)

    try:
        async with open_websocket(client, "/nowhere"):
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
        httpx2.AsyncClient(transport=ASGIWebSocketTransport(app, lifespan=False), base_url="ws://test") as client,
        open_websocket(client, "/square") as ws,
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
