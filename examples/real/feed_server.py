"""A server of numbered feeds, for the examples that need one.

    python examples/real/feed_server.py 8766

At ``/NAME?every=SECONDS`` there is a feed of its own: ``{"feed": NAME, "number": 1}`` and so on, one in so many seconds
since somebody first asked for it, 0.01 by default. The first message of a client says what it has: ``{"after": 17}``; it is sent
what came since, and then what comes.
"""

from __future__ import annotations

import contextlib
import json
import sys
from urllib.parse import parse_qs, urlsplit

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.server import ServerConnection, serve


async def main(port: int) -> None:
    began: dict[str, float] = {}

    async def feed(ws: ServerConnection) -> None:
        assert ws.request is not None
        url = urlsplit(ws.request.path)
        start = began.setdefault(url.path, trio.current_time())
        every = float(parse_qs(url.query).get("every", ["0.01"])[0])
        with contextlib.suppress(ConnectionClosed):
            number = json.loads(await ws.recv())["after"]
            while True:
                number += 1
                await trio.sleep_until(start + number * every)
                await ws.send(json.dumps({"feed": url.path.strip("/"), "number": number}))

    await serve(feed, host="127.0.0.1", port=port)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
