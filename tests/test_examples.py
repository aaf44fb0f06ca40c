"""Every example runs against a real server, and says what it is there to show."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from websockets.exceptions import ConnectionClosed
from websockets.trio.server import ServerConnection, basic_auth

from httpx2_trio_ws import WebSocketDisconnect
from httpx2_trio_ws._cli.demonstration import own_server

from .memory import CLOSE, close_frame, text
from .servers import read_request, scripted_server, tcp_server, websocket_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from websockets.http11 import Request, Response

    from .memory import Peer

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
# Those that are tests themselves are run elsewhere, as tests; and those that are not on trio.
ELSEWHERE = re.compile(
    "test_.*|before_moving|blocking|chat|devtools|graphql_subscriptions|json_rpc|order_book|moved_from_httpx2|opentelemetry_export|price_feeds|reconnecting_feed|resilient_feeds"
    "|thousand_sessions"
)
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if not ELSEWHERE.fullmatch(path.stem))
# What docs/examples.md says to try each with.
URLS = dict(
    re.findall(
        r"^\| `(\w+)\.py` \|.*\| `(\S+)` \|$", (ROOT / "docs/examples.md").read_text(encoding="utf-8"), re.MULTILINE
    )
)


def load(name: str) -> Callable[..., Awaitable[None]]:
    """The ``main`` of an example."""
    spec = importlib.util.spec_from_file_location(f"examples.{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[..., Awaitable[None]] = module.main
    return main


quickstart = load("quickstart")
many_feeds = load("many_feeds")
errors_except_star = load("errors_except_star")
errors_catch = load("errors_catch")
request_response = load("request_response")
worker_pool = load("worker_pool")
large_file = load("large_file")
tokens = load("tokens")
relay = load("relay")
timeouts = load("timeouts")
auth_and_subprotocol = load("auth_and_subprotocol")
graceful_shutdown = load("graceful_shutdown")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples use the client as it comes, which asks the environment for proxies."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    names = [path.stem for path in PROGRAMS]
    assert names == sorted(re.findall(r'^\w+ = load\("(\w+)"\)$', source, re.MULTILINE))
    for name in names:
        assert re.search(rf"(await |start_soon\(|\[|, ){name}\b", source), f"{name} is loaded and not run"
        assert (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").count(f"python examples/{name}.py ws") == 1


@pytest.mark.parametrize("example", PROGRAMS, ids=lambda path: path.stem)
def test_usage(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(example)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(example), run_name="__main__")
    (url,) = re.findall(rf"python examples/{example.name} (ws://\S+)", example.read_text(encoding="utf-8"))
    assert caught.value.code == f"usage: python {example} URL, such as {url} (see docs/examples.md)"
    assert URLS[example.stem] == url


# -- with the demonstration's server ---------------------------------------------------------------

# The last line that each prints. The two that take long, timeouts and graceful_shutdown, have tests of their own below.
LAST_LINES = {
    "quickstart": "closed: 1000",
    "many_feeds": "600 messages from 20 feeds",
    "errors_except_star": "the server has closed properly; the total is 55",
    "errors_catch": "the server has closed properly; the total is 55",
    "request_response": r"\d+ squared is \d+",
    "worker_pool": "closed by the server with 1000; 15 jobs came",
    "auth_and_subprotocol": "without a password: the server refused the WebSocket with 401 Unauthorized; pass auth= to log in"
    ': it says "Missing credentials"',
}


@pytest.mark.parametrize("name", LAST_LINES)
async def test_with_the_demonstrations_server(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with own_server() as base:
        await load(name)(base + URLS[name].removeprefix("ws://127.0.0.1:8765"))
    assert re.fullmatch(LAST_LINES[name], capsys.readouterr().out.splitlines()[-1])


# -- quickstart, many_feeds ------------------------------------------------------------------------


async def test_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    async with websocket_server() as url:
        await quickstart(url)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["text:   hello", r"bytes:  b'\x00\x01'", "json:   42"]
    assert re.fullmatch(r"a round trip takes \d\.\d{4} s", lines[3])
    assert lines[4:] == ["loop:   one", "loop:   two", "loop:   three", "closed: 1000"]


async def test_many_feeds(capsys: pytest.CaptureFixture[str]) -> None:
    everywhere = trio.Event()
    open_feeds: set[str] = set()

    async def handler(ws: ServerConnection) -> None:
        assert ws.request is not None
        feed = ws.request.path.partition("?feed=")[2]
        open_feeds.add(feed)
        if len(open_feeds) == 20:
            everywhere.set()
        await everywhere.wait()  # all sessions are open at the same time
        for number in range(30):
            await ws.send(f"{feed} says {number}")

    async with websocket_server(handler) as url:
        await many_feeds(f"{url}/feed")
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "600 messages from 20 feeds"
    for feed in open_feeds:
        assert [line for line in lines if line.startswith(f"{feed}:")] == [
            f"{feed}: '{feed} says {number}'" for number in range(30)
        ]


# -- messages in parts -----------------------------------------------------------------------------


async def test_messages_in_parts(capsys: pytest.CaptureFixture[str]) -> None:
    said = "You have sent {} characters, and this answer is made while it is sent. "
    with own_server() as base:
        await tokens(f"{base}/tokens")
        assert capsys.readouterr().out == said.format(32) + "\n"
        await relay(f"{base}/tokens")
        assert capsys.readouterr().out.splitlines() == [f"parts passed on: {said.format(n)}" for n in (11, 31)]
        await large_file(f"{base}/echo")
        assert capsys.readouterr().out.splitlines()[-1] == "32 MiB went up, and the same came down"


# -- errors ----------------------------------------------------------------------------------------


async def sum_up(peer: Peer) -> None:
    await peer.send(text("1"), text("20"))
    await peer.close()


async def restart(peer: Peer) -> None:
    await peer.send(text("1"))
    await peer.close(1012, "back soon")


async def drop(peer: Peer) -> None:
    await peer.send(text("1"))
    await peer.aclose()


async def reserved_bit(peer: Peer) -> None:
    await peer.send(b"\x91\x00")
    assert (await peer.receive()).payload[:2] == (1002).to_bytes(2)
    await peer.aclose()


async def no_number(peer: Peer) -> None:
    await peer.send(text("1"), text("two"))
    assert await peer.receive() == (CLOSE, close_frame(1011)[2:])
    await peer.send(close_frame(1011))
    await peer.aclose()


@contextlib.asynccontextmanager
async def refusing() -> AsyncGenerator[str]:
    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\n\r\nmembers only")

    async with tcp_server(handler) as address:
        yield f"ws://{address}"


@contextlib.asynccontextmanager
async def nobody() -> AsyncGenerator[str]:
    with socket.socket() as held:  # bound and not listening: connections are refused
        held.bind(("127.0.0.1", 0))
        yield f"ws://127.0.0.1:{held.getsockname()[1]}"


SERVERS: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[str]]] = {
    r"the server has closed properly; the total is 21": lambda: scripted_server(sum_up),
    r"refused: the server refused the WebSocket with 403 Forbidden.*": refusing,
    r"no connection: .*": nobody,
    r"closed by the server: .* 1012 \(service restart\): back soon": lambda: scripted_server(restart),
    r"connection lost, worth another try: .*": lambda: scripted_server(drop),
    r"the server is broken, or .*: .* 1002 .*": lambda: scripted_server(reserved_bit),
    r"not a number: .*'two'": lambda: scripted_server(no_number),
}


@pytest.mark.parametrize("main", [errors_except_star, errors_catch], ids=["except_star", "catch"])
@pytest.mark.parametrize("expected", SERVERS)
async def test_errors(
    main: Callable[[str], Awaitable[None]], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with SERVERS[expected]() as url:
        await main(url)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(expected, line)


async def test_the_body_of_a_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    async with refusing() as url:
        await errors_except_star(url)
    assert "members only" in capsys.readouterr().out


# -- request_response, worker_pool -----------------------------------------------------------------


async def test_request_response(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(ws: ServerConnection) -> None:
        requests = [json.loads(await ws.recv()) for _ in range(10)]
        await ws.send(json.dumps({"id": 99, "result": "an answer to nobody"}))
        for request in reversed(requests):
            await ws.send(json.dumps({"id": request["id"], "result": request["square"] ** 2}))
        await ws.wait_closed()
        codes.append(ws.close_code)

    codes: list[int | None] = []
    async with websocket_server(handler) as url:
        await request_response(url)
        await trio.testing.wait_all_tasks_blocked()
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted(f"{number} squared is {number**2}" for number in range(1, 11))
    assert codes == [1000]


async def test_calls_end_when_the_server_closes(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(ws: ServerConnection) -> None:
        request = json.loads(await ws.recv())
        await ws.send(json.dumps({"id": request["id"], "result": "known"}))

    async with websocket_server(handler) as url:
        with pytest.raises(ExceptionGroup) as caught:
            await request_response(url)
    assert caught.value.split(WebSocketDisconnect)[1] is None
    assert capsys.readouterr().out.count("known") == 1


async def test_worker_pool(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = ["abc", "defg", "hi", "j"] * 5
    results: list[str | bytes] = []

    async def handler(ws: ServerConnection) -> None:
        for job in jobs:
            await ws.send(job)
        results.extend([await ws.recv() for _ in jobs])

    async with websocket_server(handler) as url:
        await worker_pool(url)
    assert Counter(results) == Counter(job[::-1] for job in jobs)
    *workers, last = capsys.readouterr().out.splitlines()
    assert last == "closed by the server with 1000; 20 jobs came"
    done = [re.fullmatch(r"worker (\d) did (\d+) jobs", line) for line in workers]
    assert {match[1] for match in done if match} == set("0123")
    assert sum(int(match[2]) for match in done if match) == 20
    assert all(match and match[2] != "0" for match in done)


# -- timeouts, auth_and_subprotocol ----------------------------------------------------------------


async def test_timeouts(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(ws: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await ws.send(await ws.recv())

    async with websocket_server(handler) as url:
        await timeouts(url, seconds=0.25)
    first, second, third, last = capsys.readouterr().out.splitlines()
    assert first == "nothing came within 0.25 s"
    assert second == "and now: hello"
    assert re.fullmatch(r"send\(\) waited, after \d+ messages of 524288 bytes", third)
    assert last == "the whole took longer than 0.75 s"


async def test_timeouts_with_a_server_that_speaks_first(capsys: pytest.CaptureFixture[str]) -> None:
    async def greet(ws: ServerConnection) -> None:
        await ws.send("welcome")
        async for _ in ws:  # reads, so that send() need not wait for long
            pass

    async with websocket_server(greet) as url:
        await timeouts(url, seconds=0.1)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "received welcome"
    assert last.startswith("the whole took longer than 0.3")


async def test_auth_and_subprotocol(capsys: pytest.CaptureFixture[str]) -> None:
    cookies: list[str] = []

    async def handler(ws: ServerConnection) -> None:
        assert ws.request is not None
        cookies.append(ws.request.headers["Cookie"])
        assert await ws.recv() == "who am I?"
        await ws.send(f"you are {ws.username}")

    def set_cookie(_ws: ServerConnection, _request: Request, response: Response) -> None:
        response.headers["Set-Cookie"] = "session=abc123"

    async with websocket_server(
        handler,
        process_request=basic_auth("chat", credentials=("alice", "secret")),
        process_response=set_cookie,
        subprotocols=["chat.v1"],
        server_header="tested",
    ) as url:
        await auth_and_subprotocol(url)
    assert cookies == ["theme=dark"]
    assert capsys.readouterr().out.splitlines() == [
        "status: 101",
        "server: tested",
        "subprotocol: chat.v1",
        "answer: you are alice",
        "cookies: {'theme': 'dark', 'session': 'abc123'}",
        LAST_LINES["auth_and_subprotocol"],
    ]


async def test_auth_where_none_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    async with websocket_server() as url:
        await auth_and_subprotocol(url)
    lines = capsys.readouterr().out.splitlines()
    assert "subprotocol: None" in lines
    assert lines[-1] == "it opens without a password, too"


# -- graceful_shutdown -----------------------------------------------------------------------------


class Ticker:
    """A server that sends messages until the client closes, and keeps what it closed with."""

    def __init__(self) -> None:
        self.closed = trio.Event()
        self.close: tuple[int | None, str | None] | None = None

    async def __call__(self, ws: ServerConnection) -> None:
        await ws.send("tick 1")
        await ws.send("tick 2")
        await ws.wait_closed()
        self.close = ws.close_code, ws.close_reason
        self.closed.set()


class Output(io.StringIO):
    """Standard output that tells when a text has been printed."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self._awaited = awaited
        self.printed = trio.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        if self._awaited in self.getvalue():
            self.printed.set()
        return count


