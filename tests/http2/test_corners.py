"""What seldom happens: two things at once, and what nobody expects."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketNetworkError, WebSocketUpgradeError, open_websocket
from httpx2_trio_ws._http2 import Connection
from httpx2_trio_ws.anyio import open_websocket as open_on_asyncio
from httpx2_trio_ws.http2 import HTTP2Transport
from tests.servers import read_request, tcp_server

from .scripted import client_of, echo, scripted
from .server import CODES, serving
from .stream_end import StreamTransport
from .wire import answer, goaway, rst, settings

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable, Generator

    from .scripted import Peer
    from .server import Server, ServerStream

    Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


async def one_session(client: httpx2.AsyncClient, url: str) -> None:
    async with open_websocket(client, url, close_timeout_seconds=0.1) as ws:
        await ws.send("x")
        assert await ws.receive() == "x"


# -- requests that wait ------------------------------------------------------------------------------


async def wait_for_a_waiter(client: httpx2.AsyncClient) -> None:
    transport: Any = client._transport
    while not any(origin.waiting for origin in transport._pool._origins.values()):
        await trio.lowlevel.checkpoint()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (nobody sets an event)
        await asyncio.sleep(0)


class Tasks:
    """asyncio's tasks, of which one is cancelled when the pool has told it what it may have, and before it knows.

    trio has no such moment: who has been woken is cancelled at its next checkpoint.
    """

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self.transport: Any = client._transport

    @property
    def waiters(self) -> list[Any]:
        return [waiter for origin in self.transport._pool._origins.values() for waiter in origin.waiting]

    async def one(self) -> str | bytes:
        async with open_on_asyncio(self._client, self._url, close_timeout_seconds=1) as ws:
            await ws.send("x")
            return await ws.receive()

    async def cancel_when_told(self, task: asyncio.Task[Any], give: Callable[[], object]) -> None:
        """Cancel a task that waits as soon as ``give`` has come to something."""
        await until(lambda: bool(self.waiters))
        [waiter] = self.waiters
        told: list[object] = []
        tell = type(waiter).tell

        def tells(waiter: Any, what: object) -> None:
            tell(waiter, what)
            told.append(what)
            task.cancel()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(waiter), "tell", tells)
            give()
            await until(lambda: bool(told))
        with pytest.raises(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def on_asyncio(tls: Contexts, limits: httpx2.Limits, streams: int) -> AsyncGenerator[tuple[Server, Tasks]]:
    async def talk(stream: ServerStream) -> None:
        peer = await stream.accept()
        with contextlib.suppress(Exception):
            while True:
                await peer.send(await peer.receive())

    settings = {CODES.ENABLE_CONNECT_PROTOCOL: 1, CODES.MAX_CONCURRENT_STREAMS: streams}
    async with (
        serving(talk, tls[0], settings) as server,
        httpx2.AsyncClient(transport=HTTP2Transport(verify=tls[1], limits=limits), timeout=10) as client,
    ):
        yield server, Tasks(client, f"{server.url}/")


def test_cancelled_when_it_was_given_a_connection(tls: Contexts) -> None:
    """The room that was reserved for it is the next one's."""

    async def main() -> None:
        async with on_asyncio(tls, httpx2.Limits(max_connections=1), 1) as (server, tasks):
            over = asyncio.Event()

            async def holds() -> None:
                async with open_on_asyncio(tasks._client, tasks._url):
                    await over.wait()

            first = asyncio.create_task(holds())
            await until(lambda: tasks.transport.statistics().sessions == 1)
            second = asyncio.create_task(tasks.one())
            await tasks.cancel_when_told(second, over.set)
            await first
            assert await tasks.one() == "x"
            assert len(server.connections) == 1

    anyio.run(main)


def test_cancelled_when_it_was_to_dial(tls: Contexts) -> None:
    """Then the next one does."""

    async def main() -> None:
        async with on_asyncio(tls, httpx2.Limits(), 10) as (_, tasks):
            first = asyncio.create_task(tasks.one())
            await until(lambda: tasks.transport._pool is not None)
            second = asyncio.create_task(tasks.one())
            await tasks.cancel_when_told(second, first.cancel)
            assert await tasks.one() == "x"

    anyio.run(main)


def test_cancelled_when_it_was_told_that_there_is_none(tls: Contexts) -> None:
    async def main() -> None:
        async with on_asyncio(tls, httpx2.Limits(), 10) as (_, tasks):
            fails = asyncio.Event()

            async def trace(name: str, _: object) -> None:
                if name.endswith("connect_tcp.started"):
                    await fails.wait()
                    raise httpx2.ConnectError("no")

            async def first() -> None:
                with pytest.raises(httpx2.ConnectError):
                    async with open_on_asyncio(tasks._client, tasks._url, extensions={"trace": trace}):
                        raise AssertionError

            dials = asyncio.create_task(first())
            await until(lambda: tasks.transport._pool is not None)
            await tasks.cancel_when_told(asyncio.create_task(tasks.one()), fails.set)
            await dials
            assert await tasks.one() == "x"

    anyio.run(main)


