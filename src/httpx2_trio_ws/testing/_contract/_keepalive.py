"""Keepalive: a ping when it is silent, a failure when nobody is there, and patience with whoever is slow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from httpx2_trio_ws._exceptions import WebSocketKeepaliveTimeout, WebSocketNetworkError
from httpx2_trio_ws.testing._frames import Opcode, encode_frame

from ._registry import check
from ._stage import (
    SHORT,
    SLACK,
    Sender,
    answer_nothing,
    beside,
    calls_of,
    equal,
    keep_rules,
    leaves,
    raise_all,
    raises,
    stage,
    take,
    takes,
    that,
    until,
)

if TYPE_CHECKING:
    from httpx2_trio_ws.testing._peer import ScriptedPeer

    from ._registry import SessionMaker


def _keepalive(interval: float | None, timeout: float | None) -> dict[str, Any]:
    return {"keepalive_ping_interval_seconds": interval, "keepalive_ping_timeout_seconds": timeout}


@check()
async def silence_is_answered_with_a_ping(maker: SessionMaker) -> None:
    async with stage(maker, **_keepalive(SHORT, 60)) as (_, peer):
        for at_least in (0, SHORT):  # the first interval began before the check's clock
            with takes(at_least, SHORT), anyio.fail_after(SHORT + SLACK):
                frame = await peer.receive_frame()
            equal(frame.opcode, Opcode.PING, "the opcode of what comes after an interval of silence")
            await peer.pong(frame.payload)


@check()
async def a_dead_peer_is_noticed(maker: SessionMaker) -> None:
    async with stage(maker, ending=answer_nothing, **_keepalive(SHORT, SHORT)) as (ws, _):
        with takes(1.5 * SHORT, 2 * SHORT), raises(WebSocketKeepaliveTimeout) as raised:
            await ws.receive()
        that(isinstance(raised.error, WebSocketNetworkError), "a keepalive timeout is no network error")
        await raise_all(WebSocketKeepaliveTimeout, calls_of(ws).values())
        equal((ws.closed, ws.close_code), (True, 1006), "closed and the close code")


@check("groups")
async def a_dead_peer_is_told_of_in_the_block(maker: SessionMaker) -> None:
    options = _keepalive(0.01, 0.01)
    with leaves(WebSocketKeepaliveTimeout):
        async with stage(maker, ending=answer_nothing, failure_grace_seconds=0, **options):
            await anyio.sleep_forever()


@check()
async def a_dead_peer_wakes_those_who_send(maker: SessionMaker) -> None:
    async with stage(maker, ending=answer_nothing, **_keepalive(SHORT, SHORT)) as (ws, _):
        with raises(WebSocketKeepaliveTimeout):
            await Sender(ws.send, b"x" * 65536).run()


class _Pace:
    """Finds out whether a machine is too busy for a check: the longest time between two of its steps."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = anyio.current_time()

    def step(self) -> None:
        now = anyio.current_time()
        self.longest, self._last = max(self.longest, now - self._last), now


async def _drip(peer: ScriptedPeer, pace: _Pace) -> None:
    """Send a message byte by byte, a fraction of the interval apart."""
    for byte in encode_frame(Opcode.TEXT, b"x" * 10):
        await anyio.sleep(SHORT / 5)
        await peer.send_raw(bytes((byte,)))
        pace.step()


@check()
async def any_byte_is_a_sign_of_life(maker: SessionMaker) -> None:
    for _attempt in range(5):
        pace = _Pace()
        try:
            # It is pinged between any two bytes, and answers none of the pings.
            async with stage(maker, **_keepalive(SHORT / 10, SHORT)) as (ws, peer):
                await _drip(peer, pace)
                equal(await ws.receive(), "x" * 10, "the message of a peer that answers no ping")
                return
        except Exception:
            pace.step()
            if pace.longest < SHORT:
                raise


@check()
async def there_is_no_ping_while_there_is_no_silence(maker: SessionMaker) -> None:
    for _attempt in range(5):
        pace = _Pace()
        async with stage(maker, **_keepalive(2 * SHORT, 60)) as (ws, peer):
            await _drip(peer, pace)
            await ws.send("all is well")
            frame = await peer.receive_frame()
            pace.step()
        if pace.longest < 2 * SHORT:
            equal(frame.payload, b"all is well", "what comes while there are signs of life")
            return


@check()
async def a_slow_consumer_is_not_a_dead_peer(maker: SessionMaker) -> None:
    async with stage(maker, queue_size=1, **_keepalive(0.01, 0.02)) as (ws, peer):
        for number in range(5):
            await peer.send(str(number))
        await anyio.sleep(2 * SHORT)  # the peer says nothing, but what it has said has not been read yet
        async with beside(peer.wait_closed):
            equal(await take(ws, 5), ["0", "1", "2", "3", "4"], "the messages")
            await ws.close()


@check()
async def without_an_interval_there_are_no_pings(maker: SessionMaker) -> None:
    async with stage(maker, **_keepalive(None, 0.01)) as (ws, peer):
        await anyio.sleep(SHORT)
        await ws.send("first")
        equal((await peer.receive_frame()).payload, b"first", "the first frame")


@check()
async def without_a_timeout_a_silent_peer_is_pinged_and_kept(maker: SessionMaker) -> None:
    async with stage(maker, **_keepalive(0.01, None)) as (ws, peer):
        await anyio.sleep(2 * SHORT)
        await peer.send("here I am")
        equal(await ws.receive(), "here I am", "the message")
        equal((await peer.receive_frame()).opcode, Opcode.PING, "what was sent meanwhile")


@check()
async def the_answer_to_a_keepalive_ping_gives_the_latency(maker: SessionMaker) -> None:
    async with stage(maker, **_keepalive(0.01, 60)) as (ws, peer), beside(partial(keep_rules, peer)):
        await until(lambda: ws.latency is not None)
        that(0 <= ws.latency < SHORT + 2, f"the latency is {ws.latency}")
        equal(ws.statistics().latency, ws.latency, "the latency in the statistics")
        await ws.close()


@check()
async def a_peer_that_answers_is_kept(maker: SessionMaker) -> None:
    async with stage(maker, **_keepalive(0.01, 1)) as (ws, peer), beside(partial(keep_rules, peer)):
        await anyio.sleep(2 * SHORT)
        that(not ws.closed, "a peer that answers pings was taken for dead")
        await ws.close()


@check()
async def leaving_is_not_held_up_by_keepalive(maker: SessionMaker) -> None:
    with takes(0, SHORT):
        async with stage(maker, ending=answer_nothing, close_timeout_seconds=SHORT, **_keepalive(60, 60)):
            pass
