"""The blocking handshake: what differs from the async one, and that everything of the client applies."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from httpx2_trio_ws._sync import _deadline
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

from .support import LONG, Task, each, eventually, in_thread, listening, new_client, one_connection, played

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    import trio


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def talks(client: httpx2.Client, url: str, **options: Any) -> None:
    """Open, and exchange messages both ways, one larger than any buffer on the way."""
    with open_websocket(client, url, compression=None, **options) as ws:
        for message in ("x", b"x" * 500_000):
            ws.send(message)
            assert ws.receive(timeout=LONG) == message


def refused(error: type[Exception], match: str, client: Any, url: Any = "ws://127.0.0.1:1", **options: Any) -> Any:
    with pytest.raises(error, match=match) as caught, open_websocket(client, url, **options):
        raise AssertionError
    return caught.value


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


# -- how long it may take --------------------------------------------------------------------------


def silent_twice(sock: socket.socket) -> None:
    """Takes what comes first, says nothing, and sees the connection end."""
    assert sock.recv(65536)
    with contextlib.suppress(ConnectionResetError):
        assert not sock.recv(65536)


def silent(sock: socket.socket) -> None:
    sock.recv(65536)


def drip(sock: socket.socket) -> None:
    """A header line, a byte now and then, for as long as anyone listens."""
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
    with contextlib.suppress(OSError):
        for _ in range(1000):
            sock.sendall(b"x")
            time.sleep(0.01)


def drip_body(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000\r\n\r\n")
    with contextlib.suppress(OSError):
        for _ in range(1000):
            sock.sendall(b"x")
            time.sleep(0.01)


def redirect_on(sock: socket.socket) -> None:
    """Redirects without end, each on the same connection, each after a while."""
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            time.sleep(0.03)
            sock.sendall(redirect("/on"))


@pytest.mark.parametrize("script", [silent, drip, redirect_on])
def test_the_whole_opening_has_a_limit(script: Callable[[socket.socket], None]) -> None:
    with listening() as (address, accept), one_connection(follow_redirects=True) as client:
        for timeout in (httpx2.Timeout(5), None):
            task = Task(lambda: script(accept()))
            began = time.monotonic()
            error = refused(
                WebSocketHandshakeTimeout,
                r"the handshake with 127\.0\.0\.1 took longer than 0\.1 s",
                client,
                f"ws://{address}",
                handshake_timeout_seconds=0.1,
                timeout=timeout,
            )
            assert 0.1 <= time.monotonic() - began < 1
            assert isinstance(error, TimeoutError)
            task.result()


def test_a_body_that_drips_is_read_until_the_limit() -> None:
    with listening() as (address, accept), new_client() as client:
        task = Task(lambda: drip_body(accept()))
        began = time.monotonic()
        error = refused(
            WebSocketUpgradeError, "403 Forbidden", client, f"ws://{address}", handshake_timeout_seconds=0.1
        )
        assert 0.1 <= time.monotonic() - began < 1
        assert re.fullmatch("x+", error.response.text)
        task.result()


def test_a_tls_handshake_that_does_not_end() -> None:
    with listening() as (address, accept), one_connection(verify=client_context()) as client:
        for _ in range(2):
            task = Task(lambda: silent_twice(accept()))
            refused(WebSocketHandshakeTimeout, "0.1 s", client, f"wss://{address}", handshake_timeout_seconds=0.1)
            task.result()


def test_a_connection_of_an_earlier_request_that_drips(blocking: httpx2.Client) -> None:
    """It is not known which one it is; so what is left is asked for before each read, in whole seconds."""

    def play(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(response("200 OK", body=b""))
        drip(sock)

    with listening() as (address, accept):
        task = Task(lambda: play(accept()))
        blocking.get(f"http://{address}")
        began = time.monotonic()
        refused(WebSocketHandshakeTimeout, "0.2 s", blocking, f"ws://{address}", handshake_timeout_seconds=0.2)
        assert 0.2 <= time.monotonic() - began < 1.5
        task.join(LONG)


def test_a_connection_of_an_earlier_request() -> None:
    def answer(request: Request) -> bytes:
        return switch(request) if "upgrade" in request.headers else response("200 OK", body=b"")

    with in_thread(site(answer)) as server, one_connection() as client:
        for seconds in (0.5, None):
            assert client.get(server.url.replace("ws", "http")).status_code == 200
            talks(client, server.url, handshake_timeout_seconds=seconds, timeout=None)
        assert server.accepted == 2


def test_httpx2s_own_timeouts_apply() -> None:
    with listening() as (address, accept), new_client(timeout=0.05) as client:
        for seconds in (30, None):
            task = Task(lambda: silent(accept()))
            refused(httpx2.ReadTimeout, "timed out", client, f"ws://{address}", handshake_timeout_seconds=seconds)
            task.result()


def test_the_limit_strikes_as_the_handshake_is_done(blocking: httpx2.Client) -> None:
    """The connection is shut down already: there is no session to be had of it."""

    def slow_hook(_: httpx2.Response) -> None:
        time.sleep(0.2)

    blocking.event_hooks = {"response": [slow_hook]}
    with in_thread(site()) as server:
        refused(WebSocketHandshakeTimeout, "0.1 s", blocking, server.url, handshake_timeout_seconds=0.1)
        eventually(lambda: server.accepted == 1 and not server.open)


def test_no_time_is_left_for_the_next_request(blocking: httpx2.Client) -> None:
    class Slow(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
            time.sleep(0.1)
            yield request

    refused(WebSocketHandshakeTimeout, "0.05 s", blocking, auth=Slow(), handshake_timeout_seconds=0.05)


# -- steps -----------------------------------------------------------------------------------------


def test_a_trace_of_the_users_own_is_called(blocking: httpx2.Client) -> None:
    steps: list[str] = []
    with in_thread(site()) as server:
        talks(blocking, server.url, extensions={"trace": lambda name, _: steps.append(name)})
    assert steps[:2] == ["connection.connect_tcp.started", "connection.connect_tcp.complete"]
    assert "http11.receive_response_headers.complete" in steps


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("step", ["connect_tcp.complete", "start_tls.started", "start_tls.complete"])
def test_an_interrupt_before_http_has_begun_leaves_no_connection(error: type[BaseException], step: str) -> None:
    def trace(name: str, _: object) -> None:
        if name == f"connection.{step}":
            raise error

    with in_thread(site(ssl_context=server_context())) as server, one_connection(verify=client_context()) as client:
        for _ in range(2):
            with pytest.raises(error), open_websocket(client, server.url, extensions={"trace": trace}):
                raise AssertionError
        eventually(lambda: not server.open)
        talks(client, server.url)


def test_an_interrupt_in_the_tls_handshake_leaves_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    context = client_context()
    with listening() as (address, accept), one_connection(verify=context) as client:
        accepted = Task(accept)
        monkeypatch.setattr(context, "wrap_socket", interrupted, raising=False)
        with pytest.raises(KeyboardInterrupt), open_websocket(client, f"wss://{address}"):
            raise AssertionError
        assert accepted.result().recv(1) == b""


def test_a_connection_that_the_deadline_finds_closed() -> None:
    """Shutting it down has nothing left to do."""
    ours, theirs = socket.socketpair()
    deadline = _deadline.Deadline(0.05)
    with ours, theirs:
        deadline.watch(ours)
        ours.shutdown(socket.SHUT_RDWR)
        theirs.close()
        eventually(lambda: deadline.struck)
        other, end = socket.socketpair()
        with other, end:
            deadline.watch(other)  # too late: at once
            assert end.recv(1) == b""
        deadline.watch("no socket")
        deadline.end()
