"""Wrong use of a server in memory, and requests that it does not serve: what is said, and where."""

from __future__ import annotations

import math
from typing import Any

import httpx2
import pytest

from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.testing import ScriptedPeer, memory_server
from tests.virtual_time import VIRTUAL, run_virtual

loops = pytest.mark.parametrize("loop", VIRTUAL)


async def echo(peer: ScriptedPeer) -> None:
    async for message in peer:
        await peer.send(message)


def handshake(**changed: str | None) -> dict[str, str]:
    headers = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    return {name: value for name, value in headers.items() if value is not None}


@loops
@pytest.mark.parametrize(
    ("method", "headers", "fault"),
    [
        ("POST", handshake(), "its method is not GET"),
        ("GET", {}, "no header 'Upgrade: websocket'"),
        ("GET", handshake(connection="keep-alive"), "no header 'Connection: Upgrade'"),
        ("GET", handshake(sec_websocket_key=None), "no header Sec-WebSocket-Key"),
        ("GET", handshake(sec_websocket_version=None), "no header Sec-WebSocket-Version"),
    ],
)
def test_a_request_that_is_no_handshake(loop: str, method: str, headers: dict[str, str], fault: str) -> None:
    async def main() -> None:
        async with memory_server(echo) as client:
            with pytest.raises(RuntimeError, match=f"is no WebSocket handshake: .*{fault}.*respond="):
                await client.request(method, "/page", headers=headers)

    run_virtual(loop, main)


def not_async(peer: ScriptedPeer) -> None:
    pass


async def generator(peer: ScriptedPeer) -> Any:
    yield  # pragma: no cover


@loops
@pytest.mark.parametrize("handler", [not_async, generator])
def test_a_handler_that_is_not_async(loop: str, handler: Any) -> None:
    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with memory_server(handler) as client, open_websocket(client, "/") as ws:
                await ws.receive()
        assert caught.group_contains(TypeError, match="the handler must be an async function.* returned", depth=1)

    run_virtual(loop, main)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"handler": None}, TypeError, "handler must be a function, not None"),
        ({"respond": httpx2.Response(403)}, TypeError, "respond must be a function, not <Response"),
        ({"capacity": 0}, ValueError, "capacity is a number of bytes, 1 or more, not 0"),
        ({"capacity": math.nan}, ValueError, "capacity is a number of bytes"),
        ({"capacity": "1"}, ValueError, "capacity is a number of bytes"),
        ({"compression": "gzip"}, ValueError, 'compression is "deflate" or None'),
    ],
)
async def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        async with memory_server(**{"handler": echo, **arguments}):
            pass  # pragma: no cover


async def test_a_handler_that_was_called_already() -> None:
    async with memory_server(echo) as client, open_websocket(client, "/"):
        with pytest.raises(TypeError, match=r"leave the \(\) away"):
            async with memory_server(echo(None)):  # type: ignore[arg-type]
                pass  # pragma: no cover


@loops
def test_respond_that_returns_something_else(loop: str) -> None:
    async def main() -> None:
        wrong: Any = 403
        async with memory_server(echo, respond=lambda _: wrong) as client:
            with pytest.raises(TypeError, match=r"respond must return an httpx2.Response or None, not 403"):
                await client.get("/")

    run_virtual(loop, main)


@loops
def test_use_after_the_block(loop: str) -> None:
    async def main() -> None:
        async with memory_server(echo) as client:
            pass
        with pytest.raises(RuntimeError, match="the client is closed"):
            async with open_websocket(client, "/"):
                pass  # pragma: no cover

    run_virtual(loop, main)
