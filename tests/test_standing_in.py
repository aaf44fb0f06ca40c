"""On trio, a task that waits for a message stands in for the one that reads: what it saves, and all that may come between."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from httpx2_trio_ws import (
    Instrument,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketNetworkError,
    WebSocketSession,
    open_websocket,
)
from httpx2_trio_ws._carriers._trio_place import Turn, place_for

from .http2.scripted import client_of
from .http2.server import serving
from .memory import PING, PONG, Peer, frame, text
from .servers import scripted_server, tcp_server, upgrade

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable

    import httpx2

    from .http2.server import ServerStream

OPTIONS: dict[str, Any] = {"compression": None, "close_timeout_seconds": 0}


class Steps(trio.abc.Instrument):
    """Counts the steps of tasks by class and method."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.counted[".".join(task.name.split(".")[-2:])] += 1


class Before(trio.abc.Instrument):
    """Calls a function once, when a task is about to run: something has woken it by then."""

    def __init__(self, task: trio.lowlevel.Task | None, function: Callable[[], object]) -> None:
        self.task = task
        self.function = function

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            trio.lowlevel.remove_instrument(self)
            self.function()


# -- sessions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("over_tls", [False, True], ids=["TCP", "TLS"])
async def test_the_task_that_reads_sleeps_while_another_waits(
    client: httpx2.AsyncClient, tls: tuple[ssl.SSLContext, ssl.SSLContext], over_tls: bool
) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        peer = await upgrade(stream)
        for _ in range(20):
            await peer.send(text((await peer.receive()).payload.decode()))
        await peer.answer_close()

    steps = Steps()
    async with (
        tcp_server(handler, tls[0] if over_tls else None) as address,
        open_websocket(client, f"{'wss' if over_tls else 'ws'}://{address}", compression=None) as ws,
    ):
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        for number in range(20):
            await ws.send(str(number))
            assert await ws.receive() == str(number)
        trio.lowlevel.remove_instrument(steps)
    assert steps.counted["Engine.run"] == 0


async def test_over_http2_that_is_the_connection_s_task(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Whoever waits for a message acts on what comes for all the others."""

    async def handler(stream: ServerStream) -> None:
        peer = await stream.accept()
        async for message in peer:
            await peer.send(message)

    steps = Steps()
    async with (
        serving(handler, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url) as one,
        open_websocket(client, server.url) as other,
    ):
        await trio.testing.wait_all_tasks_blocked(0.01)
        trio.lowlevel.add_instrument(steps)
        for number in range(20):
            await one.send(str(number))
            await other.send(str(number))
            assert await one.receive() == str(number)
            assert await other.receive() == str(number)
        trio.lowlevel.remove_instrument(steps)
    assert steps.counted["Connection.run"] == steps.counted["Engine.run"] == 0


async def test_what_is_no_message_is_seen_to_by_who_stands_in(client: httpx2.AsyncClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(frame(PING, b"1"))
        assert (await peer.receive()).opcode == PONG
        await peer.send(frame(1, b"one ", fin=False))
        await peer.send(frame(PING, b"2"))
        assert (await peer.receive()).payload == b"2"
        await peer.send(frame(0, b"message"))
        await peer.close(1001, "away")

    async with scripted_server(script) as url, open_websocket(client, url, **OPTIONS) as ws:
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await ws.receive() == "one message"
        with pytest.raises(WebSocketDisconnect, match="away"):
            await ws.receive()


async def test_a_ping_is_answered_when_nobody_waits_any_more(client: httpx2.AsyncClient) -> None:
    """After a message, and after a wait that was cancelled."""

    async def script(peer: Peer) -> None:
        await peer.send(text("a"))
        for _ in range(2):
            assert (await peer.receive()).payload == b"go on"
            await peer.send(frame(PING, b"x"))
            assert (await peer.receive()).opcode == PONG
            await peer.send(text("b"))
        await peer.answer_close()

    async with scripted_server(script) as url, open_websocket(client, url, compression=None) as ws:
        assert await ws.receive() == "a"
        await ws.send("go on")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await ws.receive() == "b"
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.receive)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        await ws.send("go on")
        assert await ws.receive() == "b"


async def test_those_that_wait_take_messages_in_the_order_of_their_calls(client: httpx2.AsyncClient) -> None:
    """The one that stands in is not the first of them once that has been cancelled."""

    async def script(peer: Peer) -> None:
        await peer.receive()
        for message in "abc":
            await peer.send(text(message))
            await peer.receive()
        await peer.answer_close()

    taken: list[tuple[int, str | bytes]] = []
    async with scripted_server(script) as url, open_websocket(client, url, compression=None) as ws:

        async def receive(number: int, scope: trio.CancelScope) -> None:
            with scope:
                taken.append((number, await ws.receive()))
                await ws.send("next")

        async with trio.open_nursery() as nursery:
            scopes = [trio.CancelScope() for _ in range(4)]
            for number, scope in enumerate(scopes):
                nursery.start_soon(receive, number, scope)
                await trio.testing.wait_all_tasks_blocked()
            scopes[0].cancel()
            await trio.testing.wait_all_tasks_blocked()
            await ws.send("first")
    assert taken == [(1, "a"), (2, "b"), (3, "c")]


async def test_hooks_are_called_in_the_session_s_task(client: httpx2.AsyncClient) -> None:
    class Note(Instrument):
        tasks: set[str]

        def frame_received(self, session: Any, frame: Any) -> None:
            self.tasks.add(trio.lowlevel.current_task().name.rpartition(".")[2])

    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.send(text("a"))
        await peer.answer_close()

    note = Note()
    note.tasks = set()
    async with scripted_server(script) as url, open_websocket(client, url, instruments=[note], compression=None) as ws:
        await ws.send("x")
        assert await ws.receive() == "a"
    assert note.tasks == {"run"}


async def test_a_connection_that_is_lost_fails_the_session_as_ever(client: httpx2.AsyncClient) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        peer = await upgrade(stream)
        await peer.receive()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()

    async with tcp_server(handler) as address, open_websocket(client, f"ws://{address}", **OPTIONS) as ws:
        await ws.send("x")
        with pytest.raises(WebSocketNetworkError, match="reset by peer"):
            await ws.receive()


async def test_a_bug_comes_out_of_the_session_s_task(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who stands in, where it shows, is told that the session has ended, like all others."""

    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.send(text("a"))

    def divide_by_zero(*_: Any) -> float:
        return 1 / 0

    told: list[str] = []

    async def receive(ws: WebSocketSession) -> None:
        with pytest.raises(WebSocketClosedError) as caught:
            await ws.receive()
        told.append(str(caught.value))

    with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError), flatten_subgroups=True):
        async with scripted_server(script) as url, open_websocket(client, url, **OPTIONS) as ws:
            monkeypatch.setattr(type(ws._engine.connection), "receive_data", divide_by_zero)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive, ws)
                await trio.testing.wait_all_tasks_blocked()
                await ws.send("x")
    assert "division by zero" in told[0]


