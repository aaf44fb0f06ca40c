"""Through an HTTP proxy by CONNECT, ``ws://`` too: on each event loop and in threads, over TCP and TLS."""

from __future__ import annotations

import contextlib
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

import httpx2_trio_ws.anyio
from httpx2_trio_ws import open_websocket
from httpx2_trio_ws._tunnel import Tunnels
from httpx2_trio_ws.proxies import AsyncTunnelTransport, TunnelTransport
from httpx2_trio_ws.reconnect import Backoff, RetryPolicy, reconnect
from httpx2_trio_ws.sync import open_websocket as blocking_session

from .handshake_support import client_context, new_client, response, server_context, site
from .on_asyncio.support import REAL_LOOPS, run_real
from .proxies import http_proxy
from .servers import tcp_server
from .sync.support import LONG, eventually, in_thread
from .sync.support import new_client as new_blocking_client
from .test_proxy_failures import nobody, played

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

FACES = ["trio", *REAL_LOOPS, "threads"]
each_face = pytest.mark.parametrize("face", FACES)
USER, CREDENTIALS = "me:secret@", "Basic " + b64encode(b"me:secret").decode()
MESSAGES = ("x", b"x" * 500_000)


def talk(face: str, url: str, proxy: Any, timeout: float = LONG) -> None:
    """Open a session through a tunnel, and exchange messages both ways, one larger than any buffer on the way."""
    if face == "threads":
        blocking = TunnelTransport(proxy, verify=client_context())
        with (
            new_blocking_client(transport=blocking, timeout=timeout) as client,
            blocking_session(client, url, compression=None) as ws,
        ):
            for message in MESSAGES:
                ws.send(message)
                assert ws.receive(timeout=LONG) == message
    elif face == "trio":
        trio.run(_talk, open_websocket, url, proxy, timeout)
    else:
        run_real(face, _talk, httpx2_trio_ws.anyio.open_websocket, url, proxy, timeout)


async def _talk(open_on: Callable[..., Any], url: str, proxy: Any, timeout: float) -> None:  # noqa: ASYNC109
    transport = AsyncTunnelTransport(proxy, verify=client_context())
    async with (
        new_client(transport=transport, timeout=timeout) as client,
        open_on(client, url, compression=None) as ws,
    ):
        for message in MESSAGES:
            await ws.send(message)
            assert await ws.receive() == message


@each_face
@pytest.mark.parametrize("secure_proxy", [False, True])
@pytest.mark.parametrize("secure", [False, True])
def test_through_a_tunnel(secure: bool, secure_proxy: bool, face: str) -> None:
    with (
        in_thread(site(ssl_context=server_context() if secure else None)) as server,
        in_thread(http_proxy(credentials=CREDENTIALS, ssl_context=server_context() if secure_proxy else None)) as proxy,
    ):
        url = f"{'https' if secure_proxy else 'http'}://{USER}{proxy.address}"
        ssl_context = client_context() if secure_proxy else None
        talk(face, server.url, httpx2.Proxy(url, ssl_context=ssl_context, headers={"X-Mine": "yes"}))
        eventually(lambda: not server.open)
    assert proxy.asked == [f"CONNECT {server.host}"]
    assert proxy.headers == [{"host": server.host, "proxy-authorization": CREDENTIALS, "x-mine": "yes"}]
    assert not {"proxy-authorization", "x-mine"} & server.requests[0].headers.keys()


