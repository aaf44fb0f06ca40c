"""Over real sockets: servers that are not there, that break off, and that come back. Nothing waits here."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from httpx2_trio_ws import WebSocketUpgradeError
from httpx2_trio_ws.anyio import reconnect as reconnect_anyio
from httpx2_trio_ws.reconnect import Backoff, reconnect
from tests.handshake_support import Request, client_context, new_client, response, server_context, site, switch
from tests.memory import text
from tests.on_asyncio.support import REAL_LOOPS, run_real
from tests.on_asyncio.support import server as asyncio_server
from tests.proxies import http_proxy, socks_proxy
from tests.servers import read_request, tcp_server, upgrade

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from websockets.asyncio.server import ServerConnection

NO_WAIT = Backoff(max_seconds=0)


def counting() -> tuple[Backoff, trio.Event]:
    """A backoff without waits, and an event that is set with the third failure in a row."""
    third = trio.Event()

    class Counting(Backoff):
        def delay(self, failures: int, retry_after_seconds: float = 0) -> float:
            if failures == 3:
                third.set()
            return 0

    return Counting(), third


async def first_message(client: httpx2.AsyncClient, url: str, **options: Any) -> str | bytes:
    for connection in reconnect(client, url, **{"backoff": NO_WAIT, **options}):
        async with connection as ws:
            return await ws.receive()
    raise AssertionError("the loop has ended")


async def greet(stream: trio.SocketStream) -> None:
    peer = await upgrade(stream)
    await peer.send(text("welcome"))
    await peer.answer_close()


def resetting(stream: trio.SocketStream) -> None:
    """Closing it will be a TCP reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def reset_at_once(stream: trio.SocketStream) -> None:
    resetting(stream)


async def reset_in_the_handshake(stream: trio.SocketStream) -> None:
    await read_request(stream)
    await stream.send_all(b"HTTP/1.1 101 Switching Prot")
    resetting(stream)


async def no_answer(stream: trio.SocketStream) -> None:
    await read_request(stream)


async def no_http(stream: trio.SocketStream) -> None:
    await read_request(stream)
    await stream.send_all(b"220 mail.example ESMTP\r\n")


async def reset_in_a_message(stream: trio.SocketStream) -> None:
    peer = await upgrade(stream)
    await peer.send(text("welcome")[:4])
    resetting(stream)


@pytest.mark.parametrize("dies", [reset_at_once, reset_in_the_handshake, no_answer, no_http, reset_in_a_message])
async def test_servers_that_die(
    dies: Callable[[trio.SocketStream], Awaitable[None]], client: httpx2.AsyncClient
) -> None:
    connections = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        await (dies if connections < 3 else greet)(stream)
        await stream.aclose()

    async with tcp_server(handler) as address:
        assert await first_message(client, f"ws://{address}") == "welcome"
    assert connections == 3


async def test_a_server_that_is_started_later(client: httpx2.AsyncClient) -> None:
    backoff, third = counting()
    with socket.socket() as bound:  # and not listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:

            async def start_later() -> None:
                await third.wait()
                bound.listen()
                bound.settimeout(0)
                listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound.dup()))
                await trio.serve_listeners(greet, [listener])

            nursery.start_soon(start_later)
            url = f"ws://127.0.0.1:{bound.getsockname()[1]}"
            assert await first_message(client, url, backoff=backoff) == "welcome"
            nursery.cancel_scope.cancel()


