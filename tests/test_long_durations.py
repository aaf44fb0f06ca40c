"""Durations of weeks, and of more than any clock has room for: on every face, over TCP and TLS."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from httpx2_trio_ws import anyio as on_anyio
from httpx2_trio_ws import open_websocket
from httpx2_trio_ws import sync as in_threads
from httpx2_trio_ws._sync._poller import READ, Poller
from httpx2_trio_ws._sync._waiting import Waiter
from httpx2_trio_ws.http2 import HTTP2Transport
from httpx2_trio_ws.reconnect import Backoff

from .handshake_support import client_context, server_context
from .on_asyncio.support import REAL_LOOPS, run_real
from .sync.support import Task, new_client, websocket_server

if TYPE_CHECKING:
    from collections.abc import Callable

MONTH = 30 * 86400.0
TOO_LARGE = 10**400
# What poll() has room for ends at 2**31 ms, a thread's waiting at some 2**63 ns, and a float's integers long before 1e300.
LONG = [MONTH, 1e12, 1e300]
DURATIONS = [
    "handshake_timeout_seconds",
    "keepalive_ping_interval_seconds",
    "keepalive_ping_timeout_seconds",
    "close_timeout_seconds",
    "failure_grace_seconds",
]


def talk(face: str, url: str, **options: Any) -> None:
    """Open, echo, ping and close."""

    async def on_loop() -> None:
        async with (
            httpx2.AsyncClient(verify=client_context(), trust_env=False) as client,
            on_anyio.open_websocket(client, url, **options) as ws,
        ):
            for message in ("hello", "hello again"):
                await ws.send(message)
                assert await ws.receive() == message
            assert await (await ws.ping()) > 0

    def in_thread() -> None:
        with (
            new_client(verify=client_context()) as client,
            in_threads.open_websocket(client, url, **options) as ws,
        ):
            for message in ("hello", "hello again"):
                ws.send(message)
                assert ws.receive(timeout=options["close_timeout_seconds"]) == message
            assert ws.ping().wait(options["close_timeout_seconds"]) > 0

    if face == "threads":
        options.pop("failure_grace_seconds", None)
        Task(in_thread).result()
    elif face == "trio":
        trio.run(on_loop)
    else:
        run_real(face, on_loop)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("seconds", [*LONG, math.inf])
@pytest.mark.parametrize("face", ["trio", *REAL_LOOPS, "threads"])
def test_long_durations(face: str, seconds: float, tls: bool) -> None:
    durations: dict[str, Any] = dict.fromkeys(DURATIONS, seconds)
    with websocket_server(ssl=server_context() if tls else None) as url:
        talk(face, url, **durations, timeout=httpx2.Timeout(None if math.isinf(seconds) else seconds))
        # httpx2's own, where the opening as a whole has no limit
        talk(face, url, **{**durations, "handshake_timeout_seconds": None}, timeout=httpx2.Timeout(MONTH))


@pytest.mark.parametrize("name", DURATIONS)
async def test_an_integer_that_is_no_float_is_refused(name: str) -> None:
    options: dict[str, Any] = {name: TOO_LARGE}
    match = f"{name} is an integer that is too large to be a float"
    async with httpx2.AsyncClient() as client:
        with pytest.raises(ValueError, match=match):
            async with open_websocket(client, "ws://127.0.0.1:1", **options):
                raise AssertionError
    if name != "failure_grace_seconds":
        with new_client() as blocking, pytest.raises(ValueError, match=match):
            in_threads.open_websocket(blocking, "ws://127.0.0.1:1", **options)


@pytest.mark.parametrize("name", ["initial_seconds", "max_seconds", "stable_seconds", "max_retry_after_seconds"])
def test_so_it_is_by_the_backoff(name: str) -> None:
    options: dict[str, Any] = {name: TOO_LARGE}
    with pytest.raises(ValueError, match=f"{name} is an integer that is too large"):
        Backoff(**options)


@pytest.mark.parametrize("name", ["keepalive_ping_interval_seconds", "keepalive_ping_timeout_seconds"])
def test_and_by_the_transport_of_http2(name: str) -> None:
    options: dict[str, Any] = {name: TOO_LARGE}
    with pytest.raises(ValueError, match=f"{name} is a positive number of seconds"):
        HTTP2Transport(**options)


def test_and_by_the_calls_of_a_blocking_session() -> None:
    with websocket_server() as url, new_client() as client, in_threads.open_websocket(client, url) as ws:
        calls: list[Callable[..., Any]] = [
            ws.receive,
            ws.receive_text,
            ws.receive_bytes,
            ws.wait_closed,
            ws.ping().wait,
        ]
        for call in calls:
            with pytest.raises(ValueError, match="timeout is an integer that is too large"):
                call(timeout=TOO_LARGE)


# -- where a wait has to be made of several --------------------------------------------------------


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform's longest wait is 10 ms, as it is 49 days on some."""
    monkeypatch.setattr(threading, "TIMEOUT_MAX", 0.01)


@pytest.mark.parametrize("seconds", [0.05, 1e300, math.inf])
def test_a_thread_waits_longer_than_the_platform_can(short_waits: None, seconds: float) -> None:
    waiter = Waiter()
    waiting = Task(waiter.wait, seconds)
    if seconds == 0.05:
        began = time.monotonic()
        assert waiting.result() is False
        assert time.monotonic() - began > 0.03
    else:
        waiting.join(0.1)
        assert waiting.is_alive()
        waiter.set()
        assert waiting.result() is True


def test_a_reader_sleeps_longer_than_the_platform_can() -> None:
    ours, peers = socket.socketpair()
    with ours, peers, contextlib.closing(Poller(ours)) as poller:
        sleeping = Task(poller.wait, READ, 1e300)
        sleeping.join(0.05)
        assert sleeping.is_alive()
        poller.wake()
        assert sleeping.result() == 0
