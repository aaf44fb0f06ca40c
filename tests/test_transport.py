"""The two carriers, over real sockets."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketNetworkError, open_websocket
from httpx2_trio_ws._carriers import _trio as transport_module
from httpx2_trio_ws._carriers._stream import StreamCarrier
from httpx2_trio_ws._carriers._trio import SocketCarrier, TLSCarrier

from .memory import PING, Peer, frame, memory_session, text
from .servers import scripted_server, tcp_server, upgrade

if TYPE_CHECKING:
    import ssl


async def wait_forever(_: Peer) -> None:
    await trio.sleep_forever()


async def test_plain_connections_go_through_the_socket_and_others_through_the_stream(
    client: httpx2.AsyncClient, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with scripted_server(wait_forever) as url, open_websocket(client, url, close_timeout_seconds=0) as ws:
        assert isinstance(ws._engine.carrier, SocketCarrier)

    async def handler(stream: trio.SocketStream) -> None:
        await (await upgrade(stream)).answer_close()

    async with tcp_server(handler, tls[0]) as address, open_websocket(client, f"wss://{address}") as ws:
        assert isinstance(ws._engine.carrier, TLSCarrier)
    async with memory_session(close_timeout_seconds=0) as (ws, _):
        assert type(ws._engine.carrier) is StreamCarrier


async def test_where_descriptors_are_not_for_reading_it_is_the_stream(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.send(text("a"))
        await peer.answer_close()

    monkeypatch.setattr("os.name", "nt")
    async with scripted_server(handler) as url, open_websocket(client, url) as ws:
        assert type(ws._engine.carrier) is StreamCarrier
        assert await ws.receive() == "a"
        await ws.send("b")


def tasks_of_sessions() -> set[str]:
    """The names of the tasks that run sessions."""
    found: set[str] = set()
    tasks = [trio.lowlevel.current_root_task()]
    for task in tasks:
        assert task is not None
        found.add(task.name.rpartition(".")[2] if "Engine" in task.name else "")
        tasks.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return found - {""}


async def test_the_send_loop_runs_while_there_is_something_to_send(client: httpx2.AsyncClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(frame(PING))
        for _ in range(53):
            await peer.receive()
        await peer.answer_close()

    async with scripted_server(script) as url, open_websocket(client, url, compression=None) as ws:
        await trio.testing.wait_all_tasks_blocked()
        await ws.send("lone")
        assert tasks_of_sessions() == {"run"}
        await ws.pong()
        assert tasks_of_sessions() == {"run"}
        for number in range(50):
            await ws.send(str(number))
        assert tasks_of_sessions() == {"run", "_send_loop"}
        await trio.testing.wait_all_tasks_blocked()
        assert tasks_of_sessions() == {"run"}


async def send_two_and_reset(peer: Peer) -> None:
    """Once something has come."""
    await peer.send(text("a"), text("b"))
    await peer.receive()
    assert isinstance(peer.stream, trio.SocketStream)
    peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.stream.socket.close()


async def test_a_reset_met_by_a_lone_send(client: httpx2.AsyncClient) -> None:
    """While a slow consumer keeps us from reading, it is a send that meets the reset; what came before is there."""
    async with scripted_server(send_two_and_reset) as url, open_websocket(client, url, queue_size=1) as ws:
        await ws.send("drop me")
        await trio.testing.wait_all_tasks_blocked(0.02)
        for _ in range(2):
            with pytest.raises(WebSocketNetworkError, match="lost while sending"):
                await ws.send("x")
        assert [await ws.receive(), await ws.receive()] == ["a", "b"]
        with pytest.raises(WebSocketNetworkError, match="lost while sending"):
            await ws.receive()


async def test_a_reset_met_by_a_pong(client: httpx2.AsyncClient) -> None:
    """It is written at once, as no send loop is there: the session finds out all the same."""
    async with scripted_server(send_two_and_reset) as url, open_websocket(client, url, queue_size=1) as ws:
        await ws.send("drop me")
        await trio.testing.wait_all_tasks_blocked(0.02)
        await ws.pong()
        with pytest.raises(WebSocketNetworkError, match="lost while sending"):
            await ws.pong()
        assert [await ws.receive(), await ws.receive()] == ["a", "b"]
        with pytest.raises(WebSocketNetworkError, match="lost while sending"):
            await ws.receive()


async def test_the_client_is_closed_while_a_write_waits() -> None:
    async with scripted_server(wait_forever) as url:
        client = httpx2.AsyncClient(verify=False)
        async with open_websocket(client, url, compression=None) as ws, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                with pytest.raises(WebSocketNetworkError):
                    await ws.send(b"x" * 20_000_000)

            await trio.testing.wait_all_tasks_blocked(0.01)
            await client.aclose()


async def test_a_socket_that_was_ready_for_nothing_is_waited_for_again(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may call a socket readable that is not; it is rare, so it is played here."""
    refusals = 3

    def read(fd: int, size: int) -> bytes:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise BlockingIOError
        return os.read(fd, size)

    async def script(peer: Peer) -> None:
        await peer.send(text("a"))
        await peer.receive()
        await peer.send(text("b"))
        await peer.answer_close()

    class Os:
        """The module, but for one function."""

        def __getattr__(self, name: str) -> Any:
            return read if name == "read" else getattr(os, name)

    async with scripted_server(script) as url, open_websocket(client, url) as ws:
        monkeypatch.setattr(transport_module, "os", Os())
        assert await ws.receive() == "a"  # read through the stream, as what comes first is
        await ws.send("go on")
        assert await ws.receive() == "b"
        assert refusals == 0


async def test_a_connection_closed_under_the_session() -> None:
    async with memory_session() as (ws, _):
        await ws.response.extensions["network_stream"].aclose()
        with pytest.raises(WebSocketNetworkError, match="lost without a close frame: ClosedResourceError"):
            await ws.receive()
