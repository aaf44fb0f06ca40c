"""The scripted peer: what it answers by itself, what it can be told to do, and what it says when all is over."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio
import pytest

from httpx2_trio_ws import WebSocketClosedError, WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError
from httpx2_trio_ws.anyio import WebSocketSession, open_websocket
from httpx2_trio_ws.testing import Frame, Opcode, ScriptedPeer, encode_frame, memory_server
from tests.virtual_time import VIRTUAL, run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


loops = pytest.mark.parametrize("loop", VIRTUAL)


@contextlib.asynccontextmanager
async def session_and_peer() -> AsyncGenerator[tuple[WebSocketSession, ScriptedPeer]]:
    """Both ends for one test; in the end the peer keeps the rules until the session has closed."""
    peers: list[ScriptedPeer] = []
    over = anyio.Event()

    async def handler(peer: ScriptedPeer) -> None:
        peers.append(peer)
        await over.wait()
        with contextlib.suppress(WebSocketClosedError, WebSocketProtocolError):
            await peer.wait_closed()

    async with memory_server(handler) as client, open_websocket(client, "/") as ws:
        await anyio.wait_all_tasks_blocked()
        yield ws, peers[0]
        over.set()


@loops
def test_pings_are_answered_while_messages_are_received(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer):
            waiter = await ws.ping(b"are you there")
            await ws.pong(b"and this is no question")
            await ws.send("hi")
            assert await peer.receive() == "hi"
            assert await waiter == 0

    run_virtual(loop, main)


@loops
def test_the_frame_level_answers_nothing(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer):
            waiter = await ws.ping(b"?")
            await ws.send(b"x")
            assert await peer.receive_frame() == Frame(Opcode.PING, b"?")
            assert await peer.receive_frame() == (2, b"x", True, False)
            with anyio.move_on_after(1) as waiting:
                await waiter
            assert waiting.cancelled_caught
            await peer.pong(b"?")
            assert await waiter == 1

    run_virtual(loop, main)


@loops
def test_a_ping_of_the_peers(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (_, peer):
            await peer.ping(b"knock")
            assert await peer.receive_frame() == Frame(Opcode.PONG, b"knock")

    run_virtual(loop, main)


@loops
def test_a_peer_that_sleeps_is_awake(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer), anyio.create_task_group() as tasks:
            for message in ("a", "b"):
                await ws.send(message)
            tasks.start_soon(peer.sleep, 1000)
            for _ in range(100):
                await anyio.sleep(9)
                assert await (await ws.ping()) == 0
            await anyio.sleep(101)
            assert [await peer.receive(), await peer.receive()] == ["a", "b"]
            tasks.start_soon(ws.close)
            with pytest.raises(WebSocketDisconnect):
                await peer.sleep(1000)

    run_virtual(loop, main)


@loops
def test_fragments_of_the_peers_and_raw_bytes(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer):
            await peer.send_frame(Opcode.TEXT, b"a", fin=False)
            await peer.send_raw(encode_frame(Opcode.PING) + encode_frame(Opcode.CONT, b"b"))
            assert await ws.receive() == "ab"
            await peer.send_frame(Opcode.TEXT, b"never", rsv2=True)
            with pytest.raises(WebSocketProtocolError):
                await ws.receive()

    run_virtual(loop, main)


@loops
@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
def test_messages_of_every_size(loop: str, size: int) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ws.send, b"x" * size)
                tasks.start_soon(peer.send, "y" * size)
                assert await peer.receive() == b"x" * size
            assert await ws.receive() == "y" * size

    run_virtual(loop, main)


@loops
def test_close_is_the_whole_handshake(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer):
            await ws.send("in vain")
            await peer.close(4000, "bye")
            assert (peer.close_code, peer.close_reason) == (4000, "bye")
            assert "ended the connection" in repr(peer)
            await peer.close()  # does nothing
            with pytest.raises(WebSocketDisconnect, match="4000: bye"):
                await ws.receive()
            for call in (peer.receive(), peer.receive_frame(), peer.send("x"), peer.ping(), peer.__anext__()):
                with pytest.raises(WebSocketClosedError, match="the peer has ended the connection"):
                    await call

    run_virtual(loop, main)


@loops
def test_a_close_frame_alone_and_the_answer(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer):
            await peer.send_close(1001, "away")
            await peer.send_raw(b"whatever")  # the frame level keeps no rules
            with pytest.raises(WebSocketDisconnect):
                await ws.receive()
            assert (await peer.receive_frame()).payload == b"\x03\xe9away"
            assert peer.close_code == 1001
            await peer.close()  # the answer has come, so this only ends the connection
            await ws.wait_closed()

    run_virtual(loop, main)


@loops
def test_the_clients_close_is_answered_and_told(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer), anyio.create_task_group() as tasks:
            assert (peer.close_code, peer.close_reason) == (None, None)
            assert "open" in repr(peer)
            tasks.start_soon(ws.close, 4001, "why")
            for call in (peer.receive, peer.receive, peer.receive_frame, peer.ping):
                with pytest.raises(WebSocketDisconnect) as caught:
                    await call()
                assert (caught.value.code, caught.value.reason) == (4001, "why")
            assert [message async for message in peer] == []
            assert (peer.close_code, peer.close_reason) == (4001, "why")

    run_virtual(loop, main)


@loops
def test_a_close_frame_read_as_a_frame_can_be_answered_late_or_never(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer), anyio.create_task_group() as tasks:
            tasks.start_soon(ws.close)
            assert (await peer.receive_frame()).opcode == Opcode.CLOSE
            assert peer.close_code == 1000
            with pytest.raises(WebSocketDisconnect):
                await peer.receive_frame()  # the session has given up
        assert ws.close_code == 1006

    run_virtual(loop, main)


@loops
def test_both_sides_close_at_once(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer), anyio.create_task_group() as tasks:
            tasks.start_soon(ws.close, 4001)
            await peer.send_close(4000)
            with pytest.raises(WebSocketDisconnect, match="4001"):  # and no third close frame
                await peer.receive()
        assert ws.close_code == 4000

    run_virtual(loop, main)


@loops
def test_drop_and_reset(loop: str) -> None:
    async def main() -> None:
        async with session_and_peer() as (ws, peer):
            await peer.send("the last word")
            await peer.drop()
            await peer.drop()
            assert await ws.receive() == "the last word"
            with pytest.raises(WebSocketNetworkError, match="the peer ended it"):
                await ws.receive()
        async with session_and_peer() as (ws, peer):
            await peer.send("lost")
            await peer.reset()
            await peer.reset()
            with pytest.raises(WebSocketNetworkError, match="reset"):
                await ws.receive()
            with pytest.raises(WebSocketClosedError, match="the peer has reset the connection"):
                await peer.send("x")

    run_virtual(loop, main)