CASES = {
    "refuses": (b"HTTP/1.1 407 Log \x1b[31min\r\nContent-Length: 0\r\n\r\n", r"407 Log \[31min"),
    "says nothing more": (b"HTTP/1.0 502\n\n", "502 "),
    "hangs up": (b"HTTP/1.1 200 OK\r\n", "it hung up"),
    "speaks something else": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", r"its answer is not HTTP/1\.1"),
    "goes on after its answer": (b"HTTP/1.1 200 OK\r\n\r\nhello", "more came than its answer"),
    "never ends": (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 11000, "its answer is longer than 65536 bytes"),
    "asks for patience first": (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 403 No\r\n\r\n", "403 No"),
}


def failing(face: str, proxy: AbstractContextManager[str], scheme: str = "http") -> httpx2.ProxyError:
    """What opening a session through a proxy raises; its address is left out of the text."""
    with proxy as address, pytest.raises(httpx2.ProxyError) as caught:
        talk(face, "ws://feeds.test", f"{scheme}://{address}")
    caught.value.args = (str(caught.value).removeprefix(f"the proxy {address} "),)
    return caught.value


@each_face
@pytest.mark.parametrize("case", CASES)
def test_a_proxy_that_gives_no_tunnel(case: str, face: str) -> None:
    answer, text = CASES[case]
    error = failing(face, played(answer))
    assert re.fullmatch(f"has not opened a tunnel: {text}", str(error))
    assert RetryPolicy().retry_opening(error) is (case not in ("refuses", "asks for patience first"))


@each_face
def test_a_proxy_that_is_not_there(face: str) -> None:
    error = failing(face, nobody())
    assert re.fullmatch("cannot be reached: .+", str(error))
    assert RetryPolicy().retry_opening(error)


@each_face
def test_a_proxy_that_is_not_trusted(face: str) -> None:
    error = failing(face, played(ssl_context=server_context()), "https")
    assert re.fullmatch("cannot be reached: .+", str(error))
    assert not RetryPolicy().retry_opening(error)


@each_face
@pytest.mark.parametrize("drips", [False, True])
def test_the_connect_timeout_is_for_all_of_it(drips: bool, face: str) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            while drips:
                await stream.send_all(b"x")
                await trio.sleep(0.02)
            while await stream.receive_some():
                pass

    with in_thread(tcp_server(handler)) as address:
        said = f"^the proxy {address} has not opened a tunnel: it took too long$"
        with pytest.raises(httpx2.ConnectTimeout, match=said):
            talk(face, "ws://feeds.test", f"http://{address}", timeout=0.5)


async def test_cancelled_on_the_way_it_leaves_nothing() -> None:
    asked, left = trio.Event(), trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        asked.set()
        assert await stream.receive_some() == b""
        left.set()

    limits = httpx2.Limits(max_connections=1)
    async with tcp_server(handler) as address:
        transport = AsyncTunnelTransport(f"http://{address}", limits=limits)
        async with new_client(transport=transport, timeout=httpx2.Timeout(5, pool=0.1)) as client:
            for _ in range(2):  # the second finds the slot free
                asked, left = trio.Event(), trio.Event()
                async with trio.open_nursery() as nursery:
                    opening = open_websocket(client, "ws://feeds.test")
                    nursery.start_soon(opening.__aenter__)
                    await asked.wait()
                    nursery.cancel_scope.cancel()
                await left.wait()


def _bodies(*lines: str, body: bytes) -> Callable[[Any], bytes]:
    return lambda _: response("200 OK", *lines) + body


@each_face
def test_ordinary_requests_go_through_it_too(face: str) -> None:
    def check(answer: httpx2.Response | None, error: Exception | None) -> None:
        if answer is not None:
            assert answer.text == "hello"
        else:
            assert type(error) is httpx2.RemoteProtocolError  # and not httpcore2's

    async def ask(*urls: str) -> None:
        async with AsyncTunnelTransport(proxy_url) as transport, new_client(transport=transport) as client:
            for url in urls:
                try:
                    check(await client.get(url), None)
                except httpx2.TransportError as exc:
                    check(None, exc)

    def ask_in_a_thread(*urls: str) -> None:
        with TunnelTransport(proxy_url) as transport, new_blocking_client(transport=transport) as client:
            for url in urls:
                try:
                    check(client.get(url), None)
                except httpx2.TransportError as exc:
                    check(None, exc)

    with (
        in_thread(site(_bodies("Content-Length: 5", body=b"hello"))) as whole,
        in_thread(site(_bodies("content-length: 9", body=b"hello"))) as cut,
        in_thread(http_proxy()) as proxy,
    ):
        proxy_url = f"http://{proxy.address}"
        urls = [f"http://{server.host}/" for server in (whole, whole, cut)]
        if face == "threads":
            ask_in_a_thread(*urls)
        elif face == "trio":
            trio.run(ask, *urls)
        else:
            run_real(face, ask, *urls)
    assert proxy.asked == [f"CONNECT {whole.host}", f"CONNECT {cut.host}"]  # the first was kept alive


def test_in_a_thread_no_time_is_left() -> None:
    with (
        played(stays=True) as address,
        new_blocking_client(transport=TunnelTransport(f"http://{address}")) as client,
        pytest.raises(httpx2.ConnectTimeout, match=r"^the proxy .*: it took too long"),
    ):
        client.get("http://feeds.test", timeout=1e-9)


async def test_a_hooks_own_error_stays_what_it_is() -> None:
    async def trace(name: str, info: object) -> None:
        raise ValueError(name)

    async with new_client(transport=AsyncTunnelTransport("http://127.0.0.1:1")) as client:
        with pytest.raises(ValueError, match="connect_tcp"):
            await client.get("http://feeds.test", extensions={"trace": trace})


async def test_transports_can_be_closed() -> None:
    await AsyncTunnelTransport("http://127.0.0.1:1").aclose()
    TunnelTransport("http://127.0.0.1:1").close()


async def test_a_mount_with_the_environments_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """``NO_PROXY`` is more specific than ``http://``."""
    async with site() as server, http_proxy() as proxy:
        for no_proxy, count in (("", 1), ("127.0.0.1", 1)):
            monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
            monkeypatch.setenv("NO_PROXY", no_proxy)
            mounts = {"http://": AsyncTunnelTransport(f"http://{proxy.address}")}
            async with new_client(mounts=mounts, trust_env=True) as client, open_websocket(client, server.url) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
            assert proxy.asked == [f"CONNECT {server.host}"] * count


@pytest.mark.parametrize("transport", [AsyncTunnelTransport, TunnelTransport])
def test_wrong_arguments(transport: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=r"the proxy is a URL or an httpx2\.Proxy, not NoneType"):
        transport(None)
    with pytest.raises(ValueError, match="a SOCKS proxy needs no transport of its own: pass proxy='socks5://h:1'"):
        transport("socks5://me:secret@h:1")
    with pytest.raises(ValueError, match="Unknown scheme for proxy URL"):
        transport("ftp://h")
    with pytest.raises(ValueError, match="has no host"):
        transport("http://")
    with pytest.raises(ValueError, match="has a line break in it"):
        transport(httpx2.Proxy("http://h", headers={"X": "a\r\nb"}))


def test_addresses_of_ip_version_6() -> None:
    tunnels = Tunnels("http://[::1]")
    assert (tunnels.host, tunnels.port, tunnels.name) == ("::1", 80, "[::1]:80")
    assert tunnels.request("::2", 81) == b"CONNECT [::2]:81 HTTP/1.1\r\nHost: [::2]:81\r\n\r\n"


@pytest.mark.parametrize(("status", "attempts"), [("502 Bad Gateway", 3), ("407 Log in", 1)])
async def test_reconnecting(status: str, attempts: int) -> None:
    asked = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal asked
        asked += 1
        await stream.receive_some()
        await stream.send_all(response(status, body=b""))

    async with (
        tcp_server(handler) as address,
        new_client(transport=AsyncTunnelTransport(f"http://{address}")) as client,
    ):
        backoff = Backoff(initial_seconds=0.001)
        with pytest.raises(httpx2.ProxyError, match=status):
            for connection in reconnect(client, "ws://feeds.test", backoff=backoff, max_attempts=3):
                async with connection:
                    raise AssertionError
    assert asked == attempts
