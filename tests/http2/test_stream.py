"""A stream as a network stream, and writers that wait for their own window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpcore2
import httpx2
import pytest
import trio
import trio.testing

import httpx2_trio_ws.http2
from httpx2_trio_ws import WebSocketNetworkError, open_websocket
from httpx2_trio_ws._http2_transport import _transport

from .scripted import Peer, client_of, echo, scripted, text
from .test_transport import transport_of
from .wire import DATA, answer, data, rst, settings, window

if TYPE_CHECKING:
    from .scripted import Contexts

SMALL = settings((8, 1), (4, 1000))
ASKING = {"Upgrade": "websocket", "Connection": "Upgrade"}


async def test_a_buffer_may_be_changed_once_it_was_written(tls: Contexts) -> None:
    """What follows another write closely is not on its way by then."""
    written = bytearray()

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream = await peer.accept()
        while len(written) < 300:
            written.extend(await peer.until(DATA, stream))
        await peer.send(data(stream, b"", 1))
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        request = client.build_request("GET", server.url.replace("wss", "https"), headers=ASKING)
        response = await client.send(request, stream=True)
        stream, buffer = response.extensions["network_stream"], bytearray(3)
        for number in range(100):
            buffer[:] = b"%03d" % number
            await stream.write(buffer)
        assert await stream.read(1) == b""
        await response.aclose()
    assert written == b"".join(b"%03d" % number for number in range(100))


async def test_reading_and_writing(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(SMALL)
        stream = await peer.accept()
        await peer.send(data(stream, b"abc"))
        await peer.until(DATA, stream)
        await peer.send(window(stream, 5000))
        await peer.until(DATA, stream)
        await peer.send(data(stream, b"", 1))
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        request = client.build_request("GET", server.url.replace("wss", "https"), headers=ASKING)
        response = await client.send(request, stream=True)
        stream = response.extensions["network_stream"]
        assert "sec-websocket-accept" not in response.headers, "there was no key"
        assert (await stream.read(2), await stream.read(100)) == (b"ab", b"c")
        with pytest.raises(httpcore2.ReadTimeout):
            await stream.read(1, timeout=0.05)
        with pytest.raises(httpcore2.ReadTimeout):
            await stream.read(1, timeout=0)
        await stream.write(bytes(3000), timeout=5)
        assert await stream.read(100) == b""
        assert stream.get_extra_info("http2_stream_id") == 1
        [shown] = transport_of(client).statistics().connections
        assert stream.get_extra_info("http2_connection_id") == shown.number
        assert stream.get_extra_info("socket") is None
        assert stream.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        with pytest.raises(httpcore2.WriteTimeout):
            await stream.write(bytes(10_000), timeout=0.05)
        await response.aclose()
        await response.aclose()
        with pytest.raises(httpcore2.WriteError, match="the stream was closed"):
            await stream.write(b"x")


async def test_what_nobody_has_read(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _ = await peer.request()
        await peer.send(answer(stream) + data(stream, b"early"))
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        request = client.build_request("GET", server.url.replace("wss", "https"), headers=ASKING)
        response = await client.send(request, stream=True)
        stream = response.extensions["network_stream"]
        assert stream.websocket_carrier().has_unread
        assert await stream.read(100) == b"early"
        assert not stream.websocket_carrier().has_unread
        await response.aclose()


async def test_reading_what_was_reset(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.send(rst(await peer.accept(), 2))
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        request = client.build_request("GET", server.url.replace("wss", "https"), headers=ASKING)
        response = await client.send(request, stream=True)
        with pytest.raises(httpcore2.ReadError, match="INTERNAL_ERROR"):
            await response.extensions["network_stream"].read(1)
        await response.aclose()


@pytest.mark.parametrize("how", ["one", "all"])
async def test_waiting_for_its_own_window(tls: Contexts, how: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(SMALL)
        stream = await peer.accept()
        await peer.until(DATA, stream)
        await peer.send(settings((4, 2000)) if how == "all" else window(stream, 1000))
        await peer.until(DATA, stream)
        await peer.send(window(stream, 100_000))
        await peer.send(data(stream, text("all")))
        await peer.wait_end()

    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url, close_timeout_seconds=0.1) as ws,
    ):
        await ws.send(b"x" * 50_000)
        assert await ws.receive() == "all"


@pytest.mark.parametrize("end", ["reset", "left"])
async def test_the_end_of_a_stream_that_waits(tls: Contexts, end: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(SMALL)
        stream = await peer.accept()
        await peer.until(DATA, stream)
        if end == "reset":
            await peer.send(rst(stream, 2))
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        if end == "left":
            with trio.move_on_after(0.2):
                async with open_websocket(client, server.url) as ws:
                    await ws.send(b"x" * 500_000)
                    await trio.sleep_forever()
        else:
            with pytest.RaisesGroup(pytest.RaisesExc(WebSocketNetworkError), allow_unwrapped=True):
                async with open_websocket(client, server.url) as ws:
                    await ws.send(b"x" * 500_000)
                    await ws.receive()


async def test_through_a_unix_socket(tls: Contexts, tmp_path: object) -> None:
    path = f"{tmp_path}/socket"

    async with trio.open_nursery() as nursery:
        sock = trio.socket.socket(trio.socket.AF_UNIX)
        await sock.bind(path)
        sock.listen()
        listener = trio.SocketListener(sock)

        async def handler(stream: trio.SocketStream) -> None:
            await echo(Peer(stream, 0))

        nursery.start_soon(trio.serve_listeners, handler, [listener])
        async with (
            client_of(tls[1], http1=False, uds=path) as client,
            open_websocket(client, "ws://example.com/") as ws,
        ):
            await ws.send("x")
            assert await ws.receive() == "x"
        nursery.cancel_scope.cancel()


def test_names() -> None:
    assert dir(httpx2_trio_ws.http2) == ["ConnectionStatistics", "HTTP2Transport", "TransportStatistics"]
    with pytest.raises(NotImplementedError):
        _transport.HTTP2Transport(verify=False)._loop_of_caller()
    proxied = [
        httpx2_trio_ws.http2.HTTP2Transport(verify=False, proxy=f"{kind}://127.0.0.1:9")
        for kind in ("http", "https", "socks5")
    ]
    assert [transport.statistics().sessions for transport in proxied] == [0, 0, 0]
    with pytest.raises(ValueError, match="a positive number"):
        httpx2_trio_ws.http2.HTTP2Transport(verify=False, keepalive_ping_timeout_seconds=float("inf"))
    assert httpx2.Limits().keepalive_expiry == 5


async def test_no_pings_and_no_expiry(tls: Contexts) -> None:
    limits = httpx2.Limits(keepalive_expiry=None)
    async with (
        scripted(echo, tls[0]) as server,
        client_of(tls[1], keepalive_ping_interval_seconds=None, limits=limits) as client,
    ):
        async with open_websocket(client, server.url) as ws:
            await ws.send("x")
            assert await ws.receive() == "x"
        await trio.testing.wait_all_tasks_blocked(0.02)
