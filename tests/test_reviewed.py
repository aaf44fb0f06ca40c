"""Corners that a review of the loops and queues found; each of these went wrong once."""

from __future__ import annotations

import contextlib
import math
import weakref
import zlib
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
    connect_websocket,
    open_websocket,
)

from .checkpoints import Leftovers
from .handshake_support import new_client, redirect, site
from .memory import BINARY, CLOSE, PING, Frame, Peer, close_frame, frame, memory_client, memory_session, text
from .paced import paced_server
from .proxies import socks_proxy
from .servers import scripted_server, websocket_server

if TYPE_CHECKING:
    import ssl

    import httpx2
    from websockets.trio.server import ServerConnection


def stop_reading(peer: Peer) -> trio.abc.ReceiveStream:
    """The half of the peer's stream whose closing makes our writes fail, and not our reads."""
    assert isinstance(peer.stream, trio.StapledStream)
    half: trio.abc.ReceiveStream = peer.stream.receive_stream
    return half


async def test_senders_above_the_high_water_mark_all_have_their_turn(client: httpx2.AsyncClient) -> None:
    received = 0

    async def handler(ws: ServerConnection) -> None:
        nonlocal received
        async for _ in ws:
            received += 1

    async def send(ws: Any) -> None:
        for _ in range(10):
            await ws.send(bytes(70_000))

    async with websocket_server(handler) as url:
        for _ in range(5):
            async with open_websocket(client, url, compression=None) as ws:
                with trio.fail_after(10):
                    async with trio.open_nursery() as nursery:
                        for _ in range(3):
                            nursery.start_soon(send, ws)
    assert received == 150


async def test_no_message_goes_out_after_the_answer_to_the_peers_close(autojump_clock: object) -> None:
    async with memory_session(stalling=True) as (ws, peer), trio.open_nursery() as nursery:

        async def send(size: int) -> None:
            try:
                await ws.send(bytes(size))
            except WebSocketDisconnect:
                assert size == 20_000

        nursery.start_soon(send, 1)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):  # gathered in one batch
            nursery.start_soon(send, 20_000)
        await trio.testing.wait_all_tasks_blocked()
        assert await peer.receive() == Frame(BINARY, b"\0")
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(close_frame(1000))
        await trio.testing.wait_all_tasks_blocked()
        frames = await peer.frames()
        assert [len(f.payload) for f in frames] == [20_000, 2]
        assert ws.statistics().unsent_bytes == 0


async def test_a_slow_write_of_a_ping_is_no_sign_of_life(autojump_clock: object) -> None:
    async def read_slowly(peer: Peer) -> None:
        while True:
            await trio.sleep(0.1)
            await peer.stream.receive_some()

    async with memory_session(stalling=True, keepalive_ping_interval_seconds=1, keepalive_ping_timeout_seconds=1) as (
        ws,
        peer,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_slowly, peer)
            with pytest.raises(WebSocketKeepaliveTimeout):
                await ws.receive()
            nursery.cancel_scope.cancel()
        assert trio.current_time() < 3


async def test_a_failed_write_that_nobody_heard_of_is_told_where_the_block_is_left(autojump_clock: object) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session(queue_size=1) as (ws, peer):
            await peer.send(text("fills the queue"))
            await stop_reading(peer).aclose()
            await ws.ping()
            await trio.testing.wait_all_tasks_blocked()
    assert caught.group_contains(WebSocketNetworkError, depth=1)


