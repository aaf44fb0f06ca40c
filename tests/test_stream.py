"""A session as a stream of bytes: trio's own check of streams, and what it does not look at."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketNetworkError,
    WebSocketProtocolError,
    WebSocketStream,
    connect_websocket,
)

from .memory import BINARY, CLOSE, Peer, frame, memory_client, memory_session, text

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import httpx2

    Pair = tuple[WebSocketStream, WebSocketStream]


async def _forward(source: Peer, sink: Peer, lost: trio.CancelScope) -> None:
    """Forward frames up to the close frame."""
    try:
        while True:
            received = await source.receive()
            await sink.send(frame(received.opcode, received.payload))
            if received.opcode == CLOSE:
                return
    except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
        lost.cancel()


async def _join(one: Peer, other: Peer) -> None:
    """Be the wire between two clients, and close their connections when both have said goodbye or one is gone."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_forward, one, other, nursery.cancel_scope)
        nursery.start_soon(_forward, other, one, nursery.cancel_scope)
    await one.aclose()
    await other.aclose()


@contextlib.asynccontextmanager
async def _pairs(*, stalling: bool = False) -> AsyncGenerator[Callable[[], Awaitable[Pair]]]:
    """Makes pairs of streams: what is sent to one comes out of the other."""

    async def connect(client: httpx2.AsyncClient) -> WebSocketStream:
        session = await connect_websocket(
            nursery, client, "ws://memory/", queue_size=1, compression=None, failure_grace_seconds=float("inf")
        )
        return WebSocketStream(session)

    async with memory_client(stalling=stalling) as (client, peers), trio.open_nursery() as nursery:

        async def make() -> Pair:
            one, other = await connect(client), await connect(client)
            nursery.start_soon(_join, await peers.receive(), await peers.receive())
            return one, other

        yield make
        nursery.cancel_scope.cancel()


async def test_trios_own_check(autojump_clock: trio.testing.MockClock) -> None:
    async with _pairs() as make, _pairs(stalling=True) as make_stalling:

        async def make_clogged() -> Pair:
            one, other = await make_stalling()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.send_all, bytes(2**20))
                nursery.start_soon(other.send_all, bytes(2**20))
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            return one, other

        await trio.testing.check_two_way_stream(make, make_clogged)


async def test_tls_through_a_session(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server_context, client_context = tls
    async with _pairs() as make:
        one, other = await make()
        client = trio.SSLStream(one, client_context, server_hostname="localhost")
        server = trio.SSLStream(other, server_context, server_side=True)
        data = bytes(range(256)) * 4096
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, data)
            received = b""
            while len(received) < len(data):
                received += await server.receive_some()
        assert received == data


async def test_messages_are_joined_and_cut() -> None:
    async with memory_session() as (ws, peer):
        stream = WebSocketStream(ws)
        await peer.send(frame(BINARY, b"abc"), frame(BINARY), frame(BINARY, b"def"))
        assert [await stream.receive_some(2) for _ in range(2)] == [b"ab", b"c"]
        assert await stream.receive_some() == b"def"  # and not the empty message, which would be the end
        await stream.send_all(memoryview(bytes(100_000)))
        assert [len((await peer.receive()).payload) for _ in range(2)] == [65536, 100_000 - 65536]
        await peer.close(1001)
        assert await stream.receive_some() == b""
        assert await stream.receive_some() == b""


async def test_memory_of_larger_items() -> None:
    async with memory_session() as (ws, peer):
        await WebSocketStream(ws).send_all(memoryview(b"abcd").cast("H"))
        assert (await peer.receive()).payload == b"abcd"
        await peer.close()


async def test_the_size_of_messages_means_nothing() -> None:
    async with memory_session(max_message_size_bytes=10) as (ws, peer):
        stream = WebSocketStream(ws)
        wire = frame(BINARY, bytes(range(200)))
        await peer.send(frame(BINARY, b"whole"), wire[:100])
        await trio.testing.wait_all_tasks_blocked()
        assert await stream.receive_some() == b"whole"
        assert await stream.receive_some(50) == bytes(range(50))
        assert await stream.receive_some() == bytes(range(50, 96))
        await peer.send(wire[100:], frame(BINARY, bytes(100_000)))
        assert await stream.receive_some() == bytes(range(96, 200))
        size = 0
        while size < 100_000:
            size += len(await stream.receive_some())
        await peer.close()
        assert await stream.receive_some() == b""


async def test_a_message_that_is_cut_off_is_no_end_of_data() -> None:
    async with memory_session() as (ws, peer):
        stream = WebSocketStream(ws)
        await peer.send(frame(BINARY, b"half", fin=False))
        assert await stream.receive_some() == b"half"
        await peer.close(1000)
        for _ in range(2):
            with pytest.raises(WebSocketNetworkError, match="1000"):
                await stream.receive_some()


async def test_a_message_is_taken_in_small_pieces_as_quickly_as_it_is_large() -> None:
    async def seconds(size: int) -> float:
        async with memory_session(max_message_size_bytes=None, close_timeout_seconds=0) as (ws, peer):
            stream = WebSocketStream(ws)
            await peer.send(frame(BINARY, bytes(size)))
            await trio.testing.wait_all_tasks_blocked()
            await stream.receive_some(1)
            began, left = time.process_time(), size - 1
            while left:
                left -= len(await stream.receive_some(1024))
            return time.process_time() - began

    small, large = 2**18, 2**23
    assert await seconds(large) < 160 * await seconds(small), "32 times as much takes 32 times as long, not 1,024 times"


async def test_another_close_code_is_no_end_of_data() -> None:
    async with memory_session() as (ws, peer):
        stream = WebSocketStream(ws)
        await peer.send(frame(BINARY, b"half"))
        await peer.close(1011, "out of disk")
        assert await stream.receive_some() == b"half"
        for _ in range(2):
            with pytest.raises(WebSocketNetworkError, match=r"1011 \(internal error\): out of disk"):
                await stream.receive_some()


async def test_text_is_refused() -> None:
    async with memory_session() as (ws, peer):
        stream = WebSocketStream(ws)
        await peer.send(text("what?"))
        for _ in range(2):
            with pytest.raises(WebSocketProtocolError, match=r"1003 .*: a text message among bytes"):
                await stream.receive_some()
        assert (await peer.answer_close())[-1].payload.startswith(b"\x03\xeb")  # 1003


async def test_waiting_for_room_ends_with_the_session(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_session(stalling=True, close_timeout_seconds=1) as (ws, _):
        stream = WebSocketStream(ws)
        with trio.move_on_after(1):
            await stream.send_all(bytes(2**20))

        async def wait() -> None:
            with pytest.raises(WebSocketClosedError, match="the session was closed"):
                await stream.wait_send_all_might_not_block()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(stream.aclose)


async def test_a_turn_that_was_only_waited_for_is_passed_on(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_session(stalling=True, compression=None) as (ws, peer):
        stream = WebSocketStream(ws)
        for _ in range(3):
            with trio.move_on_after(1):
                await ws.send_bytes(bytes(40_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.wait_send_all_might_not_block)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ws.send_bytes, b"last")
            await trio.testing.wait_all_tasks_blocked()
            while (await peer.receive()).payload != b"last":
                pass
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer_close)
            await ws.close()


async def test_a_pass_above_the_mark_admits_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_session(stalling=True, compression=None, close_timeout_seconds=1) as (ws, peer):
        stream = WebSocketStream(ws)
        with trio.move_on_after(1):
            await ws.send_bytes(bytes(100_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.wait_send_all_might_not_block)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ws.send_bytes, bytes(10))
            await peer.receive()
