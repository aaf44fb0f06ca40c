"""Real servers on loopback, in the test's own nursery."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from websockets.trio.server import ServerConnection, serve

from .memory import Peer, accept_key

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable


async def echo(ws: ServerConnection) -> None:
    """Send back whatever comes."""
    async for message in ws:
        await ws.send(message)


@contextlib.asynccontextmanager
async def websocket_server(
    handler: Callable[[ServerConnection], Awaitable[None]] = echo, **options: Any
) -> AsyncGenerator[str]:
    """A ``websockets.trio`` server; gives its URL without a path."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, 0, host="127.0.0.1", **options))
        port = server.listeners[0].socket.getsockname()[1]
        yield f"{'wss' if options.get('ssl') else 'ws'}://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def tcp_server(
    handler: Callable[[trio.SocketStream], Awaitable[None]], ssl_context: ssl.SSLContext | None = None
) -> AsyncGenerator[str]:
    """A server that plays what ``handler`` does with each connection; gives its ``host:port``."""
    async with trio.open_nursery() as nursery:
        if ssl_context is None:
            listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
        else:
            over_tls: Any = handler
            tls = await nursery.start(
                partial(trio.serve_ssl_over_tcp, over_tls, 0, ssl_context, host="127.0.0.1", https_compatible=True)
            )
            port = tls[0].transport_listener.socket.getsockname()[1]
        yield f"127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.abc.Stream) -> tuple[str, dict[str, str]]:
    """A request's first line and its headers, names in lower case."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            raise EOFError("no request")
        data += bytes(more)
    first, *lines = data.decode().split("\r\n\r\n")[0].split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return first, {name.lower(): value for name, value in headers.items()}


async def upgrade(stream: trio.abc.Stream, extra: str = "", glued: bytes = b"") -> Peer:
    """Play a server's part of the handshake; ``extra`` are header lines, ``glued`` comes in the same packet."""
    _, headers = await read_request(stream)
    response = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(headers['sec-websocket-key'])}\r\n{extra}\r\n"
    )
    await stream.send_all(response.encode() + glued)
    return Peer(stream)


@contextlib.asynccontextmanager
async def scripted_server(script: Callable[[Peer], Awaitable[None]]) -> AsyncGenerator[str]:
    """A server that makes a proper handshake and then plays ``script``; gives its URL."""

    async def handler(stream: trio.SocketStream) -> None:
        await script(await upgrade(stream))

    async with tcp_server(handler) as address:
        yield f"ws://{address}"