async def test_without_what_trio_does_not_document(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task that reads waits for the socket in public, and passes on what it has read."""

    async def script(peer: Peer) -> None:
        await peer.send(text((await peer.receive()).payload.decode()))
        await peer.answer_close()

    monkeypatch.delitem(sys.modules, "trio._core._run")
    steps = Steps()
    async with scripted_server(script) as url, open_websocket(client, url, compression=None) as ws:
        trio.lowlevel.add_instrument(steps)
        await ws.send("a")
        assert await ws.receive() == "a"
        trio.lowlevel.remove_instrument(steps)
    assert steps.counted["Engine.run"] > 0


# -- what may come between -----------------------------------------------------------------------


class Reading:
    """A socket, the place before it, and the task that reads: each byte sets a turn, in order."""

    def __init__(self) -> None:
        self.socket, self.peer = trio.socket.socketpair()
        place = place_for(self.socket, self._act)
        assert place is not None
        self.place = place
        self.host: trio.lowlevel.Task | None = None
        self.scope = trio.CancelScope()
        self.turns: list[Turn] = []
        #: Each byte, and the name of the task that has read it.
        self.read: list[tuple[bytes, str]] = []
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
        if data != b"!" and self.turns:
            self.turns.pop(0).set()
        return data != b"!"

    async def reads(self) -> None:
        """The task that reads."""
        self.host = trio.lowlevel.current_task()
        while True:
            self.scope = trio.CancelScope()
            with self.scope:
                try:
                    await self.place.wait()
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
        turn = await nursery.start(it.waits)
        await trio.testing.wait_all_tasks_blocked()
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
        turn = await nursery.start(it.waits)
        await trio.testing.wait_all_tasks_blocked()
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
        turn = await nursery.start(it.waits)
        await trio.testing.wait_all_tasks_blocked()

        def before() -> None:
            it.scope.cancel()
            if set_too:
                turn.set()

        trio.lowlevel.add_instrument(Before(turn.task, before))
        await it.send(b"a")
        assert it.read == [(b"a", "reads")]
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
        turn = await nursery.start(it.waits)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(Before(turn.task, lambda: os.read(it.socket.fileno(), 9)))
        await it.send(b"a")
        assert it.read == []
        await it.send(b"b")
        assert it.read == [(b"b", "waits")]


@pytest.mark.parametrize("when", ["while it waits", "when it was woken", "when its turn has come, too"])
async def test_the_socket_is_closed(when: str) -> None:
    """The task that reads is told. Who stood in waits for what that makes of it."""
    async with reading() as (it, nursery):
        turn = await nursery.start(it.waits)
        await trio.testing.wait_all_tasks_blocked()

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


async def test_another_task_waits_for_the_socket() -> None:
    """One that knows nothing of places."""
    async with trio.open_nursery() as nursery:
        it = Reading()
        with it.socket, it.peer:
            nursery.start_soon(trio.lowlevel.wait_readable, it.socket)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="another task reads from the socket of this session"):
                await it.place.wait()
            nursery.cancel_scope.cancel()


async def test_a_socket_that_is_closed_before() -> None:
    it = Reading()
    it.socket.close()
    it.peer.close()
    with pytest.raises(trio.ClosedResourceError, match="the socket was closed"):
        await it.place.wait()
