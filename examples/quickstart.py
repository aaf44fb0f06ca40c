"""Open a session, send messages, receive messages.

Run it with the URL of an echo server, one that sends back what it receives. ``python -m httpx2_trio_ws --serve`` runs one::

    python examples/quickstart.py ws://127.0.0.1:8765/echo
"""

from __future__ import annotations

import sys

import httpx2
import trio

from httpx2_trio_ws import open_websocket


async def main(url: str) -> None:
    async with httpx2.AsyncClient() as client, open_websocket(client, url) as ws:
        # A str goes out as text, bytes as binary; that is how they arrive, too.
        await ws.send_text("hello")
        await ws.send_bytes(b"\x00\x01")
        await ws.send_json({"answer": 42})

        print("text:  ", await ws.receive_text())
        print("bytes: ", await ws.receive_bytes())
        print("json:  ", (await ws.receive_json())["answer"])

        # ping() sends one and gives a waiter for its pong.
        pong = await ws.ping()
        print(f"a round trip takes {await pong:.4f} s")

        # A session is an iterator. It ends by itself when the server closes with 1000, 1001 or no code.
        for word in ("one", "two", "three"):
            await ws.send(word)
        async for message in ws:
            print("loop:  ", message)
            if message == "three":
                break
    # Here the session is closed, and nothing of it is left running.
    print("closed:", ws.close_code)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/echo (see docs/examples.md)")
    trio.run(main, sys.argv[1])
