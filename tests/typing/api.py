"""Read by mypy and pyright, never run: what the public names promise to type checkers.

An ignored error that does not occur is itself an error, for both: so each ignore says that a wrong use is caught.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, assert_type

import httpx2
import msgspec
import orjson

from httpx2_trio_ws import (
    CloseCode,
    OpenOptions,
    PongWaiter,
    Statistics,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketHandshakeTimeout,
    WebSocketInvalidTypeReceived,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketSession,
    WebSocketUpgradeError,
    connect_websocket,
    open_websocket,
    open_websocket_url,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import trio


async def opening(client: httpx2.AsyncClient, nursery: trio.Nursery) -> None:
    async with open_websocket(client, "wss://example.com") as ws:
        assert_type(ws, WebSocketSession)
    async with open_websocket_url(httpx2.URL("wss://example.com")) as ws:
        assert_type(ws, WebSocketSession)
    assert_type(await connect_websocket(nursery, client, "wss://example.com"), WebSocketSession)


async def a_channel(ws: WebSocketSession) -> None:
    channel: trio.abc.Channel[str | bytes] = ws
    sender: trio.abc.SendChannel[str | bytes] = ws
    texts: trio.abc.SendChannel[str] = ws
    receiver: trio.abc.ReceiveChannel[str | bytes] = ws
    wrong: trio.abc.ReceiveChannel[str] = ws  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    for end in (channel, sender, texts, receiver, wrong):
        await end.aclose()
    async with ws as same:
        assert_type(same, WebSocketSession)
    async for message in ws:
        assert_type(message, str | bytes)


class Point(msgspec.Struct):
    x: int = 0


def parse_point(message: str | bytes) -> Point:
    return Point(len(message))


async def receiving(ws: WebSocketSession) -> None:
    assert_type(await ws.receive(), str | bytes)
    assert_type(await ws.receive_text(), str)
    assert_type(await ws.receive_bytes(), bytes)
    assert_type(await ws.receive_json(), Any)
    assert_type(await ws.receive_json(parse_point), Point)
    assert_type(await ws.receive_json(msgspec.json.Decoder(Point).decode), Point)
    assert_type(await ws.receive_json(loads=orjson.loads), Any)
    await ws.receive_json(bytes.decode)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async for text in ws.iter_text():
        assert_type(text, str)
    async for data in ws.iter_bytes():
        assert_type(data, bytes)
    async for point in ws.iter_json(parse_point):
        assert_type(point, Point)
    async for anything in ws.iter_json():
        assert_type(anything, Any)
    await ws.receive(timeout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def sending(ws: WebSocketSession) -> None:
    await ws.send("text")
    await ws.send(b"bytes")
    await ws.send(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ws.send_text("text")
    await ws.send_text(b"bytes")
    await ws.send_text(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ws.send_json(Point(), dumps=msgspec.json.encode)
    await ws.send_json(Point(), "binary", dumps=orjson.dumps)
    await ws.send_json(1, dumps=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ws.send_bytes(bytearray(1))
    await ws.send_bytes("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ws.send_json({"any": ["thing"]})
    await ws.send_json(None, mode="binary")
    await ws.send_json(None, mode="bytes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def the_rest(ws: WebSocketSession) -> None:
    waiter = await ws.ping()
    assert_type(waiter, PongWaiter)
    assert_type(await waiter, float)
    assert_type(await waiter.wait(), float)
    await ws.pong(b"payload")
    await ws.close()
    await ws.close(CloseCode.GOING_AWAY, "reason")
    await ws.wait_closed()
    assert_type(ws.response, httpx2.Response)
    assert_type(ws.subprotocol, str | None)
    assert_type(ws.latency, float | None)
    assert_type(ws.closed, bool)
    assert_type(ws.close_code, int | None)
    assert_type(ws.close_reason, str | None)
    assert_type(ws.statistics(), Statistics)
    assert_type(ws.statistics().peer_wait_seconds, float)
    ws.closed = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def options(client: httpx2.AsyncClient) -> AbstractAsyncContextManager[WebSocketSession]:
    open_websocket(
        client,
        "wss://example.com",
        params={"page": 1},
        headers={"X-Header": "value"},
        cookies={"name": "value"},
        auth=("user", "password"),
        follow_redirects=True,
        timeout=httpx2.Timeout(3),
        extensions={"sni_hostname": "example.com"},
        subprotocols=["chat"],
        compression=None,
        max_message_size_bytes=None,
        queue_size=1,
        handshake_timeout_seconds=None,
        keepalive_ping_interval_seconds=None,
        keepalive_ping_timeout_seconds=None,
        close_timeout_seconds=0,
        failure_grace_seconds=math.inf,
    )
    open_websocket(client, "", queue_sise=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_websocket(client, "", queue_size="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_websocket(client, "", compression="gzip")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_websocket(client, "", close_timeout_seconds=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_websocket(httpx2.Client(), "")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_websocket("")  # type: ignore[call-arg,arg-type]  # pyright: ignore[reportCallIssue]
    kept: OpenOptions = {"queue_size": 1, "compression": "deflate"}
    return open_websocket(client, "wss://example.com", **kept)


def exceptions(
    closed: WebSocketDisconnect,
    lost: WebSocketKeepaliveTimeout,
    late: WebSocketHandshakeTimeout,
    used: WebSocketClosedError,
    kind: WebSocketInvalidTypeReceived,
    refused: WebSocketUpgradeError,
) -> None:
    _end: trio.EndOfChannel = closed
    _broken: trio.BrokenResourceError = lost
    _network: WebSocketNetworkError = lost
    _slow: trio.TooSlowError = late
    _timeout: TimeoutError = late
    _gone: trio.ClosedResourceError = used
    assert_type(closed.code, int)
    assert_type(closed.reason, str)
    assert_type(kind.message, str | bytes)
    assert_type(refused.response, httpx2.Response)
