"""What a session tells of itself, and what its exceptions are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import trio

from httpx2_trio_ws._exceptions import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketNetworkError,
    WebSocketProtocolError,
)
from httpx2_trio_ws.testing._frames import Opcode

from ._registry import check
from ._stage import SHORT, answer_nothing, beside, calls_of, equal, raises, stage, take, that, until

if TYPE_CHECKING:
    from ._registry import SessionMaker


@check()
async def an_open_session_says_so(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, _):
        state = (ws.closed, ws.close_code, ws.close_reason, ws.latency, ws.subprotocol)
        equal(state, (False, None, None, None, None), "closed, code, reason, latency, subprotocol")


@check()
async def the_response_is_the_handshakes(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, _):
        that(isinstance(ws.response, httpx2.Response), f"the response is {ws.response!r}")
        equal((ws.response.status_code, ws.response.headers["upgrade"].lower()), (101, "websocket"), "status, upgrade")


@check()
async def a_session_is_closed_while_messages_still_wait(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("waits")
        await peer.send_close(1001, "away")
        await until(lambda: ws.closed)
        equal((ws.close_code, ws.close_reason), (1001, "away"), "code and reason")
        equal((ws.statistics().queued_messages, await ws.receive()), (1, "waits"), "the queue and the message")


@check()
async def the_state_cannot_be_set(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, _):
        for name in ("response", "subprotocol", "latency", "closed", "close_code", "close_reason"):
            with raises(AttributeError):
                setattr(ws, name, None)


@check()
async def statistics_count(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        start = ws.statistics()
        equal((start.messages_sent, start.messages_received, start.queued_messages), (0, 0, 0), "the statistics")
        for message in ("text", b"bytes", "x" * 70_000):
            await peer.send(message)
        await ws.send("one")
        await until(lambda: ws.statistics().queued_messages == 3)
        await take(ws, 2)
        now = ws.statistics()
        equal((now.messages_sent, now.messages_received, now.queued_messages), (1, 3, 1), "the statistics")
        equal((now.bytes_received, now.bytes_sent), (2 + 4 + 2 + 5 + 10 + 70_000, 2 + 4 + 3), "bytes in and out")
        equal((now.frames_received, now.frames_sent), (3, 1), "frames in and out")
        for payload in (b"1", b"2"):
            await peer.ping(payload)
        await until(lambda: ws.statistics().pongs_sent == 2)
        now = ws.statistics()
        equal((now.pings_received, now.pongs_received, now.pings_sent), (2, 0, 0), "pings and pongs")
        equal((now.frames_received, now.frames_sent), (5, 3), "frames in and out, with pings and pongs")


@check()
async def the_name_and_the_state_are_shown(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        that("open" in repr(ws), f"an open session is shown as {ws!r}")
        await peer.close(1001)
        await ws.wait_closed()
        that("1001" in repr(ws), f"a session that was closed with 1001 is shown as {ws!r}")


# -- exceptions ------------------------------------------------------------------------------------


async def _doubles(call: Any, own: type[Exception], *others: type[BaseException]) -> None:
    with raises(own) as raised:
        await call()
    that(isinstance(raised.error, WebSocketException), f"{raised.error!r} is no WebSocketException")
    for other in others:
        that(isinstance(raised.error, other), f"{raised.error!r} is no {other.__module__}.{other.__name__}")


@check("doubles")
async def the_peers_close_is_the_end_of_a_channel_to_receivers(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.close(1011)
        for call in (ws.receive, ws.receive_text, ws.__anext__):
            await _doubles(call, WebSocketDisconnect, trio.EndOfChannel, anyio.EndOfStream)


@check("doubles")
async def the_peers_close_is_a_broken_channel_to_senders(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.close(1000)
        await until(lambda: ws.closed)
        for call in (lambda: ws.send("x"), lambda: ws.send_bytes(b"x")):
            await _doubles(call, WebSocketDisconnect, trio.BrokenResourceError, anyio.BrokenResourceError)


@check("doubles")
async def a_lost_connection_is_a_broken_channel(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.drop()
        await until(lambda: ws.closed)
        for call in calls_of(ws).values():
            await _doubles(call, WebSocketNetworkError, trio.BrokenResourceError, anyio.BrokenResourceError)


@check("doubles")
async def a_broken_protocol_is_a_broken_channel(maker: SessionMaker) -> None:
    async with stage(maker, ending=answer_nothing, close_timeout_seconds=SHORT) as (ws, peer):
        await peer.send_frame(Opcode.TEXT, b"\xff")
        await until(lambda: ws.closed)
        for call in calls_of(ws).values():
            await _doubles(call, WebSocketProtocolError, trio.BrokenResourceError, anyio.BrokenResourceError)


@check("doubles")
async def our_own_close_is_a_closed_channel(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        async with beside(peer.wait_closed):
            await ws.close()
        for call in calls_of(ws).values():
            await _doubles(call, WebSocketClosedError, trio.ClosedResourceError, anyio.ClosedResourceError)
