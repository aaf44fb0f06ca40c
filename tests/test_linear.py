"""What grows no faster than bytes, frames, waiters or sessions do: four times as many take some four times as long.

In processor time of this thread, so that a busy machine changes little; and a measurement that shows more is made again.
"""

from __future__ import annotations

import gc
import time
import types
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from httpx2_trio_ws import WebSocketException
from httpx2_trio_ws import anyio as on_anyio
from httpx2_trio_ws._core._life import Life
from httpx2_trio_ws._http2_transport._pool import Pool, _Origin, _Waiter
from httpx2_trio_ws._protocol import BINARY, Connection, Outgoing
from httpx2_trio_ws._session._inbox import Inbox
from httpx2_trio_ws._session._outbox import Outbox
from httpx2_trio_ws._sync._inbox import Inbox as InboxOfThreads
from httpx2_trio_ws._sync._inbox import _Receiver
from httpx2_trio_ws._sync._waiting import Signal, Waiter
from httpx2_trio_ws.testing import memory_server

from .memory import PING, TEXT, frame, text
from .virtual_time import VIRTUAL, run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator

    from httpx2_trio_ws.testing import ScriptedPeer

# Linear is 4, quadratic 16.
MOST = 9


def spent(work: Callable[[int], object], count: int) -> float:
    gc.collect()
    gc.disable()  # its own work is another's
    try:
        began = time.thread_time()
        work(count)
        return time.thread_time() - began
    finally:
        gc.enable()


def grows_linearly(work: Callable[[int], object], count: int) -> None:
    """Compare ``count`` of what ``work`` is given with four times as many."""
    work(count)
    ratios: list[float] = []
    for _ in range(4):
        least = min(spent(work, count) for _ in range(2))
        ratios.append(spent(work, 4 * count) / least)
        if ratios[-1] < MOST:
            return
    raise AssertionError(f"four times as many take {min(ratios):.1f} times as long")


# -- waiters ---------------------------------------------------------------------------------------


async def silent(peer: ScriptedPeer) -> None:
    await peer.wait_closed()


