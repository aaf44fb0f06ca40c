"""Any call can be cancelled at any time, and the session stays sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketClosedError
from httpx2_trio_ws.anyio import open_websocket

from .handshake_support import client_context, server_context
from .memory import TEXT, Frame, close_frame, memory_session, text
from .sync.support import LONG, Task, listening, upgrade
from .test_closed_clients import each_transport, url
from .test_tls_carriers import each_loop, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2_trio_ws import WebSocketSession

CALLS: dict[str, Callable[[WebSocketSession], Awaitable[object]]] = {
    "send": lambda ws: ws.send("x"),
    "send_text": lambda ws: ws.send_text("x"),
    "send_bytes": lambda ws: ws.send_bytes(b"x"),
    "send_json": lambda ws: ws.send_json("x"),
    "receive": lambda ws: ws.receive(),
    "receive_text": lambda ws: ws.receive_text(),
    "receive_bytes": lambda ws: ws.receive_bytes(),
    "receive_json": lambda ws: ws.receive_json(),
    "anext": lambda ws: ws.__anext__(),
    "ping": lambda ws: ws.ping(),
    "pong": lambda ws: ws.pong(),
    "wait_closed": lambda ws: ws.wait_closed(),
    "close": lambda ws: ws.close(),
    "aclose": lambda ws: ws.aclose(),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("state", ["open", "message waits", "closed by us", "closed by the peer"])
async def test_every_call_is_a_cancellation_point(autojump_clock: object, name: str, state: str) -> None:
    """In a cancelled scope each raises Cancelled, sends nothing and takes nothing, whatever the state."""
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        if state == "message waits":
            await peer.send(text("1"))
        elif state == "closed by us":
            await ws.close()
        elif state == "closed by the peer":
            await peer.send(close_frame(1000))
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await CALLS[name](ws)
        assert scope.cancelled_caught
        assert ws.statistics().messages_sent == 0
        if state == "message waits" and name not in ("close", "aclose"):
            assert await ws.receive() == "1"


@pytest.mark.parametrize("name", CALLS)
async def test_calls_yield_to_others_also_when_they_raise(name: str) -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, _):
        await ws.close()
        with trio.testing.assert_checkpoints():
            for _ in range(32):
                try:
                    await CALLS[name](ws)
                except WebSocketClosedError:
                    assert name not in ("close", "aclose", "wait_closed")


async def test_a_cancelled_receive_loses_no_message() -> None:
    """Cancelled before, while and after a message comes."""
    received: list[str | bytes] = []
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        for number in range(200):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def receive() -> None:
                        received.append(await ws.receive())

                    if number % 3 == 0:
                        await trio.testing.wait_all_tasks_blocked()
                    await peer.send(text(str(number)))
                    for _ in range(number % 7):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        while ws.statistics().queued_messages:
            received.append(await ws.receive())
    assert received == [str(number) for number in range(200)]


async def test_a_cancelled_send_sends_whole_messages_or_none(autojump_clock: object) -> None:
    """Cancelled at every turn of the scheduler while the peer reads in small bites."""
    done: list[int] = []
    async with memory_session(stalling=True, close_timeout_seconds=0) as (ws, peer):
        frames: list[Frame] = []

        async def read() -> None:
            while True:
                frames.append(await peer.receive())

        async def send(number: int) -> None:
            await ws.send(f"{number:03}" * 20_000)
            done.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for number in range(40):
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as senders:
                        senders.start_soon(send, number)
                        for _ in range(number):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    numbers = [int(f.payload[:3]) for f in frames]
    assert all(f == Frame(TEXT, f.payload[:3] * 20_000) for f in frames)
    assert numbers == sorted(set(numbers)), "in order, none twice"
    assert set(done) <= set(numbers)
    assert len(done) < 40


async def test_a_cancelled_waiter_does_not_hold_up_those_behind_it(autojump_clock: object) -> None:
    async with memory_session(stalling=True, close_timeout_seconds=0) as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.send, "a" * 70_000)
        await trio.testing.wait_all_tasks_blocked()
        scope = trio.CancelScope()

        async def cancelled(message: str) -> None:
            with scope:
                await ws.send(message)

        nursery.start_soon(cancelled, "b")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ws.send, "c")
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        assert [(await peer.receive()).payload[:1] for _ in range(2)] == [b"a", b"c"]


async def test_a_cancelled_receive_lets_the_next_one_have_its_message() -> None:
    got: list[str | bytes] = []
    async with memory_session(close_timeout_seconds=0) as (ws, peer), trio.open_nursery() as nursery:

        async def receive(scope: trio.CancelScope) -> None:
            with scope:
                got.append(await ws.receive())

        first, second = trio.CancelScope(), trio.CancelScope()
        nursery.start_soon(receive, first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(receive, second)
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(text("a"))
        await trio.testing.wait_all_tasks_blocked()
        assert got == ["a"]


async def test_waiting_for_a_pong_may_be_cancelled_and_taken_up_again() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        waiter = await ws.ping()
        with trio.CancelScope() as scope:
            scope.cancel()
            await waiter
        assert scope.cancelled_caught
        _, payload = await peer.receive()
        await peer.send(bytes((0x8A, len(payload))) + payload)
        assert await waiter >= 0


@each_loop
@each_transport
def test_when_a_cancelled_close_comes_back_the_pools_slot_is_free(loop: str, tls: bool) -> None:
    """The peer does not answer, and nobody waits for it any more; but for our own side, which takes a few turns."""

    async def main() -> None:
        with listening(server_context() if tls else None) as (address, accept):
            accepting = Task(lambda: (upgrade(accept()), upgrade(accept())))
            limits, timeout = httpx2.Limits(max_connections=1), httpx2.Timeout(LONG, pool=0)
            verify = client_context() if tls else False
            async with (
                httpx2.AsyncClient(verify=verify, limits=limits, timeout=timeout) as client,
                open_websocket(client, url(address, tls=tls), close_timeout_seconds=60) as ws,
            ):
                with anyio.move_on_after(0.05) as scope:
                    await ws.close()
                assert scope.cancelled_caught
                async with open_websocket(client, url(address, tls=tls), close_timeout_seconds=0):
                    accepting.result()

    run(loop, main)