async def test_a_server_that_is_started_again(client: httpx2.AsyncClient) -> None:
    """It closes its sessions with 1001, and its port is refused for a while."""
    backoff, third = counting()
    messages = []

    async def serve_once(port: int, code: int) -> None:
        (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
        ports.append(listener.socket.getsockname()[1])
        listening.set()
        async with listener:
            stream = await listener.accept()
        async with stream:
            peer = await upgrade(stream)
            await peer.send(text(f"before {code}"))
            await peer.close(code)

    async def restarting() -> None:
        await serve_once(0, 1001)
        await third.wait()
        await serve_once(ports[0], 1000)

    ports: list[int] = []
    listening = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(restarting)
        await listening.wait()
        for connection in reconnect(client, f"ws://127.0.0.1:{ports[0]}", backoff=backoff):
            async with connection as ws:
                async for message in ws:
                    messages.append(message)
    assert messages == ["before 1001", "before 1000"]


async def test_an_answer_that_is_no_websocket() -> None:
    def answer(request: Request) -> bytes:
        return switch(request, Sec_WebSocket_Accept="wrong")

    async with site(answer) as server, new_client() as client:
        with pytest.raises(WebSocketUpgradeError):
            await first_message(client, server.url)
        assert len(server.requests) == 1
        await server.idle()


async def test_each_attempt_is_a_request_of_its_own() -> None:
    """So a token that has expired can be renewed."""

    def answer(request: Request) -> bytes:
        fresh = request.headers["authorization"] == "Bearer 3"
        return switch(request) if fresh else response("503 Service Unavailable", body=b"")

    class Renewed(httpx2.Auth):
        count = 0

        def auth_flow(self, request: httpx2.Request) -> Any:
            self.count += 1
            request.headers["Authorization"] = f"Bearer {self.count}"
            yield request

    async with site(answer) as server, new_client(auth=Renewed()) as client:
        for connection in reconnect(client, server.url, backoff=NO_WAIT):
            async with connection as ws:
                await ws.send("x")
                assert await ws.receive() == "x"
        assert len({request.headers["sec-websocket-key"] for request in server.requests}) == 3
        await server.idle()


# -- TLS and proxies -------------------------------------------------------------------------------


async def test_a_certificate_that_is_not_trusted_is_not_retried() -> None:
    async with (
        site(ssl_context=server_context("other.example")) as server,
        new_client(verify=client_context()) as client,
    ):
        with pytest.raises(httpx2.ConnectError):
            await first_message(client, server.url)
        assert server.accepted == 1


async def test_a_server_that_breaks_off_the_tls_handshake_is_retried() -> None:
    connections = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        if connections < 3:
            await stream.receive_some(1)
            resetting(stream)
            await stream.aclose()
        else:
            tls: Any = trio.SSLStream(stream, server_context(), server_side=True, https_compatible=True)
            await greet(tls)

    async with tcp_server(handler) as address, new_client(verify=client_context()) as client:
        assert await first_message(client, f"wss://{address}") == "welcome"
    assert connections == 3


async def test_proxies_that_cannot_reach_the_server() -> None:
    """An HTTP proxy says 502, which is retried, a SOCKS proxy that it is refused."""
    for proxy_of, scheme in ((http_proxy, "http"), (socks_proxy, "socks5")):
        async with proxy_of() as proxy, new_client(proxy=f"{scheme}://{proxy.address}") as client:
            with pytest.raises(httpx2.ProxyError):
                await first_message(client, "wss://127.0.0.1:1", max_attempts=3)
            assert len(proxy.asked) == 3


async def test_proxies_that_want_another_login() -> None:
    async with http_proxy(credentials="Basic eDp5") as proxy, new_client(proxy=f"http://{proxy.address}") as client:
        with pytest.raises(httpx2.ProxyError, match="407"):
            await first_message(client, "wss://127.0.0.1:1")
        assert len(proxy.asked) == 1
    async with (
        socks_proxy(user="user", password="secret") as proxy,
        new_client(proxy=f"socks5://user:wrong@{proxy.address}") as client,
    ):
        with pytest.raises(httpx2.ProxyError, match="Invalid username/password"):
            await first_message(client, "wss://127.0.0.1:1")


async def test_a_full_pool_is_not_retried() -> None:
    limits = httpx2.Limits(max_connections=1)
    async with (
        site() as server,
        new_client(limits=limits, timeout=httpx2.Timeout(5, pool=0.01)) as client,
        next(reconnect(client, server.url)),
    ):
        with pytest.raises(httpx2.PoolTimeout):
            await first_message(client, server.url)


# -- asyncio ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", REAL_LOOPS)
def test_on_asyncio(loop: str) -> None:
    codes = iter([1001, 1012, 1013, 1000])

    async def handler(ws: ServerConnection) -> None:
        await ws.send("hello")
        await ws.close(next(codes))

    async def main() -> None:
        messages = []
        async with asyncio_server(handler) as (client, url):
            for connection in reconnect_anyio(client, url, backoff=NO_WAIT):
                async with connection as ws:
                    async for message in ws:
                        messages.append(message)
        assert messages == ["hello"] * 4

    run_real(loop, main)


@pytest.mark.parametrize("loop", REAL_LOOPS)
def test_refused_on_asyncio(loop: str) -> None:
    async def main() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            url = f"ws://127.0.0.1:{bound.getsockname()[1]}"
            async with new_client() as client:
                with pytest.raises(httpx2.ConnectError):
                    async with next(reconnect_anyio(client, url, backoff=NO_WAIT, max_attempts=3)):
                        raise AssertionError

    run_real(loop, main)
