"""Through proxies, with limits of the client's."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from httpx2_trio_ws import WebSocketUpgradeError, open_websocket
from tests.proxies import http_proxy, socks_proxy

from .scripted import client_of
from .server import serving

if TYPE_CHECKING:
    import ssl

    from .server import ServerStream

    Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


async def talk(stream: ServerStream) -> None:
    """Echo."""
    peer = await stream.accept()
    with contextlib.suppress(Exception):
        while True:
            await peer.send(await peer.receive())


async def two_sessions(client: httpx2.AsyncClient, url: str) -> None:
    async with open_websocket(client, url) as one, open_websocket(client, url) as two:
        for ws in (one, two):
            for message in ("x", b"x" * 500_000):
                await ws.send(message)
                assert await ws.receive() == message
            assert ws.response.http_version == "HTTP/2"


@pytest.mark.parametrize("login", [False, True])
async def test_through_a_tunnel(tls: Contexts, login: bool) -> None:
    wanted = "Basic " + b64encode(b"me:secret").decode() if login else None
    user = "me:secret@" if login else ""
    async with (
        serving(talk, tls[0]) as server,
        http_proxy(credentials=wanted) as proxy,
        client_of(tls[1], http1=False, proxy=f"http://{user}{proxy.address}") as client,
    ):
        await two_sessions(client, f"{server.url}/")
        assert proxy.asked == [f"CONNECT {server.url.removeprefix('wss://')}"]
    assert "proxy-authorization" not in server.streams[0].request.headers


async def test_through_a_proxy_that_speaks_tls_itself(tls: Contexts) -> None:
    proxy_context, client_context = tls
    async with (
        serving(talk, tls[0]) as server,
        http_proxy(ssl_context=proxy_context) as proxy,
        client_of(
            tls[1], http1=False, proxy=httpx2.Proxy(f"https://{proxy.address}", ssl_context=client_context)
        ) as client,
    ):
        await two_sessions(client, f"{server.url}/")
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("login", [False, True])
async def test_through_socks(tls: Contexts, secure: bool, login: bool) -> None:
    """Also in plain text, by prior knowledge."""
    logins: dict[str, Any] = {"user": "me", "password": "secret"} if login else {}
    user = "me:secret@" if login else ""
    async with (
        serving(talk, tls[0] if secure else None) as server,
        socks_proxy(**logins) as proxy,
        client_of(tls[1], http1=False, proxy=f"socks5://{user}{proxy.address}") as client,
    ):
        await two_sessions(client, f"{server.url}/")
        assert len(proxy.asked) == 1


async def test_a_tunnel_that_is_refused(tls: Contexts) -> None:
    async with (
        serving(talk, tls[0]) as server,
        http_proxy(credentials="Basic eDp5") as proxy,
        client_of(tls[1], proxy=f"http://{proxy.address}") as client,
    ):
        for _ in range(2):  # what has failed is no longer in anyone's way
            with pytest.raises((httpx2.ProxyError, WebSocketUpgradeError), match="407"):
                async with open_websocket(client, f"{server.url}/"):
                    raise AssertionError
        assert transport_of(client).statistics().connections == ()


@pytest.mark.parametrize("keepalive", [0, 1])
async def test_limits_on_connections_that_are_idle(tls: Contexts, keepalive: int) -> None:
    """``max_keepalive_connections`` and ``keepalive_expiry``, as of a pool of httpx2's."""
    limits = httpx2.Limits(max_connections=3, max_keepalive_connections=keepalive, keepalive_expiry=60)
    async with (
        serving(talk, tls[0]) as one,
        serving(talk, tls[0]) as two,
        client_of(tls[1], limits=limits) as client,
    ):
        for server in (one, two):
            async with open_websocket(client, f"{server.url}/"):
                pass
        with trio.fail_after(5):
            while len(transport_of(client).statistics().connections) > keepalive:
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        [*left] = transport_of(client).statistics().connections
        assert len(left) == keepalive


def transport_of(client: httpx2.AsyncClient) -> Any:
    return client._transport
