"""As api.py, for sessions that are opened again."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import httpx2_trio_ws
import httpx2_trio_ws.anyio
from httpx2_trio_ws.reconnect import Backoff, Connecting, Reconnect, RetryPolicy, reconnect

if TYPE_CHECKING:
    import httpx2


class Never(RetryPolicy):
    def retry_opening(self, error: Exception) -> bool:
        raise error


async def subscribe(ws: httpx2_trio_ws.WebSocketSession) -> None:
    await ws.send_text("subscribe")


async def on_trio(client: httpx2.AsyncClient) -> None:
    loop = reconnect(client, "wss://x", policy=Never(close_codes={1001}), on_connect=subscribe, queue_size=1)
    assert_type(loop, Reconnect[httpx2_trio_ws.WebSocketSession])
    for connection in loop:
        assert_type(connection, Connecting[httpx2_trio_ws.WebSocketSession])
        async with connection as ws:
            assert_type(ws, httpx2_trio_ws.WebSocketSession)
    async for _ in loop:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        pass
    reconnect(client, "wss://x", backoff=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def on_any_loop(client: httpx2.AsyncClient) -> None:
    for connection in httpx2_trio_ws.anyio.reconnect(client, "wss://x", backoff=Backoff(max_seconds=1), max_attempts=3):
        async with connection as ws:
            assert_type(ws, httpx2_trio_ws.anyio.WebSocketSession)
