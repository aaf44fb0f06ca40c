"""A proxy that fails is told as one, with its address: on each event loop and in threads, over TCP and TLS."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

import httpx2_trio_ws.anyio
from httpx2_trio_ws import open_websocket
from httpx2_trio_ws._handshake._steps import reason
from httpx2_trio_ws.reconnect import Backoff, RetryPolicy, reconnect
from httpx2_trio_ws.sync import open_websocket as blocking_session

from .handshake_support import client_context, new_client, server_context
from .on_asyncio.support import REAL_LOOPS, run_real
from .proxies import http_proxy
from .servers import tcp_server
from .sync.support import in_thread
from .sync.support import new_client as new_blocking_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FACES = ["trio", *REAL_LOOPS, "threads"]


def failure(face: str, url: str, *, extensions: dict[str, Any] | None = None, **options: Any) -> Exception:
    """What opening through a client with these options raises."""
    with pytest.raises(Exception) as caught:
        if face == "threads":
            with new_blocking_client(**options) as blocking, blocking_session(blocking, url, extensions=extensions):
                raise AssertionError
        elif face == "trio":
            trio.run(_open, open_websocket, url, extensions, options)
        else:
            run_real(face, _open, httpx2_trio_ws.anyio.open_websocket, url, extensions, options)
    return caught.value


async def _open(open_on: Callable[..., Any], url: str, extensions: Any, options: dict[str, Any]) -> None:
    async with new_client(**options) as client, open_on(client, url, extensions=extensions):
        raise AssertionError


@contextlib.contextmanager
def played(*answers: bytes, stays: bool = False, ssl_context: Any = None) -> Iterator[str]:
    """A proxy that answers what it reads, then hangs up, or stays until the client goes; gives its address."""

    async def handler(stream: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # the client went away first, or wants no TLS of ours
            for answer in answers:
                if not await stream.receive_some(4096):
                    return
                await stream.send_all(answer)
            if answers and not stays:
                return
            while await stream.receive_some(4096) and stays:
                pass

    with in_thread(tcp_server(handler, ssl_context)) as address:
        yield address


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    with socket.socket() as held:  # bound and not listening: connections are refused
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


NOBODY = "the proxy {} cannot be reached: .+"
HUNG_UP = r"the proxy {} has not opened a tunnel: it hung up, or does not speak SOCKS5 \(Malformed reply\)"
CASES: dict[str, tuple[str, Callable[[], contextlib.AbstractContextManager[str]], str]] = {
    "no SOCKS proxy": ("socks5", nobody, NOBODY),
    "no HTTP proxy": ("http", nobody, NOBODY),
    "SOCKS hangs up": ("socks5", played, HUNG_UP),
    "SOCKS hangs up after the method": ("socks5", lambda: played(b"\x05\x00", b""), HUNG_UP),
    "SOCKS answers something else": ("socks5", lambda: played(b"HTTP/1.1 400 Bad Request\r\n\r\n"), HUNG_UP),
    "SOCKS says no": (
        "socks5",
        lambda: played(b"\x05\x00", b"\x05\x04\x00\x01" + bytes(6)),
        "the proxy {} has not opened a tunnel: Proxy Server could not connect: Host unreachable.",
    ),
    "HTTP hangs up": ("http", played, "the proxy {} has not opened a tunnel: Server disconnected .+"),
    "HTTP answers something else": (
        "http",
        lambda: played(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        "the proxy {} has not opened a tunnel: .*illegal status line.*",
    ),
    "HTTP says no": (
        "http",
        lambda: played(b"HTTP/1.1 407 Log in\r\nContent-Length: 0\r\n\r\n"),
        "the proxy {} has not opened a tunnel: 407 Log in",
    ),
}


each_face = pytest.mark.parametrize("face", FACES)


@each_face
@pytest.mark.parametrize("case", CASES)
def test_a_proxy_that_fails(case: str, face: str) -> None:
    scheme, proxy, text = CASES[case]
    with proxy() as address:
        error = failure(face, "wss://feeds.test/", proxy=f"{scheme}://{address}")
    assert type(error) is httpx2.ProxyError
    assert re.fullmatch(text.format(re.escape(address)), str(error))
    assert error.request.url.host == "feeds.test"


@each_face
def test_a_forwarding_proxy_that_is_not_there(face: str) -> None:
    with nobody() as address:
        error = failure(face, "ws://feeds.test/", proxy=f"http://{address}")
    assert type(error) is httpx2.ProxyError
    assert str(error).startswith(f"the proxy {address} cannot be reached: ")


@each_face
@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_silent_proxy_stays_a_timeout(scheme: str, face: str) -> None:
    with played(stays=True) as address:
        error = failure(face, "wss://feeds.test/", proxy=f"{scheme}://{address}", timeout=httpx2.Timeout(5, read=0.05))
    assert type(error) is httpx2.ReadTimeout
    assert str(error).startswith(f"the proxy {address} has not opened a tunnel: ")


@each_face
def test_a_proxy_whose_certificate_is_not_trusted(face: str) -> None:
    with played(ssl_context=server_context()) as address:
        error = failure(face, "wss://feeds.test/", proxy=f"https://{address}", verify=client_context())
    assert type(error) is httpx2.ProxyError
    assert str(error).startswith(f"the proxy {address} cannot be reached: ")
    assert not RetryPolicy().retry_opening(error)


@each_face
def test_a_server_that_fails_is_no_proxy(face: str) -> None:
    with nobody() as address:
        assert type(failure(face, f"ws://{address}")) is httpx2.ConnectError
    with in_thread(http_proxy()) as proxy, played() as address:  # it does not speak TLS
        error = failure(face, f"wss://{address}", proxy=f"http://{proxy.address}", verify=client_context())
    assert type(error) is httpx2.ConnectError


@each_face
def test_what_a_hook_raises_on_the_way_to_a_proxy_is_its_own(face: str) -> None:
    own = ValueError("the hook's")

    def step(name: str, info: object) -> None:
        if name == "socks.connect_tcp.started":
            raise own

    async def async_step(name: str, info: object) -> None:
        step(name, info)

    with nobody() as address:
        trace = step if face == "threads" else async_step
        error = failure(face, "wss://feeds.test/", extensions={"trace": trace}, proxy=f"socks5://{address}")
    assert error is own


async def test_a_proxy_that_hangs_up_is_retried() -> None:
    asked = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal asked
        asked += 1
        await stream.receive_some(4096)

    async with tcp_server(handler) as address:
        for scheme in ("http", "socks5"):
            asked = 0
            async with new_client(proxy=f"{scheme}://{address}") as client:
                with pytest.raises(httpx2.ProxyError):
                    for connection in reconnect(
                        client, "wss://feeds.test/", backoff=Backoff(initial_seconds=0.001), max_attempts=3
                    ):
                        async with connection:
                            raise AssertionError
            assert asked == 3


def test_errors_without_a_text() -> None:
    """Their kind is told; a chain of causes may lead back to where it began."""
    first, second = trio.BrokenResourceError(), httpx2.ConnectError("")
    assert reason(first) == "BrokenResourceError"
    second.__cause__, first.__context__ = first, second
    assert reason(second) == "ConnectError"
