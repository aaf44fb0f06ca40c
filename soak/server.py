"""The server's process: ``python -m soak.server DIRECTORY MESSAGES_PER_SECOND [CERTIFICATE]``.

It prints its port, serves until its standard input ends, closes all sessions with 1001, and leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from .child import serve_until_end
from .messages import DONE, FINISH, Checker, Size, build, traffic
from .records import End, Records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .records import Row

# A stalled connection takes a while to be closed properly.
CLOSE_SECONDS = 20
_PIECE = 1000


async def send(ws: ServerConnection, row: Row, message: str | bytes, *, fragments: bool = False) -> None:
    """Send and count a message."""
    row.attempted += 1
    if fragments and len(message) > _PIECE:
        await ws.send([message[begin : begin + _PIECE] for begin in range(0, len(message), _PIECE)])
    else:
        await ws.send(message)
    row.completed = row.attempted


async def talk(ws: ServerConnection, row: Row, per_second: float, finish: asyncio.Event) -> None:
    """Send until the client wants no more, or the session ends."""
    rng = random.Random(row.number)
    with contextlib.suppress(ConnectionClosed):
        for pause, sizes in traffic(rng, per_second):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await finish.wait()
                    break
            for size in sizes:
                await send(ws, row, build(row, size), fragments=rng.random() < 0.1)
        await send(ws, row, build(row, Size(0, text=True), asks=DONE))


async def listen(ws: ServerConnection, checker: Checker, finish: asyncio.Event, talking: asyncio.Task[None]) -> None:
    """Check what comes, until the session ends."""
    with contextlib.suppress(ConnectionClosed):
        async for message in ws:
            asks = checker.check(message)
            if asks == FINISH:
                finish.set()
            elif asks.isdigit():
                talking.cancel()
                await ws.close(int(asks))


def handler(records: Records, per_second: float) -> Callable[[ServerConnection], Awaitable[None]]:
    """What the server does with each session."""

    async def handle(ws: ServerConnection) -> None:
        assert ws.request is not None
        row = records.server(int(ws.request.path.removeprefix("/")))
        finish = asyncio.Event()
        talking = asyncio.create_task(talk(ws, row, per_second, finish))
        try:
            await listen(ws, Checker(row), finish, talking)
        finally:
            talking.cancel()
            await asyncio.wait([talking])
        sent = ws.protocol.close_sent
        complaint = sent is not None and sent.code in (1002, 1007, 1009)
        row.end = End.OVER | (End.COMPLAINED if complaint else 0)

    return handle


async def main(directory: Path, per_second: float, certificate: Path | None) -> None:
    """Serve."""
    logging.disable()
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    handle = handler(Records(directory), per_second)
    async with serve(
        handle,
        "127.0.0.1",
        0,
        ssl=tls,
        backlog=4096,
        open_timeout=CLOSE_SECONDS,
        close_timeout=CLOSE_SECONDS,
        ping_timeout=None,  # a slow consumer of ours may be slower than that
    ) as server:
        await serve_until_end(server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None))
