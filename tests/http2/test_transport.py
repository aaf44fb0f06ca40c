"""Opening: what is asked for on the wire, what is shared, refusals, and the way back to HTTP/1.1."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx2
import pytest
import trio
import uvloop

import httpx2_trio_ws.anyio
from httpx2_trio_ws import WebSocketNetworkError, WebSocketUpgradeError, open_websocket
from httpx2_trio_ws.http2 import HTTP2Transport
from tests.servers import tcp_server, upgrade

from .scripted import Peer, client_of, close_frame, echo, scripted, text
from .server import serving
from .wire import RST, answer, data, rst, settings

if TYPE_CHECKING:
    from .scripted import Contexts
    from .server import ServerStream


async def echo_over_http1(stream: trio.abc.Stream) -> None:
    with contextlib.suppress(EOFError, trio.BrokenResourceError):
        peer = await upgrade(stream)
        while True:
            got = await peer.receive()
            await peer.send(text(got.payload.decode()) if got.opcode == 1 else close_frame(1000))


def transport_of(client: httpx2.AsyncClient) -> HTTP2Transport:
    return cast("HTTP2Transport", client._transport)


async def test_two_sessions_on_one_connection(tls: Contexts) -> None:
    async with scripted(echo, tls[0]) as server, client_of(tls[1]) as client:
        async with open_websocket(client, server.url) as one, open_websocket(client, f"{server.url}two") as two:
            await one.send("first")
            await two.send("second")
            assert (await one.receive(), await two.receive()) == ("first", "second")
            assert one.response.http_version == "HTTP/2"
            assert one.response.extensions["http2_status"] == 200
            assert (one.response.extensions["stream_id"], two.response.extensions["stream_id"]) == (1, 3)
            [connection] = transport_of(client).statistics().connections
            assert connection.sessions == transport_of(client).statistics().sessions == 2
            assert connection.max_sessions == 100
            assert connection.origin == server.url.replace("wss", "https")[:-1]
            assert not connection.draining
        assert server.connections == 1
        assert transport_of(client).statistics().sessions == 0
    assert transport_of(client).statistics().connections == ()


@pytest.mark.parametrize("loop", ["trio", "asyncio", "uvloop"])
def test_on_every_loop(loop: str, tls: Contexts) -> None:
    async def handler(stream: ServerStream) -> None:
        peer = await stream.accept()
        async for message in peer:
            await peer.send(message)

    async def main() -> None:
        async with serving(handler, tls[0]) as server, client_of(tls[1]) as client:
            async with (
                httpx2_trio_ws.anyio.open_websocket(client, server.url) as one,
                httpx2_trio_ws.anyio.open_websocket(client, server.url) as two,
            ):
                for session in (one, two, one):
                    await session.send("x" * 100_000)
                    assert len(await session.receive()) == 100_000
            assert len(server.connections) == 1

    options = {"loop_factory": uvloop.new_event_loop} if loop == "uvloop" else {}
    anyio.run(main, backend="trio" if loop == "trio" else "asyncio", backend_options=options)


async def test_what_goes_over_the_wire(tls: Contexts) -> None:
    asked: list[dict[bytes, bytes]] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, headers = await peer.request()
        asked.append(headers)
        await peer.send(
            answer(stream, (b"sec-websocket-accept", b"of a backend"), (b"sec-websocket-protocol", b"chat"))
        )
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        client.cookies["a"] = "b"
        async with open_websocket(client, f"{server.url}x?y=1", subprotocols=["chat"], auth=("u", "p")) as ws:
            assert ws.subprotocol == "chat"
    [headers] = asked
    assert list(headers)[:5] == [b":method", b":protocol", b":scheme", b":authority", b":path"]
    assert headers[b":method"] == b"CONNECT"
    assert headers[b":protocol"] == b"websocket"
    assert headers[b":scheme"] == b"https"
    assert headers[b":authority"].decode() in server.url
    assert headers[b":path"] == b"/x?y=1"
    assert headers[b"sec-websocket-version"] == b"13"
    assert headers[b"cookie"] == b"a=b"
    assert headers[b"authorization"] == b"Basic dTpw"
    assert not headers.keys() & {b"host", b"connection", b"upgrade", b"sec-websocket-key"}


async def test_answer_message_and_end_in_one_packet(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _ = await peer.request()
        await peer.send(answer(stream), data(stream, text("early") + close_frame(1000), 1))
        await peer.wait_end()

    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url) as ws,
    ):
        assert [message async for message in ws] == ["early"]


@pytest.mark.parametrize(
    ("reply", "status", "body", "said"),
    [
        (answer(1, status=b"403", flags=5), 403, b"", "refused the extended CONNECT with 403"),
        (answer(1, status=b"200", flags=5), 200, b"", "as if to an ordinary request"),
        (answer(1, (b"content-length", b"2")) + data(1, b"hi", 1), 200, b"hi", "as if to an ordinary request"),
        (answer(1, status=b"405") + data(1, b"no", 1) + rst(1, 0), 405, b"no", "HTTP2Transport"),
        (answer(1, status=b"426", flags=5), 426, b"", "426.*HTTP2Transport"),
        (answer(1, status=b"421", flags=5), 421, b"", "421"),
    ],
)
async def test_refusals(tls: Contexts, reply: bytes, status: int, body: bytes, said: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.request()
        await peer.send(reply)
        assert await peer.until(RST, 1)
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        with pytest.raises(WebSocketUpgradeError, match=said) as caught:
            async with open_websocket(client, server.url):
                raise AssertionError
        assert caught.value.response.status_code == status
        assert caught.value.response.http_version == "HTTP/2"
        assert caught.value.response.content == body
        assert transport_of(client).statistics().sessions == 0


async def test_an_invalid_answer_is_told_with_its_status(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.request()
        await peer.send(answer(1, (b"sec-websocket-protocol", b"chat")))
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        with pytest.raises(WebSocketUpgradeError, match=r"the server answered 200, but .* the subprotocol 'chat'"):
            async with open_websocket(client, server.url):
                raise AssertionError


async def test_a_redirect_and_a_login_on_the_same_connection(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, headers = await peer.request()
        assert headers[b":path"] == b"/"
        await peer.send(answer(stream, (b"location", b"/other"), (b"set-cookie", b"seen=1"), status=b"307", flags=5))
        stream, headers = await peer.request()
        assert headers[b":path"] == b"/other"
        assert headers[b"cookie"] == b"seen=1"
        challenge = (b"www-authenticate", b'Digest realm="x", nonce="n", qop="auth"')
        await peer.send(answer(stream, challenge, status=b"401"), data(stream, b"who?", 1))
        stream, headers = await peer.request()
        assert headers[b"authorization"].startswith(b"Digest")
        await peer.send(answer(stream))
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        auth = httpx2.DigestAuth("u", "p")
        async with open_websocket(client, server.url, auth=auth, follow_redirects=True) as ws:
            assert ws.response.status_code == 101
        assert server.connections == 1


# -- the way back to HTTP/1.1 ----------------------------------------------------------------------


async def test_a_server_without_http2(tls: Contexts) -> None:
    tls[0].set_alpn_protocols(["http/1.1"])
    async with tcp_server(echo_over_http1, tls[0]) as address, client_of(tls[1]) as client:
        async with open_websocket(client, f"wss://{address}") as one, open_websocket(client, f"wss://{address}") as two:
            for ws in (one, two):
                assert ws.response.http_version == "HTTP/1.1"
                await ws.send("x")
                assert await ws.receive() == "x"
        assert transport_of(client).statistics().connections == ()


async def test_a_server_without_the_setting_is_asked_once(tls: Contexts) -> None:
    """Over HTTP/1.1, on a connection of its own; then without asking."""
    over_http2 = 0

    async def handler(stream: Any) -> None:
        nonlocal over_http2
        await stream.do_handshake()
        if stream.selected_alpn_protocol() == "h2":
            over_http2 += 1
            await Peer(stream, 0).greet(settings((3, 100)))
            with contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
        else:
            await echo_over_http1(stream)

    tls[0].set_alpn_protocols(["h2", "http/1.1"])
    async with tcp_server(handler, tls[0]) as address, client_of(tls[1]) as client:
        for _ in range(3):
            async with open_websocket(client, f"wss://{address}") as ws:
                assert ws.response.http_version == "HTTP/1.1"
                await ws.send("x")
                assert await ws.receive() == "x"
    assert over_http2 == 1


async def test_http2_or_an_error(tls: Contexts) -> None:
    async with client_of(tls[1], http1=False) as client:

        async def script(peer: Peer) -> None:
            await peer.greet(settings())
            await peer.wait_end()

        async with scripted(script, tls[0]) as server:
            with pytest.raises(httpx2.UnsupportedProtocol, match="no SETTINGS_ENABLE_CONNECT_PROTOCOL"):
                async with open_websocket(client, server.url):
                    raise AssertionError
        tls[0].set_alpn_protocols([])
        async with tcp_server(echo_over_http1, tls[0]) as address:
            with pytest.raises(httpx2.UnsupportedProtocol, match="does not speak HTTP/2"):
                async with open_websocket(client, f"wss://{address}"):
                    raise AssertionError


async def test_prior_knowledge(tls: Contexts) -> None:
    async with scripted(echo, None) as server, client_of(tls[1], http1=False) as client:
        async with open_websocket(client, server.url) as one, open_websocket(client, server.url) as two:
            for ws in (one, two):
                await ws.send("x")
                assert await ws.receive() == "x"
                assert ws.response.http_version == "HTTP/2"
        assert server.connections == 1


async def test_plain_text_is_http1(tls: Contexts) -> None:
    async with (
        tcp_server(echo_over_http1) as address,
        client_of(tls[1]) as client,
        open_websocket(client, f"ws://{address}") as ws,
    ):
        assert ws.response.http_version == "HTTP/1.1"
        await ws.send("x")
        assert await ws.receive() == "x"


async def test_no_prior_knowledge_through_an_http_proxy(tls: Contexts) -> None:
    async with client_of(tls[1], http1=False, proxy="http://127.0.0.1:9") as client:
        with pytest.raises(httpx2.UnsupportedProtocol, match="does not go through an HTTP proxy"):
            async with open_websocket(client, "ws://127.0.0.1:9"):
                raise AssertionError


# -- others that ride on it ------------------------------------------------------------------------


async def test_ordinary_requests(tls: Contexts) -> None:
    async def handler(stream: ServerStream) -> None:
        await stream.respond(200, body=b"hello")

    async with serving(handler, tls[0]) as server, client_of(tls[1]) as client:
        response = await client.get(server.url.replace("wss", "https"))
        assert (response.http_version, response.text) == ("HTTP/2", "hello")


async def test_httpx2_s_own_websockets(tls: Contexts) -> None:
    async with scripted(echo, tls[0]) as server, client_of(tls[1]) as client:
        async with client.websocket(server.url) as one, client.websocket(server.url) as two:
            for ws in (one, two):
                await ws.send_text("x")
                assert await ws.receive_text() == "x"
        assert server.connections == 1


async def test_hooks_and_mounts(tls: Contexts) -> None:
    seen: list[Any] = []

    async def on_request(request: httpx2.Request) -> None:
        seen.append(request.method)

    async def on_response(response: httpx2.Response) -> None:
        seen.append((response.status_code, response.http_version))

    hooks: Any = {"request": [on_request], "response": [on_response]}
    mounts = {"https://127.0.0.1": HTTP2Transport(verify=tls[1])}
    async with (
        scripted(echo, tls[0]) as server,
        httpx2.AsyncClient(mounts=mounts, event_hooks=hooks) as client,
        open_websocket(client, server.url),
    ):
        assert seen == ["GET", (101, "HTTP/2")]


# -- wrong use -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"max_sessions_per_connection": 0}, ValueError, "from 1 to"),
        ({"max_sessions_per_connection": 1.5}, TypeError, "an int, not 1.5"),
        ({"stream_window_bytes": 1000}, ValueError, "from 16384 to"),
        ({"stream_window_bytes": True}, TypeError, "an int, not True"),
        ({"keepalive_ping_interval_seconds": 0}, ValueError, "a positive number"),
        ({"keepalive_ping_timeout_seconds": "20"}, TypeError, "a number of seconds"),
        ({"proxy": "ftp://127.0.0.1"}, ValueError, "Unknown scheme"),
    ],
)
def test_options(options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        HTTP2Transport(verify=False, **options)


def test_on_a_second_loop(tls: Contexts) -> None:
    transport = HTTP2Transport(verify=tls[1], http1=False)

    async def use() -> None:
        async with open_websocket(httpx2.AsyncClient(transport=transport), "wss://127.0.0.1:9"):
            raise AssertionError

    with pytest.raises(httpx2.ConnectError):
        trio.run(use)
    with pytest.raises(RuntimeError, match="another event loop"):
        trio.run(use)


async def test_what_is_closed_with_the_client(tls: Contexts) -> None:
    async with scripted(echo, tls[0]) as server:
        client = httpx2.AsyncClient(transport=HTTP2Transport(verify=tls[1]))
        with pytest.RaisesGroup(pytest.RaisesExc(WebSocketNetworkError, match="the HTTP/2 connection was closed")):
            async with open_websocket(client, server.url) as ws:
                await client.aclose()
                await ws.receive()


def test_a_client_that_is_never_closed(tls: Contexts) -> None:
    async def main() -> None:
        async with scripted(echo, tls[0]) as server:
            client = httpx2.AsyncClient(transport=HTTP2Transport(verify=tls[1]))
            async with open_websocket(client, server.url) as ws:
                await ws.send("x")
                assert await ws.receive() == "x"

    trio.run(main)
