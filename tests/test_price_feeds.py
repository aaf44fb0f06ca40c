"""``examples/price_feeds.py``: fifty feeds, through the death of their server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio
from websockets.trio.server import serve

from httpx2_trio_ws._cli.demonstration import own_server
from httpx2_trio_ws.testing import ScriptedPeer, memory_server

from .running_examples import EXAMPLES, check_usage, load, query

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from websockets.trio.server import ServerConnection

price_feeds = load("price_feeds")
SECONDS = 20  # what a test may take: far more than it does, on a busy machine too
URL = "ws://feeds.example/"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    check_usage("price_feeds", monkeypatch)


def make_feeds() -> list[Any]:
    return [price_feeds.Feed(f"feed-{number}") for number in range(50)]


@contextlib.asynccontextmanager
async def collecting(client: httpx2.AsyncClient, url: str, feeds: list[Any]) -> AsyncGenerator[None]:
    """``collect()`` runs during the block, and is cancelled at its end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(price_feeds.collect, client, url, feeds)
        yield
        nursery.cancel_scope.cancel()


class PriceServer:
    """Answers each subscription with a price, and sends nothing more; it can die."""

    def __init__(self, price: float = 1, port: int = 0) -> None:
        self.price = price
        self.port = port
        self.subscribed: list[str] = []
        self.closed_with: list[int | None] = []
        self.all_subscribed = trio.Event()
        self.all_closed = trio.Event()
        self._streams: list[trio.SocketStream] = []
        self._scope = trio.CancelScope()

    async def start(self, nursery: trio.Nursery) -> str:
        """Run in ``nursery``; gives its URL."""
        self.port = await nursery.start(self._serve)
        return f"ws://127.0.0.1:{self.port}/"

    async def _serve(self, task_status: trio.TaskStatus[int]) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                server = await nursery.start(
                    partial(serve, self._handle, self.port, host="127.0.0.1", compression=None)
                )
                task_status.started(server.listeners[0].socket.getsockname()[1])

    async def _handle(self, ws: ServerConnection) -> None:
        assert isinstance(ws.stream, trio.SocketStream)
        self._streams.append(ws.stream)
        feed = json.loads(await ws.recv())["subscribe"]
        assert feed == query(ws, "feed")
        await ws.send(str(self.price))
        self.subscribed.append(feed)
        if len(self.subscribed) == 50:
            self.all_subscribed.set()
        await ws.wait_closed()
        self.closed_with.append(ws.close_code)
        if len(self.closed_with) == 50:
            self.all_closed.set()

    def die(self) -> None:
        """No close frame is sent, and nobody listens any more."""
        for stream in self._streams:
            stream.socket.close()
        self._scope.cancel()


async def test_feeds_survive_the_death_of_their_server() -> None:
    feeds = make_feeds()
    with trio.fail_after(SECONDS):
        async with httpx2.AsyncClient() as client, trio.open_nursery() as nursery:
            before = PriceServer(price=1)
            async with collecting(client, await before.start(nursery), feeds):
                await before.all_subscribed.wait()
                before.die()
                after = PriceServer(price=2, port=before.port)
                await after.start(nursery)
                await after.all_subscribed.wait()
                while {feed.price for feed in feeds} != {2}:  # noqa: ASYNC110 - the program has no event for it
                    await trio.sleep(0.001)
            await after.all_closed.wait()
            after.die()
    assert sorted(before.subscribed) == sorted(after.subscribed) == sorted(feed.name for feed in feeds)
    assert after.closed_with == [1001] * 50
    for feed in feeds:
        assert (feed.updates, feed.sessions) == (2, 2)


async def test_feeds_wait_for_a_server_that_is_long_in_coming(autojump_clock: object) -> None:
    feeds = make_feeds()
    back_at = 600
    came: list[float] = []

    def respond(request: httpx2.Request) -> httpx2.Response | None:
        return httpx2.Response(503) if 0 < trio.current_time() - began < back_at else None

    async def handler(peer: ScriptedPeer) -> None:
        assert json.loads(await peer.receive())["subscribe"] in names
        came.append(trio.current_time() - began)
        await peer.send("17.5")
        if len(came) <= 50:
            await peer.drop()
        else:
            await peer.wait_closed()

    names = {feed.name for feed in feeds}
    began = trio.current_time()
    async with memory_server(handler, respond=respond) as client, collecting(client, URL, feeds):
        await trio.sleep(back_at + 61)
        assert all(feed.updates == feed.sessions == 2 for feed in feeds)
    assert came[:50] == [0] * 50
    assert back_at <= came[50] < came[-1] <= back_at + 61  # all within a minute, and not at once


async def test_feeds_that_fail_for_good_do_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    feeds = make_feeds()[:3]
    gone, _, good = feeds

    def respond(request: httpx2.Request) -> httpx2.Response | None:
        return httpx2.Response(404) if request.url.params["feed"] == gone.name else None

    async def handler(peer: ScriptedPeer) -> None:
        feed = json.loads(await peer.receive())["subscribe"]
        await peer.send("17.5" if feed == good.name else "much")

    async with memory_server(handler, respond=respond) as client:
        await price_feeds.collect(client, URL, feeds)
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "feed-0 is given up: the server refused the WebSocket with 404 Not Found",
        "feed-1 is given up: could not convert string to float: 'much'",
    ]
    assert [(feed.price, feed.updates, feed.sessions) for feed in feeds] == [(None, 0, 0), (None, 0, 1), (17.5, 1, 1)]


async def test_feeds_print_a_line_each_second(autojump_clock: object, capsys: pytest.CaptureFixture[str]) -> None:
    feeds = make_feeds()
    feeds[0].price, feeds[0].updates = 17.5, 3
    with trio.move_on_after(2.5):
        await price_feeds.report(feeds)
    prices = "feed-0=17.5 feed-1=None feed-2=None …"
    assert capsys.readouterr().out.splitlines() == [
        f"1 of 50 alive, 3 updates, {prices}",
        f"0 of 50 alive, 0 updates, {prices}",
    ]


async def test_with_the_demonstrations_server(capsys: pytest.CaptureFixture[str]) -> None:
    with own_server() as base:
        await price_feeds.main(f"{base}/count/3")
    assert capsys.readouterr().out.splitlines()[-1] == "150 updates of 50 feeds in 50 sessions"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to a process here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_feeds_stop_on_a_signal(number: signal.Signals) -> None:
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            server = PriceServer()
            url = await server.start(nursery)
            command = [sys.executable, "-X", "dev", "-W", "error", str(EXAMPLES / "price_feeds.py"), url]
            # A status other than 0 fails; so does anything on standard error, as it is in the output.
            program = partial(trio.run_process, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            process: trio.Process = await nursery.start(program)
            assert process.stdout is not None
            output = b""
            async with process.stdout:
                await server.all_subscribed.wait()
                process.send_signal(number)
                while more := await process.stdout.receive_some():
                    output += more
            await server.all_closed.wait()
            server.die()
    assert server.closed_with == [1001] * 50
    *lines, stopping, last = output.decode().splitlines()
    assert all(re.fullmatch(r"\d+ of 50 alive, .*", line) for line in lines)
    assert stopping == f"{number.name}: stopping"
    assert re.fullmatch(r"\d+ updates of \d+ feeds in 50 sessions", last)
