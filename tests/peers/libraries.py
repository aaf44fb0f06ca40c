"""The clients that the feature matrix is about, behind a few calls that are the same for all."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import httpx2
import httpx_ws
import picows
import trio
import trio_websocket
import websockets.asyncio.client
import websockets.trio.client
import wsproto.events

import httpx2_trio_ws
import httpx2_trio_ws.anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager


@dataclass(frozen=True)
class Library:
    """One client.

    Args:
        name: as in the matrix.
        run: runs its programs.
        open: opens a session for a block.
        receive: the next message.
        send: sends a message.
    """

    name: str
    run: Callable[..., Any]
    open: Callable[..., AbstractAsyncContextManager[Any]]
    receive: Callable[[Any], Awaitable[str | bytes]]
    send: Callable[[Any, str | bytes], Coroutine[Any, Any, None]]


# -- this library, and websockets ------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _open_ours(module: Any, url: str, **options: Any) -> AsyncGenerator[Any]:
    new_client = httpx2.AsyncClient(trust_env=False, verify=False)
    async with new_client as client, module.open_websocket(client, url, **options) as ws:
        yield ws


async def _receive(ws: Any) -> Any:
    return await ws.receive()


async def _recv(ws: Any) -> Any:
    return await ws.recv()


async def _send(ws: Any, message: str | bytes) -> None:
    await ws.send(message)


# -- httpx2 and httpx-ws ---------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _open_native(url: str, **options: Any) -> AsyncGenerator[Any]:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as client, client.websocket(url, **options) as ws:
        yield ws


@contextlib.asynccontextmanager
async def _open_httpx_ws(url: str, **options: Any) -> AsyncGenerator[Any]:
    new_client = httpx.AsyncClient(trust_env=False, verify=False)
    async with new_client as client, httpx_ws.aconnect_ws(url, client, **options) as ws:
        yield ws


async def _receive_event(ws: Any) -> str | bytes:
    event = await ws.receive()
    assert isinstance(event, (wsproto.events.TextMessage, wsproto.events.BytesMessage))
    return event.data if isinstance(event.data, str) else bytes(event.data)


async def _send_kind(ws: Any, message: str | bytes) -> None:
    await (ws.send_text(message) if isinstance(message, str) else ws.send_bytes(message))


# -- trio-websocket --------------------------------------------------------------------------------


def _open_trio_websocket(url: str, **options: Any) -> AbstractAsyncContextManager[Any]:
    return trio_websocket.open_websocket_url(url, **options)


async def _get_message(ws: Any) -> Any:
    return await ws.get_message()


async def _send_message(ws: Any, message: str | bytes) -> None:
    await ws.send_message(message)


# -- aiohttp ---------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _open_aiohttp(url: str, **options: Any) -> AsyncGenerator[Any]:
    async with aiohttp.ClientSession() as client, client.ws_connect(url, **options) as ws:
        yield ws


async def _receive_aiohttp(ws: Any) -> Any:
    message = await ws.receive()
    if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        raise ConnectionError(f"{message.type!r} {message.data!r}")
    return message.data


async def _send_aiohttp(ws: Any, message: str | bytes) -> None:
    await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))


# -- picows ----------------------------------------------------------------------------------------


class Listener(picows.WSListener):
    """Picows calls back; this queues. It is what an application would have to write."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.messages: asyncio.Queue[str | bytes | None] = asyncio.Queue()

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            self.messages.put_nowait(frame.get_payload_as_utf8_text())
        elif frame.msg_type in (picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION):
            self.messages.put_nowait(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: Any) -> None:
        self.messages.put_nowait(None)


@contextlib.asynccontextmanager
async def _open_picows(url: str, **options: Any) -> AsyncGenerator[Any]:
    listener = Listener()
    transport, _ = await picows.ws_connect(lambda: listener, url, **options)
    listener.transport = transport
    try:
        yield listener
    finally:
        if not transport.is_disconnected:
            transport.disconnect(graceful=False)
            await transport.wait_disconnected()


async def _receive_picows(ws: Any) -> str | bytes:
    message = await ws.messages.get()
    if message is None:
        raise ConnectionError("disconnected")
    return message  # type: ignore[no-any-return]


async def _send_picows(ws: Any, message: str | bytes) -> None:
    if isinstance(message, str):
        ws.transport.send(picows.WSMsgType.TEXT, message.encode())
    else:
        ws.transport.send(picows.WSMsgType.BINARY, message)


def _run_asyncio(function: Callable[..., Any], *args: Any) -> Any:
    return asyncio.run(function(*args))


OURS = Library("httpx2-trio-ws", trio.run, partial(_open_ours, httpx2_trio_ws), _receive, _send)
ON_ASYNCIO = Library(
    "httpx2-trio-ws, asyncio", _run_asyncio, partial(_open_ours, httpx2_trio_ws.anyio), _receive, _send
)
NATIVE = Library("httpx2", trio.run, _open_native, _receive_event, _send_kind)
NATIVE_ASYNCIO = Library("httpx2, asyncio", _run_asyncio, _open_native, _receive_event, _send_kind)
HTTPX_WS = Library("httpx-ws", trio.run, _open_httpx_ws, _receive_event, _send_kind)
HTTPX_WS_ASYNCIO = Library("httpx-ws, asyncio", _run_asyncio, _open_httpx_ws, _receive_event, _send_kind)
TRIO_WEBSOCKET = Library("trio-websocket", trio.run, _open_trio_websocket, _get_message, _send_message)
WEBSOCKETS = Library("websockets", trio.run, partial(websockets.trio.client.connect, proxy=None), _recv, _send)
WEBSOCKETS_ASYNCIO = Library(
    "websockets, asyncio", _run_asyncio, partial(websockets.asyncio.client.connect, proxy=None), _recv, _send
)
AIOHTTP = Library("aiohttp", _run_asyncio, _open_aiohttp, _receive_aiohttp, _send_aiohttp)
PICOWS = Library("picows", _run_asyncio, _open_picows, _receive_picows, _send_picows)
