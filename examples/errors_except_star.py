"""What can go wrong with a session, and how to tell it apart with ``except*``.

What fails in the handshake is raised as it is. What fails later leaves the block in an ``ExceptionGroup``,
as from any nursery. ``except*`` takes both.

Run it with the URL of a server that sends numbers; ``python -m httpx2_trio_ws --serve`` runs one. Then try /crash, /feed/1, a
path that is not there, and no server::

    python examples/errors_except_star.py ws://127.0.0.1:8765/count/10
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

import httpx2
import trio

from httpx2_trio_ws import (
    WebSocketDisconnect,
    WebSocketHandshakeTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
    WebSocketUpgradeError,
    open_websocket,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

E = TypeVar("E", bound=BaseException)


def leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """The exceptions in a group and in the groups that it holds."""
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from leaves(exc)
        else:
            yield exc


async def add_up(url: str) -> None:
    total = 0
    async with httpx2.AsyncClient() as client, open_websocket(client, url) as ws:
        async for message in ws:
            total += int(message)
    print(f"the server has closed properly; the total is {total}")


async def main(url: str) -> None:
    try:
        await add_up(url)
    except* WebSocketUpgradeError as group:
        # The server answered, but did not open a WebSocket. What it said instead can be read.
        for exc in leaves(group):
            body = exc.response.text
            print(f"refused: {exc} {body!r}")
    except* (httpx2.TransportError, WebSocketHandshakeTimeout) as group:
        print("no connection:", *leaves(group))
    except* WebSocketDisconnect as group:
        # A close frame with a code other than 1000 and 1001; those two, and no code at all, end the loop.
        print("closed by the server:", *leaves(group))
    except* WebSocketNetworkError as group:
        print("connection lost, worth another try:", *leaves(group))
    except* WebSocketProtocolError as group:
        print("the server is broken, or a message is larger than we allow:", *leaves(group))
    except* ValueError as group:
        # An error of our own. The server was told 1011.
        print("not a number:", *leaves(group))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/count/10 (see docs/examples.md)")
    trio.run(main, sys.argv[1])
