"""Closing: by us, by the peer, by leaving the block; what the peer sees of it, and how long it takes."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketClosedError, WebSocketDisconnect, connect_websocket, open_websocket

from .memory import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    close_frame,
    frame,
    memory_client,
    memory_session,
    text,
)
from .servers import scripted_server, tcp_server, upgrade, websocket_server

if TYPE_CHECKING:
    import ssl

    import httpx2
    from websockets.trio.server import ServerConnection


def sent_close(code: int, reason: str = "") -> Frame:
    return Frame(CLOSE, code.to_bytes(2) + reason.encode())


async def test_leaving_the_block_closes_with_1000(client: httpx2.AsyncClient) -> None:
    codes: list[int | None] = []
    done = trio.Event()

    async def handler(ws: ServerConnection) -> None:
        assert [message async for message in ws] == ["x"]
        codes.append(ws.close_code)
        done.set()

    async with websocket_server(handler) as url:
        async with open_websocket(client, url) as ws:
            await ws.send("x")
        assert ws.close_code == 1000
        with pytest.raises(WebSocketClosedError, match="closed on our side"):
            await ws.receive()
        await done.wait()
    assert codes == [1000]


async def test_close_sends_code_and_reason_and_is_idempotent() -> None:
    async with memory_session() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.close, 4000, "gründe")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ws.close, 1001)
        assert await peer.answer_close() == [sent_close(4000, "gründe")]
        await ws.wait_closed()
        await ws.close()
        assert (ws.close_code, ws.close_reason) == (4000, "gründe")
    assert await peers_rest(peer) == []


async def peers_rest(peer: Peer) -> list[Frame]:
    """Frames that the peer gets after it has closed its end: there must be none."""
    with pytest.raises(trio.ClosedResourceError):
        await peer.receive()
    return []


async def test_the_peers_close_is_answered_in_kind() -> None:
    for code, payload in ((1000, b"\x03\xe8bye"), (1005, b"")):
        async with memory_session() as (ws, peer):
            await peer.send(text("last"), frame(CLOSE, payload), text("too late"))
            assert await peer.receive() == Frame(CLOSE, payload)
            await peer.aclose()
            assert await ws.receive() == "last"
            with pytest.raises(WebSocketDisconnect) as caught:
                await ws.receive()
            assert (caught.value.code, ws.close_code) == (code, code)
            with pytest.raises(WebSocketDisconnect):
                await ws.send("x")
            await ws.wait_closed()
            await ws.close()
            with pytest.raises(WebSocketClosedError):
                await ws.receive()


async def test_a_disconnect_that_nobody_hears_is_no_error() -> None:
    async with memory_session() as (ws, peer):
        await peer.close(1011, "sorry")
    assert (ws.close_code, ws.close_reason) == (1011, "sorry")


@pytest.mark.parametrize(("exception", "code"), [(KeyError, 1011), (KeyboardInterrupt, 1001), (SystemExit, 1001)])
async def test_leaving_with_an_error(autojump_clock: object, exception: type[BaseException], code: int) -> None:
    frames: list[Frame] = []
    with pytest.raises(BaseExceptionGroup) as caught:
        async with memory_client() as (client, peers), trio.open_nursery() as nursery:

            @nursery.start_soon
            async def answer() -> None:
                frames.extend(await (await peers.receive()).answer_close())

            async with open_websocket(client, "ws://memory") as ws:
                await ws.send("queued")
                raise exception
    assert caught.group_contains(exception)
    assert frames == [Frame(TEXT, b"queued"), sent_close(code)]


@pytest.mark.parametrize("stalling", [False, True], ids=["peer does not answer", "peer does not read"])
async def test_leaving_takes_the_close_timeout_at_most(autojump_clock: object, stalling: bool) -> None:
    async with memory_client(stalling=stalling) as (client, _):
        start = trio.current_time()
        async with open_websocket(client, "ws://memory", close_timeout_seconds=3) as ws:
            with trio.move_on_after(1):
                await ws.send("x" * 100_000)
            left = trio.current_time()
        assert trio.current_time() - left == pytest.approx(3)
        assert left - start == pytest.approx(1 if stalling else 0)
        assert ws.close_code == 1006


async def test_leaving_by_cancellation_does_not_wait(autojump_clock: object) -> None:
    async with memory_client() as (client, peers):
        start = trio.current_time()
        with trio.move_on_after(1):
            async with open_websocket(client, "ws://memory", close_timeout_seconds=30):
                await trio.sleep_forever()
        assert trio.current_time() - start == pytest.approx(1)
        assert await (await peers.receive()).frames() == [sent_close(1001)]


async def test_leaving_by_cancellation_is_prompt_with_a_peer_that_does_not_read(autojump_clock: object) -> None:
    async with memory_client(stalling=True) as (client, _):
        start = trio.current_time()
        with trio.move_on_after(1):
            async with open_websocket(client, "ws://memory", close_timeout_seconds=30):
                await trio.sleep_forever()
        assert trio.current_time() - start < 1.2


async def test_a_cancellation_while_leaving_drops_the_connection(autojump_clock: object) -> None:
    async with memory_client() as (client, _):
        start = trio.current_time()
        with trio.move_on_after(1) as scope:
            async with open_websocket(client, "ws://memory", close_timeout_seconds=30):
                pass
        assert scope.cancelled_caught
        with pytest.raises(ExceptionGroup) as caught, trio.move_on_after(1):
            async with open_websocket(client, "ws://memory", close_timeout_seconds=30):
                raise KeyError("must come out although the close is cancelled")
        assert caught.group_contains(KeyError)
        assert trio.current_time() - start == pytest.approx(2)


async def test_a_cancelled_close_drops_the_connection(autojump_clock: object) -> None:
    async with memory_session(close_timeout_seconds=30) as (ws, peer):
        with trio.move_on_after(1) as scope:
            await ws.close()
        assert scope.cancelled_caught
        assert await peer.frames() == [sent_close(1000)]
        assert ws.close_code == 1006
        with pytest.raises(WebSocketClosedError):
            await ws.send("x")


async def test_messages_sent_before_close_go_before_the_close_frame(autojump_clock: object) -> None:
    async with memory_session(stalling=True) as (ws, peer), trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            await ws.send("a" * 100_000)
        with trio.move_on_after(1) as scope:
            await ws.send("waits above the high-water mark, and so was never accepted")
        assert scope.cancelled_caught
        nursery.start_soon(ws.close)
        await trio.testing.wait_all_tasks_blocked()
        assert await peer.answer_close() == [Frame(TEXT, b"a" * 100_000), sent_close(1000)]


async def test_close_wakes_senders_that_wait(autojump_clock: object) -> None:
    async with memory_session(stalling=True) as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.send, "a" * 100_000)  # on the wire: it goes out, and send returns
        await trio.testing.wait_all_tasks_blocked()

        async def waiting() -> None:
            with pytest.raises(WebSocketClosedError):
                await ws.send("b")

        nursery.start_soon(waiting)
        nursery.start_soon(waiting)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ws.close)
        assert await peer.answer_close() == [Frame(TEXT, b"a" * 100_000), sent_close(1000)]


async def test_control_frames_wait_for_the_frame_on_the_wire_and_no_more(autojump_clock: object) -> None:
    """A pong, a ping and the answer to the peer's close, with many messages queued before them."""
    async with memory_session(stalling=True) as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.send, b"a" * 50_000)
        await trio.testing.wait_all_tasks_blocked()
        for letter in (b"b", b"c"):
            nursery.start_soon(ws.send, letter * 5_000)
            await trio.testing.wait_all_tasks_blocked()
        await peer.send(frame(PING, b"p"))
        await ws.ping(b"q")
        assert [(f.opcode, f.payload[:1]) for f in [await peer.receive() for _ in range(3)]] == [
            (BINARY, b"a"),
            (PONG, b"p"),
            (PING, b"q"),
        ]
        await peer.send(close_frame(1001))
        rest = [await peer.receive()]
        while rest[-1].opcode != CLOSE:
            rest.append(await peer.receive())
        assert len(rest) <= 2
        assert rest[-1] == sent_close(1001)
        await peer.aclose()


