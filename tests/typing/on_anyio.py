"""As api.py, for sessions on any event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

from httpx2_trio_ws.anyio import (
    PongWaiter,
    Statistics,
    WebSocketSession,
    WebSocketStream,
    connect_websocket,
    open_websocket,
    open_websocket_url,
)

if TYPE_CHECKING:
    import anyio.abc
    import httpx2


async def opening(client: httpx2.AsyncClient, task_group: anyio.abc.TaskGroup) -> None:
    async with open_websocket(client, "wss://example.com", queue_size=1, compression=None) as ws:
        assert_type(ws, WebSocketSession)
    async with open_websocket_url("wss://example.com") as ws:
        assert_type(ws, WebSocketSession)
    assert_type(await connect_websocket(task_group, client, "wss://example.com"), WebSocketSession)


async def wrong_opening(client: httpx2.Client, other: httpx2.AsyncClient) -> None:
    open_websocket(client, "wss://x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_websocket(other, "wss://x", queue_size="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_websocket(other, "wss://x", quue_size=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await connect_websocket(other, "wss://x")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]


async def a_stream_of_objects(ws: WebSocketSession) -> None:
    stream: anyio.abc.ObjectStream[str | bytes] = ws
    sender: anyio.abc.ObjectSendStream[str | bytes] = ws
    texts: anyio.abc.ObjectSendStream[str] = ws
    receiver: anyio.abc.ObjectReceiveStream[str | bytes] = ws
    wrong: anyio.abc.ObjectReceiveStream[str] = ws  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    for end in (stream, sender, texts, receiver, wrong):
        await end.aclose()
    async with ws as same:
        assert_type(same, WebSocketSession)
    async for message in ws:
        assert_type(message, str | bytes)


async def calls(ws: WebSocketSession) -> None:
    assert_type(await ws.receive(), str | bytes)
    assert_type(await ws.receive_text(), str)
    assert_type(await ws.receive_bytes(), bytes)
    assert_type(await ws.receive_json(), Any)
    assert_type(await ws.ping(), PongWaiter)
    assert_type(await (await ws.ping(b"x")), float)
    assert_type(ws.statistics(), Statistics)
    assert_type(ws.subprotocol, str | None)
    await ws.send("text")
    await ws.send(b"binary")
    await ws.send(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def a_stream_of_bytes(ws: WebSocketSession) -> None:
    stream: anyio.abc.ByteStream = WebSocketStream(ws)
    assert_type(await stream.receive(), bytes)
    await stream.send(b"bytes")
    await stream.send("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
