"""What may be between a session and its peer: memory, TCP, or TLS over TCP."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel
import httpx2
from anyio.streams.tls import TLSStream
from websockets.utils import accept_key

from httpx2_trio_ws.testing import ScriptedPeer, memory_server

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Handler = Callable[[ScriptedPeer], Awaitable[object]]
    # Gives a URL, and a client that connects it to the handler.
    Carrier = Callable[[Handler], AbstractAsyncContextManager[tuple[httpx2.AsyncClient, str]]]

# The system would hold megabytes for each connection, and then it takes as much to make a sender wait.
BUFFERS = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536), (socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)]
# Handlers that outlive the client are given so many seconds, as in memory_server().
GRACE = 0.1


@contextlib.asynccontextmanager
async def memory(handler: Handler) -> AsyncGenerator[tuple[httpx2.AsyncClient, str]]:
    async with memory_server(handler, compression="deflate") as client:
        yield client, "ws://memory.example/"


class RawStream(anyio.abc.ByteStream):
    """A socket's bytes, and no more of them read than were asked for; anyio's own streams read ahead on asyncio."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.settimeout(0)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while True:
            await anyio.wait_readable(self.socket)
            with contextlib.suppress(BlockingIOError):
                data = self.socket.recv(max_bytes)
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, item: bytes) -> None:
        view = memoryview(item)
        while view:
            await anyio.wait_writable(self.socket)
            with contextlib.suppress(BlockingIOError):
                view = view[self.socket.send(view) :]

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        if self.socket.fileno() >= 0:
            anyio.notify_closing(self.socket)
            self.socket.close()
        await anyio.lowlevel.checkpoint()


class SocketStream:
    """A peer's stream over a socket."""

    def __init__(self, raw: RawStream, stream: anyio.abc.ByteStream) -> None:
        self._raw = raw
        self._stream = stream

    async def read(self, max_bytes: int) -> bytes:
        try:
            return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise ConnectionResetError(str(exc.__cause__ or exc)) from exc

    async def write(self, buffer: bytes) -> None:
        try:
            await self._stream.send(buffer)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise BrokenPipeError(str(exc.__cause__ or exc)) from exc

    async def aclose(self) -> None:
        await self._raw.aclose()

    def reset(self) -> None:
        self._raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def shake_hands(self) -> ScriptedPeer:
        """A server's part, with compression if it is offered."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self._stream.receive(65536)
        first, *lines = head.decode().split("\r\n")[:-2]
        headers = httpx2.Headers([(name, value) for name, _, value in (line.partition(": ") for line in lines)])
        request = httpx2.Request("GET", f"http://{headers['host']}{first.split()[1]}", headers=headers)
        answer = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(headers['sec-websocket-key'])}",
        ]
        compressed = "sec-websocket-extensions" in headers
        if compressed:
            parameters = "server_no_context_takeover; client_no_context_takeover"
            answer.append(f"Sec-WebSocket-Extensions: permessage-deflate; {parameters}")
        await self._stream.send("\r\n".join([*answer, "", ""]).encode())
        return ScriptedPeer(self, request, compressed=compressed)


C = TypeVar("C", RawStream, httpx2.AsyncClient)


@contextlib.asynccontextmanager
async def closing(resource: C) -> AsyncGenerator[C]:
    """Close it in the end; in a shield, so that a cancellation does not replace the exception that is on its way."""
    try:
        yield resource
    finally:
        with anyio.CancelScope(shield=True):
            await resource.aclose()


@contextlib.asynccontextmanager
async def listening(handler: Handler, context: ssl.SSLContext | None) -> AsyncGenerator[str]:
    """A server; gives its URL."""
    running: list[anyio.Event] = []

    async def serve(sock: socket.socket, done: anyio.Event) -> None:
        async with closing(RawStream(sock)) as raw:
            stream: anyio.abc.ByteStream = raw
            if context is not None:
                stream = await TLSStream.wrap(raw, server_side=True, ssl_context=context, standard_compatible=False)
            peer = await SocketStream(raw, stream).shake_hands()
            await handler(peer)
            await peer.close()
        done.set()

    async def accept() -> None:
        while True:
            await anyio.wait_readable(listener)
            running.append(anyio.Event())
            tasks.start_soon(serve, listener.accept()[0], running[-1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        for option in BUFFERS:
            listener.setsockopt(*option)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept)
            yield f"{'wss' if context else 'ws'}://127.0.0.1:{listener.getsockname()[1]}/"
            with anyio.move_on_after(GRACE):
                for done in running:
                    await done.wait()
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def tcp(
    handler: Handler, contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
) -> AsyncGenerator[tuple[httpx2.AsyncClient, str]]:
    """``contexts`` are a server's and a client's, for TLS."""
    server, client = contexts or (None, None)
    async with listening(handler, server) as url:
        transport = httpx2.AsyncHTTPTransport(
            verify=client or False, limits=httpx2.Limits(max_connections=1), socket_options=BUFFERS
        )
        async with closing(httpx2.AsyncClient(transport=transport, timeout=httpx2.Timeout(5))) as http_client:
            yield http_client, url