async def test_a_connection_that_closes_while_it_is_given_out(tls: Contexts) -> None:
    """A stream ends, which makes room, and in the same packet comes GOAWAY: the request goes elsewhere."""

    async def script(peer: Peer) -> None:
        if peer.number:
            await echo(peer)
            return
        await peer.greet(settings((8, 1), (3, 1)))
        stream = await peer.accept()
        await waiting.wait()
        await peer.send(rst(stream, 2) + goaway(stream))
        await peer.wait_end()

    waiting = trio.Event()
    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1], max_sessions_per_connection=1, limits=httpx2.Limits(max_connections=1)) as client,
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def is_reset() -> None:
            with pytest.RaisesGroup(pytest.RaisesExc(WebSocketNetworkError), allow_unwrapped=True):
                async with open_websocket(client, server.url) as ws:
                    await ws.receive()

        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.start_soon(one_session, client, server.url)
        await wait_for_a_waiter(client)
        waiting.set()
    assert server.connections == 2


# -- dials -------------------------------------------------------------------------------------------


async def test_a_dial_that_fails_with_what_is_no_transport_error(tls: Contexts) -> None:
    """It is the dialler's; those that wait dial on their own."""
    errors = 0

    async def fail(*_: object) -> None:
        nonlocal errors
        errors += 1
        await trio.sleep(0.01)
        raise ZeroDivisionError

    async with client_of(tls[1]) as client, trio.open_nursery() as nursery:

        async def one() -> None:
            with pytest.raises(ZeroDivisionError):
                async with open_websocket(client, "wss://127.0.0.1:1/", extensions={"trace": fail}):
                    raise AssertionError

        nursery.start_soon(one)
        nursery.start_soon(one)
    assert errors == 2


@pytest.fixture
def port() -> Generator[int]:
    """One on which nobody listens, nor can while the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_a_dial_that_is_refused_is_refused_to_all(tls: Contexts, port: int) -> None:
    dials: list[str] = []

    async def trace(name: str, _: Any) -> None:
        dials.extend([name] if name.endswith("connect_tcp.started") else [])

    async with client_of(tls[1]) as client, trio.open_nursery() as nursery:

        async def one() -> None:
            with pytest.raises(httpx2.ConnectError) as caught:
                async with open_websocket(client, f"wss://127.0.0.1:{port}/{len(errors)}", extensions={"trace": trace}):
                    raise AssertionError
            errors.append(caught.value)

        errors: list[httpx2.ConnectError] = []
        for _ in range(50):
            nursery.start_soon(one)
    assert len(set(map(id, errors))) == 50
    assert len(dials) == 1


async def test_retries(tls: Contexts, port: int) -> None:
    attempts: list[str] = []

    async def trace(name: str, _: Any) -> None:
        if name.endswith("connect_tcp.failed"):
            attempts.append(name)

    async with client_of(tls[1], retries=1) as client:
        with pytest.raises(httpx2.ConnectError):
            async with open_websocket(client, f"wss://127.0.0.1:{port}/", extensions={"trace": trace}):
                raise AssertionError
    assert len(attempts) == 2


@pytest.mark.parametrize("length", [9, 20], ids=["whole", "cut off"])
async def test_a_refusal_over_http1(tls: Contexts, length: int) -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(f"HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n\r\nnot today".encode())
        await stream.aclose()

    async with tcp_server(refuse) as address, client_of(tls[1]) as client:
        with pytest.raises(WebSocketUpgradeError, match="403") as caught:
            async with open_websocket(client, f"ws://{address}"):
                raise AssertionError
    assert caught.value.response is not None
    assert caught.value.response.content == b"not today"


# -- connections that end in ways of their own -----------------------------------------------------------


async def test_a_connection_is_idle_from_its_last_session_on(autojump_clock: object) -> None:
    """Not from when its tasks last looked."""
    transport = StreamTransport()
    async with httpx2.AsyncClient(transport=transport) as client, trio.open_nursery() as nursery:
        transport.start(nursery)
        async with open_websocket(client, "ws://x/", close_timeout_seconds=0):
            await trio.sleep(3)
        left = trio.current_time()
        [connection] = transport.server.connections
        while not connection.lost:
            await connection.changed.wait()
        assert 4.9 < trio.current_time() - left < 6
        nursery.cancel_scope.cancel()


async def test_a_connection_that_is_reset(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.accept()
        stream: Any = peer.stream
        stream.transport_stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url) as ws,
    ):
        with pytest.raises(WebSocketNetworkError, match=r"the HTTP/2 connection was lost: .*reset by peer"):
            await ws.receive()


async def test_a_bug_of_ours_ends_the_connection(tls: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left waiting, and the next request gets another one."""
    async with scripted(echo, tls[0]) as server, client_of(tls[1]) as client:
        async with open_websocket(client, server.url) as ws:
            with monkeypatch.context() as patch:
                patch.setattr(Connection, "receive_data", lambda *_: 1 // 0)
                await ws.send("x")
                with pytest.raises(WebSocketNetworkError, match=r"an internal error: .*ZeroDivisionError"):
                    await ws.receive()
        await one_session(client, server.url)
        assert server.connections == 2


async def test_a_stream_that_fails_twice(tls: Contexts) -> None:
    """Its end came in the packet that ended all: the first reason is the one that is told."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream = await peer.accept()
        await peer.until(0, stream)
        await peer.send(rst(stream, 11) + b"\0\0\0\xff" * 3 + answer(2))
        await peer.wait_end()

    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url) as ws,
    ):
        await ws.send("x")
        with pytest.raises(WebSocketNetworkError, match="ENHANCE_YOUR_CALM"):
            await ws.receive()
