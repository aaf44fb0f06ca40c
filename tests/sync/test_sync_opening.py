"""The blocking handshake: what differs from the async one, and that everything of the client applies."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from httpx2_trio_ws.sync import (
    WebSocketHandshakeTimeout,
    WebSocketProtocolError,
    WebSocketUpgradeError,
    open_websocket,
    open_websocket_url,
)
from tests.handshake_support import Request, client_context, redirect, response, server_context, site, switch
from tests.memory import close_frame, text
from tests.proxies import connect, http_proxy, relay, socks_proxy
from tests.servers import tcp_server
from tests.test_auth import digest
from tests.test_tls import hypercorn

from .support import LONG, Task, each, eventually, in_thread, new_client, one_connection, played, refused, talks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    import trio


# -- arguments -------------------------------------------------------------------------------------


def test_wrong_clients(blocking: httpx2.Client) -> None:
    refused(
        TypeError,
        r"an httpx2\.AsyncClient is for async code, .* pass an httpx2\.Client",
        httpx2.AsyncClient(verify=False),
    )
    refused(TypeError, r"pass an instance, Client\(\), not the class", httpx2.Client)
    refused(TypeError, r"the client must be an httpx2\.Client, not builtins\.NoneType", None)
    foreign = type("Client", (), {"__module__": "httpx._client"})()
    refused(TypeError, r"not with httpx: pass an httpx2\.Client, not httpx\._client\.Client", foreign)
    blocking.close()
    refused(RuntimeError, "the client is closed; open the WebSocket inside its `with` block", blocking)


def test_wrong_arguments(blocking: httpx2.Client) -> None:
    """Each is told where the function is called, before the block."""
    with pytest.raises(TypeError, match="a blocking session has no failure_grace_seconds"):
        open_websocket(blocking, "ws://h", failure_grace_seconds=1)
    with pytest.raises(TypeError, match="did you mean 'headers'"):
        open_websocket(blocking, "ws://h", header={})  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="begins with ws://"):
        open_websocket(blocking, "ftp://h")
    with pytest.raises(ValueError, match="begins with ws://"), open_websocket_url("/path"):
        raise AssertionError


# -- the client's settings -------------------------------------------------------------------------


def test_base_url_cookies_headers_and_hooks() -> None:
    seen: list[int] = []

    def answer(request: Request) -> bytes:
        return switch(request, "Set-Cookie: seen=1")

    with (
        in_thread(site(answer)) as server,
        new_client(
            base_url=f"{server.url}/api",
            headers={"X-Mine": "yes"},
            event_hooks={"response": [lambda answer: seen.append(answer.status_code)]},
        ) as client,
    ):
        for _ in range(2):
            talks(client, "feed", params={"a": "b"})
    assert [request.target for request in server.requests] == ["/api/feed?a=b"] * 2
    assert [request.headers.get("cookie") for request in server.requests] == [None, "seen=1"]
    assert server.requests[0].headers["x-mine"] == "yes"
    assert seen == [101, 101]


class Login(httpx2.Auth):
    """Logs in at another path, and goes on with what it got there."""

    def __init__(self, *, reads: bool) -> None:
        self.requires_response_body = reads
        self.finished = False

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        login = yield httpx2.Request("GET", request.url.copy_with(path="/login"))
        request.headers["Authorization"] = login.text if self.requires_response_body else login.headers["X-Token"]
        yield request
        self.finished = True


@pytest.mark.parametrize("reads", [True, False])
def test_a_flow_of_several_requests(blocking: httpx2.Client, reads: bool) -> None:
    def answer(request: Request) -> bytes:
        if request.target == "/login":
            return response("200 OK", "X-Token: token", body=b"token")
        assert request.headers["authorization"] == "token"
        return switch(request)

    auth = Login(reads=reads)
    with in_thread(site(answer)) as server:
        talks(blocking, f"{server.url}/chat", auth=auth)
    assert [request.target for request in server.requests] == ["/login", "/chat"]
    assert auth.finished != reads, "one that wants the body of each response does not get to see a 101"


def test_digest(blocking: httpx2.Client) -> None:
    with in_thread(site(digest("u", "p"))) as server:
        talks(blocking, server.url, auth=httpx2.DigestAuth("u", "p"))
        assert len(server.requests) == 2
        keys = [request.headers["sec-websocket-key"] for request in server.requests]
        assert keys[0] != keys[1]
        refusal = refused(WebSocketUpgradeError, "401", blocking, server.url, auth=httpx2.DigestAuth("u", "q"))
        assert refusal.response.text == "who?"


def test_redirects() -> None:
    with in_thread(site()) as target, in_thread(site(lambda _: redirect(f"{target.url}/there"))) as first:
        with one_connection(follow_redirects=True) as client:
            talks(client, first.url)
            assert [request.target for request in target.requests] == ["/there"]
        with new_client() as client:
            refusal = refused(WebSocketUpgradeError, "pass follow_redirects=True to follow it", client, first.url)
            assert refusal.response.status_code == 302


def test_from_tls_to_plain_text_is_never_followed() -> None:
    with (
        in_thread(site(lambda _: redirect("ws://127.0.0.1:1/"), server_context())) as server,
        one_connection(verify=client_context(), follow_redirects=True) as client,
    ):
        for _ in range(2):
            refusal = refused(WebSocketUpgradeError, "from TLS to plain text", client, server.url)
            assert refusal.response.headers["location"] == "ws://127.0.0.1:1/"


# -- refusals --------------------------------------------------------------------------------------


def test_a_refusal_has_the_beginning_of_its_body() -> None:
    with (
        in_thread(site(lambda _: response("403 Forbidden", body=b"go away " * 100_000))) as server,
        one_connection() as client,
    ):
        for _ in range(2):
            refusal = refused(WebSocketUpgradeError, "403 Forbidden", client, server.url)
            assert refusal.response.content == (b"go away " * 100_000)[:65536]


def test_an_invalid_101() -> None:
    with in_thread(site(lambda request: switch(request, Upgrade="h2c"))) as server, one_connection() as client:
        for _ in range(2):
            refused(WebSocketUpgradeError, "its handshake is invalid", client, server.url)


def test_a_refusal_that_a_hook_has_read() -> None:
    hooks = {"response": [lambda answer: answer.read()]}
    with (
        in_thread(site(lambda _: response("404 Not Found", body=b"nothing"))) as server,
        new_client(event_hooks=hooks) as client,
    ):
        assert refused(WebSocketUpgradeError, "404", client, server.url).response.text == "nothing"


def test_a_transport_without_a_socket() -> None:
    class Stream:
        def get_extra_info(self, _: str) -> None:
            return None

    class Body(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError

    def answer(request: httpx2.Request) -> httpx2.Response:
        key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = b64encode(hashlib.sha1(key.encode()).digest()).decode()
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
        return httpx2.Response(101, headers=headers, stream=Body(), extensions={"network_stream": Stream()})

    class Transport(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            return answer(request)

    with new_client(transport=Transport()) as client:
        refused(WebSocketUpgradeError, "a network_stream that has no socket", client)


def test_a_pool_that_is_full() -> None:
    with in_thread(site()) as server, one_connection() as client, open_websocket(client, server.url):
        refused(httpx2.PoolTimeout, r"no connection left: .*httpx2\.Client\(limits=", client, server.url)
        refused(
            WebSocketHandshakeTimeout,
            r"took longer than 0\.02 s .*if it waited for the client's pool: .*httpx2\.Client\(limits=",
            client,
            server.url,
            handshake_timeout_seconds=0.02,
        )


def test_nobody_listens(blocking: httpx2.Client) -> None:
    refused(httpx2.ConnectError, "refused", blocking)


def test_reader_cannot_be_started(blocking: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with in_thread(site()) as server:
        with monkeypatch.context() as patch:
            patch.setattr("threading.Thread.start", no_more)
            refused(RuntimeError, "can't start", blocking, server.url, handshake_timeout_seconds=None)
        eventually(lambda: server.accepted == 1 and not server.open)


# -- bytes behind the 101 --------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("size", [3, 40_000])
def test_frames_in_the_same_packet_as_the_101_are_not_lost(secure: bool, size: int) -> None:
    context = server_context() if secure else None
    glued = text("one" * size) + text("two")[:1]
    with played(glued=glued, context=context) as (ws, peer):
        assert ws.receive(timeout=LONG) == "one" * size
        peer.send(text("two")[1:])
        assert ws.receive(timeout=LONG) == "two"
        peer.begin(peer.answer_close)


def test_what_breaks_the_protocol_in_the_same_packet_as_the_101() -> None:
    with (
        pytest.raises(WebSocketProtocolError, match="1002"),
        played(glued=b"\x83\x00", close_timeout_seconds=0.1) as (ws, _),
    ):
        eventually(lambda: ws.closed)


def test_a_close_in_the_same_packet_as_the_101() -> None:
    with played(glued=close_frame(1000)) as (ws, peer):
        assert list(ws) == []
        peer.socket.close()


# -- TLS and proxies -------------------------------------------------------------------------------


def test_over_tls() -> None:
    with in_thread(site(ssl_context=server_context())) as server:
        with new_client(verify=client_context()) as client:
            talks(client, server.url)
        with new_client(verify=ssl.create_default_context()) as client:
            error = refused(httpx2.ConnectError, "certificate verify failed", client, server.url)
            assert isinstance(error, httpx2.TransportError)


def test_a_tls_connection_that_is_cut() -> None:
    """Without TLS's own goodbye, which is what is lost here is the WebSocket's close frame."""
    with played(context=server_context(), glued=text("x")) as (ws, peer):
        assert ws.receive() == "x"
        peer.socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(Exception, match="the peer ended it"):
            ws.receive()


def test_http2_says_what_to_do(tmp_path: Path) -> None:
    with in_thread(hypercorn(tmp_path)) as host:
        with new_client(http2=True, verify=client_context()) as client:
            error = refused(WebSocketUpgradeError, "the server chose HTTP/2", client, f"wss://{host}/echo")
            assert 'httpx2.Client(http2=True, mounts={"https://127.0.0.1": httpx2.HTTPTransport(http2=False)})' in str(
                error
            )
            assert client.get(f"https://{host}/").http_version == "HTTP/2"
        mounts = {"https://127.0.0.1": httpx2.HTTPTransport(http2=False, verify=client_context())}
        with new_client(http2=True, verify=client_context(), mounts=mounts) as client:
            talks(client, f"wss://{host}/echo")


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_through_a_proxy(secure: bool, kind: str) -> None:
    proxies: dict[str, Callable[[], Any]] = {"http": http_proxy, "socks5": socks_proxy}
    with (
        in_thread(site(ssl_context=server_context() if secure else None)) as server,
        in_thread(proxies[kind]()) as proxy,
        new_client(proxy=f"{kind}://{proxy.address}", verify=client_context()) as client,
    ):
        talks(client, server.url)
        assert len(proxy.asked) == 1
        eventually(lambda: not server.open)


def test_a_socks_proxy_that_refuses() -> None:
    with (
        in_thread(socks_proxy(user="me", password="secret")) as proxy,
        new_client(proxy=f"socks5://me:wrong@{proxy.address}", verify=client_context()) as client,
    ):
        refused(httpx2.ProxyError, "Invalid username/password", client, "wss://127.0.0.1:1")


@contextlib.contextmanager
def tls_proxy() -> Iterator[str]:
    """An HTTP proxy that is itself spoken to over TLS."""
    with in_thread(http_proxy()) as proxy:

        async def handler(stream: trio.abc.Stream) -> None:
            await relay(stream, await connect(proxy.address))

        with in_thread(tcp_server(handler, server_context())) as address:
            yield address


@pytest.mark.parametrize("secure", [False, True])
def test_through_a_proxy_over_tls(secure: bool) -> None:
    """With wss, that is TLS within TLS."""
    with (
        in_thread(site(ssl_context=server_context() if secure else None)) as server,
        tls_proxy() as address,
        new_client(
            proxy=httpx2.Proxy(f"https://{address}", ssl_context=client_context()), verify=client_context()
        ) as client,
    ):
        talks(client, server.url)
        with open_websocket(client, server.url, compression=None) as ws:
            sending = Task(each, ws.send, ["x" * 1000] * 500)
            assert [len(ws.receive(timeout=LONG)) for _ in range(500)] == [1000] * 500
            sending.result()
