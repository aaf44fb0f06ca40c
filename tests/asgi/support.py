"""What the tests of the ASGI transport share: bare apps, clients of them, and both event loops on virtual time."""

from __future__ import annotations

import contextlib
import functools
import inspect
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from websockets.frames import Frame, Opcode

from httpx2_trio_ws.testing import ASGIWebSocketTransport
from tests.virtual_time import VIRTUAL, run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    Scope = dict[str, Any]
    Event = dict[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONNECT = {"type": "websocket.connect"}
ACCEPT = {"type": "websocket.accept"}
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def on_virtual_time(loop: str, function: Callable[..., Awaitable[None]], *args: Any) -> None:
    """Run an async function, for a day at most: keepalive goes on for ever, where nothing else does."""

    async def main() -> None:
        with anyio.fail_after(86400):
            await function(*args)

    run_virtual(loop, main)


def both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on trio and on asyncio, with clocks that jump. A deadlock is an error there.

    The test may have arguments, for pytest to fill in.
    """

    def run(loop: str, **arguments: Any) -> None:
        on_virtual_time(loop, functools.partial(test, **arguments))

    run.__name__, run.__doc__ = getattr(test, "__name__", "test"), test.__doc__
    loop = inspect.Parameter("loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [loop, *inspect.signature(test).parameters.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    parametrized: Callable[..., None] = pytest.mark.parametrize("loop", VIRTUAL)(run)
    return parametrized


def without_lifespan(app: App) -> App:
    """``app`` as an app that knows no lifespan: it raises, as the specification wants it to."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await app(scope, receive, send)

    return call


@contextlib.asynccontextmanager
async def asgi_client(app: App, **options: Any) -> AsyncGenerator[httpx2.AsyncClient]:
    transport = ASGIWebSocketTransport(without_lifespan(app), **options)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def idle(client: httpx2.AsyncClient) -> None:
    """Wait until the app has returned from all calls."""
    transport = client._transport
    assert isinstance(transport, ASGIWebSocketTransport)
    await transport.wait_idle()


async def accept(receive: Receive, send: Send, **extra: Any) -> None:
    assert await receive() == CONNECT
    await send({**ACCEPT, **extra})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send back what comes, until the client goes."""
    await accept(receive, send)
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def received(text: str | None = None, data: bytes | None = None) -> Event:
    return {"type": "websocket.receive", **({"bytes": data} if text is None else {"text": text})}


def disconnected(code: int, reason: str = "") -> Event:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


def frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    return Frame(opcode, data, fin).serialize(mask=True)


@contextlib.asynccontextmanager
async def raw_connection(client: httpx2.AsyncClient, path: str = "/") -> AsyncGenerator[Any]:
    """The connection of a WebSocket, below the frames."""
    async with client.stream("GET", path, headers=HANDSHAKE) as response:
        assert response.status_code == 101
        yield response.extensions["network_stream"]
