"""Openings that fail for want of time, of room in the pool, or of a server; and those that are cancelled."""

from __future__ import annotations

import socket

import httpcore2
import httpx2
import pytest
import trio

from httpx2_trio_ws import OpenOptions, WebSocketHandshakeTimeout, WebSocketUpgradeError, open_websocket
from httpx2_trio_ws._handshake._asking import AsyncOpening
from httpx2_trio_ws._runtime._trio import TRIO

from .handshake_support import Request, new_client, one_connection, site, switch
from .memory import accept_key
from .servers import tcp_server


async def test_a_read_timeout_is_raised_bare(client: httpx2.AsyncClient) -> None:
    async with site(lambda _: b"") as server:
        with pytest.raises(httpx2.ReadTimeout):
            async with open_websocket(client, server.url, timeout=0.05):
                raise AssertionError
        await server.idle()


async def test_the_timeout_of_the_client_applies() -> None:
    async with site(lambda _: b"") as server, new_client(timeout=0.05) as client:
        with pytest.raises(httpx2.ReadTimeout):
            async with open_websocket(client, server.url):
                raise AssertionError


async def test_a_connect_error_is_raised_bare(client: httpx2.AsyncClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and never listens
        with pytest.raises(httpx2.ConnectError):
            async with open_websocket(client, f"ws://127.0.0.1:{unused.getsockname()[1]}"):
                raise AssertionError


async def test_a_server_that_hangs_up(client: httpx2.AsyncClient) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    async with tcp_server(handler) as host:
        with pytest.raises(httpx2.RemoteProtocolError):
            async with open_websocket(client, f"ws://{host}"):
                raise AssertionError


async def test_a_server_that_drips_bytes_meets_the_handshake_timeout() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        # Each byte is in time for httpx2's timeout, which is per operation.
        await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nX-Drip: ")
        try:
            while True:
                await stream.send_all(b"x")
                await trio.sleep(0.02)
        except trio.BrokenResourceError:
            closed.set()

    closed = trio.Event()
    async with tcp_server(handler) as host, one_connection() as client:
        with pytest.raises(WebSocketHandshakeTimeout, match=r"with 127.0.0.1 took longer than 0\.15 s") as caught:
            async with open_websocket(client, f"ws://{host}", handshake_timeout_seconds=0.15):
                raise AssertionError
        assert "pool" not in str(caught.value)
        await closed.wait()


class _Stalling(httpx2.AsyncBaseTransport):
    """Answers after a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await trio.sleep(self._seconds)
        return httpx2.Response(404)


@pytest.mark.parametrize(("options", "limit"), [({}, 30), ({"handshake_timeout_seconds": 3600}, 3600)])
async def test_the_handshake_timeout_on_the_clock(options: OpenOptions, limit: float, autojump_clock: object) -> None:
    start = trio.current_time()
    async with httpx2.AsyncClient(transport=_Stalling(1e6)) as client:
        with pytest.raises(WebSocketHandshakeTimeout):
            async with open_websocket(client, "ws://h", **options):
                raise AssertionError
    assert trio.current_time() - start == pytest.approx(limit)


async def test_without_a_handshake_timeout(autojump_clock: object) -> None:
    async with httpx2.AsyncClient(transport=_Stalling(1e6)) as client:
        with pytest.raises(WebSocketUpgradeError, match="404"):
            async with open_websocket(client, "ws://h", handshake_timeout_seconds=None):
                raise AssertionError


async def test_a_full_pool_says_what_to_set() -> None:
    async with site() as server, one_connection() as client:
        async with open_websocket(client, server.url) as first:
            with pytest.raises(
                httpx2.PoolTimeout, match=r"every open session keeps one .*max_connections=None"
            ) as caught:
                async with open_websocket(client, server.url):
                    raise AssertionError
            assert caught.value.request.url == httpx2.URL(f"http://{server.host}")
            await first.send("still open")
            assert await first.receive() == "still open"
        async with open_websocket(client, server.url) as second:
            await second.send("x")
            assert await second.receive() == "x"


@pytest.mark.parametrize("pool", [None, 10])
async def test_a_full_pool_that_meets_the_handshake_timeout(pool: float | None) -> None:
    limits, timeout = httpx2.Limits(max_connections=1), httpx2.Timeout(5, pool=pool)
    async with (
        site() as server,
        new_client(limits=limits, timeout=timeout) as client,
        open_websocket(client, server.url),
    ):
        with pytest.raises(WebSocketHandshakeTimeout, match=r"if it waited for the client's pool: .*max_connections"):
            async with open_websocket(client, server.url, handshake_timeout_seconds=0.05):
                raise AssertionError


async def test_cancelling_during_the_handshake_leaves_nothing() -> None:
    async def cancel_when_asked() -> None:
        await server.asked.wait()
        scope.cancel()

    def answer(request: Request) -> bytes:
        return b"" if request.target == "/wait" else switch(request)

    async with site(answer) as server, one_connection() as client, trio.open_nursery() as nursery:
        nursery.start_soon(cancel_when_asked)
        with trio.CancelScope() as scope:
            async with open_websocket(client, f"{server.url}/wait"):
                raise AssertionError
        assert scope.cancelled_caught
        await server.idle()
        async with open_websocket(client, server.url):
            pass


@pytest.mark.parametrize("on_client", [False, True])
async def test_a_timeout_that_somebody_has_set_is_named(on_client: bool) -> None:
    async with site(lambda _: b"") as server, new_client(**({"timeout": 0.05} if on_client else {})) as client:
        given: OpenOptions = {} if on_client else {"timeout": 0.05}
        with pytest.raises(
            httpx2.ReadTimeout, match=r"waiting for the answer of 127\.0\.0\.1 took longer than 0\.05 s"
        ):
            async with open_websocket(client, server.url, **given):
                raise AssertionError


async def test_a_slow_answer_is_waited_for_as_long_as_the_handshake_may_take(client: httpx2.AsyncClient) -> None:
    """httpx2's default for reads is no limit of ours."""
    for options, read in ({}, None), ({"timeout": 5}, 5), ({"handshake_timeout_seconds": None}, 5):
        request = AsyncOpening(TRIO, client, "ws://h", options).request  # type: ignore[arg-type]
        assert request.extensions["timeout"]["read"] == read


async def test_a_mocked_101() -> None:
    """As tests of httpx2's own sessions write it: the response is made without a stream, and so is closed from the start."""

    class Stream(httpcore2.AsyncNetworkStream):
        sent = b"\x81\x02hi\x88\x02\x03\xe8"
        closed = False

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 (its signature)
            await trio.lowlevel.checkpoint()
            data, self.sent = self.sent, b""
            return data

        async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
            pass

        async def aclose(self) -> None:
            self.closed = True

        def get_extra_info(self, info: str) -> None:
            return None

    stream = Stream()

    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_key(request.headers["Sec-WebSocket-Key"]),
        }
        return httpx2.Response(101, headers=headers, extensions={"network_stream": stream})

    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport) as client, open_websocket(client, "ws://h") as ws:
        assert await ws.receive() == "hi"
    assert stream.closed
