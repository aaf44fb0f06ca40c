"""Cancelling: any call at any time, the session stays sound, and a cancelled block is left at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from ._registry import add, check
from ._stage import (
    Sender,
    answer_nothing,
    beside,
    comes_to,
    equal,
    keep_rules,
    leaves,
    settle,
    stage,
    stall,
    takes,
    that,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2_trio_ws.testing._peer import ScriptedPeer

    from ._registry import SessionMaker

# Calls that need not wait in the check below, or that have to, and their arguments.
_CALLS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "receive": lambda ws: ws.receive(),
    "receive_text": lambda ws: ws.receive_text(),
    "receive_json": lambda ws: ws.receive_json(),
    "iteration": lambda ws: ws.__anext__(),
    "send_text": lambda ws: ws.send("x"),
    "send_bytes": lambda ws: ws.send(b"x"),
    "send_json": lambda ws: ws.send_json({}),
    "ping": lambda ws: ws.ping(),
    "pong": lambda ws: ws.pong(b""),
    "wait_closed": lambda ws: ws.wait_closed(),
}


def _is_cancelled_every_time(call: Callable[[Any], Awaitable[object]]) -> Callable[[SessionMaker], Awaitable[None]]:
    async def function(maker: SessionMaker) -> None:
        async with stage(maker) as (ws, peer):
            await peer.send("1")
            await settle()
            times = 0
            with anyio.CancelScope() as scope:
                scope.cancel()
                for _ in range(3):
                    try:
                        await call(ws)
                    except anyio.get_cancelled_exc_class():
                        times += 1
                await anyio.lowlevel.checkpoint()
            equal(
                (times, scope.cancelled_caught), (3, True), "calls that were cancelled, of three in a cancelled scope"
            )
            equal(await ws.receive(), "1", "the message that waited")
            await ws.send("2")
            await comes_to(peer, "2")

    return function


for _name, _call in _CALLS.items():
    add(
        f"{_name}_in_a_cancelled_scope_is_cancelled_every_time",
        __name__,
        _is_cancelled_every_time(_call),
        "cancellation",
    )


@check("cancellation")
async def a_pong_waiter_can_be_cancelled_and_waited_for_again(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        waiter = await ws.ping(b"later")
        for _ in range(2):
            with anyio.move_on_after(0.01) as scope:
                await waiter
            that(scope.cancelled_caught, "a pong waiter was not cancelled")
        await peer.pong(b"later")
        that(await waiter >= 0.01, "the round trip is too short")


@check("cancellation")
async def every_call_that_waits_can_be_cancelled(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        async with anyio.create_task_group() as tasks:
            sender = Sender(ws.send, b"x" * 65536)
            waiter = await ws.ping()
            for call in (sender.run, ws.receive, ws.__anext__, waiter.wait, ws.wait_closed):
                tasks.start_soon(call)
            await sender.blocked()
            with takes(0, 0):
                tasks.cancel_scope.cancel()
        async with beside(peer.wait_closed):
            await peer.send("still here")
            equal(await ws.receive(), "still here", "the message")
            await ws.close()


@check("cancellation")
async def a_cancelled_block_is_left_at_once(maker: SessionMaker) -> None:
    with leaves(), takes(0, 0.2), anyio.CancelScope() as scope:
        async with stage(maker, ending=answer_nothing, close_timeout_seconds=60):
            scope.cancel()
            await anyio.sleep_forever()
    that(scope.cancelled_caught, "the cancellation did not come out of the block")


@check("cancellation")
async def a_cancelled_block_is_left_at_once_though_the_peer_reads_nothing(maker: SessionMaker) -> None:
    with leaves(), takes(0, 1), anyio.CancelScope() as scope:
        async with stage(maker, ending=stall, close_timeout_seconds=60) as (ws, _), anyio.create_task_group() as tasks:
            sender = Sender(ws.send, b"x" * 65536)
            tasks.start_soon(sender.run)
            await sender.blocked()
            scope.cancel()


@check("cancellation")
async def a_block_that_takes_too_long_is_left_at_its_deadline(maker: SessionMaker) -> None:
    with leaves(), takes(0.02, 0.1), anyio.move_on_after(0.02) as scope:
        async with stage(maker) as (ws, _):
            await ws.receive()
    that(scope.cancelled_caught, "the deadline did not come out of the block")


@check("cancellation")
async def a_cancelled_block_says_1001(maker: SessionMaker) -> None:
    codes: list[int | None] = []

    async def handler(peer: ScriptedPeer) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await keep_rules(peer)
        codes.append(peer.close_code)

    with leaves(), anyio.CancelScope() as scope:
        async with maker(handler):
            scope.cancel()
            await anyio.sleep_forever()
    equal(codes, [1001], "the code that the peer got")


@check("cancellation")
async def a_cancelled_close_drops_the_connection(maker: SessionMaker) -> None:
    async with stage(maker, ending=answer_nothing, close_timeout_seconds=60) as (ws, _):
        with takes(0, 0.3):
            with anyio.move_on_after(0.01) as scope:
                await ws.close()
            that(scope.cancelled_caught, "close() was not cancelled")
            await ws.wait_closed()
            await ws.close()


@check("cancellation")
async def a_cancelled_close_ends_that_of_others(maker: SessionMaker) -> None:
    with takes(0, 0.4):
        async with stage(maker, ending=answer_nothing, close_timeout_seconds=60) as (ws, _), beside(ws.close):
            with anyio.move_on_after(0.01):
                await ws.close()


@check("cancellation")
async def a_cancelled_wait_closed_harms_nothing(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        with anyio.move_on_after(0.01) as scope:
            await ws.wait_closed()
        that(scope.cancelled_caught, "wait_closed() was not cancelled")
        await peer.send("still here")
        equal(await ws.receive(), "still here", "the message")


@check("cancellation", "groups")
async def a_blocks_own_error_comes_out_though_its_scope_is_cancelled(maker: SessionMaker) -> None:
    with leaves(KeyError), anyio.CancelScope() as scope:
        async with stage(maker, ending=answer_nothing, close_timeout_seconds=60):
            scope.cancel()
            raise KeyError


@check("cancellation")
async def a_cancelled_block_wakes_nobody_into_success(maker: SessionMaker) -> None:
    ends: list[str] = []

    async def receive(ws: Any) -> None:
        try:
            ends.append(await ws.receive())
        finally:
            ends.append("ended")

    with leaves(), anyio.CancelScope() as scope:
        async with stage(maker) as (ws, _), anyio.create_task_group() as tasks:
            tasks.start_soon(receive, ws)
            await settle()
            scope.cancel()
    equal(ends, ["ended"], "what the receiving task got, and that it ended")


@check("cancellation")
async def a_session_may_be_closed_in_a_shield_after_a_cancellation(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), beside(partial(keep_rules, peer)):
        with anyio.CancelScope() as scope:
            try:
                scope.cancel()
                await ws.receive()
            finally:
                with anyio.CancelScope(shield=True):
                    await ws.close(4000, "cancelled")
        equal(
            (peer.close_code, scope.cancelled_caught), (4000, True), "the code that the peer got, and the cancellation"
        )
