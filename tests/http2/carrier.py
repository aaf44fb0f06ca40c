"""HTTP/2 as what is between a session of the contract and its peer."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx2

from httpx2_trio_ws.http2 import HTTP2Transport
from tests.contract.carriers import closing

from .server import serving

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from tests.contract.carriers import Handler

    from .server import ServerStream


@contextlib.asynccontextmanager
async def http2(
    handler: Handler, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> AsyncGenerator[tuple[httpx2.AsyncClient, str]]:
    """A stream over TLS. ``contexts`` are a server's and a client's."""

    async def on_stream(stream: ServerStream) -> None:
        try:
            peer = await stream.accept()
        except BrokenPipeError:
            return  # the opening was cancelled
        await handler(peer)
        await peer.close()

    async with serving(on_stream, contexts[0]) as server:
        transport = HTTP2Transport(verify=contexts[1], http1=False)
        async with closing(httpx2.AsyncClient(transport=transport, timeout=httpx2.Timeout(5))) as http_client:
            yield http_client, f"{server.url}/"
