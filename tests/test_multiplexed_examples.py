"""The examples that need a server of their own, against one in memory that plays it."""

from __future__ import annotations

import contextlib
import runpy
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from httpx2_trio_ws import WebSocketNetworkError
from httpx2_trio_ws.testing import memory_server

from .multiplexing.support import Wire, serve
from .running_examples import EXAMPLES, load

if TYPE_CHECKING:
    from httpx2_trio_ws.testing import ScriptedPeer

order_book = load("order_book")
json_rpc = load("json_rpc")
graphql = load("graphql_subscriptions")
devtools = load("devtools")
URL = "ws://test/"


@pytest.fixture(autouse=True)
def _clock(autojump_clock: object) -> None:
    """Backoff takes no time."""


@pytest.mark.parametrize("name", ["order_book", "json_rpc", "graphql_subscriptions", "devtools"])
def test_usage(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = EXAMPLES / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(program)])
    with pytest.raises(SystemExit, match=rf"^usage: python .*{name}\.py "):
        runpy.run_path(str(program), run_name="__main__")
    assert f"\n    python examples/{name}.py " in program.read_text(encoding="utf-8")


def client_of(program: Any, monkeypatch: pytest.MonkeyPatch, client: httpx2.AsyncClient) -> None:
    """The program's own client is this one."""
    own = SimpleNamespace(AsyncClient=lambda **_: contextlib.nullcontext(client))
    monkeypatch.setattr(program, "httpx2", own)


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
            await trio.sleep(0.1)
        if self.sessions == 5:
            await peer.close()
        await peer.drop()

    async def respond(self, request: httpx2.Request) -> httpx2.Response | None:
        if request.url.path != "/snapshot":
            return None
        self.requests += 1
        await trio.sleep(0.35)
        if self.requests == 1:
            raise httpx2.ReadError("the server is gone")
        if self.requests == 2:
            return httpx2.Response(503, request=request)
        return httpx2.Response(200, json={"number": self.number, "sizes": list(self.sizes.items())}, request=request)


async def test_an_order_book_is_in_step_through_restarts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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


async def test_json_rpc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
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


async def test_graphql_subscriptions(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async with serve(graphql_server) as server:
        async with graphql.connect(server.client, URL) as mux:
            async with graphql.subscribe(mux, "finite", room=1) as results:
                assert [result["data"] async for result in results] == [0, 1, 2, 0, 1, 2]
            async with graphql.subscribe(mux, "endless") as results:
                assert await anext(results) == {"data": 3}
            with pytest.raises(graphql.GraphQLError, match="syntax"):
                async with graphql.subscribe(mux, "wrong") as results:
                    await anext(results)
            await trio.sleep(1)
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


async def test_devtools(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    urls = [f"https://{name}.example" for name in "abcdef"]
    async with serve(browser) as server:
        client_of(devtools, monkeypatch, server.client)
        await devtools.main(URL, *urls)
    assert sorted(capsys.readouterr().out.splitlines()) == [f"{url}: the title of {url}" for url in urls]
    async with serve(browser) as server, devtools.multiplex(server.session(), key=devtools.key) as mux:
        with pytest.raises(devtools.CommandError, match="invalid URL"):
            await devtools.load(mux, "https://refused.example")
