"""The demonstration, ``python -m httpx2_trio_ws``: as a program, and in this process."""

from __future__ import annotations

import contextlib
import getpass
import re
import runpy
import signal
import socket
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import httpx2
import pytest
import trio

from httpx2_trio_ws import WebSocketDisconnect, WebSocketException, WebSocketUpgradeError, __main__, open_websocket
from httpx2_trio_ws._cli import demonstration as _demo
from httpx2_trio_ws._cli.reasons import first

from .servers import websocket_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.trio.server import ServerConnection

OWN = r"""1\. A session with ws://127\.0\.0\.1:\d+/echo
   sent 'hello', received the same
   sent b'\\x00\\x01\\x02', received the same
   a ping took \d+\.\d ms
2\. 3 sessions in one nursery, into one memory channel
(?:   feed [123]: 'message \d+ of feed [123]'\n){9}3\. A connection that breaks
   received '1'
   received '2'
   caught with except\*: WebSocketNetworkError\('the connection was lost without a close frame.*'\)
"""
PROGRAM = "httpx2-trio-ws: "


@pytest.fixture
def closed_url() -> Iterator[str]:
    """The URL of a port that refuses connections: it is bound, and nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"ws://127.0.0.1:{held.getsockname()[1]}"


@contextlib.contextmanager
def no_thread_left() -> Iterator[None]:
    """What the block starts must have ended after it, but for its last instructions."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(1)
        assert not thread.is_alive()


async def run_program(*arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of the command in a process of its own, with every warning an error."""
    done = await trio.run_process(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "httpx2_trio_ws", *arguments],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


# -- as a program ----------------------------------------------------------------------------------


async def test_program() -> None:
    status, output, errors = await run_program()
    assert (status, errors) == (0, "")
    assert re.fullmatch(OWN, output)


async def test_program_is_not_led_astray_by_proxies(monkeypatch: pytest.MonkeyPatch, closed_url: str) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, closed_url.replace("ws:", "http:"))
    assert (await run_program())[0] == 0


# -- in this process -------------------------------------------------------------------------------


def test_main(capsys: pytest.CaptureFixture[str]) -> None:
    with no_thread_left():
        assert __main__.main([]) == 0
    captured = capsys.readouterr()
    assert re.fullmatch(OWN, captured.out)
    assert captured.err == ""


def test_run_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["httpx2_trio_ws", "ftp://127.0.0.1"])
    monkeypatch.delitem(sys.modules, "httpx2_trio_ws.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("httpx2_trio_ws", run_name="__main__")
    assert caught.value.code == 2


def test_main_takes_too_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def converse(_client: httpx2.AsyncClient, _url: str) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(_demo, "converse", converse)
    assert __main__.main(["--timeout", "0.1"]) == 1
    assert capsys.readouterr().err == f"{PROGRAM}TooSlowError: it took longer than 0.1 s (--timeout)\n"


def test_main_serves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "time", SimpleNamespace(sleep=interrupt))
    with no_thread_left():
        assert __main__.main(["--serve", "0"]) == 0
    assert capsys.readouterr().out.endswith("\nCtrl-C ends it.\n")


def test_main_where_the_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with _demo.own_server() as base:
        assert __main__.main(["--serve", base.rpartition(":")[2]]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{PROGRAM}OSError: ")
    assert error.endswith("; --serve PORT takes another port\n")


def test_main_is_interrupted_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(getpass, "getpass", ask)
    assert __main__.main(["--auth", "alice"]) == 130


def test_main_is_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def interrupted(client: httpx2.AsyncClient, url: str) -> None:
        async with open_websocket(client, url):
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    monkeypatch.setattr(_demo, "converse", interrupted)
    assert __main__.main([]) == 130
    assert capsys.readouterr().err == ""


async def test_a_greeting_is_passed_over(client: httpx2.AsyncClient, capsys: pytest.CaptureFixture[str]) -> None:
    async def greet(ws: ServerConnection) -> None:
        await ws.send("welcome")
        async for message in ws:
            await ws.send(message)

    async with websocket_server(greet) as url:
        await _demo.converse(client, url)
    assert "sent 'hello', received the same" in capsys.readouterr().out


def test_an_error_in_one_feed_ends_the_fan_in(capsys: pytest.CaptureFixture[str]) -> None:
    async def fan_in(base: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            await _demo.fan_in(client, {"one": f"{base}/crash", "other": f"{base}/crash"})

    with _demo.own_server() as base, pytest.raises(ExceptionGroup) as caught:
        trio.run(fan_in, base)
    assert isinstance(first(caught.value), WebSocketException)
    assert "'2'" in capsys.readouterr().out


def test_the_server_is_stopped_when_the_block_fails() -> None:
    def fail() -> None:
        with _demo.own_server() as base:
            urls.append(base)
            raise LookupError

    urls: list[str] = []
    with no_thread_left(), pytest.raises(LookupError):
        fail()
    host, port = urls[0].removeprefix("ws://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


# -- the server ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "requests", "answers"),
    [
        ("/echo?x=y", ["hello", b"hello"], ["hello", b"hello"]),
        ("/feed/red", [], ["message 1 of feed red", "message 2 of feed red"]),
        ("/feed", ["begin"], ["one", "two", "three", 1000]),
        ("/count/3", [], ["1", "2", "3", 1000]),
        ("/prices", ["red"], ["100.00", "100.50"]),
        ("/square", ['{"id":1,"square":7}'], ['{"id": 1, "result": 49}']),
        ("/square", ["no JSON"], [1011]),
        ("/login", ["who am I?"], ["you are alice"]),
    ],
)
async def test_paths(
    path: str, requests: list[str | bytes], answers: list[str | bytes | int], client: httpx2.AsyncClient
) -> None:
    with _demo.own_server() as base:
        async with open_websocket(client, f"{base}{path}", auth=("alice", "secret")) as ws:
            for request in requests:
                await ws.send(request)
            for answer in answers:
                if isinstance(answer, int):
                    with pytest.raises(WebSocketDisconnect) as caught:
                        await ws.receive()
                    assert caught.value.code == answer
                else:
                    assert await ws.receive() == answer


async def test_jobs(client: httpx2.AsyncClient) -> None:
    with _demo.own_server() as base:
        async with open_websocket(client, f"{base}/jobs") as ws:
            async for job in ws:
                await ws.send(job)
    assert ws.statistics().messages_sent > 9
    assert ws.close_code == 1000


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/count/ten", "/count"])
async def test_paths_that_are_not_there(path: str, client: httpx2.AsyncClient) -> None:
    with _demo.own_server() as base, pytest.raises(WebSocketUpgradeError) as caught:
        async with open_websocket(client, f"{base}{path}"):
            pass
    assert caught.value.response is not None
    assert caught.value.response.status_code == 404
    assert caught.value.response.text.startswith("nothing is here; try /echo, ")


@pytest.mark.parametrize("auth", [None, ("alice", "wrong")])
async def test_login_is_refused(auth: tuple[str, str] | None, client: httpx2.AsyncClient) -> None:
    with _demo.own_server() as base, pytest.raises(WebSocketUpgradeError, match="401 Unauthorized"):
        async with open_websocket(client, f"{base}/login", auth=auth):
            pass
