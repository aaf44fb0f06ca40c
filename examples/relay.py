"""A relay between two sessions: what comes from one goes to the other as it comes, whatever its size.

Run it with the URL of a server that answers with messages in parts; they are passed on to ``/echo`` of the same server, and
back. ``python -m httpx2_trio_ws --serve`` runs one::

    python examples/relay.py ws://127.0.0.1:8765/tokens
"""

from __future__ import annotations

import sys

import httpx2
import trio

from httpx2_trio_ws import WebSocketDisconnect, WebSocketSession, open_websocket


async def pass_on(source: WebSocketSession, sink: WebSocketSession) -> int:
    """Pass one message on, part by part; returns how many there were.

    Neither side is faster than the other: no part is taken before there is room for it. If the source is cut off in the
    middle, the error leaves both blocks, and the sink is closed with 1011, as the message has no end.
    """
    parts = 0
    async with source.receive_stream() as message, sink.send_stream(message.kind) as copy:
        async for part in message:
            await copy.send(part)
            parts += 1
    return parts


async def pass_all_on(source: WebSocketSession, sink: WebSocketSession) -> None:
    """Until the source closes; then the sink is closed with the same code."""
    try:
        while True:
            await pass_on(source, sink)
    except WebSocketDisconnect as exc:
        await sink.close(exc.code if exc.code != 1005 else 1000)


async def main(url: str) -> None:
    async with (
        httpx2.AsyncClient() as client,
        open_websocket(client, url, stream_large_messages=True) as source,
        open_websocket(client, httpx2.URL(url).copy_with(path="/echo"), stream_large_messages=True) as sink,
    ):
        for question in ("a short one", "a longer question, but not much"):
            await source.send(question)
            parts = await pass_on(source, sink)
            print(f"{'one part' if parts == 1 else 'parts'} passed on: {await sink.receive_text()}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/tokens (see docs/examples.md)")
    trio.run(main, sys.argv[1])
