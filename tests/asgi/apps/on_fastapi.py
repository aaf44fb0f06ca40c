"""The app on FastAPI, in its own terms: dependencies, and exceptions that refuse."""
# FastAPI reads annotations when a route is declared, so they are not put off, and their names are imported.

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request, Response, WebSocket, WebSocketDisconnect, WebSocketException
from fastapi.responses import PlainTextResponse, StreamingResponse


async def user_of(authorization: Annotated[str | None, Header()] = None) -> str:
    if authorization != "Bearer secret":
        raise WebSocketException(1008, "who are you?")
    return "somebody"


async def broadcast(members: set[WebSocket], message: str) -> None:
    for member in [*members]:
        await member.send_text(message)


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    yield {"members": set()}


def make() -> FastAPI:
    """A new app."""
    app = FastAPI(lifespan=lifespan)

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            message = await ws.receive()
            ws._raise_on_disconnect(message)
            await ws.send({**message, "type": "websocket.send"})

    @app.websocket("/auth")
    async def auth(ws: WebSocket, user: Annotated[str, Depends(user_of)]) -> None:
        await ws.accept(headers=[(b"x-user", user.encode())])
        await ws.send_json({"user": user, "cookie": ws.cookies.get("theme")})
        await ws.close(4000, "that is all")

    @app.websocket("/subprotocol")
    async def subprotocol(ws: WebSocket) -> None:
        await ws.accept("v2" if "v2" in ws.scope["subprotocols"] else None)
        await ws.send_json(ws.scope["subprotocols"])
        await ws.close()

    @app.websocket("/denied")
    async def denied(ws: WebSocket) -> None:
        await ws.send_denial_response(PlainTextResponse("no room", 429, {"Retry-After": "60"}))

    @app.websocket("/room")
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

    @app.websocket("/boom")
    async def boom(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()
        raise ZeroDivisionError

    @app.post("/announce")
    async def announce(request: Request) -> Response:
        await broadcast(request.state.members, (await request.body()).decode())
        return Response(status_code=202)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def numbers() -> AsyncIterator[str]:
            for number in range(1000):
                yield f"{number}\n"

        return StreamingResponse(numbers())

    return app
