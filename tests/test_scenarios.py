"""Trouble on real sockets: what other WebSocket clients lose, hang on or misreport."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING

import httpx2
import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketClosedError, WebSocketDisconnect, WebSocketNetworkError, open_websocket
from httpx2_trio_ws._core import _life

from .memory import CLOSE, PING, PONG, Peer, close_frame, frame, text
from .servers import scripted_server, tcp_server, upgrade

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def elapsed_since(start: float) -> float:
    return trio.current_time() - start


def reset(peer: Peer) -> None:
    """Drop the connection with a RST."""
    assert isinstance(peer.stream, trio.SocketStream)
    peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.stream.socket.close()


async def test_a_cancelled_send_leaves_whole_messages_only(client: httpx2.AsyncClient) -> None:
    big = b"x" * 20_000_000
    read_now = trio.Event()
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await read_now.wait()
        seen.extend(f.payload for f in await peer.answer_close())

    async with scripted_server(script) as url, open_websocket(client, url, compression=None) as ws:
        with trio.move_on_after(0.1) as scope:
            await ws.send(big)
        assert scope.cancelled_caught
        with trio.move_on_after(0.05) as scope:
            await ws.send("never sent")  # above the high-water mark it waits, and leaves nothing
        assert scope.cancelled_caught
        read_now.set()
        await ws.send("after")
    assert seen == [big, b"after", struct.pack("!H", 1000)]


@pytest.mark.parametrize("reads", [True, False], ids=["never answers the close", "never reads"])
async def test_a_deadline_around_the_block_is_met(client: httpx2.AsyncClient, reads: bool) -> None:
    async def script(peer: Peer) -> None:
        if not reads:
            await trio.sleep_forever()
        with contextlib.suppress(EOFError, trio.BrokenResourceError):
            while True:
                await peer.receive()

    async with scripted_server(script) as url:
        start = trio.current_time()
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.2):
            async with open_websocket(client, url, compression=None, close_timeout_seconds=30) as ws:
                with trio.move_on_after(0.05):
                    await ws.send(b"x" * 10_000_000)
        assert elapsed_since(start) < 15
    assert_pool_empty(client)


async def test_a_slow_consumer_is_no_dead_peer(client: httpx2.AsyncClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(text("one"), text("two"))
        while (f := await peer.receive()).opcode != CLOSE:
            assert f.opcode == PING
            await peer.send(frame(PONG, f.payload))
        await peer.send(frame(CLOSE, f.payload))
        await peer.aclose()

    async with (
        scripted_server(script) as url,
        open_websocket(
            client, url, queue_size=1, keepalive_ping_interval_seconds=0.05, keepalive_ping_timeout_seconds=0.05
        ) as ws,
    ):
        await trio.sleep(0.5)
        assert [await ws.receive(), await ws.receive()] == ["one", "two"]


async def test_leaving_with_a_full_queue_is_prompt_and_memory_bounded(client: httpx2.AsyncClient) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def flood() -> None:
                nonlocal sent
                chunk = text("x" * 1000) * 100
                while True:
                    await peer.send(chunk)
                    sent += len(chunk)

            while (await peer.receive()).opcode != CLOSE:
                pass
            nursery.cancel_scope.cancel()
        # A cancelled flood may have left half a frame, so there is no close frame to answer with.
        await peer.aclose()

    async with scripted_server(script) as url:
        async with open_websocket(client, url, queue_size=10, close_timeout_seconds=60) as ws:
            last = -1
            while last != sent:  # until TCP pushes back
                last = sent
                await trio.sleep(0.05)
            assert ws.statistics().queued_messages <= 10
            assert ws.statistics().bytes_received < 10_000_000
            start = trio.current_time()
        assert elapsed_since(start) < 15
    assert_pool_empty(client)


async def test_pings_while_we_close_do_no_harm(client: httpx2.AsyncClient) -> None:
    async def script(peer: Peer) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def pings() -> None:
                while True:
                    await peer.send(frame(PING, b"p"))
                    await trio.lowlevel.checkpoint()

            while (f := await peer.receive()).opcode != CLOSE:
                pass
            nursery.cancel_scope.cancel()
        await peer.send(frame(PING, b"late") * 100, frame(CLOSE, f.payload))
        assert isinstance(peer.stream, trio.SocketStream)
        await peer.stream.send_eof()
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            while True:
                assert (await peer.receive()).opcode == PONG
        await peer.aclose()

    async with scripted_server(script) as url:
        for _ in range(5):
            async with open_websocket(client, url, close_timeout_seconds=1) as ws:
                await trio.sleep(0.01)
            assert ws.close_code == 1000


async def test_close_wakes_a_waiting_receive_at_once(client: httpx2.AsyncClient) -> None:
    async def script(peer: Peer) -> None:
        await trio.sleep_forever()

    async with scripted_server(script) as url, open_websocket(client, url, close_timeout_seconds=0.3) as ws:
        order: list[str] = []

        async def wait(call: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(WebSocketClosedError):
                await call()
            order.append("woken")

        async def close() -> None:
            await ws.close()
            order.append("closed")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, ws.receive)
            nursery.start_soon(wait, ws.__anext__)
            nursery.start_soon(wait, (await ws.ping()).wait)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(close)
        assert order == ["woken", "woken", "woken", "closed"]
        await wait(ws.receive)
        await ws.close()


async def test_a_second_receive_after_a_disconnect_raises_at_once(client: httpx2.AsyncClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.close(1001, "bye")

    async with scripted_server(script) as url, open_websocket(client, url) as ws:
        for call in (ws.receive, ws.receive_json, ws.ping, ws.pong):
            with pytest.raises(WebSocketDisconnect, match=r"1001 \(going away\): bye"):
                await call()
        with pytest.raises(WebSocketDisconnect):
            await ws.send("x")


@pytest.mark.parametrize("drop", [reset, None], ids=["RST", "FIN"])
async def test_a_waiter_for_a_pong_hears_of_the_loss(
    client: httpx2.AsyncClient, drop: Callable[[Peer], None] | None
) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        if drop is None:
            await peer.aclose()
        else:
            drop(peer)

    async with scripted_server(script) as url, open_websocket(client, url) as ws:
        waiter = await ws.ping()
        with pytest.raises(WebSocketNetworkError, match="lost without a close frame"):
            await waiter
        assert ws.close_code == 1006


CLOSING = text("a") + close_frame(1000, "bye")


@pytest.mark.parametrize("drop", ["FIN", "RST"])
@pytest.mark.parametrize("cut", range(len(CLOSING) + 1))
async def test_the_connection_ends_at_any_byte(client: httpx2.AsyncClient, cut: int, drop: str) -> None:
    """A message and a close frame, cut off at every byte by a FIN or by a RST after the bytes were read."""
    read = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.send(CLOSING[:cut])
        if drop == "RST":
            await read.wait()
            reset(peer)
        else:
            await peer.aclose()

    async with scripted_server(script) as url, open_websocket(client, url) as ws:
        with trio.fail_after(2):
            if cut >= len(text("a")):
                assert await ws.receive() == "a"
            while ws.statistics().bytes_received < cut:
                await trio.lowlevel.checkpoint()
            read.set()
            with pytest.raises(WebSocketDisconnect if cut == len(CLOSING) else WebSocketNetworkError):
                await ws.receive()


@pytest.mark.parametrize("drop", ["FIN", "RST"])
@pytest.mark.parametrize("cut", range(5))
async def test_the_connection_ends_while_we_close(
    client: httpx2.AsyncClient, cut: int, drop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer's answer to our close frame, cut off at every byte: no error, no waiting."""
    monkeypatch.setattr(_life, "LINGER", 60)

    async def script(peer: Peer) -> None:
        answer = await peer.receive()
        await peer.send(frame(CLOSE, answer.payload)[:cut])
        if drop == "RST":
            reset(peer)
        else:
            await peer.aclose()

    async with scripted_server(script) as url:
        start = trio.current_time()
        async with open_websocket(client, url, close_timeout_seconds=60) as ws:
            pass
        assert elapsed_since(start) < 15
        assert ws.close_code in ((1000, 1006) if drop == "RST" else (1000 if cut == 4 else 1006,))
    assert_pool_empty(client)


