"""Writers that wait for room, on a connection without I/O; and a socket that has none."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketNetworkError, open_websocket
from httpx2_trio_ws._http2 import ErrorCode
from httpx2_trio_ws._http2_transport._turns import Turns
from httpx2_trio_ws._runtime._trio import TRIO

from .scripted import client_of, scripted
from .wire import Client, data, rst, settings, window

if TYPE_CHECKING:
    import ssl

    from httpx2_trio_ws._http2 import Stream

    from .scripted import Peer

    Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


class Writers:
    """So many streams of a connection whose own window is used up, and what each has written of what it wants to."""

    def __init__(self, streams: int, tasks: trio.Nursery) -> None:
        self.client = Client(streams, answered=True, first=settings((8, 1), (4, 100_000)))
        self.turns = Turns(TRIO, self.client.connection)
        self.written: list[tuple[int, int]] = []
        self.scopes: list[trio.CancelScope] = []
        self._tasks = tasks

    async def write(self, stream: Stream, count: int) -> None:
        """Begin to wait."""
        scope = trio.CancelScope()
        self.scopes.append(scope)

        async def task() -> None:
            with scope:
                self.written.append((stream.id, await self.turns.write(stream, bytes(count))))

        self._tasks.start_soon(task)
        await trio.testing.wait_all_tasks_blocked()

    async def open_window(self, stream: int, more: int) -> None:
        for event in self.client.receive(window(stream, more)):
            self.turns.window_opened(getattr(event, "stream", None))
        self.turns.serve()
        await trio.testing.wait_all_tasks_blocked()


async def test_who_came_first_has_the_most() -> None:
    async with trio.open_nursery() as tasks:
        writers = Writers(3, tasks)
        connection, (one, two, three) = writers.client.connection, writers.client.streams
        for stream in (one, two, three):
            while connection.send(stream, bytes(65536)):
                connection.take_output()
        await writers.write(three, 50_000)
        await writers.write(two, 50_000)
        before = [stream.sent for stream in (three, two)]
        await writers.open_window(0, 60_000)
        of_three, of_two = (stream.sent - sent for stream, sent in zip((three, two), before, strict=True))
        assert 50_000 > of_three > of_two > 0
        tasks.cancel_scope.cancel()


async def test_no_more_at_once_than_is_to_wait_to_be_written() -> None:
    async with trio.open_nursery() as tasks:
        writers = Writers(3, tasks)
        connection = writers.client.connection
        writers.client.receive(window(0, 2**20))
        connection.ping(bytes(8))
        one, two, three = writers.client.streams
        for stream in (one, two, three):
            await writers.write(stream, 65_000)
        writers.turns.serve()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(stream for stream, _ in writers.written) == [one.id, two.id]
        connection.take_output()
        writers.turns.serve()


async def test_with_little_room_what_is_short_goes_first() -> None:
    """Long data is not sent in bits, and keeps nothing from its way."""
    async with trio.open_nursery() as tasks:
        writers = Writers(3, tasks)
        connection, (one, two, three) = writers.client.connection, writers.client.streams
        for stream in (one, two):
            while connection.send(stream, bytes(65536)):
                connection.take_output()
        while connection.send(three, bytes(3)):
            connection.take_output()
        await writers.write(three, 50_000)
        await writers.write(two, 100)
        await writers.open_window(two.id, 60_000)
        await writers.open_window(0, 1000)
        assert writers.written == [(two.id, 100)]
        before = three.sent
        await writers.open_window(0, 60_000)
        assert three.sent > before + 2048
        tasks.cancel_scope.cancel()


async def test_long_data_waits_for_room_that_is_worth_a_frame() -> None:
    async with trio.open_nursery() as tasks:
        writers = Writers(1, tasks)
        connection, [stream] = writers.client.connection, writers.client.streams
        while connection.send(stream, bytes(65535)):
            connection.take_output()
        before = stream.sent
        await writers.write(stream, 30_000)
        await writers.open_window(0, 1000)
        assert stream.sent == before
        await writers.open_window(0, 1100)
        assert stream.sent == before + 2100
        tasks.cancel_scope.cancel()


async def test_a_writer_sleeps_until_all_is_written_or_for_a_while(autojump_clock: object) -> None:
    async with trio.open_nursery() as tasks:
        writers = Writers(2, tasks)
        connection, (one, two) = writers.client.connection, writers.client.streams
        connection.reset(two, ErrorCode.CANCEL)
        writers.client.receive(window(0, 2**20))
        while connection.send(one, bytes(65536)):
            connection.take_output()
        for times in (3, 1):
            writers.written.clear()
            await writers.write(one, 30_000)
            for _ in range(times):
                await writers.open_window(one.id, 10_000)
            if times == 1:
                assert not writers.written
                await trio.sleep(0.3)
                assert not writers.written, "nothing has happened"
                await writers.open_window(one.id, 5000)
            assert writers.written == [(one.id, 30_000 if times == 3 else 15_000)]


async def test_a_window_that_is_still_used_up_serves_nobody() -> None:
    async with trio.open_nursery() as tasks:
        writers = Writers(1, tasks)
        connection, [stream] = writers.client.connection, writers.client.streams
        writers.client.receive(window(0, 2**20))
        while connection.send(stream, bytes(65536)):
            connection.take_output()
        writers.client.receive(settings((4, 1000)))
        await writers.write(stream, 10)
        await writers.open_window(stream.id, 10)
        assert not writers.written
        await writers.open_window(stream.id, 100_000)
        assert writers.written == [(stream.id, 10)]


async def test_one_that_is_cancelled_and_one_that_has_ended_keep_nobody_from_its_turn() -> None:
    async with trio.open_nursery() as tasks:
        writers = Writers(3, tasks)
        connection = writers.client.connection
        for stream in writers.client.streams:
            while connection.send(stream, bytes(65536)):
                connection.take_output()
            await writers.write(stream, 1000)
        one, two, three = writers.client.streams
        writers.scopes[0].cancel()
        writers.client.receive(rst(two.id, 8))
        writers.turns.release(two)
        await writers.open_window(0, 100_000)
        assert dict(writers.written) == {two.id: 0, three.id: 1000}
        assert one.id not in dict(writers.written)


@pytest.mark.parametrize("end", ["reset", "goes on"])
async def test_a_socket_that_takes_no_more(tls: Contexts, end: str) -> None:
    """The writer waits for it. When it goes on, all is written; when it fails, all sessions are told."""
    full = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet(settings((8, 1), (4, 2**30)) + window(0, 2**30))
        stream = await peer.accept()
        await full.wait()
        if end == "reset":
            raw: Any = peer.stream
            raw.transport_stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        left = 8_000_000
        while left > 0:
            left -= len(await peer.until(0, stream))
        await peer.send(data(stream, b"\x81\x03all"))
        await peer.wait_end()

    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1], socket_options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)]) as client,
        open_websocket(client, server.url, close_timeout_seconds=0.1) as ws,
        trio.open_nursery() as tasks,
    ):
        failed = partial(pytest.raises, WebSocketNetworkError, match="connection was lost")

        @tasks.start_soon
        async def sends() -> None:
            if end == "reset":
                with failed():
                    await ws.send(bytes(8_000_000))
            else:
                await ws.send(bytes(8_000_000))

        await trio.testing.wait_all_tasks_blocked(0.2)
        full.set()
        if end == "reset":
            with failed():
                await ws.receive()
        else:
            assert await ws.receive() == "all"