SHUT_DOWN = r"""received tick 1
received tick 2
SIGINT: closing
stopped listening
closed <WebSocketSession ws://127\.0\.0\.1:\d+ \(closed, 1001\)> after 2 messages
"""


async def test_graceful_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    ticker, output = Ticker(), Output("tick 2\n")
    monkeypatch.setattr(sys, "stdout", output)
    async with websocket_server(ticker) as url, trio.open_nursery() as nursery:
        nursery.start_soon(graceful_shutdown, url)
        await output.printed.wait()
        signal.raise_signal(signal.SIGINT)
        await ticker.closed.wait()
    assert ticker.close == (1001, "the client shuts down")
    assert re.fullmatch(SHUT_DOWN, output.getvalue())


async def test_graceful_shutdown_where_the_server_closes(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.send("tick")

    async with websocket_server(handler) as url:
        await graceful_shutdown(url)
    first, second, last = capsys.readouterr().out.splitlines()
    assert (first, second) == ("received tick", "the server has closed")
    assert last.endswith("(closed, 1000)> after 1 messages")


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to one process")
async def test_graceful_shutdown_as_a_program() -> None:
    ticker = Ticker()
    async with websocket_server(ticker) as url, trio.open_nursery() as nursery:
        command = [sys.executable, "-X", "dev", "-W", "error", str(EXAMPLES / "graceful_shutdown.py"), url]
        # A status other than 0 fails; so does anything on standard error, as it is in the output.
        program = partial(trio.run_process, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        process: trio.Process = await nursery.start(program)
        assert process.stdout is not None
        output = b""
        async with process.stdout:
            while b"tick 2\n" not in output:
                output += (await process.stdout.receive_some()) or pytest.fail(f"it ended after {output!r}")
            process.send_signal(signal.SIGINT)
            while more := await process.stdout.receive_some():
                output += more
        await ticker.closed.wait()
    assert re.fullmatch(SHUT_DOWN, output.decode())
    assert ticker.close == (1001, "the client shuts down")