async def test_the_last_message_before_a_drop_is_handled_to_its_end(client: httpx2.AsyncClient) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(text("last"))
        await peer.aclose()

    handled = False
    async with scripted_server(script) as url:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_websocket(client, url) as ws:
                assert await ws.receive() == "last"
                await trio.sleep(0.1)  # handling it, while the failure is there and nobody has asked
                handled = True
                await ws.receive()
    assert handled
    assert caught.group_contains(WebSocketNetworkError, depth=1)


async def test_frames_in_the_packet_of_the_101_are_delivered(client: httpx2.AsyncClient) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        peer = await upgrade(stream, glued=text("glued") + frame(PING, b"p") + text("twice")[:3])
        assert await peer.receive() == (PONG, b"p")
        await peer.send(text("twice")[3:])
        await peer.answer_close()

    async with tcp_server(handler) as address, open_websocket(client, f"ws://{address}") as ws:
        assert [await ws.receive(), await ws.receive()] == ["glued", "twice"]


async def test_a_peer_that_pings_and_reads_nothing_costs_bounded_memory(client: httpx2.AsyncClient) -> None:
    async def script(peer: Peer) -> None:
        with trio.move_on_after(0.5):
            while True:
                await peer.send(frame(PING, b"x" * 125) * 500)
        await trio.sleep_forever()

    async with scripted_server(script) as url, open_websocket(client, url, close_timeout_seconds=0.1) as ws:
        await trio.sleep(0.6)
        assert ws._engine.outbox.control_size < 2 * 65536


async def test_the_client_may_be_closed_under_an_open_session() -> None:
    async def script(peer: Peer) -> None:
        await trio.sleep_forever()

    async with scripted_server(script) as url:
        client = httpx2.AsyncClient(verify=False)
        async with open_websocket(client, url) as ws:
            await client.aclose()
            with pytest.raises(WebSocketNetworkError):
                await ws.receive()
            with pytest.raises(WebSocketNetworkError):
                await ws.send("x")


async def test_a_thousand_bytes_one_at_a_time(client: httpx2.AsyncClient) -> None:
    data = b"".join(text("ü" * n) for n in range(20))

    async def script(peer: Peer) -> None:
        for n in range(len(data)):
            await peer.send(data[n : n + 1])
        assert (await peer.answer_close())[0].opcode == CLOSE

    async with scripted_server(script) as url, open_websocket(client, url) as ws:
        assert [await ws.receive() for _ in range(20)] == ["ü" * n for n in range(20)]


def assert_pool_empty(client: httpx2.AsyncClient) -> None:
    assert "Connections: 0 active, 0 idle" in repr(client._transport._pool)  # type: ignore[attr-defined]