async def test_inflated_messages_are_bounded_by_size_too(autojump_clock: object) -> None:
    deflater = zlib.compressobj(wbits=-15)
    raw = b""
    for _ in range(60):
        payload = (deflater.compress(bytes(2**20)) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
        raw += bytes((0xC2, 126)) + len(payload).to_bytes(2) + payload
    async with memory_session(extensions="permessage-deflate", close_timeout_seconds=0) as (ws, peer):
        await peer.send(raw)
        for _ in range(60):
            await trio.testing.wait_all_tasks_blocked()
            assert ws.statistics().queued_messages <= 2
            assert await ws.receive() == bytes(2**20)


@pytest.mark.parametrize("grace", [5, math.inf])
async def test_closing_ends_the_grace(autojump_clock: object, grace: float) -> None:
    async with memory_client() as (client, peers):
        start = trio.current_time()
        with pytest.raises(ExceptionGroup) as caught:
            async with trio.open_nursery() as nursery:
                ws = await connect_websocket(nursery, client, "ws://memory", failure_grace_seconds=grace)
                await (await peers.receive()).aclose()
                await trio.sleep(1)
                await ws.aclose()
        assert caught.group_contains(WebSocketNetworkError, depth=1)
        assert trio.current_time() - start == pytest.approx(1)


async def test_after_a_failed_write_a_slow_consumer_gets_all_that_had_come(autojump_clock: object) -> None:
    async with memory_session(queue_size=2, close_timeout_seconds=2) as (ws, peer):
        await peer.send(*(text(str(n)) for n in range(50)))
        await trio.testing.wait_all_tasks_blocked()
        await stop_reading(peer).aclose()
        with pytest.raises(WebSocketNetworkError):
            await ws.send("x")
        for n in range(50):
            assert await ws.receive() == str(n)
            await trio.sleep(1)
        with pytest.raises(WebSocketNetworkError):
            await ws.receive()


async def test_a_flood_of_pings_does_not_hide_that_the_connection_is_gone(autojump_clock: object) -> None:
    async with memory_session(stalling=True, close_timeout_seconds=math.inf) as (ws, peer):
        with trio.move_on_after(1):
            await peer.send(frame(PING, bytes(125)) * 5000)
        await peer.aclose()
        with pytest.raises(WebSocketNetworkError), trio.fail_after(5):
            await ws.receive()


async def test_a_carrier_that_is_slow_to_close_holds_nobody(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_client() as (client, _):
        for cancelled in (True, False):
            start = trio.current_time()
            with trio.CancelScope() as scope:
                async with open_websocket(client, "ws://memory", close_timeout_seconds=2) as ws:
                    monkeypatch.setattr(ws._engine.carrier, "aclose", trio.sleep_forever)
                    if cancelled:
                        scope.cancel()
            assert trio.current_time() - start < (0.5 if cancelled else 2.5)


async def test_the_order_of_calls_is_the_order_on_the_wire() -> None:
    called: list[int] = []
    async with memory_session(close_timeout_seconds=0) as (ws, peer):

        async def send(number: int) -> None:
            called.append(number)
            await ws.send(str(number))

        async with trio.open_nursery() as nursery:
            for number in range(150):
                nursery.start_soon(send, number)
        assert [int((await peer.receive()).payload) for _ in range(150)] == called


async def test_sending_after_the_peers_close_breaks_as_trios_channels_do() -> None:
    async with memory_session() as (ws, peer):
        await peer.close(1000)
        await trio.testing.wait_all_tasks_blocked()
        for call in (ws.ping, lambda: ws.send("x")):
            with pytest.raises(trio.BrokenResourceError) as caught:
                await call()
            assert isinstance(caught.value, WebSocketDisconnect)
        with pytest.raises(trio.EndOfChannel) as ended:
            await ws.receive()
        assert not isinstance(ended.value, trio.BrokenResourceError)


async def test_pongs_of_ours_wait_for_a_peer_that_does_not_read(autojump_clock: object) -> None:
    async with memory_session(stalling=True, close_timeout_seconds=0, keepalive_ping_interval_seconds=None) as (ws, _):
        with trio.move_on_after(1) as scope:
            while True:
                await ws.pong(bytes(125))
        assert scope.cancelled_caught
        assert 65536 < ws.statistics().unsent_bytes < 70_000


async def test_a_lone_message_behind_a_pong_has_left_when_send_returns(autojump_clock: object) -> None:
    async with memory_session(stalling=True, close_timeout_seconds=0) as (ws, peer), trio.open_nursery() as nursery:
        await ws.pong(b"on the wire")
        await trio.testing.wait_all_tasks_blocked()
        returned = False

        @nursery.start_soon
        async def send() -> None:
            nonlocal returned
            await ws.send("x")
            returned = True

        await trio.testing.wait_all_tasks_blocked()
        assert not returned
        assert [(await peer.receive()).payload for _ in range(2)] == [b"on the wire", b"x"]
        await trio.testing.wait_all_tasks_blocked()
        assert returned


async def test_no_send_succeeds_while_a_cancelled_session_is_dropped(client: httpx2.AsyncClient) -> None:
    sent: list[int] = []
    seen: list[Frame] = []
    done = trio.Event()

    async def script(peer: Peer) -> None:
        seen.extend(await peer.frames())
        done.set()

    async def spam(ws: Any) -> None:
        with pytest.raises(WebSocketClosedError):
            while True:
                await ws.send(str(len(sent)))
                sent.append(len(sent))
                await trio.lowlevel.checkpoint()

    async with scripted_server(script) as url, trio.open_nursery() as others:
        async with trio.open_nursery() as nursery:
            ws = await connect_websocket(nursery, client, url, compression=None)
            others.start_soon(spam, ws)
            await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        await done.wait()
    assert [int(f.payload) for f in seen if f.opcode != CLOSE] == sent


async def test_what_waits_in_whole_frames_goes_with_the_goodbye(autojump_clock: object) -> None:
    """Cancelled with a burst queued: the small messages and 1001 go out; a big one is left out whole."""
    for size, numbers in ((10, [1, 2, 3, 4]), (20_000, [1])):
        async with memory_client() as (client, peers):
            with trio.CancelScope() as scope:
                async with open_websocket(client, "ws://memory", compression=None) as ws:
                    outbox = ws._engine.outbox
                    await ws.send(b"1")
                    outbox.idle = False  # as in the middle of a burst, and with the send loop asleep
                    for number in (b"2", b"3", b"4"):
                        outbox.deposit(number * size, BINARY)
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            frames = await (await peers.receive()).frames()
            assert [int(f.payload[:1]) for f in frames[:-1]] == numbers
            assert frames[-1] == (CLOSE, (1001).to_bytes(2))


async def test_a_failure_is_told_where_the_block_is_cancelled_in_its_grace(autojump_clock: object) -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.CancelScope() as scope:
        async with memory_session() as (_, peer):
            await peer.send(bytes((0x83, 0)))  # a reserved opcode
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert caught.group_contains(WebSocketProtocolError)


async def test_receivers_are_served_in_the_order_of_their_calls() -> None:
    """Also by the call in 64 that lets others run."""
    called: list[int] = []
    served: list[tuple[str | bytes, int]] = []
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        await peer.send(*(text(f"{number:02}") for number in range(65)))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(62):
            await ws.receive()

        async def receive(task: int) -> None:
            called.append(task)
            served.append((await ws.receive(), task))

        async with trio.open_nursery() as nursery:
            for task in range(3):
                nursery.start_soon(receive, task)
    assert [task for _, task in sorted(served, key=str)] == called


@pytest.mark.parametrize("how", ["cancelled", "failed"])
@pytest.mark.parametrize(
    "step",
    [
        "connection.connect_tcp.complete",
        "connection.start_tls.started",
        "connection.start_tls.complete",
        "socks.setup_socks5_connection.complete",
    ],
)
async def test_nothing_is_left_of_a_connection_that_carried_no_request(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], step: str, how: str
) -> None:
    """Whatever happens between two steps of connecting, neither a socket is left nor a slot of the pool is taken."""

    async def trace(name: str, info: dict[str, Any]) -> None:
        if name == step and how == "cancelled":
            scope.cancel()
        elif name == step:
            raise RuntimeError(step)

    leftovers = Leftovers()
    server_context, client_context = tls if "tls" in step else (None, False)
    clients: list[httpx2.AsyncClient] = []
    with trio.CancelScope() as scope:
        try:
            async with paced_server(server_context) as server, socks_proxy() as socks:
                proxy = f"socks5://{socks.address}" if "socks" in step else None
                clients.append(new_client(verify=client_context, proxy=proxy))
                async with open_websocket(clients[0], server.url, extensions={"trace": trace}):
                    raise AssertionError
        except* RuntimeError as raised:
            assert how == "failed", raised
    async with contextlib.aclosing(clients[0]):
        leftovers.check(clients[0])


async def test_a_connection_of_the_pool_is_left_alone_when_the_next_one_fails() -> None:
    async def trace(name: str, info: dict[str, Any]) -> None:
        if name == "connection.connect_tcp.started" and other.host.endswith(f":{info['port']}"):
            raise RuntimeError(name)

    async with site() as other, site(lambda request: redirect(other.url)) as first, new_client() as client:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                async with open_websocket(client, first.url, follow_redirects=True, extensions={"trace": trace}):
                    raise AssertionError
        assert len(first.requests) == 2
        assert first.accepted == 1


async def test_sessions_can_be_kept_in_a_weak_set() -> None:
    """As programs do that send one message to all of their sessions."""
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        sessions = weakref.WeakSet([ws])
        await next(iter(sessions)).send("to all")
        assert (await peer.receive()).payload == b"to all"
