"""Over TLS: certificates, servers with HTTP/2, and messages."""

from __future__ import annotations

import contextlib
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from httpx2_trio_ws import WebSocketDisconnect, WebSocketHandshakeTimeout, WebSocketUpgradeError, open_websocket

from .handshake_support import (
    Request,
    authority,
    certificate_files,
    client_context,
    new_client,
    one_connection,
    server_context,
    site,
    switch,
)
from .memory import text
from .servers import tcp_server, upgrade, websocket_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application: echoes over WebSocket at /echo, leaves at "leave"; elsewhere there is nothing."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"nothing here"})
    else:
        assert scope["type"] == "websocket"
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] != "/echo":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
        await _echo(receive, send)


async def _echo(receive: Any, send: Any) -> None:
    while (event := await receive())["type"] != "websocket.disconnect":
        if event.get("text") == "leave":
            await send({"type": "websocket.close", "code": 4001, "reason": "as you wish"})
            return
        await send({**event, "type": "websocket.send"})


@contextlib.asynccontextmanager
async def hypercorn(folder: Path) -> AsyncGenerator[str]:
    """The app behind hypercorn's trio worker, over TLS; by ALPN it prefers HTTP/2. Gives its host and port."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.certfile, config.keyfile = certificate_files(folder)
    config.accesslog = config.errorlog = None
    config.shutdown_timeout = config.graceful_timeout = 1
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        started: Any = partial(serve, shutdown_trigger=stop.wait, mode="asgi")
        (bound,) = await nursery.start(started, app, config)
        yield bound.removeprefix("https://")
        stop.set()


async def test_messages_both_ways() -> None:
    messages: list[str | bytes] = ["text", b"bytes", "ä" * 100_000, b"x" * 1_000_000, ""]
    async with (
        websocket_server(ssl=server_context(), max_size=None) as url,
        new_client(verify=client_context()) as client,
        open_websocket(client, url) as ws,
    ):
        assert url.startswith("wss://")
        assert str(ws.response.request.url).startswith("https://")

        async def send_all() -> None:
            for message in messages:
                await ws.send(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all)
            assert [await ws.receive() for _ in messages] == messages


async def test_frames_in_the_same_packet_as_the_101() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        peer = await upgrade(stream, glued=text("one") + text("two")[:1])
        await peer.send(text("two")[1:])
        await peer.answer_close()

    async with (
        tcp_server(handler, server_context()) as host,
        new_client(verify=client_context()) as client,
        open_websocket(client, f"wss://{host}") as ws,
    ):
        assert [await ws.receive(), await ws.receive()] == ["one", "two"]


async def test_base_url() -> None:
    async with (
        site(ssl_context=server_context()) as server,
        new_client(verify=client_context(), base_url=f"{server.url}/api") as client,
        open_websocket(client, "feed"),
    ):
        assert server.requests[0].target == "/api/feed"


async def test_secure_cookies() -> None:
    def answer(request: Request) -> bytes:
        return switch(request, "Set-Cookie: safe=1; Secure")

    async with (
        site(answer, ssl_context=server_context()) as server,
        site() as plain,
        new_client(verify=client_context()) as client,
    ):
        for url in (server.url, server.url, plain.url):
            async with open_websocket(client, url):
                pass
    assert [request.headers.get("cookie") for request in server.requests] == [None, "safe=1"]
    assert "cookie" not in plain.requests[0].headers


def causes(exc: BaseException) -> Iterator[BaseException]:
    cause = exc.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


@pytest.mark.parametrize("name", [None, "other.example"])
async def test_a_certificate_that_is_not_trusted(name: str | None) -> None:
    """Either from an unknown authority, or for another host."""
    context = ssl.create_default_context() if name is None else client_context()
    server_names = () if name is None else (name,)
    async with (
        site(ssl_context=server_context(*server_names)) as server,
        one_connection(verify=context) as client,
    ):
        for _ in range(2):
            with pytest.raises(httpx2.ConnectError) as caught:
                async with open_websocket(client, server.url):
                    raise AssertionError
            assert any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(caught.value))
    assert server.requests == []


async def test_the_sni_hostname_extension() -> None:
    async with (
        site(ssl_context=server_context("service.example")) as server,
        new_client(verify=client_context()) as client,
        open_websocket(client, server.url, extensions={"sni_hostname": "service.example"}) as ws,
    ):
        await ws.send("x")
        assert await ws.receive() == "x"


async def test_a_client_certificate() -> None:
    wanting = server_context()
    wanting.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(wanting)
    with_one = client_context()
    authority().issue_cert("client@example.org").configure_cert(with_one)
    async with site(ssl_context=wanting) as server:
        async with new_client(verify=with_one) as client, open_websocket(client, server.url) as ws:
            await ws.send("x")
            assert await ws.receive() == "x"
        async with new_client(verify=client_context()) as client:
            # With TLS 1.3, the client learns of it only when it reads.
            with pytest.raises(httpx2.TransportError):
                async with open_websocket(client, server.url):
                    raise AssertionError
    assert len(server.requests) == 1


async def test_a_tls_handshake_that_does_not_end() -> None:
    closed = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass
        closed.set()

    async with tcp_server(handler) as host, one_connection(verify=client_context()) as client:
        with pytest.raises(WebSocketHandshakeTimeout):
            async with open_websocket(client, f"wss://{host}", handshake_timeout_seconds=0.15):
                raise AssertionError
        await closed.wait()
        async with site(ssl_context=server_context()) as server, open_websocket(client, server.url):
            pass


async def test_hypercorn(tmp_path: Path) -> None:
    async with hypercorn(tmp_path) as host, new_client(verify=client_context()) as client:
        url = f"wss://{host}/echo"
        async with open_websocket(client, url, subprotocols=["b", "a"]) as ws:
            assert ws.subprotocol == "b"
            for message in ("text", b"bytes", "x" * 300_000):
                await ws.send(message)
                assert await ws.receive() == message
            assert await (await ws.ping()) > 0
            await ws.send("leave")
            with pytest.raises(WebSocketDisconnect, match="4001: as you wish"):
                await ws.receive()
        with pytest.raises(WebSocketUpgradeError, match="403"):
            async with open_websocket(client, f"wss://{host}/elsewhere"):
                raise AssertionError


async def test_http2_says_what_to_do(tmp_path: Path) -> None:
    async with hypercorn(tmp_path) as host, new_client(http2=True, verify=client_context()) as client:
        assert (await client.get(f"https://{host}/")).http_version == "HTTP/2"
        with pytest.raises(WebSocketUpgradeError, match=r"the server chose HTTP/2, .* cannot be upgraded") as caught:
            async with open_websocket(client, f"wss://{host}/echo"):
                raise AssertionError
        assert 'mounts={"https://127.0.0.1": httpx2.AsyncHTTPTransport(http2=False)}' in str(caught.value)
        assert caught.value.response is not None
        assert (caught.value.response.status_code, caught.value.response.text) == (404, "nothing here")
        # The connection is shared with other requests, and has not suffered.
        assert (await client.get(f"https://{host}/")).http_version == "HTTP/2"


async def test_the_mount_that_it_says(tmp_path: Path) -> None:
    """As the message has it, with the test's own certificates."""
    context = client_context()
    async with (
        hypercorn(tmp_path) as host,
        httpx2.AsyncClient(
            http2=True,
            verify=context,
            mounts={"https://127.0.0.1": httpx2.AsyncHTTPTransport(http2=False, verify=client_context())},
        ) as client,
        open_websocket(client, f"wss://{host}/echo") as ws,
    ):
        await ws.send("x")
        assert await ws.receive() == "x"
