"""As api.py, for what stands above one session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import httpx2_trio_ws.anyio
from httpx2_trio_ws import (
    Merged,
    Multiplexer,
    SourceEnded,
    Subscription,
    WebSocketSession,
    merge,
    multiplex,
    open_websocket,
    reconnect,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import anyio.abc
    import httpx2
    import trio


class Tick:
    id: int = 0


async def receive_tick(ws: WebSocketSession) -> Tick:
    return await ws.receive_json(lambda _: Tick())


async def send_text(ws: WebSocketSession, message: str) -> None:
    await ws.send_text(message)


def end_of(key: object) -> object:
    return {"from": key}


def key_of_tick(tick: Tick) -> int | None:
    return tick.id or None


async def sources(client: httpx2.AsyncClient, ws: WebSocketSession) -> None:
    async with multiplex(ws) as mux:
        assert_type(mux, Multiplexer[Any])
    async with multiplex(open_websocket(client, "wss://x"), key=lambda message: message["id"]) as mux:
        assert_type(mux, Multiplexer[Any])
    async with multiplex(reconnect(client, "wss://x"), receive=WebSocketSession.receive, send=send_text) as raw:
        assert_type(raw, Multiplexer[str | bytes])
    async with multiplex(ws, key=key_of_tick, receive=receive_tick, capacity=1, when_full="wait") as ticks:
        assert_type(ticks, Multiplexer[Tick])


async def calls(mux: Multiplexer[Tick]) -> None:
    assert_type(await mux.request(1, {"id": 1}, resend=True), Tick)
    assert_type(await mux.receive(), Tick)
    assert_type(await mux.wait_connected(), WebSocketSession)
    assert_type(mux.session, WebSocketSession | None)
    assert_type(mux.sessions, int)
    assert_type(mux.unmatched, int)
    assert_type(mux.gap, bool)
    await mux.send(["anything"])
    async for tick in mux:
        assert_type(tick, Tick)
    channel: trio.abc.Channel[Tick] = mux
    wrong: trio.abc.Channel[str] = mux  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    for each in (channel, wrong):
        await each.aclose()


async def subscriptions(mux: Multiplexer[Tick]) -> None:
    async with mux.subscribe(
        ("a", 1),
        subscribe={"to": "a"},
        unsubscribe=end_of,
        confirm=lambda tick: tick.id,
        is_last=lambda tick: tick.id > 9,
        when_full="drop_oldest",
    ) as feed:
        assert_type(feed, Subscription[Tick])
        assert_type(await feed.receive(), Tick)
        assert_type(feed.gap, bool)
        assert_type(feed.dropped, int)
        async for tick in feed:
            assert_type(tick, Tick)
        receiver: trio.abc.ReceiveChannel[Tick] = feed
        await receiver.aclose()


async def merging(client: httpx2.AsyncClient, ws: WebSocketSession, feed: Subscription[Tick]) -> None:
    async with merge({"a": ws}) as merged:
        assert_type(merged, Merged[str, str | bytes])
        assert_type(await merged.receive(), tuple[str, str | bytes])
        receiver: trio.abc.ReceiveChannel[tuple[str, str | bytes]] = merged
        await receiver.aclose()
    async with merge({1: open_websocket(client, "wss://x"), 2: open_websocket(client, "wss://y")}) as numbered:
        assert_type(numbered, Merged[int, str | bytes])
    async with merge({"a": reconnect(client, "wss://x")}) as reconnected:
        assert_type(reconnected, Merged[str, str | bytes])
    async with merge({"a": feed}, failures="tell", capacity=1) as told:
        assert_type(told, Merged[str, Tick | SourceEnded])
        async for name, tick in told:
            assert_type(name, str)
            assert_type(tick, Tick | SourceEnded)
            if isinstance(tick, SourceEnded):
                assert_type(tick.error, Exception | None)


async def merging_what_is_mixed_or_comes_later(
    client: httpx2.AsyncClient, ws: WebSocketSession, other: AsyncIterator[int]
) -> None:
    async with merge({"a": ws, "b": open_websocket(client, "wss://x")}) as mixed:
        await mixed.receive()
    async with merge(stay_open=True) as untyped:
        assert_type(untyped, Merged[Any, Any])
        later: Merged[str, int] = untyped
        later.add("a", other)
        later.remove("a")
        assert_type(await later.receive(), tuple[str, int])
        assert_type("a" in later, bool)
        assert_type(len(later), int)
        later.add(1, other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def wrong(client: httpx2.AsyncClient, ws: WebSocketSession, mux: Multiplexer[Tick]) -> None:
    multiplex(client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    multiplex(ws, key=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    multiplex(ws, when_full="drop")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    multiplex(ws, key_of_tick)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    mux.subscribe("a", confirm=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mux.subscribe("a", {"to": "a"})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    mux.subscribe(["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mux.sessions = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    merge({"a": ws}, failures="drop")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    merge([ws])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def on_any_loop(client: httpx2.AsyncClient, ws: httpx2_trio_ws.anyio.WebSocketSession) -> None:
    face = httpx2_trio_ws.anyio

    async def receive_any_tick(ws: httpx2_trio_ws.anyio.WebSocketSession) -> Tick:
        return await ws.receive_json(lambda _: Tick())

    async with face.multiplex(face.reconnect(client, "wss://x"), key=key_of_tick, receive=receive_any_tick) as mux:
        assert_type(mux, httpx2_trio_ws.anyio.Multiplexer[Tick])
        assert_type(await mux.request(1, {"id": 1}), Tick)
        stream: anyio.abc.ObjectStream[Tick] = mux
        async with mux.subscribe("a") as feed:
            assert_type(feed, httpx2_trio_ws.anyio.Subscription[Tick])
            receiver: anyio.abc.ObjectReceiveStream[Tick] = feed
        for each in (stream, receiver):
            await each.aclose()
    async with face.multiplex(ws) as untyped:
        assert_type(untyped, httpx2_trio_ws.anyio.Multiplexer[Any])
    async with face.merge({"a": ws}) as merged:
        assert_type(merged, httpx2_trio_ws.anyio.Merged[str, str | bytes])
        pairs: anyio.abc.ObjectReceiveStream[tuple[str, str | bytes]] = merged
        await pairs.aclose()
    async with face.merge({"a": feed}, failures="tell") as told:
        assert_type(told, httpx2_trio_ws.anyio.Merged[str, Tick | SourceEnded])
    face.multiplex(ws, when_full="drop")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
