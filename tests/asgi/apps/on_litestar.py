"""The app on Litestar."""
# Litestar reads annotations when a route is declared, so they are not put off, and their names are imported.

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.datastructures import State
from litestar.exceptions import NotAuthorizedException, WebSocketDisconnect
from litestar.response import Stream


@websocket("/echo")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    while True:
        event = await socket.receive()
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(detail="the client has gone", code=event["code"])
        await socket.send({**event, "type": "websocket.send"})  # type: ignore[arg-type]


async def guard(connection: Any, handler: Any) -> None:
    if connection.headers.get("Authorization") != "Bearer secret":
        raise NotAuthorizedException


@websocket("/auth", guards=[guard])
async def auth(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept(headers={"x-user": "somebody"})
    await socket.send_json({"user": "somebody", "cookie": socket.cookies.get("theme")})
    await socket.close(4000, "that is all")


@websocket("/subprotocol")
async def subprotocol(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept("v2" if "v2" in socket.scope["subprotocols"] else None)
    await socket.send_json(socket.scope["subprotocols"])
    await socket.close()


@websocket("/denied")
async def denied(socket: WebSocket[Any, Any, Any]) -> None:
    # It has no name for this extension, so the events are sent as they are.
    headers = [(b"retry-after", b"60")]
    await socket.send({"type": "websocket.http.response.start", "status": 429, "headers": headers})
    await socket.send({"type": "websocket.http.response.body", "body": b"no room"})  # type: ignore[arg-type]


@websocket("/room")
async def room(socket: WebSocket[Any, Any, Any], state: State) -> None:
    members = state.members
    await socket.accept()
    members.add(socket)
    await broadcast(members, f"{len(members)} here")
    try:
        while True:
            await broadcast(members, await socket.receive_text())
    except WebSocketDisconnect:
        members.remove(socket)
        await broadcast(members, f"{len(members)} here")


async def broadcast(members: set[WebSocket[Any, Any, Any]], message: str) -> None:
    for member in [*members]:
        await member.send_text(message)


@post("/announce", status_code=202)
async def announce(request: Request[Any, Any, Any], state: State) -> None:
    await broadcast(state.members, (await request.body()).decode())


@get("/stream")
async def stream() -> Stream:
    async def numbers() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"{number}\n"

    return Stream(numbers())


@websocket("/boom")
async def boom(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.receive()
    raise ZeroDivisionError


@contextlib.asynccontextmanager
async def lifespan(app: Litestar) -> AsyncGenerator[None]:
    app.state.members = set()
    yield


def make() -> Litestar:
    """A new app."""
    handlers = [echo, auth, subprotocol, denied, room, announce, stream, boom]
    return Litestar(handlers, lifespan=[lifespan], openapi_config=None, logging_config=None)
