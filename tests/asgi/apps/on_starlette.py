"""The app on Starlette."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.requests import Request


async def echo(ws: WebSocket) -> None:
    await ws.accept()
    while True:  # as in its documentation: WebSocketDisconnect ends it
        message = await ws.receive()
        ws._raise_on_disconnect(message)
        await ws.send({**message, "type": "websocket.send"})


async def auth(ws: WebSocket) -> None:
    if ws.headers.get("Authorization") != "Bearer secret":
        await ws.close(1008, "who are you?")
        return
    await ws.accept(headers=[(b"x-user", b"somebody")])
    await ws.send_json({"user": "somebody", "cookie": ws.cookies.get("theme")})
    await ws.close(4000, "that is all")


async def subprotocol(ws: WebSocket) -> None:
    await ws.accept("v2" if "v2" in ws.scope["subprotocols"] else None)
    await ws.send_json(ws.scope["subprotocols"])
    await ws.close()


async def denied(ws: WebSocket) -> None:
    await ws.send_denial_response(PlainTextResponse("no room", 429, {"Retry-After": "60"}))


async def room(ws: WebSocket) -> None:
    members: set[WebSocket] = ws.state.members
    await ws.accept()
    members.add(ws)
    await broadcast(members, f"{len(members)} here")
    try:
        while True:
            await broadcast(members, await ws.receive_text())
    except WebSocketDisconnect:
        members.remove(ws)
        await broadcast(members, f"{len(members)} here")


async def broadcast(members: set[WebSocket], message: str) -> None:
    for member in [*members]:
        await member.send_text(message)


async def announce(request: Request) -> Response:
    await broadcast(request.state.members, (await request.body()).decode())
    return Response(status_code=202)


async def stream(request: Request) -> StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"{number}\n"

    return StreamingResponse(numbers())


async def boom(ws: WebSocket) -> None:
    await ws.accept()
    await ws.receive()
    raise ZeroDivisionError


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Any]]:
    yield {"members": set()}


def make() -> Starlette:
    """A new app."""
    sockets = {"echo": echo, "auth": auth, "subprotocol": subprotocol, "denied": denied, "room": room, "boom": boom}
    routes = [WebSocketRoute(f"/{path}", endpoint) for path, endpoint in sockets.items()]
    pages = [Route("/announce", announce, methods=["POST"]), Route("/stream", stream)]
    return Starlette(routes=[*routes, *pages], lifespan=lifespan)
