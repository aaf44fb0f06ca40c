"""As api.py, for blocking sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

from httpx2_trio_ws.sync import (
    Statistics,
    SyncPongWaiter,
    SyncWebSocketSession,
    WebSocketDisconnect,
    open_websocket,
    open_websocket_url,
)

if TYPE_CHECKING:
    import httpx2


def opening(client: httpx2.Client) -> None:
    with open_websocket(client, "wss://example.com", subprotocols=["chat"], auth=("user", "password")) as ws:
        assert_type(ws, SyncWebSocketSession)
    with open_websocket_url("wss://example.com") as ws:
        assert_type(ws, SyncWebSocketSession)


def wrong_opening(client: httpx2.AsyncClient, other: httpx2.Client) -> None:
    open_websocket(client, "wss://x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_websocket(other, "wss://x", compression="gzip")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def parse_numbers(message: str | bytes) -> list[int]:
    return [int(part) for part in message.split()]


def calls(ws: SyncWebSocketSession) -> None:
    assert_type(ws.receive(), str | bytes)
    assert_type(ws.receive(timeout=1), str | bytes)
    assert_type(ws.receive_text(), str)
    assert_type(ws.receive_bytes(timeout=0.5), bytes)
    assert_type(ws.receive_json(), Any)
    assert_type(ws.receive_json(timeout=1), Any)
    assert_type(ws.receive_json(parse_numbers, timeout=1), list[int])
    ws.receive_json(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    for text in ws.iter_text():
        assert_type(text, str)
    for data in ws.iter_bytes(timeout=1):
        assert_type(data, bytes)
    for numbers in ws.iter_json(parse_numbers, timeout=1):
        assert_type(numbers, list[int])
    for anything in ws.iter_json(timeout=1):
        assert_type(anything, Any)
    ws.send_json([1], dumps=bytes)
    assert_type(ws.ping(), SyncPongWaiter)
    assert_type(ws.ping(b"x").wait(timeout=1), float)
    assert_type(ws.statistics(), Statistics)
    assert_type(ws.latency, float | None)
    assert_type(ws.closed, bool)
    for message in ws:
        assert_type(message, str | bytes)
    with ws as same:
        assert_type(same, SyncWebSocketSession)
    ws.send_json({"a": 1}, mode="binary")
    ws.send_json({"a": 1}, mode="bytes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ws.send_text(b"text")
    ws.send_text(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def ends(exc: WebSocketDisconnect) -> None:
    assert_type(exc.code, int)
    assert_type(exc.reason, str)
