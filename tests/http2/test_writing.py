"""Writes that fail, on two sockets between which the kernel delivers at once."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2
import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketNetworkError, open_websocket
from httpx2_trio_ws.http2 import HTTP2Transport
from tests.memory import text
from tests.test_standing_in import Steps

from .scripted import WITH_WEBSOCKETS, Peer, unmasked
from .stream_end import PlainStream
from .wire import DATA, data, frame, settings, window

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from httpx2_trio_ws import WebSocketSession


class Backend(httpcore2.AsyncNetworkBackend):
    """Connects to one end of a pair of sockets."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    async def connect_tcp(self, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return PlainStream(trio.socket.from_stdlib_socket(self._end))


class Deaf(Peer):
    """A server that can stop reading, so that the client's writes fail."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(trio.SocketStream(trio.socket.from_stdlib_socket(end)), 0)
        self._end = end

    def stop_reading(self) -> None:
        self._end.shutdown(socket.SHUT_RD)
        with contextlib.suppress(ConnectionResetError):
            while os.read(self._end.fileno(), 65536):
                pass  # until there is room, a writer that waits for it is not told


@contextlib.asynccontextmanager
async def session(first: bytes = WITH_WEBSOCKETS) -> AsyncGenerator[tuple[WebSocketSession, Deaf]]:
    ours, theirs = socket.socketpair()

    class Transport(HTTP2Transport):
        def _loop_of_caller(self) -> Any:
            return (*super()._loop_of_caller()[:2], Backend(ours))

    with theirs:
        peer = Deaf(theirs)

        async def accept() -> None:
            await peer.greet(first)
            await peer.accept()

        async with httpx2.AsyncClient(transport=Transport(http1=False)) as client, trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            async with open_websocket(client, "ws://x/") as ws:
                await trio.testing.wait_all_tasks_blocked()
                yield ws, peer


async def test_an_answer_is_alone_and_what_follows_it_soon_is_not(autojump_clock: object) -> None:
    """One is written by the call, the others are gathered. No time passes."""
    async with session() as (ws, peer):
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for _ in range(3):
            await peer.send(data(1, text("question")))
            await ws.receive()
            await ws.send("answer")
            await peer.until(DATA)
        await trio.testing.wait_all_tasks_blocked()
        assert steps.counted["Connection._write_loop"] == 0
        await ws.send("more")
        assert b"more" in unmasked(await peer.until(DATA))
        assert steps.counted["Connection._write_loop"] > 0
        trio.lowlevel.remove_instrument(steps)


async def test_what_arrived_before_is_read(autojump_clock: object) -> None:
    """The server reads nothing more, and then says why it goes."""
    async with session() as (ws, peer):
        peer.stop_reading()
        await ws.send("x")
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(data(1, text("last words")))
        assert await ws.receive() == "last words"
        with pytest.raises(WebSocketNetworkError, match="Broken pipe"):
            await ws.receive()


async def test_while_the_writer_waits(autojump_clock: object) -> None:
    async with session(settings((8, 1), (4, 2**30)) + window(0, 2**30)) as (ws, peer), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def sends() -> None:
            with pytest.raises(WebSocketNetworkError, match="Broken pipe"):
                await ws.send(bytes(4_000_000))

        await trio.testing.wait_all_tasks_blocked()
        peer.stop_reading()


async def test_of_what_was_to_be_said_last(autojump_clock: object) -> None:
    """The server broke HTTP/2, and does not hear that it did: nothing is waited for."""
    async with session() as (ws, peer):
        peer.stop_reading()
        began = trio.current_time()
        await peer.send(frame(6, 0, 1, bytes(8)))
        with pytest.raises(WebSocketNetworkError, match="PING of a stream"):
            await ws.receive()
        await ws.close()
        assert trio.current_time() == began
