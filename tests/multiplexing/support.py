"""A server in memory that speaks a small protocol of requests and subscriptions, and what the tests do with it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import trio

import httpx2_trio_ws
import httpx2_trio_ws.anyio
from httpx2_trio_ws import WebSocketException
from httpx2_trio_ws.testing import memory_server
from tests.reconnect.support import LONGEST, URL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from httpx2_trio_ws.testing import ScriptedPeer

    Handler = Callable[["Wire"], Awaitable[object]]


def face() -> Any:
    """That of the event loop that runs."""
    return httpx2_trio_ws if trio.lowlevel.in_trio_run() else httpx2_trio_ws.anyio


class Wire:
    """The server's end of one session: JSON, with a record of all that came."""

    def __init__(self, peer: ScriptedPeer, number: int) -> None:
        self.peer = peer
        self.number = number
        self.heard: list[Any] = []

    async def get(self) -> Any:
        self.heard.append(json.loads(await self.peer.receive()))
        return self.heard[-1]

    async def say(self, *messages: Any) -> None:
        for message in messages:
            await self.peer.send(json.dumps(message))

    async def listen(self) -> None:
        """Until the client has gone."""
        while True:
            await self.get()


class Server:
    """Plays one handler for each session; the last one goes on being played."""

    def __init__(self, handlers: tuple[Handler | int, ...]) -> None:
        self.handlers = list(handlers)
        self.client: httpx2.AsyncClient
        self.wires: list[Wire] = []
        self.closed_with: list[int | None] = []
        self.times: list[float] = []

    def _next(self) -> Handler | int:
        return self.handlers.pop(0) if len(self.handlers) > 1 else self.handlers[0]

    async def respond(self, request: httpx2.Request) -> httpx2.Response | None:
        self.times.append(anyio.current_time())
        handler = self._next()
        if isinstance(handler, int):
            return httpx2.Response(handler)
        request.extensions["handler"] = handler
        return None

    async def handle(self, peer: ScriptedPeer) -> None:
        wire = Wire(peer, len(self.wires))
        self.wires.append(wire)
        with contextlib.suppress(WebSocketException):
            await peer.request.extensions["handler"](wire)
        self.closed_with.append(peer.close_code)

    def source(self, **options: Any) -> Any:
        """One that reconnects."""
        return face().reconnect(self.client, URL, **{"backoff": LONGEST, **options})

    def session(self, **options: Any) -> Any:
        return face().open_websocket(self.client, URL, **options)


@contextlib.asynccontextmanager
async def serve(*handlers: Handler | int) -> AsyncGenerator[Server]:
    server = Server(handlers)
    async with memory_server(server.handle, respond=server.respond) as server.client:
        yield server


def by_id(message: dict[str, Any]) -> Any:
    return message.get("id")


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group, and in the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


# -- handlers --------------------------------------------------------------------------------------


async def echo(wire: Wire) -> None:
    """Answers each request with what it was asked, on which session."""
    while True:
        message = await wire.get()
        if "id" in message and not message.get("silent"):
            await wire.say({"id": message["id"], "ask": message.get("ask"), "session": wire.number})


async def drop(wire: Wire) -> None:
    await wire.peer.drop()


async def listen(wire: Wire) -> None:
    await wire.listen()


def closes(code: int, *, after: int = 1) -> Handler:
    """Hears so many messages, and closes."""

    async def handler(wire: Wire) -> None:
        for _ in range(after):
            await wire.get()
        await wire.peer.close(code)

    return handler


def hears_and_drops(count: int) -> Handler:
    async def handler(wire: Wire) -> None:
        for _ in range(count):
            await wire.get()
        await wire.peer.drop()

    return handler


def says(*messages: Any, code: int | None = None) -> Handler:
    """Says so, and closes with a code, or stays."""

    async def handler(wire: Wire) -> None:
        await wire.say(*messages)
        if code is not None:
            await wire.peer.close(code)
        await wire.listen()

    return handler
