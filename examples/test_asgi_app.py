"""Testing an ASGI app, here one on Starlette: WebSocket and HTTP, without a server, in the event loop of the test.

Run it with pytest; it needs Starlette, and pytest-trio with ``trio_mode = true`` in its settings::

    python -m pytest -o trio_mode=true examples/test_asgi_app.py
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from httpx2_trio_ws import WebSocketDisconnect as Closed
from httpx2_trio_ws import WebSocketUpgradeError, open_websocket
from httpx2_trio_ws.testing import ASGIWebSocketTransport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request


# What is tested: a room in which everybody hears everything, and a page that says who is there.
@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, dict[str, WebSocket]]]:
    yield {"members": {}}


async def room(ws: WebSocket) -> None:
    members, name = ws.state.members, ws.query_params.get("name")
    if not name or name in members:
        await ws.send_denial_response(JSONResponse({"error": "choose another name"}, 409))
        return
    await ws.accept()
    members[name] = ws
    try:
        while True:
            text = await ws.receive_text()
            if len(text) > 100:
                await ws.close(1008, "too long")
                return
            for member in [*members.values()]:
                await member.send_text(f"{name}: {text}")
    except WebSocketDisconnect:
        pass
    finally:
        del members[name]


async def who(request: Request) -> JSONResponse:
    return JSONResponse([*request.state.members])


app = Starlette(routes=[WebSocketRoute("/room", room), Route("/who", who)], lifespan=lifespan)


# How it is tested.
@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=ASGIWebSocketTransport(app), base_url="http://test") as client:
        yield client


async def test_everybody_hears_everything(client: httpx2.AsyncClient) -> None:
    async with open_websocket(client, "/room?name=ann") as ann, open_websocket(client, "/room?name=bob") as bob:
        await ann.send("hello")
        assert await ann.receive() == "ann: hello"
        assert await bob.receive() == "ann: hello"
        assert (await client.get("/who")).json() == ["ann", "bob"]


async def test_a_name_is_taken_only_once(client: httpx2.AsyncClient) -> None:
    async with open_websocket(client, "/room?name=ann"):
        with pytest.raises(WebSocketUpgradeError) as refused:
            async with open_websocket(client, "/room?name=ann"):
                pass
    assert refused.value.response is not None
    assert refused.value.response.status_code == 409
    assert refused.value.response.json() == {"error": "choose another name"}


async def test_long_messages_are_not_wanted(client: httpx2.AsyncClient) -> None:
    async with open_websocket(client, "/room?name=ann") as ann:
        await ann.send("x" * 101)
        with pytest.raises(Closed) as closed:
            await ann.receive()
    assert (closed.value.code, closed.value.reason) == (1008, "too long")


async def test_who_leaves_is_forgotten() -> None:
    transport = ASGIWebSocketTransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        async with open_websocket(client, "/room?name=ann"):
            pass
        await transport.wait_idle()  # until the app has returned
        assert (await client.get("/who")).json() == []
