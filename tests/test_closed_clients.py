"""A client that is closed under an open session: the session is told at once, and the connection ends with it."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from httpx2_trio_ws import WebSocketNetworkError
from httpx2_trio_ws._carriers._beneath import call_before_closing
from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.sync import open_websocket as open_blocking

from .handshake_support import client_context, server_context
from .memory import text
from .sync.support import LONG, Task, eventually, listening, new_client, readers, upgrade
from .test_tls_carriers import each_loop, run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from httpx2_trio_ws.anyio import WebSocketSession
    from httpx2_trio_ws.sync import SyncWebSocketSession

    from .sync.support import Peer

# The limits of a session that is told nothing are longer than any of this takes.
OPTIONS: dict[str, Any] = {
    "compression": None,
    "close_timeout_seconds": 60,
    "failure_grace_seconds": 60,
    "keepalive_ping_interval_seconds": None,
    "queue_size": 1,
}
BLOCKING = {name: value for name, value in OPTIONS.items() if name != "failure_grace_seconds"}
SMALL = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]
each_transport = pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])


def url(address: str, *, tls: bool) -> str:
    return f"{'wss' if tls else 'ws'}://{address}/"


@contextlib.asynccontextmanager
async def session(*, tls: bool) -> AsyncGenerator[tuple[httpx2.AsyncClient, WebSocketSession, Peer]]:
    """A client, a session of its, and its peer. The block ends soon, whatever happens."""
    with listening(server_context() if tls else None) as (address, accept):
        accepting = Task(lambda: upgrade(accept()))
        transport = httpx2.AsyncHTTPTransport(verify=client_context() if tls else False, socket_options=SMALL)
        async with httpx2.AsyncClient(transport=transport) as client:
            async with open_websocket(client, url(address, tls=tls), **OPTIONS) as ws:
                peer = accepting.result()
                yield client, ws, peer
                began = time.monotonic()
            assert time.monotonic() - began < LONG / 2


def at_the_end(peer: Peer) -> None:
    """The peer is told that the connection has ended, one way or another."""
    with contextlib.suppress(OSError):
        while peer.socket.recv(65536):
            pass


@each_loop
@each_transport
def test_who_waits_for_a_message_is_told(loop: str, tls: bool) -> None:
    async def main() -> None:
        async with session(tls=tls) as (client, ws, peer):
            peer.send(text("a"))
            assert await ws.receive() == "a"

            async def receive() -> None:
                with pytest.raises(WebSocketNetworkError, match="closed"):
                    await ws.receive()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                await anyio.sleep(0.05)
                await client.aclose()
            at_the_end(peer)
            with pytest.raises(WebSocketNetworkError):
                await ws.wait_closed()

    run(loop, main)


@each_loop
@each_transport
def test_a_send_that_waits_for_room_is_told(loop: str, tls: bool) -> None:
    """While reading is paused, too."""

    async def main() -> None:
        async with session(tls=tls) as (client, ws, peer):
            peer.send(text("a"), text("b"))
            await anyio.sleep(0.05)

            async def send() -> None:
                with pytest.raises(WebSocketNetworkError):
                    await ws.send(bytes(10_000_000))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                await anyio.sleep(0.05)
                await client.aclose()
            assert [await ws.receive(), await ws.receive()] == ["a", "b"]
            with pytest.raises(WebSocketNetworkError):
                await ws.receive()

    run(loop, main)


@each_loop
@each_transport
def test_reading_that_pauses_finds_it_out_when_it_goes_on(loop: str, tls: bool) -> None:
    async def main() -> None:
        async with session(tls=tls) as (client, ws, peer):
            peer.send(text("a"), text("b"))
            await anyio.sleep(0.05)
            await client.aclose()
            at_the_end(peer)
            assert [await ws.receive(), await ws.receive()] == ["a", "b"]
            with pytest.raises(WebSocketNetworkError):
                await ws.receive()

    run(loop, main)


@contextlib.contextmanager
def blocking_session(*, tls: bool) -> Generator[tuple[httpx2.Client, SyncWebSocketSession, Peer]]:
    with listening(server_context() if tls else None) as (address, accept):
        accepting = Task(lambda: upgrade(accept()))
        transport = httpx2.HTTPTransport(verify=client_context() if tls else False, socket_options=SMALL)
        with new_client(transport=transport) as client:
            with open_blocking(client, url(address, tls=tls), **BLOCKING) as ws:
                yield client, ws, accepting.result()
                began = time.monotonic()
            assert time.monotonic() - began < LONG / 2
    assert readers() == []


@each_transport
def test_in_threads_who_waits_for_a_message_is_told(tls: bool) -> None:
    with blocking_session(tls=tls) as (client, ws, peer):
        receiving = Task(ws.receive)
        eventually(lambda: ws._inbox._receivers)
        time.sleep(0.05)
        client.close()
        with pytest.raises(WebSocketNetworkError, match="the client was closed"):
            receiving.result()
        at_the_end(peer)
        with pytest.raises(WebSocketNetworkError):
            ws.wait_closed(LONG)


@each_transport
def test_in_threads_a_send_that_waits_for_room_is_told(tls: bool) -> None:
    """While reading is paused, too."""
    with blocking_session(tls=tls) as (client, ws, peer):
        peer.send(text("a"), text("b"))
        eventually(lambda: ws._inbox.resume_at >= 0)
        sending = Task(ws.send, bytes(10_000_000))
        eventually(lambda: ws._outbox._unwritten)
        time.sleep(0.05)
        client.close()
        with pytest.raises(WebSocketNetworkError):
            sending.result()
        assert ws.receive(LONG) == "a"
        with contextlib.suppress(WebSocketNetworkError):  # draining goes on for a second
            assert ws.receive(LONG) == "b"
        with pytest.raises(WebSocketNetworkError):
            ws.receive(LONG)


@each_transport
def test_in_threads_reading_that_pauses_finds_it_out_when_it_goes_on(tls: bool) -> None:
    with blocking_session(tls=tls) as (client, ws, peer):
        peer.send(text("a"), text("b"))
        eventually(lambda: ws._inbox.resume_at >= 0)
        client.close()
        at_the_end(peer)
        assert [ws.receive(LONG), ws.receive(LONG)] == ["a", "b"]
        with pytest.raises(WebSocketNetworkError, match="the client was closed"):
            ws.receive(LONG)


def test_a_stream_that_is_not_as_expected_is_left_alone() -> None:
    class Beneath:
        __slots__ = ()

        def close(self) -> None: ...

    class Stream:
        _stream = Beneath()

    class Told:
        client_closes = pytest.fail

    for stream in (object(), Stream()):
        call_before_closing(stream, Told())
