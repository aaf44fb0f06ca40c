"""Pings and pongs of the application and of the peer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from httpx2_trio_ws._exceptions import WebSocketClosedError, WebSocketDisconnect, WebSocketNetworkError
from httpx2_trio_ws.testing._frames import Opcode

from ._registry import check
from ._stage import SHORT, beside, equal, raise_all, raises, settle, stage, that, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._registry import SessionMaker


@check()
async def a_ping_gives_the_round_trip(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        waiter = await ws.ping(b"are you there?")
        equal(await peer.receive_frame(), (Opcode.PING, b"are you there?", True, False), "the ping")
        await settle()
        await peer.pong(b"are you there?")
        seconds = await waiter
        that(SHORT / 5 - 0.01 <= seconds < SHORT + 2, f"the round trip took {seconds} s")
        equal((ws.latency, ws.statistics().latency), (seconds, seconds), "the latency")


@check()
async def pings_without_a_payload_differ(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        seen: set[bytes] = set()
        for _ in range(10):
            await ws.ping()
            frame = await peer.receive_frame()
            equal(frame.opcode, Opcode.PING, "the opcode")
            seen.add(frame.payload)
        that(len(seen) == 10 and b"" not in seen, f"payloads of ten pings: {seen}")


@check()
async def a_pong_answers_the_pings_before_it(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        waiters = [await ws.ping(payload) for payload in (b"1", b"2", b"3")]
        await peer.pong(b"2")
        await waiters[0]
        await waiters[1]
        ended: list[str] = []
        async with beside(partial(_note, waiters[2], ended)):
            equal(ended, [], "the third ping, which no pong has answered")
            await peer.pong(b"3")


async def _note(waiter: Any, ended: list[str]) -> None:
    await waiter
    ended.append("answered")


@check()
async def an_unsolicited_pong_answers_nothing(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        waiter = await ws.ping(b"mine")
        await peer.pong(b"another's")
        await peer.pong(b"")
        ended: list[str] = []
        async with beside(partial(_note, waiter, ended)):
            await settle()
            equal((ended, ws.latency), ([], None), "the ping, and the latency, after pongs of others")
            await peer.pong(b"mine")


@check()
async def a_pong_can_be_waited_for_by_many_and_again(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        waiter = await ws.ping(b"many")
        rounds: list[float] = []

        async def wait() -> None:
            rounds.append(await waiter.wait())

        async with beside(wait, wait):
            await peer.pong(b"many")
        await wait()
        that(len(rounds) == 3 and len(set(rounds)) == 1, f"three waits gave {rounds}")


@check()
async def a_pong_that_has_come_before_it_is_waited_for(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        waiter = await ws.ping(b"early")
        await peer.pong(b"early")
        await until(lambda: ws.latency is not None)
        equal(await waiter, ws.latency, "the round trip")


@check()
async def waiting_for_a_pong_raises_what_ends_the_session(maker: SessionMaker) -> None:
    ends: list[tuple[type[Exception], Callable[[Any, Any], Any]]] = [
        (WebSocketNetworkError, lambda _, peer: peer.drop()),
        (WebSocketDisconnect, lambda _, peer: peer.close(1000)),
        (WebSocketClosedError, lambda ws, _: ws.close()),
    ]
    for kind, end in ends:
        async with stage(maker) as (ws, peer):
            waiter = await ws.ping(b"last")
            async with beside(partial(raise_all, kind, [waiter.wait]), partial(end, ws, peer)):
                await peer.wait_closed() if kind is WebSocketClosedError else None
            await raise_all(kind, [waiter.wait])


@check()
async def a_payload_that_waits_for_its_pong_is_not_sent_again(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        waiter = await ws.ping(b"same")
        with raises(ValueError):
            await ws.ping(b"same")
        await peer.pong(b"same")
        await waiter
        await ws.ping(b"same")


@check()
async def an_unsolicited_pong_can_be_sent(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await ws.pong()
        await ws.pong(b"still here")
        frames = [await peer.receive_frame(), await peer.receive_frame()]
        equal([frame[:2] for frame in frames], [(Opcode.PONG, b""), (Opcode.PONG, b"still here")], "the pongs")


@check()
async def the_peers_pings_are_answered_while_nobody_receives(maker: SessionMaker) -> None:
    async with stage(maker) as (_, peer):
        for payload in (b"", b"x", b"\xff" * 125):
            await peer.ping(payload)
            equal(await peer.receive_frame(), (Opcode.PONG, payload, True, False), "the answer to a ping")


@check()
async def payloads_may_have_125_bytes(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        waiter = await ws.ping(b"x" * 125)
        await peer.pong((await peer.receive_frame()).payload)
        await waiter
        await ws.pong(b"x" * 125)
        equal(await peer.receive_frame(), (Opcode.PONG, b"x" * 125, True, False), "the pong")