async def test_a_pong_waits_for_the_rest_of_a_large_message(client: httpx2.AsyncClient) -> None:
    """The sender wrote what went at once, part by part; the rest is one frame's, and nothing goes into it."""
    ready, seen = trio.Event(), list[Frame]()
    payload = random.Random(0).randbytes(2**24 + 1)

    async def script(peer: Peer) -> None:
        await ready.wait()
        await peer.send(frame(PING, b"p"))
        await trio.testing.wait_all_tasks_blocked(0.02)
        seen.extend(await peer.answer_close())

    async with (
        scripted_server(script) as url,
        open_websocket(client, url, compression=None) as ws,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ws.send_bytes, payload)
        await trio.testing.wait_all_tasks_blocked(0.02)
        statistics = ws.statistics()
        assert 2**16 < statistics.bytes_sent < len(payload) - 2**17, "it was written in part"
        assert statistics.bytes_sent + statistics.unsent_bytes == len(payload) + 14
        ready.set()
    assert [f.opcode for f in seen] == [BINARY, PONG, CLOSE]
    assert seen[0].payload == payload


async def test_control_frames_part_a_batch_on_a_real_socket(client: httpx2.AsyncClient) -> None:
    """Many small messages in one write that the peer does not take: the pong goes between two of them."""
    ready, seen = trio.Event(), list[Frame]()

    async def script(peer: Peer) -> None:
        await ready.wait()
        await peer.send(frame(PING, b"p"))
        await trio.testing.wait_all_tasks_blocked(0.02)
        seen.extend(await peer.answer_close())

    async with scripted_server(script) as url, open_websocket(client, url, compression=None) as ws:
        number = 0
        with trio.move_on_after(0.2):
            while True:
                await ws.send(b"%09d" % number * 100)
                number += 1
        waiting = ws.statistics().unsent_bytes // 908  # frames of which nothing has been written
        ready.set()
        await trio.testing.wait_all_tasks_blocked(0.02)
    assert waiting > 20
    order = [f.opcode for f in seen]
    numbers = [int(f.payload[:9]) for f in seen if f.opcode == BINARY]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= number
    assert order.count(PONG) == 1
    assert len(order) - order.index(PONG) - 2 >= waiting - 1


