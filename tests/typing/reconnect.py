"""As :mod:`.api`, for sessions that are opened again."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, assert_type

import httpx2_trio_ws.anyio
from httpx2_trio_ws import CloseCode, WebSocketSession
from httpx2_trio_ws.reconnect import Backoff, Connecting, Reconnect, RetryPolicy, reconnect

if TYPE_CHECKING:
    import httpx2


async def on_trio(client: httpx2.AsyncClient) -> None:
    async def log_in(ws: WebSocketSession) -> str | bytes:
        return await ws.receive()

    loop = reconnect(client, "wss://example.com", on_connect=log_in, queue_size=1, auth=("user", "password"))
    assert_type(loop, Reconnect[WebSocketSession])
    for connection in loop:
        assert_type(connection, Connecting[WebSocketSession])
        async with connection as ws:
            assert_type(ws, WebSocketSession)
        async with AsyncExitStack() as stack:
            assert_type(await stack.enter_async_context(connection), WebSocketSession)


async def on_any_loop(client: httpx2.AsyncClient) -> None:
    for connection in httpx2_trio_ws.anyio.reconnect(client, "wss://example.com", max_attempts=3):
        async with connection as ws:
            assert_type(ws, httpx2_trio_ws.anyio.WebSocketSession)


# What follows the block is reached without an error, where it has been swallowed.
async def a_block(connection: Connecting[WebSocketSession]) -> int:  # type: ignore[return]  # pyright: ignore[reportReturnType]
    async with connection:
        return 1


async def wrong(client: httpx2.AsyncClient) -> None:
    def no_coroutine(ws: WebSocketSession) -> None: ...

    reconnect(client, "wss://example.com", on_connect=no_coroutine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    reconnect(client, "wss://example.com", queue_size="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Backoff(5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def policies() -> RetryPolicy:
    return RetryPolicy(close_codes={1001, CloseCode.NORMAL_CLOSURE}, statuses=RetryPolicy().statuses | {404})
