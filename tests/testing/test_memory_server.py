"""A server in memory: how handlers are run, what respond can do, and compression."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

from httpx2_trio_ws import WebSocketDisconnect, WebSocketKeepaliveTimeout, WebSocketNetworkError, WebSocketUpgradeError
from httpx2_trio_ws.anyio import connect_websocket, open_websocket
from httpx2_trio_ws.testing import ScriptedPeer, memory_server
from tests.virtual_time import VIRTUAL, run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

loops = pytest.mark.parametrize("loop", VIRTUAL)


async def echo(peer: ScriptedPeer) -> None:
    async for message in peer:
        await peer.send(message)


# -- handlers --------------------------------------------------------------------------------------


@loops
def test_each_session_has_a_handler_of_its_own(loop: str) -> None:
    async def main() -> None:
        urls = []

        async def handler(peer: ScriptedPeer) -> None:
            urls.append(str(peer.request.url))
            await echo(peer)

        async with (
            memory_server(handler) as client,
            open_websocket(client, "ws://one.example/") as one,
            open_websocket(client, "/two") as two,
        ):
            await one.send("1")
            await two.send(b"2")
            assert [await one.receive(), await two.receive()] == ["1", b"2"]
        assert urls == ["http://one.example/", "http://memory.example/two"]
        assert (one.close_code, two.close_code) == (1000, 1000)

    run_virtual(loop, main)


@loops
def test_a_handler_that_returns_closes_with_1000(loop: str) -> None:
    async def main() -> None:
        async def handler(peer: ScriptedPeer) -> None:
            await peer.send("only this")

        async with memory_server(handler) as client, open_websocket(client, "/") as ws:
            assert await ws.receive() == "only this"
            with pytest.raises(WebSocketDisconnect) as caught:
                await ws.receive()
            assert caught.value.code == 1000

    run_virtual(loop, main)


@loops
def test_the_mock_clock_jumps(loop: str) -> None:
    async def main() -> None:
        async def handler(peer: ScriptedPeer) -> None:
            await anyio.sleep(1000)

        began = anyio.current_time()
        async with memory_server(handler) as client, open_websocket(client, "/") as ws:
            with pytest.raises(WebSocketKeepaliveTimeout):
                await ws.receive()
        assert 40 <= anyio.current_time() - began < 41

    run_virtual(loop, main)


class Unexpected(Exception):
    pass


@loops
def test_a_handlers_exception_leaves_the_block_in_a_group_and_alone(loop: str) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        assert await peer.receive() == "hello"
        raise Unexpected

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with memory_server(handler) as client, open_websocket(client, "/") as ws:
                await ws.send("hello")
                await ws.receive()
        assert list(map(type, caught.value.exceptions)) == [Unexpected]

    run_virtual(loop, main)


@loops
def test_an_exception_of_the_block_leaves_it_in_a_group(loop: str) -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with memory_server(echo):
                raise Unexpected
        assert list(map(type, caught.value.exceptions)) == [Unexpected]

    run_virtual(loop, main)


@loops
@pytest.mark.parametrize(("seconds", "finished"), [(0.05, True), (0.5, False)])
def test_handlers_may_finish_when_the_block_is_left_but_not_for_long(loop: str, seconds: float, finished: bool) -> None:
    async def main() -> None:
        ends = []

        async def handler(peer: ScriptedPeer) -> None:
            await peer.wait_closed()
            await anyio.sleep(seconds)
            ends.append(peer.close_code)

        async with memory_server(handler) as client, open_websocket(client, "/") as ws:
            await ws.send("nobody asks for this")
        assert ends == [1000] * finished

    run_virtual(loop, main)


@loops
def test_a_session_that_outlives_the_server_loses_its_connection(loop: str) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            async with memory_server(sleep_forever) as client:
                ws = await connect_websocket(tasks, client, "/")
            with pytest.raises(WebSocketNetworkError):
                await ws.receive()

    run_virtual(loop, main)


async def sleep_forever(peer: ScriptedPeer) -> None:
    await anyio.sleep_forever()


@loops
def test_a_full_connection_makes_senders_wait(loop: str) -> None:
    async def main() -> None:
        read = anyio.Event()
        received: list[int] = []

        async def handler(peer: ScriptedPeer) -> None:
            await read.wait()
            received.extend([len(message) async for message in peer])

        async with memory_server(handler, capacity=1000) as client, open_websocket(client, "/") as ws:
            with anyio.move_on_after(1) as waited:
                await ws.send(b"x" * 100_000)
            assert waited.cancelled_caught
            read.set()
            await ws.send(b"next")
        assert received == [100_000, 4]

    run_virtual(loop, main)


# -- respond ---------------------------------------------------------------------------------------


@loops
def test_respond_can_refuse_redirect_and_serve_other_requests(loop: str) -> None:
    def respond(request: httpx2.Request) -> httpx2.Response | None:
        return {
            "/refused": httpx2.Response(403, text="not you"),
            "/moved": httpx2.Response(307, headers={"Location": "/"}),
            "/login": httpx2.Response(200, headers={"Set-Cookie": "who=me"}),
        }.get(request.url.path)

    async def handler(peer: ScriptedPeer) -> None:
        await peer.send(peer.request.headers["Cookie"])

    async def main() -> None:
        async with memory_server(handler, respond=respond) as client:
            with pytest.raises(WebSocketUpgradeError) as caught:
                async with open_websocket(client, "/refused"):
                    pass  # pragma: no cover
            assert caught.value.response is not None
            assert (caught.value.response.status_code, caught.value.response.text) == (403, "not you")
            await client.get("/login")
            async with open_websocket(client, "/moved", follow_redirects=True) as ws:
                assert await ws.receive() == "who=me"

    run_virtual(loop, main)


@loops
def test_respond_can_be_async_and_add_headers_to_the_handshake(loop: str) -> None:
    async def respond(request: httpx2.Request) -> httpx2.Response:
        await anyio.sleep(1)
        (offered,) = request.headers["Sec-WebSocket-Protocol"].split(", ")[1:]
        cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        return httpx2.Response(101, headers=[("Sec-WebSocket-Protocol", offered), *cookies])

    async def main() -> None:
        async with (
            memory_server(echo, respond=respond) as client,
            open_websocket(client, "/", subprotocols=["chat", "superchat"]) as ws,
        ):
            assert ws.subprotocol == "superchat"
            assert dict(client.cookies) == {"a": "1", "b": "2"}
            assert "content-length" not in ws.response.headers

    run_virtual(loop, main)


@loops
def test_what_respond_sets_comes_before_the_handshakes_own(loop: str) -> None:
    async def main() -> None:
        broken = httpx2.Response(101, headers={"Sec-WebSocket-Accept": "wrong"})
        async with memory_server(echo, respond=lambda _: broken) as client:
            with pytest.raises(WebSocketUpgradeError, match="Sec-WebSocket-Accept"):
                async with open_websocket(client, "/"):
                    pass  # pragma: no cover

    run_virtual(loop, main)


# -- compression -----------------------------------------------------------------------------------


@loops
@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_compression_if_offered_and_wanted(loop: str, offered: bool, wanted: bool) -> None:
    async def main() -> None:
        both = []

        async def handler(peer: ScriptedPeer) -> None:
            both.append(peer.compressed)
            await echo(peer)

        async with (
            memory_server(handler, compression="deflate" if wanted else None) as client,
            open_websocket(client, "/", compression="deflate" if offered else None) as ws,
        ):
            for message in ("x" * 10_000, "x" * 10_000, b"", b"\0" * 10_000):
                await ws.send(message)
                assert await ws.receive() == message
            assert (ws.statistics().bytes_sent < 1000) is (offered and wanted)
        assert both == [offered and wanted]

    run_virtual(loop, main)


@loops
def test_an_offer_that_asks_for_more_than_is_given_is_declined(loop: str) -> None:
    async def main() -> None:
        headers = {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version": "13",
            "sec-websocket-extensions": "permessage-deflate; server_max_window_bits=10",
        }
        async with (
            memory_server(ScriptedPeer.wait_closed, compression="deflate") as client,
            client.stream("GET", "/", headers=headers) as response,
        ):
            assert response.status_code == 101
            assert "sec-websocket-extensions" not in response.headers

    run_virtual(loop, main)


@loops
@pytest.mark.parametrize("how", ["lambda", "partial", "object"])
def test_handlers_of_other_kinds(loop: str, how: str) -> None:
    class Handler:
        async def __call__(self, peer: ScriptedPeer) -> None:
            await say(peer, "hi")

    async def say(peer: ScriptedPeer, message: str) -> None:
        await peer.send(message)

    handlers: dict[str, Callable[[ScriptedPeer], Awaitable[None]]] = {
        "lambda": lambda peer: say(peer, "hi"),
        "partial": partial(say, message="hi"),
        "object": Handler(),
    }

    async def main() -> None:
        async with memory_server(handlers[how]) as client, open_websocket(client, "/") as ws:
            assert [message async for message in ws] == ["hi"]

    run_virtual(loop, main)


@loops
def test_a_client_that_is_cancelled_leaves_nothing(loop: str) -> None:
    async def main() -> None:
        async with memory_server(echo) as client:
            for _ in range(3):
                with anyio.move_on_after(1), contextlib.suppress(WebSocketNetworkError):
                    async with open_websocket(client, "/") as ws:
                        await ws.receive()

    run_virtual(loop, main)
