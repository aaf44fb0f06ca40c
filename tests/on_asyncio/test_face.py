"""``httpx2_trio_ws.anyio``: what is asyncio's and anyio's about it."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import httpx2
import pytest
import trio
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

import httpx2_trio_ws
import httpx2_trio_ws.anyio as face
from httpx2_trio_ws import WebSocketClosedError, WebSocketKeepaliveTimeout, WebSocketNetworkError
from httpx2_trio_ws._runtime._asyncio import AsyncioRuntime, running
from httpx2_trio_ws._runtime._trio import TRIO
from httpx2_trio_ws.anyio import WebSocketStream, connect_websocket, open_websocket, open_websocket_url
from httpx2_trio_ws.testing import ScriptedPeer, memory_server
from tests.virtual_time import VIRTUAL, run_virtual

from .support import REAL_LOOPS, run_real, server

if TYPE_CHECKING:
    import ssl

URL = "ws://memory.example/"
each_loop = pytest.mark.parametrize("loop", VIRTUAL)


async def echo(peer: ScriptedPeer) -> None:
    async for message in peer:
        await peer.send(message)


@each_loop
def test_a_session_is_an_object_stream(loop: str) -> None:
    async def main() -> None:
        async with memory_server(echo) as client, open_websocket(client, URL) as ws:
            stream: anyio.abc.ObjectStream[str | bytes] = ws
            assert isinstance(stream, anyio.abc.ObjectStream)
            await stream.send(item="by anyio's name for it")
            assert await stream.receive() == "by anyio's name for it"
            with pytest.raises(NotImplementedError, match=r"one direction only; use close\(\) or aclose\(\)"):
                await stream.send_eof()
            async with stream:
                pass
            with pytest.raises(anyio.ClosedResourceError):
                await stream.send("a")

    run_virtual(loop, main)


@each_loop
def test_connect_in_a_task_group(loop: str) -> None:
    async def main() -> None:
        async with memory_server(echo) as client, anyio.create_task_group() as group:
            async with await connect_websocket(group, client, URL) as ws:
                await ws.send("a")
                assert await ws.receive() == "a"
            with pytest.raises(WebSocketClosedError):
                await ws.receive()

    run_virtual(loop, main)


@each_loop
def test_a_failure_comes_out_of_the_block(loop: str) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.drop()

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with memory_server(handler) as client, open_websocket(client, URL):
                await anyio.sleep(60)
        assert caught.group_contains(WebSocketNetworkError)

    run_virtual(loop, main)


@each_loop
def test_keepalive(loop: str) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await anyio.sleep(100)

    async def main() -> None:
        async with memory_server(handler) as client:
            start = anyio.current_time()
            with pytest.raises(ExceptionGroup) as caught:
                async with open_websocket(client, URL) as ws:
                    await ws.receive()
            assert caught.group_contains(WebSocketKeepaliveTimeout)
            assert 39 < anyio.current_time() - start < 42

    run_virtual(loop, main)


def test_an_asyncio_task_group_is_no_place_for_a_session() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group, httpx2.AsyncClient(verify=False) as client:
            wrong: Any = group
            with pytest.raises(TypeError, match=r"anyio\.create_task_group\(\), not <TaskGroup"):
                await connect_websocket(wrong, client, URL)

    asyncio.run(main())


def test_the_trio_session_on_asyncio_says_where_the_other_is() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"httpx2_trio_ws\.anyio"):
            async with httpx2_trio_ws.open_websocket_url(URL):
                pass

    asyncio.run(main())


def test_without_a_loop_it_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"anyio\.run\(\), asyncio\.run\(\) or trio\.run\(\)"):
        open_websocket_url(URL).__aenter__().send(None)


def test_the_faces_are_alike() -> None:
    for name in ("open_websocket", "open_websocket_url", "connect_websocket"):
        options = [
            [p for p in inspect.signature(getattr(module, name)).parameters.values() if p.kind is p.KEYWORD_ONLY]
            for module in (httpx2_trio_ws, face)
        ]
        assert options[0] == options[1]


@pytest.mark.parametrize("loop", REAL_LOOPS)
def test_a_client_of_its_own(loop: str) -> None:
    async def main() -> None:
        async with server() as (_, url), open_websocket_url(url) as ws:
            await ws.send("a")
            assert await ws.receive() == "a"

    run_real(loop, main)


@pytest.mark.parametrize("loop", REAL_LOOPS)
def test_over_tls(loop: str, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def main() -> None:
        async with server(ssl=tls[0]) as (client, url), open_websocket(client, url) as ws:
            for size in (1, 70_000, 500_000):
                await ws.send(bytes(size))
                assert await ws.receive() == bytes(size)
            assert 0 < await (await ws.ping()) < 5

    run_real(loop, main)


def test_on_trio_it_is_trios_session_in_all_but_name() -> None:
    async def main() -> None:
        async with memory_server(echo) as client, open_websocket(client, URL) as ws:
            assert ws._runtime is TRIO

    trio.run(main)


@each_loop
def test_a_stream_of_bytes(loop: str) -> None:
    async def main() -> None:
        async with memory_server(echo) as client, open_websocket(client, URL) as ws:
            stream = WebSocketStream(ws)
            buffered = BufferedByteReceiveStream(stream)
            await stream.send(b"one two;")
            await stream.send(b"")
            assert await buffered.receive_until(b";", 100) == b"one two"
            with pytest.raises(NotImplementedError):
                await stream.send_eof()
            for wrong, error in ((0, ValueError), (1.5, TypeError)):
                with pytest.raises(error):
                    await stream.receive(wrong)  # type: ignore[arg-type]
            await stream.aclose()
            for call in (stream.receive(), stream.send(b"a")):
                with pytest.raises(anyio.ClosedResourceError):
                    await call

    run_virtual(loop, main)


@each_loop
def test_a_stream_ends_with_the_session(loop: str) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.send(b"last")
        await peer.close(1000)

    async def main() -> None:
        async with memory_server(handler) as client, open_websocket(client, URL) as ws:
            stream = WebSocketStream(ws)
            assert [part async for part in stream] == [b"last"]
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
            with pytest.raises(anyio.BrokenResourceError):
                await stream.send(b"a")

    run_virtual(loop, main)


@each_loop
def test_two_tasks_in_one_stream(loop: str) -> None:
    async def main() -> None:
        async with memory_server(echo) as client, open_websocket(client, URL) as ws:
            stream = WebSocketStream(ws)
            async with anyio.create_task_group() as group:
                group.start_soon(stream.receive)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(anyio.BusyResourceError, match="receiving"):
                    await stream.receive()
                group.cancel_scope.cancel()

    run_virtual(loop, main)


@each_loop
def test_tls_through_a_session(loop: str, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Two sessions whose peers are wired to each other; anyio's TLS at both ends."""
    peers: list[ScriptedPeer] = []
    both = anyio.Event()

    async def relay(peer: ScriptedPeer) -> None:
        peers.append(peer)
        if len(peers) == 2:
            both.set()
        await both.wait()
        (other,) = (p for p in peers if p is not peer)
        async for message in peer:
            await other.send(message)

    async def main() -> None:
        async with (
            memory_server(relay) as client,
            open_websocket(client, URL) as one,
            open_websocket(client, URL) as other,
        ):
            ends: list[TLSStream] = []

            async def serve_end() -> None:
                ends.append(await TLSStream.wrap(WebSocketStream(other), server_side=True, ssl_context=tls[0]))

            async with anyio.create_task_group() as group:
                group.start_soon(serve_end)
                ours = await TLSStream.wrap(WebSocketStream(one), hostname="127.0.0.1", ssl_context=tls[1])
            await ours.send(b"a secret")
            assert await ends[0].receive() == b"a secret"

    run_virtual(loop, main)


def test_all_sessions_of_a_loop_have_one_runtime() -> None:
    async def main() -> AsyncioRuntime:
        return running()

    async def both() -> None:
        assert running() is running()
        assert running() is not other

    other = asyncio.run(main())
    asyncio.run(both())


@each_loop
def test_the_task_of_a_session_says_whose_it_is(loop: str) -> None:
    async def main() -> None:
        async with memory_server(echo) as client, open_websocket(client, URL):
            me = anyio.get_current_task()
            names = [task.name for task in anyio.get_running_tasks() if task.parent_id == me.id]
        assert "httpx2_trio_ws._session._engine.Engine.run" in names

    run_virtual(loop, main)