async def cancelled_receivers(ws: Any, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(ws.receive)
        await anyio.sleep(0.1)
        tasks.cancel_scope.cancel()


async def cancelled_senders(ws: Any, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ws.send, bytes(10**6))
        await anyio.sleep(0.1)
        for _ in range(count):
            tasks.start_soon(ws.send, b"waits")
        await anyio.sleep(0.1)
        tasks.cancel_scope.cancel()


async def cancelled_pings(ws: Any, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon((await ws.ping()).wait)
        await anyio.sleep(0.1)
        tasks.cancel_scope.cancel()


async def cancelled_waiters_for_the_end(ws: Any, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(ws.wait_closed)
        await anyio.sleep(0.1)
        tasks.cancel_scope.cancel()


async def woken_by_the_end(ws: Any, count: int) -> None:
    async def wait() -> None:
        with pytest.raises(WebSocketException):
            await ws.receive()

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(wait)
        await anyio.sleep(0.1)
        await ws.close()


WAITERS = [cancelled_receivers, cancelled_senders, cancelled_pings, cancelled_waiters_for_the_end, woken_by_the_end]


@pytest.mark.parametrize("waiters", WAITERS)
@pytest.mark.parametrize("loop", VIRTUAL)
def test_tasks_that_wait(loop: str, waiters: Callable[[Any, int], Awaitable[None]]) -> None:
    async def main(count: int) -> None:
        options: dict[str, Any] = {"keepalive_ping_interval_seconds": None, "close_timeout_seconds": 0}
        async with (
            memory_server(silent) as client,
            on_anyio.open_websocket(client, "ws://memory", **options) as ws,
        ):
            await waiters(ws, count)

    grows_linearly(lambda count: run_virtual(loop, partial(main, count)), 500)


class ByHand:
    """A runtime without a loop: whoever waits stands still until it is closed, which is what cancelling does to it."""

    class event:  # noqa: N801 (as a runtime has it)
        @types.coroutine
        def wait(self) -> Generator[None]:
            yield

        def set(self) -> None:
            """Nobody runs."""

    @staticmethod
    def clock() -> Callable[[], float]:
        return time.monotonic

    @staticmethod
    def current_task() -> None:
        """None."""


def waiting_to_receive(count: int) -> list[Coroutine[Any, Any, object]]:
    inbox = Inbox(BY_HAND, Connection(), 1)
    return [inbox.wait_message() for _ in range(count)]


def waiting_to_receive_in_parts(count: int) -> list[Coroutine[Any, Any, object]]:
    inbox = Inbox(BY_HAND, Connection(), 1)
    return [inbox.wait_in_parts(None) for _ in range(count)]


def waiting_to_send(count: int) -> list[Coroutine[Any, Any, object]]:
    outbox = Outbox(BY_HAND, Connection())
    outbox.deposit(bytes(10**5), BINARY)
    return [outbox.wait_turn((b"", BINARY)) for _ in range(count)]


def waiting_to_send_in_parts(count: int) -> list[Coroutine[Any, Any, object]]:
    connection = Connection()
    outbox = Outbox(BY_HAND, connection)
    outbox.deposit(bytes(10**5), BINARY)
    return [outbox.begin(Outgoing(connection, BINARY), None) for _ in range(count)]


BY_HAND: Any = ByHand
BY_ONE = [waiting_to_receive, waiting_to_receive_in_parts, waiting_to_send, waiting_to_send_in_parts]


@pytest.mark.parametrize("waiting", BY_ONE)
def test_tasks_that_are_cancelled_one_by_one(waiting: Callable[[int], list[Coroutine[Any, Any, object]]]) -> None:
    """The last first; what a loop does beside it does not count."""

    def work(count: int) -> None:
        calls = waiting(count)
        for call in calls:
            call.send(None)
        for call in reversed(calls):
            call.close()

    grows_linearly(work, 2000)


def test_requests_that_wait_for_a_connection_and_are_cancelled() -> None:
    unused: Any = None

    def work(count: int) -> None:
        origin = _Origin("https://example.com")
        waiters = [_Waiter(BY_HAND) for _ in range(count)]
        origin.waiting.update(dict.fromkeys(waiters))
        for waiter in reversed(waiters):
            Pool._withdraw(unused, origin, waiter)
        assert not origin.waiting

    grows_linearly(work, 2000)


def test_threads_that_give_up() -> None:
    def work(count: int) -> None:
        inbox = InboxOfThreads(1, lambda: None, Life(5), Connection())
        receivers = [_Receiver() for _ in range(count)]
        for receiver in receivers:
            inbox._receivers[receiver] = None
        for receiver in reversed(receivers):
            assert inbox._give_up(receiver)

    grows_linearly(work, 2000)


def test_threads_whose_time_has_passed() -> None:
    def work(count: int) -> None:
        signal = Signal()
        waiters = [Waiter() for _ in range(count)]
        for waiter in waiters:
            signal._waiters[waiter] = None
        for _ in range(count):
            assert not signal.wait(0)
        assert len(signal._waiters) == count
        signal.set()
        for _ in range(count):
            assert signal.wait()
        assert not signal._waiters

    grows_linearly(work, 2000)


# -- bytes and frames ------------------------------------------------------------------------------


def received(data: bytes, step: int, room: int = 2**30) -> int:
    """How many messages come of it, read so much at a time, and taken so many at a time."""
    connection = Connection(max_message_size=None)
    count = 0
    for at in range(0, len(data), step):
        count += len(connection.receive_data(data[at : at + step], room))
        while connection.has_input:
            count += len(connection.receive_data(b"", room))
            connection.control_to_send()
    return count


WIRES: dict[str, tuple[Callable[[int], bytes], int, int]] = {
    "a message in small reads": (lambda count: frame(TEXT, b"x" * 1000 * count), 1000, 2**30),
    "a message in small fragments": (lambda n: frame(TEXT, fin=False) + frame(0, b"x", fin=False) * n + frame(0), 2**18, 2**30),
    "messages in one read, taken one by one": (lambda count: text("x") * count, 2**30, 1),
    "pings in one read": (lambda count: frame(PING, b"x") * count, 2**30, 2**30),
    "messages and pings in turns": (lambda count: (text("x") + frame(PING)) * count, 2**30, 7),
}  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
def test_what_is_received(wire: str) -> None:
    make, step, room = WIRES[wire]
    grows_linearly(lambda count: received(make(count), step, room), 3000)


@pytest.mark.parametrize("take", [1, 7, 1000])
def test_what_is_queued_to_be_sent_and_taken_in_small_writes(take: int) -> None:
    def work(count: int) -> None:
        connection = Connection()
        outbox = Outbox(BY_HAND, connection)
        for _ in range(count):
            outbox.deposit(b"x" * 10, BINARY)
        while (data := outbox.take()) is not None:
            outbox.wrote(min(take, len(data)))

    grows_linearly(work, 500 if take == 1 else 3000)


# -- sessions, sources, keys -----------------------------------------------------------------------


@pytest.mark.parametrize("loop", VIRTUAL)
def test_sessions_that_are_opened_and_idle(loop: str) -> None:
    async def main(count: int) -> None:
        async with memory_server(silent) as client, anyio.create_task_group() as tasks:
            for _ in range(count):
                await on_anyio.connect_websocket(tasks, client, "ws://memory")
            await anyio.sleep(100)
            tasks.cancel_scope.cancel()

    grows_linearly(lambda count: run_virtual(loop, partial(main, count)), 30)


@pytest.mark.parametrize("loop", VIRTUAL)
def test_sources_that_are_merged_and_given_up(loop: str) -> None:
    async def source() -> AsyncIterator[str]:
        while True:
            yield "x"
            await anyio.sleep(1)

    async def main(count: int) -> None:
        async with on_anyio.merge({number: source() for number in range(count)}) as merged:
            for _ in range(count // 2):
                await merged.receive()
            await anyio.sleep(2)

    grows_linearly(lambda count: run_virtual(loop, partial(main, count)), 200)
