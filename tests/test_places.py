"""A socket, a task that reads from it, and others that stand in for it: all that may come between."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from httpx2_trio_ws._carriers._trio_place import Place, Turn, place_for

from .test_ctrl_c_on_trio import strike_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


def tasks_waiting_read() -> int:
    """How many tasks a descriptor wakes when it is readable."""
    statistics: Any = trio.lowlevel.current_statistics().io_statistics
    waiting: int = statistics.tasks_waiting_read
    return waiting


class Before(trio.abc.Instrument):
    """Calls a function once, when a task is about to run: something has woken it by then."""

    def __init__(self, task: trio.lowlevel.Task | None, function: Callable[[], object]) -> None:
        self.task = task
        self.function = function

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            trio.lowlevel.remove_instrument(self)
            self.function()


class Reading:
    """A socket, the place before it, and the task that reads: each byte sets a turn, in order."""

    def __init__(self) -> None:
        self.socket, self.peer = trio.socket.socketpair()
        place = place_for(self.socket)
        assert place is not None
        self.place = place
        self.host: trio.lowlevel.Task | None = None
        self.scope = trio.CancelScope()
        self.turns: list[Turn] = []
        #: Each byte, and the name of the task that has read it.
        self.read: list[tuple[bytes, str]] = []
        #: Called with each byte.
        self.then: Callable[[bytes], object] = lambda _: None
        self.raised: list[Exception] = []

    def _act(self) -> bool:
        try:
            data = os.read(self.socket.fileno(), 1)
        except BlockingIOError:
            return True
        except OSError as exc:
            self.raised.append(exc)
            return False
        self.read.append((data, trio.lowlevel.current_task().name.rpartition(".")[2]))
        if data.isalpha() and self.turns:
            self.turns.pop(0).set()
        self.then(data)
        return data != b"!"

    async def reads(self) -> None:
        """The task that reads."""
        self.host = trio.lowlevel.current_task()
        while True:
            self.scope = trio.CancelScope()
            with self.scope:
                try:
                    await self.place.wait(self._act)
                except (OSError, trio.BusyResourceError, trio.ClosedResourceError) as exc:
                    self.raised.append(exc)
                if not self.raised:
                    self._act()
            if self.raised:
                return

    async def waits(self, task_status: trio.TaskStatus[Turn] = trio.TASK_STATUS_IGNORED) -> None:
        """A task that stands in."""
        turn = self.place.turn()
        self.turns.append(turn)
        task_status.started(turn)
        await turn.wait()

    async def has_one_stand_in(self, nursery: trio.Nursery) -> Turn:
        """Once this returns, it does; its turn."""
        turn: Turn = await nursery.start(self.waits)
        await trio.testing.wait_all_tasks_blocked()
        return turn

    async def send(self, data: bytes) -> None:
        await self.peer.send(data)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def reading() -> AsyncGenerator[tuple[Reading, trio.Nursery]]:
    """One of them, with its task, in a nursery; at its end, somebody still waits for the socket."""
    with trio.fail_after(10):
        it = Reading()
        with it.socket, it.peer:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(it.reads)
                await trio.testing.wait_all_tasks_blocked()
                yield it, nursery
                if not it.raised:
                    it.read.clear()
                    await it.send(b".")
                    assert it.read == [(b".", "reads")]
                nursery.cancel_scope.cancel()


async def test_the_socket_wakes_who_stands_in_and_then_the_other() -> None:
    async with reading() as (it, nursery):
        await nursery.start(it.waits)
        await it.send(b"a")
        await it.send(b"b")
        assert it.read == [(b"a", "waits"), (b"b", "reads")]


async def test_one_stands_in_at_a_time_and_the_next_may_follow() -> None:
    async with reading() as (it, nursery):
        await nursery.start(it.waits)
        await nursery.start(it.waits)
        await it.send(b"a")
        assert not it.turns[0].is_set()
        await it.send(b"b")
        assert it.turns == []
        await nursery.start(it.waits)
        await it.send(b"c")
        assert it.read == [(b"a", "waits"), (b"b", "reads"), (b"c", "waits")]


async def test_it_is_a_checkpoint_when_it_is_set_before() -> None:
    async with reading() as (it, _):
        turn = it.place.turn()
        turn.set()
        turn.set()
        with trio.testing.assert_checkpoints():
            await turn.wait()


async def test_who_stands_in_is_woken_by_somebody_else() -> None:
    async with reading() as (it, nursery):
        turn = await it.has_one_stand_in(nursery)
        turn.set()
        turn.set()


async def test_who_stands_in_is_cancelled() -> None:
    async with reading() as (it, _):
        with trio.move_on_after(0):
            await it.waits()
        it.turns.clear()
        await it.send(b"a")
        assert it.read == [(b"a", "reads")]


async def test_the_turn_comes_when_the_socket_has_woken_who_stands_in() -> None:
    """It reads nothing: what there is to be read wakes the other."""
    async with reading() as (it, nursery):
        turn = await it.has_one_stand_in(nursery)
        trio.lowlevel.add_instrument(Before(turn.task, turn.set))
        await it.send(b"a")
        assert it.read == [(b"a", "reads")]


async def test_the_task_that_reads_is_cancelled_meanwhile() -> None:
    """As it is when it is time to look after the peer: it comes back. Who stood in waits on, and another may."""
    async with reading() as (it, nursery):
        await nursery.start(it.waits)
        await trio.testing.wait_all_tasks_blocked()
        it.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        await nursery.start(it.waits)
        await it.send(b"a")
        await it.send(b"b")
        assert it.read == [(b"a", "waits"), (b"b", "waits")]


@pytest.mark.parametrize("set_too", [False, True])
async def test_the_task_that_reads_is_cancelled_when_the_socket_has_woken_who_stands_in(set_too: bool) -> None:
    async with reading() as (it, nursery):
        turn = await it.has_one_stand_in(nursery)

        def before() -> None:
            it.scope.cancel()
            if set_too:
                turn.set()

        trio.lowlevel.add_instrument(Before(turn.task, before))
        await it.send(b"a")
        assert it.read == [(b"a", "reads")]
        assert turn.is_set()


@pytest.mark.parametrize("data", [b"a", b".", b"!"], ids=["a message", "none", "something for the other"])
async def test_the_task_that_reads_is_cancelled_by_what_is_read(data: bytes) -> None:
    """As an end that is long due does, and an HTTP/2 connection that is lost where it is to be told of an error."""
    async with reading() as (it, nursery):
        turn = await it.has_one_stand_in(nursery)
        it.then = lambda _: it.scope.cancel()
        await it.send(data)
        it.then = lambda _: None
        assert turn.is_set() == (data == b"a")
        await it.send(b"b")
        assert it.read == [(data, "waits"), (b"b", "reads")]
        assert turn.is_set()


async def test_the_task_that_reads_is_cancelled_while_nobody_stands_in() -> None:
    async with reading() as (it, _):
        it.scope.cancel()
        await it.send(b"a")
        assert it.read == [(b"a", "reads")]


async def test_what_the_other_is_to_see_to() -> None:
    """Who stood in waits on without the place."""
    async with reading() as (it, nursery):
        turn = await nursery.start(it.waits)
        await it.send(b"!")
        assert not turn.is_set()
        await it.send(b"a")
        assert turn.is_set()
        assert it.read == [(b"!", "waits"), (b"a", "reads")]


async def test_a_wake_up_for_nothing() -> None:
    """Somebody else has read what there was."""
    async with reading() as (it, nursery):
        turn = await it.has_one_stand_in(nursery)
        trio.lowlevel.add_instrument(Before(turn.task, lambda: os.read(it.socket.fileno(), 9)))
        await it.send(b"a")
        assert it.read == []
        await it.send(b"b")
        assert it.read == [(b"b", "waits")]


@pytest.mark.parametrize("when", ["while it waits", "when it was woken", "when its turn has come, too"])
async def test_the_socket_is_closed(when: str) -> None:
    """The task that reads is told. Who stood in waits for what that makes of it."""
    async with reading() as (it, nursery):
        turn = await it.has_one_stand_in(nursery)

        def close() -> None:
            it.socket.close()
            if when.startswith("when its turn"):
                turn.set()

        if when == "while it waits":
            close()
        else:
            trio.lowlevel.add_instrument(Before(turn.task, close))
            await it.peer.send(b"a")
        await trio.testing.wait_all_tasks_blocked()
        [error] = it.raised
        assert isinstance(error, (OSError, trio.ClosedResourceError))
        turn.set()


async def test_the_socket_is_closed_and_the_task_that_reads_is_cancelled() -> None:
    """At once: who stood in is told nothing of it."""
    async with reading() as (it, nursery):
        turn = await it.has_one_stand_in(nursery)
        it.socket.close()
        it.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        [error] = it.raised
        assert isinstance(error, trio.ClosedResourceError)
        assert not turn.is_set()
        turn.set()


async def test_another_task_waits_for_the_socket() -> None:
    """One that knows nothing of places."""
    async with trio.open_nursery() as nursery:
        it = Reading()
        with it.socket, it.peer:
            nursery.start_soon(trio.lowlevel.wait_readable, it.socket)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="another task reads from the socket of this session"):
                await it.place.wait(it._act)
            nursery.cancel_scope.cancel()


async def test_a_socket_that_is_closed_before() -> None:
    it = Reading()
    it.socket.close()
    it.peer.close()
    with pytest.raises(trio.ClosedResourceError, match="the socket was closed"):
        await it.place.wait(it._act)


# -- Ctrl-C --------------------------------------------------------------------------------------


def test_ctrl_c_leaves_nobody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the task that reads has just been named. Whoever is, would be woken wherever it waits by then."""
    armed = strike_after(Place._enter, monkeypatch, Place)

    async def main() -> None:
        async def named() -> int:
            await trio.testing.wait_all_tasks_blocked()  # trio's own task, which the signal wakes, too
            return tasks_waiting_read()

        it = Reading()
        with it.socket, it.peer:
            before = await named()
            armed.append("now")
            with pytest.raises(KeyboardInterrupt):
                await it.place.wait(it._act)
            assert await named() == before

    trio.run(main)


def test_ctrl_c_leaves_nobody_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the place of one that is to be woken has just been given back."""
    armed = strike_after(Place.give_back, monkeypatch, Place)

    async def main() -> None:
        async with reading() as (it, _), trio.open_nursery() as nursery:
            turn = await it.has_one_stand_in(nursery)
            armed.append("now")
            with pytest.raises(KeyboardInterrupt):
                turn.set()
                await trio.lowlevel.checkpoint()
            it.turns.clear()

    trio.run(main)
