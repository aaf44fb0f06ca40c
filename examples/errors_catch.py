"""What can go wrong with a session, handled with ``exceptiongroup.catch``.

It does what errors_except_star.py does with ``except*``. Here the handlers are functions in a mapping, which
many places may share. What no handler takes goes on, in a group. It needs ``pip install exceptiongroup``.

Run it with the URL of a server that sends numbers; ``python -m httpx2_trio_ws --serve`` runs one. Then try /crash, /feed/1, a
path that is not there, and no server::

    python examples/errors_catch.py ws://127.0.0.1:8765/count/10
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import httpx2
import trio
from exceptiongroup import catch

from httpx2_trio_ws import (
    WebSocketDisconnect,
    WebSocketHandshakeTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
    WebSocketUpgradeError,
    open_websocket,
)

Kind = type[BaseException] | Iterable[type[BaseException]]
Handler = Callable[[BaseExceptionGroup[BaseException]], None]


def report(what: str) -> Handler:
    """A handler that prints. Handlers are ordinary functions: they cannot await."""

    def handler(group: BaseExceptionGroup[BaseException]) -> None:
        for exc in group.exceptions:
            if isinstance(exc, BaseExceptionGroup):
                handler(exc)
            else:
                print(f"{what}: {exc}")

    return handler


# An exception goes to the first handler that fits.
HANDLERS: dict[Kind, Handler] = {
    WebSocketUpgradeError: report("refused"),
    (httpx2.TransportError, WebSocketHandshakeTimeout): report("no connection"),
    WebSocketDisconnect: report("closed by the server"),
    WebSocketNetworkError: report("connection lost, worth another try"),
    WebSocketProtocolError: report("the server is broken, or a message is larger than we allow"),
    ValueError: report("not a number"),
}


async def main(url: str) -> None:
    with catch(HANDLERS):
        total = 0
        async with httpx2.AsyncClient() as client, open_websocket(client, url) as ws:
            async for message in ws:
                total += int(message)
        print(f"the server has closed properly; the total is {total}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/count/10 (see docs/examples.md)")
    trio.run(main, sys.argv[1])
