"""On trio, a task that waits for a message stands in for the one that reads: sessions. What may come between: test_places."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx2
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

from .http2.scripted import Peer as ScriptedServer
from .http2.scripted import client_of, scripted
from .http2.server import serving
from .http2.wire import PUSH
from .http2.wire import frame as http2_frame
from .memory import PING, PONG, Peer, frame, text
from .servers import scripted_server, tcp_server, upgrade
from .test_places import Before

if TYPE_CHECKING:
    from .http2.server import ServerStream

OPTIONS: dict[str, Any] = {"compression": None, "close_timeout_seconds": 0}


class Steps(trio.abc.Instrument):
    """Counts the steps of tasks by class and method."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.counted[".".join(task.name.split(".")[-2:])] += 1


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


async def test_over_http2_what_is_read_may_cancel_the_connection_s_task(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """The server breaks HTTP/2, and cannot be told so."""

    breaks = trio.Event()

    async def script(server: ScriptedServer) -> None:
        await server.greet()
        await server.accept()
        await breaks.wait()
        await server.send(http2_frame(PUSH))
        await server.wait_end()

    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url, **OPTIONS) as ws,
        trio.open_nursery() as nursery,
    ):
        carrier: Any = ws._engine.carrier
        beneath: trio.socket.SocketType = carrier._stream._connection._carrier._socket

        async def receive(task_status: trio.TaskStatus[trio.lowlevel.Task]) -> None:
            task_status.started(trio.lowlevel.current_task())
            with pytest.raises(WebSocketNetworkError, match="broke HTTP/2"):
                await ws.receive()

        task = await nursery.start(receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        trio.lowlevel.add_instrument(Before(task, lambda: beneath.shutdown(socket.SHUT_WR)))
        breaks.set()


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


async def test_more_than_there_is_room_for_is_left_to_the_task_that_reads(client: httpx2.AsyncClient) -> None:
    """Nothing else comes that could wake it."""

    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.send(b"".join(text(str(number)) for number in range(9)))
        await peer.answer_close()

    async with (
        scripted_server(script) as url,
        open_websocket(client, url, queue_size=1, compression=None) as ws,
        trio.open_nursery() as nursery,
    ):

        async def receive() -> None:
            with trio.fail_after(10):
                assert [await ws.receive() for _ in range(9)] == [str(number) for number in range(9)]

        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await ws.send("x")


async def test_an_end_of_tls_behind_a_message_is_told_at_once(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """The socket stays open, so it wakes nobody once more."""
    over = trio.Event()

    async def handler(stream: Any) -> None:
        peer = await upgrade(stream)
        await peer.receive()
        stream._ssl_object.write(text("a"))
        with pytest.raises(ssl.SSLWantReadError):
            stream._ssl_object.unwrap()
        await stream.transport_stream.send_all(stream._outgoing.read())
        await over.wait()

    async with (
        tcp_server(handler, tls[0]) as address,
        httpx2.AsyncClient(verify=tls[1]) as client,
        open_websocket(client, f"wss://{address}", **OPTIONS) as ws,
        trio.open_nursery() as nursery,
    ):

        async def receive() -> None:
            assert await ws.receive() == "a"
            with trio.fail_after(10), pytest.raises(WebSocketNetworkError, match="the peer ended it"):
                await ws.receive()
            over.set()

        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await ws.send("x")


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
