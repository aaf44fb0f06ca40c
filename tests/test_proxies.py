"""Through proxies: what can be carried, and what is said where it cannot."""

from __future__ import annotations

from base64 import b64encode

import httpx2
import pytest

from httpx2_trio_ws import WebSocketUpgradeError, open_websocket

from .handshake_support import Request, client_context, new_client, response, server_context, site, switch
from .proxies import http_proxy, socks_proxy

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def talks(client: httpx2.AsyncClient, url: str) -> None:
    """Open, and exchange messages both ways, one larger than any buffer on the way."""
    async with open_websocket(client, url, compression=None) as ws:
        for message in ("x", b"x" * 500_000):
            await ws.send(message)
            assert await ws.receive() == message


async def test_wss_through_a_tunnel() -> None:
    async with (
        site(ssl_context=server_context()) as server,
        http_proxy() as proxy,
        new_client(proxy=f"http://{proxy.address}", verify=client_context()) as client,
    ):
        await talks(client, server.url)
        assert proxy.asked == [f"CONNECT {server.host}"]
        await server.idle()


@pytest.mark.parametrize("secure", [False, True])
async def test_a_proxy_with_credentials(secure: bool) -> None:
    wanted = "Basic " + b64encode(b"me:secret").decode()
    context = server_context() if secure else None
    async with (
        site(ssl_context=context) as server,
        http_proxy(credentials=wanted) as proxy,
        new_client(proxy=f"http://me:secret@{proxy.address}", verify=client_context()) as client,
    ):
        await talks(client, server.url)
    assert len(proxy.asked) == 1
    assert "proxy-authorization" not in server.requests[0].headers


async def test_credentials_that_a_tunnel_misses() -> None:
    async with (
        site(ssl_context=server_context()) as server,
        http_proxy(credentials="Basic x") as proxy,
        new_client(proxy=f"http://{proxy.address}", verify=client_context()) as client,
    ):
        with pytest.raises(httpx2.ProxyError, match="407"):
            async with open_websocket(client, server.url):
                raise AssertionError
        assert server.accepted == 0


async def test_credentials_that_a_forwarding_proxy_misses() -> None:
    async with (
        site() as server,
        http_proxy(credentials="Basic x") as proxy,
        new_client(proxy=f"http://{proxy.address}") as client,
    ):
        with pytest.raises(WebSocketUpgradeError, match=r"407 .*: the proxy wants credentials"):
            async with open_websocket(client, server.url):
                raise AssertionError
        assert server.accepted == 0


async def test_a_tunnel_to_nowhere() -> None:
    async with (
        http_proxy() as proxy,
        new_client(proxy=f"http://{proxy.address}", verify=client_context()) as client,
    ):
        with pytest.raises(httpx2.ProxyError, match="502"):
            async with open_websocket(client, "wss://127.0.0.1:1"):
                raise AssertionError


async def test_plain_ws_through_a_proxy_that_forwards_upgrades() -> None:
    async with (
        site() as server,
        http_proxy() as proxy,
        new_client(proxy=f"http://{proxy.address}") as client,
    ):
        await talks(client, f"{server.url}/chat?x=1")
    assert proxy.asked == [f"GET http://{server.host}/chat?x=1"]
    assert server.requests[0].target == "/chat?x=1"
    assert server.requests[0].headers["host"] == server.host


@pytest.mark.parametrize(("status", "lines"), [("426 Upgrade Required", ("Upgrade: websocket",)), ("200 OK", ())])
async def test_plain_ws_through_a_proxy_that_strips_the_upgrade(status: str, lines: tuple[str, ...]) -> None:
    def answer(request: Request) -> bytes:
        assert "upgrade" not in request.headers
        return response(status, *lines, "Connection: close", body=b"plain HTTP here")

    async with (
        site(answer) as server,
        http_proxy(strip_upgrade=True) as proxy,
        new_client(proxy=f"http://{proxy.address}") as client,
    ):
        said = (
            "a proxy on the way .*removed .*wss:// goes through an HTTP proxy as a tunnel; ws:// does with a transport"
        )
        with pytest.raises(WebSocketUpgradeError, match=f"{status}.*{said}") as caught:
            async with open_websocket(client, server.url):
                raise AssertionError
    assert caught.value.response is not None
    assert caught.value.response.text == "plain HTTP here"


@pytest.mark.parametrize("secure", [False, True])
async def test_through_socks(secure: bool) -> None:
    context = server_context() if secure else None
    async with (
        site(ssl_context=context) as server,
        socks_proxy() as proxy,
        new_client(proxy=f"socks5://{proxy.address}", verify=client_context()) as client,
    ):
        await talks(client, server.url)
        assert proxy.asked == [server.host]
        await server.idle()


async def test_through_socks_with_a_login() -> None:
    async with site() as server, socks_proxy(user="me", password="secret") as proxy:
        async with new_client(proxy=f"socks5://me:secret@{proxy.address}") as client:
            await talks(client, server.url)
        async with new_client(proxy=f"socks5://me:wrong@{proxy.address}") as client:
            with pytest.raises(httpx2.ProxyError):
                async with open_websocket(client, server.url):
                    raise AssertionError
    assert server.accepted == 1


async def test_through_socks_to_nowhere() -> None:
    async with socks_proxy() as proxy, new_client(proxy=f"socks5://{proxy.address}") as client:
        with pytest.raises(httpx2.ProxyError, match="refused"):
            async with open_websocket(client, "ws://127.0.0.1:1"):
                raise AssertionError
    assert proxy.asked == ["127.0.0.1:1"]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
async def test_the_environment_for_ws(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as server, http_proxy() as proxy:
        monkeypatch.setenv(variable, f"http://{proxy.address}")
        async with new_client(trust_env=True) as client:
            await talks(client, server.url)
        assert proxy.asked == [f"GET http://{server.host}/"]
        async with new_client(trust_env=False) as client:
            await talks(client, server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with new_client(trust_env=True) as client:
            await talks(client, server.url)
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_the_environment_for_wss(variable: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        site(ssl_context=server_context()) as server,
        http_proxy() if kind == "http" else socks_proxy() as proxy,
    ):
        monkeypatch.setenv(variable, f"{kind}://{proxy.address}")
        async with new_client(trust_env=True, verify=client_context()) as client:
            await talks(client, server.url)
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("pattern", ["http://", "all://127.0.0.1", "http://127.0.0.1"])
async def test_mounts(pattern: str) -> None:
    """Mounts are keyed by http and https: ``ws`` goes where ``http`` goes."""
    async with site() as server, http_proxy() as proxy:
        transport = httpx2.AsyncHTTPTransport(proxy=f"http://{proxy.address}", verify=False)
        async with new_client(mounts={pattern: transport, "https://": None}) as client:
            await talks(client, server.url)
        assert len(proxy.asked) == 1


async def test_a_redirect_goes_through_the_mount_of_where_it_leads() -> None:
    async with site() as other, http_proxy() as proxy:
        elsewhere = f"ws://localhost:{other.host.rpartition(':')[2]}/to"

        def answer(request: Request) -> bytes:
            return response("302 Found", f"Location: {elsewhere}", body=b"")

        transport = httpx2.AsyncHTTPTransport(proxy=f"http://{proxy.address}", verify=False)
        async with (
            site(answer) as first,
            new_client(mounts={"http://localhost": transport}, follow_redirects=True) as client,
        ):
            other.answer = switch
            await talks(client, first.url)
    assert proxy.asked == [f"GET {elsewhere.replace('ws:', 'http:')}"]
