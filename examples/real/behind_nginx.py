"""A feed through nginx that outlives what nginx does: refusals that pass, idle timeouts, reloads and restarts.

    python examples/real/behind_nginx.py ws://127.0.0.1:8080/feed 500 [PING_SECONDS]

Receives so many numbered messages, none missing and none twice, over as many sessions as it takes. docs/real/nginx.md
says how to start nginx and the server behind it.
"""

from __future__ import annotations

import logging
import sys

import httpx2
import trio

from httpx2_trio_ws import WebSocketSession, WebSocketUpgradeError
from httpx2_trio_ws.reconnect import Backoff, reconnect


async def main(url: str, count: int, ping_seconds: float = 20) -> None:
    last = sessions = 0

    async def resume(ws: WebSocketSession) -> None:
        await ws.send_json({"after": last})

    async with httpx2.AsyncClient(trust_env=False) as client:
        connections = reconnect(
            client,
            url,
            on_connect=resume,
            backoff=Backoff(initial_seconds=0.1, max_seconds=1),
            keepalive_ping_interval_seconds=ping_seconds,  # below nginx's proxy_read_timeout, or nginx closes
        )
        try:
            for connection in connections:
                async with connection as ws:
                    sessions += 1
                    print(f"session {sessions}, after {last}")
                    while last < count:
                        number = (await ws.receive_json())["number"]
                        assert number == last + 1, "lost, or twice"
                        last = number
                        if last % 50 == 0:
                            print(f"number {last}")
        except WebSocketUpgradeError as error:  # one that is not worth another try
            print(f"refused: {error}")
            return
    print(f"done: {last} messages in order")


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4}:
        sys.exit(f"usage: python {sys.argv[0]} URL COUNT [PING_SECONDS] (see docs/real/nginx.md)")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("httpx2_trio_ws.reconnect").setLevel(logging.INFO)  # reconnect() tells why it tries again
    trio.run(main, sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if sys.argv[3:] else 20.0)
