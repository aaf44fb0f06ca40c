"""Signs of life over TLS, where nothing but time tells that a write has waited: also in a program that is busy."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketKeepaliveTimeout, open_websocket
from httpx2_trio_ws._carriers._descriptor import has_room
from httpx2_trio_ws._carriers._stream import StreamCarrier

from .handshake_support import new_client
from .paced import paced_client
from .servers import tcp_server, upgrade

if TYPE_CHECKING:
    import ssl


async def test_a_busy_program_does_not_take_a_dead_peer_for_a_living_one(
    mock_clock: trio.testing.MockClock, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Each write takes long then, also one that need not wait for the peer."""

    async def handler(stream: trio.abc.Stream) -> None:
        await upgrade(stream)
        await trio.sleep_forever()

    async def work() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            mock_clock.jump(0.3)

    server, client_context = tls
    async with (
        tcp_server(handler, server) as address,
        new_client(verify=client_context) as client,
        open_websocket(client, f"wss://{address}", close_timeout_seconds=0) as ws,
        trio.open_nursery() as busy,
    ):
        busy.start_soon(work)
        with pytest.raises(WebSocketKeepaliveTimeout), trio.fail_after(60):
            while True:
                with trio.move_on_after(5):
                    await ws.receive()
                await ws.send("x")
        busy.cancel_scope.cancel()


async def test_a_slow_peer_that_takes_bytes_lives(
    mock_clock: trio.testing.MockClock, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """It says nothing for five minutes."""
    turns, take = trio.open_memory_channel[None](0)

    async def handler(stream: trio.abc.Stream) -> None:
        await upgrade(stream)
        async for _ in take:
            for _ in range(16):  # enough for the kernel to tell the other side of it
                await stream.receive_some()

    server, client_context = tls
    async with (
        tcp_server(handler, server) as address,
        paced_client(client_context) as client,
        open_websocket(client, f"wss://{address}", close_timeout_seconds=0) as ws,
        trio.open_nursery() as others,
    ):
        others.start_soon(ws.send, bytes(20_000_000))
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(15)
            sent = ws.statistics().bytes_sent
            await turns.send(None)
            while ws.statistics().bytes_sent == sent:  # a busy machine takes its time
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert not ws.closed
        others.cancel_scope.cancel()


class _Carrier:
    """A network stream over a socket. A write fills it, whatever is written."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def get_extra_info(self, info: str) -> Any:
        return self._socket if info == "socket" else None

    async def write(self, buffer: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.send(bytes(65536))


async def test_a_write_that_leaves_no_room_may_have_waited() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        transport = StreamCarrier(httpx2.Response(101, extensions={"network_stream": _Carrier(ours)}))
        assert has_room(ours)
        await transport.write(memoryview(b"x"))
        assert not has_room(ours)
        assert not transport.had_room
    assert not has_room(ours)  # it is closed
    assert not has_room(None)
