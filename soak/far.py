"""The far host's process: ``python -m soak.far ADDRESS [CERTIFICATE]``. It prints its port, and sends back what it receives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from .child import serve_until_end


async def echo(ws: ServerConnection) -> None:
    """Send back what comes."""
    with contextlib.suppress(ConnectionClosed):
        async for message in ws:
            await ws.send(message)


async def main(address: str, certificate: str | None) -> None:
    """Serve."""
    logging.disable()
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    async with serve(echo, address, 0, ssl=tls, ping_interval=None, compression=None) as server:
        await serve_until_end(server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
