"""Timeouts are cancel scopes. No method of a session takes a timeout, and each may be cancelled at any time.

Run it with the URL of an echo server, one that sends back what it receives. ``python -m httpx2_trio_ws --serve`` runs one::

    python examples/timeouts.py ws://127.0.0.1:8765/echo
"""

from __future__ import annotations

import os
import sys

import httpx2
import trio

from httpx2_trio_ws import WebSocketSession, open_websocket

CHUNK = os.urandom(2**19)


async def around_a_receive(ws: WebSocketSession, seconds: float) -> None:
    """A cancelled ``receive`` loses nothing: the message that comes later is handed to the next call."""
    with trio.move_on_after(seconds):
        print("received", await ws.receive())
        return
    print(f"nothing came within {seconds} s")
    await ws.send_text("hello")
    print("and now:", await ws.receive_text())


async def around_a_send(ws: WebSocketSession, seconds: float) -> None:
    """``send`` waits when the other side does not read.

    Here it stops reading, as we do not take its echoes. A message that was cancelled has been sent whole or
    not at all, so the session can go on.
    """
    sent = 0
    with trio.move_on_after(seconds) as scope:
        while sent < 100:
            await ws.send_bytes(CHUNK)
            sent += 1
    if scope.cancelled_caught:
        print(f"send() waited, after {sent} messages of {len(CHUNK)} bytes")


async def main(url: str, seconds: float = 1) -> None:
    async with httpx2.AsyncClient() as client:
        # Around the whole block: opening, use and closing. Leaving a block because of a cancellation is prompt,
        # whatever the server does. fail_after() raises trio.TooSlowError, as it is, outside of any group.
        try:
            with trio.fail_after(3 * seconds):
                async with open_websocket(client, url, compression=None) as ws:
                    await around_a_receive(ws, seconds)
                    await around_a_send(ws, seconds)
                    await trio.sleep_forever()
        except trio.TooSlowError:
            print(f"the whole took longer than {3 * seconds:g} s")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/echo (see docs/examples.md)")
    trio.run(main, sys.argv[1])
