"""The examples above one session, on trio and on asyncio, against a server in memory that plays theirs."""

from __future__ import annotations

import contextlib
import runpy
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
import trio

from httpx2_trio_ws import WebSocketNetworkError
from httpx2_trio_ws._cli.demonstration import own_server
from httpx2_trio_ws.testing import memory_server
from tests.asgi.support import both_loops

from .multiplexing.support import Wire, serve
from .running_examples import EXAMPLES, load, load_on_anyio

if TYPE_CHECKING:
    from httpx2_trio_ws.testing import ScriptedPeer

NAMES = ("order_book", "json_rpc", "graphql_subscriptions", "devtools", "request_response", "many_feeds", "chat")
ON_TRIO = {name: load(name) for name in NAMES}
ON_ANYIO = {name: load_on_anyio(name) for name in NAMES}
URL = "ws://test/"


def example(name: str) -> Any:
    """The program for the event loop that runs."""
    return (ON_TRIO if trio.lowlevel.in_trio_run() else ON_ANYIO)[name]


@pytest.mark.parametrize("name", ["order_book", "json_rpc", "graphql_subscriptions", "devtools"])
def test_usage(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = EXAMPLES / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(program)])
    with pytest.raises(SystemExit, match=rf"^usage: python .*{name}\.py "):
        runpy.run_path(str(program), run_name="__main__")
    assert f"\n    python examples/{name}.py " in program.read_text(encoding="utf-8")


def client_of(program: Any, monkeypatch: pytest.MonkeyPatch, client: httpx2.AsyncClient) -> None:
    """The program's own client is this one."""

    def own(**_: object) -> contextlib.nullcontext[httpx2.AsyncClient]:
        return contextlib.nullcontext(client)

    monkeypatch.setattr(program, "httpx2", SimpleNamespace(AsyncClient=own, Limits=httpx2.Limits))


# -- order book --------------------------------------------------------------------------------------


class Exchange:
    """Numbered changes of one symbol, and snapshots; it restarts, in the midst of a request too."""

    def __init__(self) -> None:
        self.number = 0
        self.sizes: dict[float, float] = {}
        self.sessions = self.requests = 0

    def change(self) -> dict[str, Any]:
        self.number += 1
        price, size = float(self.number % 10), float(self.number % 7)
        self.sizes[price] = size
        if not size:
            del self.sizes[price]
        return {"number": self.number, "price": price, "size": size}

    async def handle(self, peer: ScriptedPeer) -> None:
        wire = Wire(peer, self.sessions)
        self.sessions += 1
        assert await wire.get() == {"subscribe": "BTC"}
        for number in range(50):
            change = self.change()
            if number != 20:  # which gets lost
                await wire.say(change)
            await anyio.sleep(0.1)
        if self.sessions == 5:
            await peer.close()
        await peer.drop()

    async def respond(self, request: httpx2.Request) -> httpx2.Response | None:
        if request.url.path != "/snapshot":
            return None
        self.requests += 1
        await anyio.sleep(0.35)
        if self.requests == 1:
            raise httpx2.ReadError("the server is gone")
        if self.requests == 2:
            return httpx2.Response(503, request=request)
        return httpx2.Response(200, json={"number": self.number, "sizes": list(self.sizes.items())}, request=request)


@both_loops
async def test_an_order_book_is_in_step_through_restarts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order_book = example("order_book")
    exchange = Exchange()
    async with memory_server(exchange.handle, respond=exchange.respond) as client:
        client.base_url = httpx2.URL("ws://test/")
        books: dict[str, Any] = {}
        await order_book.follow(client, "BTC", books)
        assert (books["BTC"].number, books["BTC"].sizes) == (exchange.number, exchange.sizes)
        assert exchange.sessions == 5
        exchange.sessions = 4
        client_of(order_book, monkeypatch, client)
        await order_book.main("http://test", "BTC")
    assert capsys.readouterr().out == f"BTC: {len(exchange.sizes)} prices as of change {exchange.number}\n"


# -- JSON-RPC ----------------------------------------------------------------------------------------


async def rpc_server(wire: Wire) -> None:
    while True:
        request = await wire.get()
        match request["method"]:
            case "add":
                await wire.say({"id": request["id"], "result": sum(request["params"])})
            case "die":
                await wire.peer.drop()
                return
            case "hello":
                await wire.say({"method": "greeting", "params": request["params"]})
            case _:
                await wire.say({"id": request["id"], "error": {"code": -32601, "message": "no such method"}})


@both_loops
async def test_json_rpc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    json_rpc = example("json_rpc")
    async with serve(rpc_server) as server:
        async with json_rpc.connect(server.client, URL) as rpc:
            assert await rpc.call("add", 1, 2) == 3
            with pytest.raises(json_rpc.RpcError, match="no such method"):
                await rpc.call("subtract", 1)
            with pytest.raises(WebSocketNetworkError):
                await rpc.call("die")
            await rpc.notify("hello", "you")  # waits for the next session
            assert await rpc.notification() == ("greeting", ["you"])
            for number in range(100):
                await rpc.notify("hello", number)
        assert len(server.wires[1].heard) == 101  # leaving has flushed them
        client_of(json_rpc, monkeypatch, server.client)
        await json_rpc.main(URL, "add", "1", "2")
    assert capsys.readouterr().out == "3\n"


# -- GraphQL -----------------------------------------------------------------------------------------