async def test_no_wait_for_a_server_that_has_closed_first(client: httpx2.AsyncClient) -> None:
    """The close frame and the end of the connection in one go: our answer goes out, and nobody waits."""
    answers: list[Frame] = []

    async def handler(stream: trio.SocketStream) -> None:
        peer = await upgrade(stream, glued=text("a") + close_frame(1000))
        await stream.send_eof()
        answers.extend(await peer.frames())

    async with tcp_server(handler) as address:
        start = trio.current_time()
        async with open_websocket(client, f"ws://{address}") as ws:
            assert [message async for message in ws] == ["a"]
        assert trio.current_time() - start < 1
        await trio.testing.wait_all_tasks_blocked(0.02)
    assert answers == [sent_close(1000)]


@pytest.mark.parametrize("first", ["we", "peer"])
async def test_a_server_that_keeps_the_connection_after_the_handshake(autojump_clock: object, first: str) -> None:
    """Both close frames are through, but the server does not close the connection: a second, not five."""
    async with memory_client() as (client, peers), trio.open_nursery() as nursery:
        start = trio.current_time()
        async with open_websocket(client, "ws://memory") as ws:
            peer = await peers.receive()
            if first == "peer":
                await peer.send(close_frame(1000))
                assert [message async for message in ws] == []
            else:

                @nursery.start_soon
                async def answer() -> None:
                    await peer.send(frame(CLOSE, (await peer.receive()).payload))

        assert trio.current_time() - start == pytest.approx(1)
        assert ws.close_code == 1000


async def test_connect_websocket_lives_until_it_is_closed() -> None:
    async with memory_client() as (client, peers), trio.open_nursery() as nursery:
        async with await connect_websocket(nursery, client, "ws://memory") as ws:
            peer = await peers.receive()
            nursery.start_soon(peer.answer_close)
            await ws.send("x")
        assert ws.close_code == 1000
        assert nursery.child_tasks == frozenset()


async def test_ctrl_c_closes_and_comes_out(client: httpx2.AsyncClient) -> None:
    codes: list[int | None] = []
    done = trio.Event()

    async def handler(ws: ServerConnection) -> None:
        async for _ in ws:
            pass
        codes.append(ws.close_code)
        done.set()

    async def use(url: str) -> None:
        with trio.open_signal_receiver(signal.SIGINT) as signals, trio.CancelScope() as scope:
            async with open_websocket(client, url), trio.open_nursery() as nursery:

                @nursery.start_soon
                async def stop() -> None:
                    async for _ in signals:
                        scope.cancel()

                signal.raise_signal(signal.SIGINT)
                await trio.sleep_forever()

    async with websocket_server(handler) as url:
        await use(url)
        await done.wait()
    assert codes == [1001]


async def test_leaving_over_tls(client: httpx2.AsyncClient, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Over TLS too: a normal close is answered, a cancelled one says 1001, a stalled peer holds nobody."""
    seen: list[list[Frame]] = []

    async def polite(stream: trio.SocketStream) -> None:
        seen.append(await (await upgrade(stream)).answer_close())

    async def observer(stream: trio.SocketStream) -> None:
        seen.append(await (await upgrade(stream)).frames())

    async def stalled(stream: trio.SocketStream) -> None:
        await upgrade(stream)
        await trio.sleep_forever()

    async with tcp_server(polite, tls[0]) as address, open_websocket(client, f"wss://{address}") as ws:
        await ws.send("x")
    assert ws.close_code == 1000
    async with tcp_server(observer, tls[0]) as address:
        with trio.move_on_after(0.1):
            async with open_websocket(client, f"wss://{address}"):
                await trio.sleep_forever()
        await trio.testing.wait_all_tasks_blocked(0.02)
    async with tcp_server(stalled, tls[0]) as address:
        start = trio.current_time()
        with trio.move_on_after(0.1):
            async with open_websocket(client, f"wss://{address}", compression=None) as ws:
                await ws.send(b"x" * 10_000_000)
        assert trio.current_time() - start < 1
    assert seen == [[Frame(TEXT, b"x"), sent_close(1000)], [sent_close(1001)]]
