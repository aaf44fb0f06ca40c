"""A session over HTTP/2 on asyncio and uvloop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws import WebSocketException
from httpx2_trio_ws.anyio import open_websocket
from tests.http2.carrier import http2

from .support import REAL_LOOPS, run_real

if TYPE_CHECKING:
    import ssl


@pytest.mark.parametrize("loop", REAL_LOOPS)
def test_messages_there_and_back(loop: str, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def echo(peer: Any) -> None:
        with pytest.raises(WebSocketException):
            while True:
                await peer.send(await peer.receive())

    async def main() -> None:
        async with http2(echo, tls) as (client, url), open_websocket(client, url) as ws:
            for message in ("x", b"y" * 2**20):
                await ws.send(message)
                assert await ws.receive() == message

    run_real(loop, main)
