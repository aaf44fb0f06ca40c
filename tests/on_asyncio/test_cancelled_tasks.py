"""``Task.cancel()``, which strikes once, at any turn, and goes through anyio's shields; and what asyncio builds on it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from httpx2_trio_ws import WebSocketDisconnect, WebSocketNetworkError
from httpx2_trio_ws.anyio import WebSocketSession, connect_websocket, open_websocket
from httpx2_trio_ws.testing import ScriptedPeer, memory_server
from tests.virtual_time import VirtualTimeLoop, run_virtual

from .support import REAL_LOOPS, cancelled_at, run_real, server

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from websockets.asyncio.server import ServerConnection

URL = "ws://memory.example/"


def virtually(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await function()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual("asyncio", main)


def test_cancelled_receives_lose_nothing_and_keep_the_order() -> None:
    async def handler(peer: ScriptedPeer) -> None:
        for number in range(300):
            await peer.send(str(number))
            if number % 7 == 0:
                await asyncio.sleep(0)

    async def main() -> None:
        got: list[str | bytes] = []
        cancelled = 0
        async with memory_server(handler) as client, open_websocket(client, URL) as ws:

            async def receive() -> None:
                while len(got) < 300:
                    got.append(await ws.receive())

            step = 0
            while len(got) < 300:
                step = step % 5 + 1
                cancelled += await cancelled_at(step, receive)
        assert got == [str(number) for number in range(300)]
        assert cancelled > 5

    virtually(main)


def test_several_receivers_lose_nothing() -> None:
    async def handler(peer: ScriptedPeer) -> None:
        for number in range(200):
            await peer.send(str(number))
            await asyncio.sleep(0)

    async def main() -> None:
        got: list[str | bytes] = []

        async with memory_server(handler) as client, open_websocket(client, URL) as ws:

            async def receive() -> None:
                got.append(await ws.receive())

            while len(got) < 200:
                tasks = [asyncio.ensure_future(receive()) for _ in range(4)]
                for _ in range(len(got) % 4 + 1):
                    await asyncio.sleep(0)
                for task in tasks[::2]:
                    task.cancel()
                done = asyncio.gather(*tasks, return_exceptions=True)
                for _ in range(5):
                    await asyncio.sleep(0)
                done.cancel()
                await asyncio.gather(done, *tasks, return_exceptions=True)
        assert sorted(map(int, got)) == list(range(200))

    virtually(main)


@pytest.mark.parametrize("loop", REAL_LOOPS)
@pytest.mark.parametrize("size", [1, 100_000])
def test_cancelled_sends_are_whole_or_absent(loop: str, size: int) -> None:
    arrived: list[bytes] = []

    async def handler(ws: ServerConnection) -> None:
        async for message in ws:
            assert isinstance(message, bytes)
            assert len(message) == size
            arrived.append(message[:1])

    async def main() -> None:
        sent: list[bytes] = []
        async with server(handler) as (client, url), open_websocket(client, url, compression=None) as ws:

            async def send(number: int) -> None:
                await ws.send(bytes([number]) * size)
                sent.append(bytes([number]))

            for number in range(60):
                await cancelled_at(number % 6, partial(send, number))
        assert set(sent) <= set(arrived)
        assert arrived == sorted(set(arrived)), "doubled, or out of order"

    run_real(loop, main)


@pytest.mark.parametrize("loop", REAL_LOOPS)
def test_a_session_cancelled_at_any_turn_leaves_nothing(loop: str) -> None:
    closed = asyncio.Semaphore(0)

    async def handler(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)
        closed.release()

    async def main() -> None:
        async with server(handler) as (client, url):

            async def session() -> None:
                async with open_websocket(client, url, handshake_timeout_seconds=5) as ws:
                    await ws.send("a")
                    assert await ws.receive() == "a"
                    await (await ws.ping())

            step, cancelled = 0, 0
            while await cancelled_at(step, session):
                assert len(asyncio.all_tasks()) < 20, "tasks are left"
                step += 1 + step // 10
                cancelled += 1
            assert cancelled > 5

    run_real(loop, main)


def test_cancelled_twice() -> None:
    """As when a task group fails while a timeout of its own strikes."""

    async def handler(peer: ScriptedPeer) -> None:
        await peer.wait_closed()

    async def main() -> None:
        async with memory_server(handler) as client:
            for turns in range(6):
                task = asyncio.ensure_future(receive(client, []))
                for _ in range(20):
                    await asyncio.sleep(0)
                task.cancel()
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert len(asyncio.all_tasks()) == 1 + sum("_play" in repr(task) for task in asyncio.all_tasks())

    virtually(main)


async def receive(client: Any, seen: list[WebSocketSession]) -> None:
    async with open_websocket(client, URL) as ws:
        seen.append(ws)
        await ws.receive()


def test_asyncio_timeout() -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.send("early")
        with contextlib.suppress(WebSocketDisconnect):
            await peer.sleep(10)
            await peer.send("late")
            await peer.wait_closed()

    async def main() -> None:
        async with memory_server(handler) as client, open_websocket(client, URL) as ws:
            assert await ws.receive() == "early"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await ws.receive()
            assert await ws.receive() == "late"  # the session is as before
        async with memory_server(handler) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1), open_websocket(client, URL) as ws:
                    await ws.receive()
                    await ws.receive()
            assert ws.closed

    virtually(main)


def test_a_task_group_of_asyncio() -> None:
    peers: list[ScriptedPeer] = []

    async def handler(peer: ScriptedPeer) -> None:
        peers.append(peer)
        if len(peers) == 3:
            await peer.drop()
        else:
            await peer.wait_closed()

    async def main() -> None:
        async with memory_server(handler) as client:
            with pytest.raises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    for _ in range(3):
                        group.create_task(receive(client, []))
        (inner,) = caught.value.exceptions
        assert isinstance(inner, ExceptionGroup), "a session's block is a group of its own"
        assert [type(exc) for exc in inner.exceptions] == [WebSocketNetworkError]
        assert sorted(peer.close_code or 0 for peer in peers) in ([0, 1001, 1001], [1001, 1001, 1006])

    virtually(main)


def test_cancellation_is_not_swallowed_where_a_turn_is_given() -> None:
    """Each 64th call lets others run after it has taken its message, and may not lose it to a cancellation."""

    async def handler(peer: ScriptedPeer) -> None:
        for number in range(128):
            await peer.send(str(number))
        await peer.wait_closed()

    async def main() -> None:
        async with memory_server(handler) as client, open_websocket(client, URL) as ws:
            await asyncio.sleep(1)
            assert ws.statistics().queued_messages == 128
            got: list[str | bytes] = []

            async def take() -> None:
                while True:
                    got.append(await ws.receive())

            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await take()
            assert 1 <= len(got) <= 65
            task = asyncio.ensure_future(take())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelling() == 1
            while len(got) < 128:
                got.append(await ws.receive())
            assert got == [str(number) for number in range(128)]

    virtually(main)


def test_ctrl_c() -> None:
    peers: list[ScriptedPeer] = []

    async def handler(peer: ScriptedPeer) -> None:
        peers.append(peer)
        await peer.wait_closed()

    async def session() -> None:
        async with memory_server(handler) as client, open_websocket(client, URL) as ws:
            asyncio.get_running_loop().call_later(1, signal.raise_signal, signal.SIGINT)
            await ws.receive()

    async def main() -> None:
        try:
            await session()
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with pytest.raises(KeyboardInterrupt), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    assert [peer.close_code for peer in peers] == [1001]


def test_a_closed_task_group_takes_no_session() -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.wait_closed()

    async def main() -> None:
        async with memory_server(handler) as client:
            async with anyio.create_task_group() as group:
                pass
            with pytest.raises(RuntimeError, match="not active"):
                await connect_websocket(group, client, URL)

    virtually(main)


def test_a_cancellation_in_a_group_is_one_too() -> None:
    """A peer that stays silent is not waited for."""

    async def handler(peer: ScriptedPeer) -> None:
        assert (await peer.receive_frame()).payload == b"\x03\xe9"  # 1001

    async def main() -> None:
        start = anyio.current_time()
        async with memory_server(handler) as client:
            with pytest.raises(BaseExceptionGroup) as caught:
                async with open_websocket(client, URL):
                    raise BaseExceptionGroup("both", [asyncio.CancelledError(), ValueError()])
        assert caught.group_contains(ValueError)
        assert anyio.current_time() - start < 1

    virtually(main)


@pytest.mark.parametrize("call", ["receive", "send"])
def test_a_call_that_succeeds_leaves_no_cancellation_behind(call: str) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        for number in range(300):
            await peer.send(str(number))
        await peer.wait_closed()

    async def main() -> None:
        received = sent = 0
        async with (
            memory_server(handler, capacity=10**6) as client,
            open_websocket(client, URL, compression=None) as ws,
        ):
            await asyncio.sleep(1)
            for _ in range(300):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        if call == "send":
                            await ws.send("x")
                            sent += 1
                        else:
                            assert await ws.receive() == str(received)
                            received += 1
                await asyncio.sleep(0)  # the timeout is over, and nothing may cancel this
                task = asyncio.current_task()
                assert task is not None
                assert task.cancelling() == 0
            assert received + sent > 250

    virtually(main)


def test_receiving_in_a_task_that_has_been_cancelled_beside_another() -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.send("first")
        await peer.sleep(1)
        await peer.send("second")
        await peer.wait_closed()

    async def main() -> None:
        got: dict[str, str | bytes] = {}
        async with memory_server(handler) as client, open_websocket(client, URL, compression=None) as ws:
            await asyncio.sleep(0.1)

            async def cleaning_up() -> None:
                try:
                    await asyncio.sleep(100)
                finally:
                    got["cleaning up"] = await ws.receive()

            async def other() -> None:
                got["other"] = await ws.receive()

            cancelled = asyncio.ensure_future(cleaning_up())
            await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.wait([cancelled, asyncio.ensure_future(other())])
        assert got == {"cleaning up": "first", "other": "second"}

    virtually(main)


def test_a_cancelled_call_that_had_others_before_it_keeps_the_order() -> None:
    """Each 64th send lets others run before it; what they send comes after it all the same."""

    async def handler(peer: ScriptedPeer) -> None:
        async for message in peer:
            got.append(message)

    got: list[str | bytes] = []

    async def main() -> None:
        async with memory_server(handler) as client, open_websocket(client, URL, compression=None) as ws:

            async def one(number: int) -> None:
                await ws.send(str(number))

            for number in range(63):
                await ws.send(str(number))
            await asyncio.gather(*(one(number) for number in range(63, 200)))
        assert got == [str(number) for number in range(200)]

    virtually(main)
