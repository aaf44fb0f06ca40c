"""As api.py, for what is there to test with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, assert_type

import httpx2

from httpx2_trio_ws import open_websocket
from httpx2_trio_ws.testing import (
    ASGIWebSocketTransport,
    Check,
    Frame,
    Opcode,
    ScriptedPeer,
    SessionMaker,
    check_session,
    encode_frame,
    memory_server,
    session_checks,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import anyio.abc
    import trio


async def play(peer: ScriptedPeer) -> None:
    assert_type(peer.request, httpx2.Request)
    assert_type(await peer.receive(), str | bytes)
    assert_type(await peer.receive_frame(), Frame)
    await peer.send("text")
    await peer.send(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def in_memory() -> None:
    async with memory_server(play) as client:
        assert_type(client, httpx2.AsyncClient)
    async with memory_server(lambda peer: peer.receive(), compression="deflate", capacity=1) as client:
        assert_type(client, httpx2.AsyncClient)
    memory_server(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def app_on_asgi(app: Any, tasks: anyio.abc.TaskGroup, nursery: trio.Nursery) -> None:
    transports = [ASGIWebSocketTransport(app, task_group=group) for group in (tasks, nursery, None)]
    assert_type(transports, list[ASGIWebSocketTransport])
    base: httpx2.AsyncBaseTransport = transports[0]
    httpx2.AsyncClient(transport=base)
    ASGIWebSocketTransport(app, client="127.0.0.1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def frames() -> None:
    assert_type(encode_frame(Opcode.TEXT, b"x", fin=False), bytes)
    assert_type(Frame(2, b"x").payload, bytes)


async def contract(maker: SessionMaker) -> None:
    checks = session_checks()
    assert_type(checks[0], Check)
    assert_type(checks[0].needs, frozenset[str])
    await checks[0](maker)
    await check_session(maker)


@contextlib.asynccontextmanager
async def make(handler: Callable[[ScriptedPeer], Awaitable[object]], /, **options: Any) -> AsyncGenerator[Any]:
    async with memory_server(handler) as client, open_websocket(client, "ws://test", **options) as ws:
        yield ws


maker: SessionMaker = make
