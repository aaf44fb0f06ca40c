"""Nothing is left: no task, no thread, no connection, no complaint about any of them."""

from __future__ import annotations

import contextlib
import gc
import threading
import warnings
from typing import TYPE_CHECKING, Any

import anyio

from httpx2_trio_ws._exceptions import WebSocketException
from httpx2_trio_ws.testing._frames import Opcode

from ._registry import add, check
from ._stage import SHORT, answer_nothing, equal, settle, stage, that, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2_trio_ws.testing._peer import ScriptedPeer

    from ._registry import SessionMaker

    _Leave = Callable[[SessionMaker, "_Ends"], Awaitable[None]]


class _Ends:
    """A peer's ending that answers the close frame, does not hang up, and tells whether the session does."""

    def __init__(self) -> None:
        self.seen = False

    async def __call__(self, peer: ScriptedPeer) -> None:
        # A maker that is cancelled cancels its handlers, too.
        with anyio.move_on_after(1, shield=True):
            try:
                while True:
                    frame = await peer.receive_frame()
                    if frame.opcode == Opcode.CLOSE:
                        await peer.send_frame(Opcode.CLOSE, frame.payload)
            except WebSocketException:
                self.seen = True


async def _leave_normally(maker: SessionMaker, ends: _Ends) -> None:
    async with stage(maker, ending=ends, close_timeout_seconds=0.01) as (ws, peer):
        await ws.send("x")
        await peer.send("y")


async def _leave_by_an_error(maker: SessionMaker, ends: _Ends) -> None:
    with contextlib.suppress(KeyError, ExceptionGroup):
        async with stage(maker, ending=ends, close_timeout_seconds=0.01):
            raise KeyError


async def _leave_by_a_cancellation(maker: SessionMaker, ends: _Ends) -> None:
    with anyio.CancelScope() as scope:
        async with stage(maker, ending=ends, close_timeout_seconds=60) as (ws, _):
            await ws.send("x")
            scope.cancel()
            await anyio.sleep_forever()


async def _leave_after_a_failure(maker: SessionMaker, ends: _Ends) -> None:
    with contextlib.suppress(WebSocketException, ExceptionGroup):
        async with stage(maker, ending=ends, close_timeout_seconds=0.01) as (ws, peer):
            await peer.send_frame(3)
            await ws.receive()


async def _leave_after_the_peers_close(maker: SessionMaker, ends: _Ends) -> None:
    async with stage(maker, ending=ends, close_timeout_seconds=0.01) as (ws, peer):
        await peer.send_close(1000)
        await ws.wait_closed()


async def _leave_a_peer_that_does_not_answer(maker: SessionMaker, ends: _Ends) -> None:
    async with stage(maker, ending=answer_nothing, close_timeout_seconds=0.01):
        ends.seen = True  # answer_nothing() reads to the end


async def _leave_with_messages_unread(maker: SessionMaker, ends: _Ends) -> None:
    async with stage(maker, ending=ends, queue_size=2, close_timeout_seconds=0.01) as (_, peer):
        for number in range(10):
            await peer.send(str(number))


_WAYS: dict[str, tuple[_Leave, tuple[str, ...]]] = {
    "leaving_normally": (_leave_normally, ()),
    "leaving_by_an_error": (_leave_by_an_error, ()),
    "leaving_by_a_cancellation": (_leave_by_a_cancellation, ("cancellation",)),
    "leaving_after_a_failure": (_leave_after_a_failure, ()),
    "leaving_after_the_peers_close": (_leave_after_the_peers_close, ()),
    "leaving_a_peer_that_does_not_answer": (_leave_a_peer_that_does_not_answer, ()),
    "leaving_with_messages_unread": (_leave_with_messages_unread, ()),
}


def _leaves_nothing(leave: _Leave) -> Callable[[SessionMaker], Awaitable[None]]:
    async def function(maker: SessionMaker) -> None:
        before = {task.id for task in anyio.get_running_tasks()}
        ends = _Ends()
        await leave(maker, ends)
        that(ends.seen, "the connection was left open")
        left = [task for task in anyio.get_running_tasks() if task.id not in before]
        that(not left, f"tasks that are left: {left}")

    return function


for _name, (_leave, _needs) in _WAYS.items():
    add(f"{_name}_leaves_no_task_and_no_connection", __name__, _leaves_nothing(_leave), *_needs)


@check()
async def one_connection_after_another(maker: SessionMaker) -> None:
    """If the maker's client may have one connection only, this hangs unless each session gives it back."""
    for leave, needs in _WAYS.values():
        if not needs:
            await leave(maker, _Ends())


@check()
async def no_thread_is_left(maker: SessionMaker) -> None:
    await _leave_normally(maker, _Ends())  # the maker's own, which may be kept for later
    before = set(threading.enumerate())
    for leave in (_leave_normally, _leave_after_a_failure):
        await leave(maker, _Ends())
        await until(lambda: set(threading.enumerate()) <= before)


@check()
async def nothing_is_said_about_unclosed_resources(maker: SessionMaker) -> None:
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for leave, needs in _WAYS.values():
            if not needs:
                await leave(maker, _Ends())
        gc.collect()
    complaints = [
        str(warning.message) for warning in caught if issubclass(warning.category, (ResourceWarning, RuntimeWarning))
    ]
    equal(complaints, [], "warnings")


@check("cancellation")
async def a_session_that_is_cancelled_at_any_turn_leaves_nothing(maker: SessionMaker) -> None:
    before = {task.id for task in anyio.get_running_tasks()}

    async def use() -> None:
        with contextlib.suppress(WebSocketException, ExceptionGroup):
            async with stage(maker, close_timeout_seconds=SHORT) as (ws, peer):
                await peer.send("x")
                await ws.receive()
                await ws.send("y")

    for count in range(0, 60, 3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            for _ in range(count):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    await settle()
    left: list[Any] = [task for task in anyio.get_running_tasks() if task.id not in before]
    that(not left, f"tasks that are left: {left}")
