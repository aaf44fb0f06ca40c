"""The app on Quart, and on quart-trio, which is Quart on trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from quart import Quart, Response, abort, current_app, request, websocket
from quart_trio import QuartTrio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


async def auth() -> None:
    if websocket.headers.get("Authorization") != "Bearer secret":
        await websocket.close(1008, "who are you?")
        return
    await websocket.accept(headers={"X-User": "somebody"})
    await websocket.send_json({"user": "somebody", "cookie": websocket.cookies.get("theme")})
    await websocket.close(4000, "that is all")


async def subprotocol() -> None:
    await websocket.accept(subprotocol="v2" if "v2" in websocket.requested_subprotocols else None)
    await websocket.send_json(websocket.requested_subprotocols)


async def denied() -> None:
    abort(Response("no room", 429, {"Retry-After": "60"}))


async def room() -> None:
    members: set[Any] = current_app.config["members"]
    this = cast("Any", websocket)._get_current_object()
    await websocket.accept()
    members.add(this)
    await broadcast(f"{len(members)} here")
    try:
        while True:
            await broadcast(await websocket.receive())
    finally:
        members.remove(this)
        await left(members)


async def left(members: set[Any]) -> None:
    # The handler is being cancelled. What is sent now is sent by a task of the app.
    current_app.add_background_task(broadcast, f"{len(members)} here")


async def broadcast(message: Any) -> None:
    for member in [*current_app.config["members"]]:
        await member.send(message)


async def announce() -> tuple[str, int]:
    await broadcast(await request.get_data(as_text=True))
    return "", 202


async def stream() -> Response:
    async def numbers() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"{number}\n"

    return Response(numbers())


async def boom() -> None:
    await websocket.receive()
    raise ZeroDivisionError


async def prepare() -> None:
    current_app.config["members"] = set()


def make(kind: type[Quart] = Quart) -> Quart:
    """A new app."""
    app = kind(__name__)
    app.before_serving(prepare)
    for endpoint in (echo, auth, subprotocol, denied, room, boom):
        app.websocket(f"/{endpoint.__name__}")(endpoint)
    app.post("/announce")(announce)
    app.get("/stream")(stream)
    return app


def make_trio() -> Quart:
    """A new app for trio."""
    return make(QuartTrio)
