"""Text that is shown as it is made, as a language model's answer: one message, word by word, in both directions.

Run it with the URL of a server that answers with one message in parts. ``python -m httpx2_trio_ws --serve`` runs one::

    python examples/tokens.py ws://127.0.0.1:8765/tokens
"""

from __future__ import annotations

import sys

import httpx2
import trio

from httpx2_trio_ws import WebSocketSession, open_websocket


async def ask(ws: WebSocketSession) -> None:
    async with ws.send_stream("text") as question:
        for word in ("Tell ", "me ", "something, ", "word ", "by ", "word."):
            await question.send(word)  # is on its way at once
            await trio.sleep(0.01)  # it takes time to think


async def show_answer(ws: WebSocketSession) -> None:
    async with ws.receive_stream() as answer:
        with trio.fail_after(30):  # a model that is stuck; the rest of the message would be skipped
            async for words in answer:
                print(words, end="", flush=True)
    print()


async def main(url: str) -> None:
    async with httpx2.AsyncClient() as client, open_websocket(client, url) as ws:
        await ask(ws)
        await show_answer(ws)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/tokens (see docs/examples.md)")
    trio.run(main, sys.argv[1])
