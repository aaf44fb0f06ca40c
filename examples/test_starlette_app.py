"""Testing a Starlette app without a server: a login, a chat room on WebSockets, and a task of the app's lifespan.

The same tests run on trio with pytest-trio, and on asyncio and trio with the plugin for pytest that anyio brings. They need
Starlette, too. Set one of the two modes, never both::

    python -m pytest -o trio_mode=true -o anyio_mode=strict examples/test_starlette_app.py
    python -m pytest -o trio_mode=false -o anyio_mode=auto examples/test_starlette_app.py
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

# For tests that run on trio only, httpx2_trio_ws has the same names.
from httpx2_trio_ws.anyio import WebSocketDisconnect as Closed
from httpx2_trio_ws.anyio import WebSocketNetworkError, WebSocketUpgradeError, open_websocket
from httpx2_trio_ws.testing import ASGIWebSocketTransport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.streams.memory import MemoryObjectReceiveStream
    from starlette.requests import Request


# What is tested: a room in which everybody hears everything, and a page that says how many are there.
async def deliver(lines: MemoryObjectReceiveStream[str], members: set[WebSocket]) -> None:
    async for line in lines:
        for member in [*members]:
            with contextlib.suppress(WebSocketDisconnect):  # has just gone
                await member.send_text(line)


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, object]]:
    members: set[WebSocket] = set()
    said, lines = anyio.create_memory_object_stream[str](16)
    async with said, lines, anyio.create_task_group() as tasks:
        tasks.start_soon(deliver, lines, members)
        yield {"members": members, "said": said}
        tasks.cancel_scope.cancel()


async def login(request: Request) -> JSONResponse:
    form = await request.json()
    if form["password"] != "secret":
        return JSONResponse({"error": "wrong password"}, 403)
    response = JSONResponse({"hello": form["name"]})
    response.set_cookie("name", form["name"])  # a real app signs it
    return response


async def count(request: Request) -> JSONResponse:
    return JSONResponse(len(request.state.members))


async def room(ws: WebSocket) -> None:
    if "name" not in ws.cookies:
        await ws.send_denial_response(JSONResponse({"error": "log in first"}, 401))
        return
    if "chat.v2" not in ws.scope["subprotocols"]:
        await ws.close()  # before accept(): 403
        return
    await ws.accept("chat.v2")
    ws.state.members.add(ws)
    try:
        while len(text := await ws.receive_text()) <= 100:
            command, _, argument = text.partition(" ")
            line = str(int(argument) ** 2) if command == "/square" else text
            await ws.state.said.send(f"{ws.cookies['name']}: {line}")
    finally:
        ws.state.members.remove(ws)
    await ws.close(1008, "too long")


app = Starlette(
    routes=[Route("/login", login, methods=["POST"]), Route("/count", count), WebSocketRoute("/room", room)],
    lifespan=lifespan,
)


# How it is tested. The fixture logs in; cookies are kept by the client, as with any httpx2 client.
CHAT = ["chat.v1", "chat.v2"]


async def log_in(client: httpx2.AsyncClient, name: str) -> None:
    response = await client.post("/login", json={"name": name, "password": "secret"})
    assert response.json() == {"hello": name}


@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=ASGIWebSocketTransport(app), base_url="http://test") as client:
        await log_in(client, "ann")
        yield client


async def test_everybody_hears_everything(client: httpx2.AsyncClient) -> None:
    async with open_websocket(client, "/room", subprotocols=CHAT) as ann:
        assert ann.subprotocol == "chat.v2"
        await log_in(client, "bob")
        async with open_websocket(client, "/room", subprotocols=CHAT) as bob:
            await ann.send("hello")
            assert await ann.receive() == await bob.receive() == "ann: hello"
            await bob.send("/square 12")
            assert await ann.receive() == await bob.receive() == "bob: 144"
            assert (await client.get("/count")).json() == 2


async def test_without_a_login_the_room_is_closed(client: httpx2.AsyncClient) -> None:
    client.cookies.clear()
    assert (await client.post("/login", json={"name": "ann", "password": "guess"})).status_code == 403
    with pytest.raises(WebSocketUpgradeError) as refused:
        async with open_websocket(client, "/room", subprotocols=CHAT):
            pass
    assert refused.value.response.status_code == 401
    assert refused.value.response.json() == {"error": "log in first"}


async def test_another_subprotocol_is_refused(client: httpx2.AsyncClient) -> None:
    with pytest.raises(WebSocketUpgradeError) as refused:
        async with open_websocket(client, "/room", subprotocols=["chat.v1"]):
            pass
    assert refused.value.response.status_code == 403


async def test_long_messages_are_not_wanted(client: httpx2.AsyncClient) -> None:
    async with open_websocket(client, "/room", subprotocols=CHAT) as ann:
        await ann.send("x" * 101)
        with pytest.raises(Closed) as closed:
            await ann.receive()
    assert (closed.value.code, closed.value.reason) == (1008, "too long")


async def test_who_leaves_is_forgotten() -> None:
    transport = ASGIWebSocketTransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        await log_in(client, "ann")
        async with open_websocket(client, "/room", subprotocols=CHAT):
            pass
        await transport.wait_idle()  # until the app has returned
        assert (await client.get("/count")).json() == 0


# An error of the app is raised when the client's block is left. With the fixture that would be after the test, which
# cannot expect it any more: a test that does needs a client of its own.
async def test_an_error_of_the_app_is_raised_here() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="twelve")):
        async with httpx2.AsyncClient(transport=ASGIWebSocketTransport(app), base_url="http://test") as client:
            await log_in(client, "ann")
            async with open_websocket(client, "/room", subprotocols=CHAT) as ann:
                await ann.send("/square twelve")
                with pytest.raises(WebSocketNetworkError, match="ValueError"):
                    await ann.receive()


async def test_what_a_client_sees_of_an_error() -> None:
    transport = ASGIWebSocketTransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        await log_in(client, "ann")
        async with open_websocket(client, "/room", subprotocols=CHAT) as ann:
            await ann.send("/square twelve")
            with pytest.raises(Closed) as closed:
                await ann.receive()
        assert closed.value.code == 1011
