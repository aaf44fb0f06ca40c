"""A peer that takes little at a time, behind a kernel that takes much at once: nothing comes, and no write waits."""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

import anyio.to_thread
import httpx2
import pytest

from httpx2_trio_ws import WebSocketKeepaliveTimeout, sync
from httpx2_trio_ws._carriers._descriptor import in_flight
from httpx2_trio_ws.anyio import open_websocket

from .handshake_support import client_context, server_context
from .sync.support import Peer, Task, listening, upgrade
from .test_closed_clients import each_transport, url
from .test_tls_carriers import each_loop, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what is on its way")

SIZE = 150_000
BUFFER = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)]
# Little is held there, and it is taken in small segments, as on a network.
LITTLE = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096), (socket.IPPROTO_TCP, socket.TCP_MAXSEG, 500)]
OPTIONS: dict[str, Any] = {
    "compression": None,
    "close_timeout_seconds": 0,
    "keepalive_ping_interval_seconds": 0.3,
    "keepalive_ping_timeout_seconds": 1,
}


def take_slowly(peer: Peer) -> None:
    """All of the message, much later than a peer may be silent."""
    taken = 0
    began = time.monotonic()
    while taken < SIZE:
        time.sleep(0.05)
        taken += len(peer.socket.recv(3000))
    assert time.monotonic() - began > 2


@each_loop
@each_transport
def test_it_lives(loop: str, tls: bool) -> None:
    async def main() -> None:
        with listening(server_context() if tls else None, options=LITTLE) as (address, accept):
            transport = httpx2.AsyncHTTPTransport(verify=client_context(), socket_options=BUFFER)
            accepting = Task(lambda: upgrade(accept()))
            async with (
                httpx2.AsyncClient(transport=transport) as client,
                open_websocket(client, url(address, tls=tls), **OPTIONS) as ws,
            ):
                taking = Task(take_slowly, accepting.result())
                await ws.send(bytes(SIZE))
                await anyio.to_thread.run_sync(taking.result)
                assert not ws.closed
                with pytest.raises(WebSocketKeepaliveTimeout):
                    await ws.receive()  # now it takes nothing, and says nothing

    run(loop, main)


@each_transport
def test_it_lives_in_threads(tls: bool) -> None:
    with listening(server_context() if tls else None, options=LITTLE) as (address, accept):
        transport = httpx2.HTTPTransport(verify=client_context(), socket_options=BUFFER)
        accepting = Task(lambda: upgrade(accept()))
        with (
            httpx2.Client(transport=transport) as client,
            sync.open_websocket(client, url(address, tls=tls), **OPTIONS) as ws,
        ):
            taking = Task(take_slowly, accepting.result())
            ws.send(bytes(SIZE))
            taking.result()
            assert not ws.closed
            with pytest.raises(WebSocketKeepaliveTimeout):
                ws.receive()


def test_what_cannot_be_told() -> None:
    with socket.socket() as closed:
        pass
    assert in_flight(closed) == in_flight(None) == 0
