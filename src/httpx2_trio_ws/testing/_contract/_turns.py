"""Turns: a peer that is fast, or a program that sends much, does not keep other tasks from running."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from httpx2_trio_ws.testing._frames import Opcode, encode_frame

from ._registry import add, check
from ._stage import beside, keep_rules, settle, stage, that

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._registry import SessionMaker

# A call that need not wait lets others run once in so many.
_CALLS_PER_TURN = 64
_CALLS = 640


class _Ticker:
    """Counts its turns, up to a limit: while it runs, a mock clock stands still."""

    def __init__(self, limit: int) -> None:
        self.turns = 0
        self._limit = limit

    async def run(self) -> None:
        while self.turns < self._limit:
            await anyio.lowlevel.checkpoint()
            self.turns += 1


async def _call_many_times(call: Callable[[], Awaitable[object]], calls: int) -> None:
    ticker = _Ticker(10 * calls)
    turns = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ticker.run)
        await anyio.lowlevel.checkpoint()
        turns -= ticker.turns
        for _ in range(calls):
            await call()
        turns += ticker.turns
        tasks.cancel_scope.cancel()
    that(turns >= calls // _CALLS_PER_TURN - 1, f"during {calls} calls another task had {turns} turns")


@check("turns")
async def messages_that_wait_do_not_starve_other_tasks(maker: SessionMaker) -> None:
    async with stage(maker, queue_size=1000) as (ws, peer):
        await peer.send_raw(encode_frame(Opcode.TEXT, b"x") * 2 * _CALLS)
        await settle()
        await _call_many_times(ws.receive, _CALLS)
        await _call_many_times(ws.__anext__, _CALLS)


_SENDING: dict[str, Callable[[Any], Awaitable[object]]] = {
    "messages": lambda ws: ws.send("x"),
    "pings": lambda ws: ws.ping(),
    "pongs": lambda ws: ws.pong(),
}


def _does_not_starve(call: Callable[[Any], Awaitable[object]]) -> Callable[[SessionMaker], Awaitable[None]]:
    async def function(maker: SessionMaker) -> None:
        async with stage(maker) as (ws, peer), beside(partial(keep_rules, peer)):
            await _call_many_times(lambda: call(ws), _CALLS)
            await ws.close()

    return function


for _name, _call in _SENDING.items():
    add(f"a_burst_of_{_name}_does_not_starve_other_tasks", __name__, _does_not_starve(_call), "turns", "cancellation")


@check("turns")
async def a_fast_peer_does_not_starve_other_tasks(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        packets = 20

        async def flood() -> None:
            for _ in range(packets):
                await peer.send_raw(encode_frame(Opcode.TEXT, b"x") * _CALLS)

        async with beside(flood):
            await _call_many_times(ws.receive, packets * _CALLS)


@check("turns")
async def a_call_on_a_session_that_has_ended_lets_others_run(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.close(1000)
        await ws.wait_closed()
        for call in (ws.receive, lambda: ws.send("x"), ws.ping, ws.pong, ws.wait_closed, ws.close):
            await _call_many_times(partial(_ignore, call), 10 * _CALLS_PER_TURN)


async def _ignore(call: Callable[[], Awaitable[object]]) -> None:
    try:
        await call()
    except Exception as exc:  # noqa: BLE001 (which one, other checks ask)
        del exc
