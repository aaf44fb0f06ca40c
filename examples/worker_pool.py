"""A pool of workers that share one session: each message goes to one of them, first come first served.

A slow job holds up one worker and not the others. When all are busy, messages wait in the session's bounded
queue, then in the server: the server is never asked for more than the pool can do.

Run it with the URL of a server that sends jobs, takes the results, and closes when it has them all.
``python -m httpx2_trio_ws --serve`` runs one::

    python examples/worker_pool.py ws://127.0.0.1:8765/jobs
"""

from __future__ import annotations

import sys

import httpx2
import trio

from httpx2_trio_ws import WebSocketSession, open_websocket

WORKERS = 4


async def work(text: str) -> str:
    """Stands for something that takes time."""
    await trio.sleep(0.01 * len(text))
    return text[::-1]


async def worker(ws: WebSocketSession, name: str) -> None:
    """Take messages until the server closes; every worker's loop ends then."""
    done = 0
    async for message in ws:
        result = await work(str(message))
        await ws.send_text(result)  # any number of tasks may send
        done += 1
    print(f"{name} did {done} jobs")


async def main(url: str) -> None:
    # The nursery stands inside the session: if a worker fails, the others are cancelled, then the session ends.
    async with httpx2.AsyncClient() as client, open_websocket(client, url, queue_size=WORKERS) as ws:
        async with trio.open_nursery() as nursery:
            for number in range(WORKERS):
                nursery.start_soon(worker, ws, f"worker {number}")
        print(f"closed by the server with {ws.close_code}; {ws.statistics().messages_received} jobs came")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/jobs (see docs/examples.md)")
    trio.run(main, sys.argv[1])