async def graphql_server(wire: Wire) -> None:
    assert (await wire.get())["type"] == "connection_init"
    await wire.say({"type": "connection_ack"}, {"type": "ping"})
    sent = 0
    while True:
        message = await wire.get()
        if message["type"] == "subscribe":
            query = message["payload"]["query"]
            if query == "wrong":
                await wire.say({"id": message["id"], "type": "error", "payload": [{"message": "syntax"}]})
                continue
            for _ in range(3):
                await wire.say({"id": message["id"], "type": "next", "payload": {"data": sent}})
                sent += 1
            if wire.number == 0:
                await wire.peer.drop()
                return
            if query == "finite":
                await wire.say({"id": message["id"], "type": "complete"})


@both_loops
async def test_graphql_subscriptions(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    graphql = example("graphql_subscriptions")
    async with serve(graphql_server) as server:
        async with graphql.connect(server.client, URL) as mux:
            async with graphql.subscribe(mux, "finite", room=1) as results:
                assert [result["data"] async for result in results] == [0, 1, 2, 0, 1, 2]
            async with graphql.subscribe(mux, "endless") as results:
                assert await anext(results) == {"data": 3}
            with pytest.raises(graphql.GraphQLError, match="syntax"):
                async with graphql.subscribe(mux, "wrong") as results:
                    await anext(results)
            await anyio.sleep(1)
        kinds = [message["type"] for message in server.wires[1].heard]
        assert sorted(kinds) == sorted(["connection_init", "pong", "subscribe", "subscribe", "complete", "subscribe"])
        client_of(graphql, monkeypatch, server.client)
        await graphql.main(URL, "finite")
    assert capsys.readouterr().out == "{'data': 0}\n{'data': 1}\n{'data': 2}\n"


# -- DevTools ----------------------------------------------------------------------------------------


async def browser(wire: Wire) -> None:
    pages: dict[str, str] = {}
    while True:
        message = await wire.get()
        page, method, params = message.get("sessionId"), message["method"], message["params"]
        result: dict[str, Any] = {}
        if method == "Target.createTarget":
            result = {"targetId": f"target-{len(pages)}"}
            pages[f"session-{len(pages)}"] = ""
        elif method == "Target.attachToTarget":
            result = {"sessionId": params["targetId"].replace("target", "session")}
        elif method == "Page.navigate":
            if "refused" in params["url"]:
                await wire.say({"id": message["id"], "error": {"code": -32000, "message": "invalid URL"}})
                continue
            pages[page] = params["url"]
            await wire.say({"sessionId": page, "method": "Page.frameStartedLoading", "params": {}})
            await wire.say({"sessionId": page, "method": "Page.loadEventFired", "params": {}})
        elif method == "Runtime.evaluate":
            result = {"result": {"value": f"the title of {pages[page]}"}}
        await wire.say({"id": message["id"], "result": result, **({"sessionId": page} if page else {})})


@both_loops
async def test_devtools(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    devtools = example("devtools")
    urls = [f"https://{name}.example" for name in "abcdef"]
    async with serve(browser) as server:
        client_of(devtools, monkeypatch, server.client)
        await devtools.main(URL, *urls)
    assert sorted(capsys.readouterr().out.splitlines()) == [f"{url}: the title of {url}" for url in urls]
    async with serve(browser) as server, devtools.multiplex(server.session(), key=devtools.key) as mux:
        with pytest.raises(devtools.CommandError, match="invalid URL"):
            await devtools.load(mux, "https://refused.example")


# -- squares, and many feeds -------------------------------------------------------------------------


async def squares(wire: Wire) -> None:
    """Answers in pairs, the second one first."""
    while True:
        first, second = await wire.get(), await wire.get()
        await wire.say({"id": second["id"], "result": second["square"] ** 2})
        await anyio.sleep(0.1)
        await wire.say({"id": first["id"], "result": first["square"] ** 2})


@both_loops
async def test_request_response(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async with serve(squares) as server:
        client_of(example("request_response"), monkeypatch, server.client)
        await example("request_response").main(URL)
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"{n} squared is {n * n}" for n in range(1, 11))


async def feed(wire: Wire) -> None:
    for number in range(30):
        await wire.say(number)
    await wire.peer.close()


@both_loops
async def test_many_feeds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    many_feeds = example("many_feeds")
    async with serve(feed) as server:
        client_of(many_feeds, monkeypatch, server.client)
        await many_feeds.main(URL)
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "600 messages from 20 feeds"
    for name in many_feeds.FEEDS:
        said = [line for line in lines if line.startswith(f"{name}:")]
        assert said == [f"{name}: '{number}'" for number in range(30)]


# -- chat --------------------------------------------------------------------------------------------


class Keyboard:
    """One line, and Ctrl-D when that has come back."""

    def __init__(self) -> None:
        self.typed, self.shown = False, threading.Event()

    def readline(self) -> str:
        if not self.typed:
            self.typed = True
            return "hello\n"
        self.shown.wait(20)
        return ""


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_chat(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On real time, as a line is read in a thread; on trio, anyio's face is there, too. More is in test_chat.py."""
    chat, keyboard = ON_ANYIO["chat"], Keyboard()
    lines: list[str] = []

    def say(text: str) -> None:
        lines.append(text)
        if len(lines) == 2:
            keyboard.shown.set()

    monkeypatch.setattr(chat, "say", say)
    monkeypatch.setattr(chat, "sys", SimpleNamespace(stdin=keyboard, stderr=sys.stderr))
    with own_server() as base:
        assert anyio.run(chat.main, f"{base}/echo", "alice", backend=loop) == 0
    assert lines == ["You are alice. Each line is a message. Ctrl-D leaves.", "alice: hello"]
