"""How long a blocking handshake may take, and what is left of one that is interrupted."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from httpx2_trio_ws._sync import _deadline
from httpx2_trio_ws.sync import WebSocketHandshakeTimeout, WebSocketUpgradeError, open_websocket
from tests.handshake_support import Request, client_context, redirect, response, server_context, site, switch

from .support import LONG, Task, eventually, in_thread, listening, new_client, one_connection, refused, talks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


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
            assert 0.1 <= time.monotonic() - began < 4, "a timeout of httpx2's is 5"
            assert isinstance(error, TimeoutError)
            task.result()


def test_a_body_that_drips_is_read_until_the_limit() -> None:
    with listening() as (address, accept), new_client() as client:
        task = Task(lambda: drip_body(accept()))
        began = time.monotonic()
        error = refused(
            WebSocketUpgradeError, "403 Forbidden", client, f"ws://{address}", handshake_timeout_seconds=0.1
        )
        assert 0.1 <= time.monotonic() - began < 4, "a timeout of httpx2's is 5"
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
        assert 0.2 <= time.monotonic() - began < 4
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
