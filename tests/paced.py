"""A server on loopback that is fast, slow or stalled, and what it has seen of its connections, or streams of HTTP/2."""

from __future__ import annotations

import contextlib
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import trio

from httpx2_trio_ws.http2 import HTTP2Transport

from .http2.server import CODES, serving
from .http2.stream_end import StreamEnd
from .memory import CLOSE, PING, PONG, TEXT, Frame, Peer, frame
from .servers import read_request, upgrade

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from .http2.server import ServerStream

# The kernel holds little between client and server, so that a large message has to wait for its reader.
BUFFER = 4096
# What a slow peer reads, and what it writes, between two turns of the scheduler.
SLOW_READ = 8192
SLOW_WRITE = 40
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 200\r\n\r\n" + b"." * 200


class _Paced(trio.abc.Stream):
    """The server's end of a connection, read and written at the server's pace."""

    def __init__(self, stream: trio.abc.Stream, server: Server) -> None:
        self._stream = stream
        self._server = server
        self._lock = trio.Lock()
        self.received = bytearray()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await self._server.pause()
        data = await self._stream.receive_some(SLOW_READ if self._server.pace == "slow" else max_bytes)
        self.received += data
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._lock:
            size = SLOW_WRITE if self._server.pace == "slow" else len(data)
            for start in range(0, len(data), size):
                await self._server.pause()
                await self._stream.send_all(bytes(data)[start : start + size])

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class RemotePeer:
    """One connection as the server sees it: what came, and how it ended."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        #: How the connection ended: "closed" by both close frames, "end" between two frames, "half a frame",
        #: "reset", or "no handshake".
        self.end = "no handshake"
        #: As much as came of the payload of half a frame.
        self.cut_off = b""
        self.upgraded = trio.Event()
        self._peer: Peer | None = None

    @property
    def texts(self) -> list[str]:
        return [str(f.payload, "utf-8") for f in self.frames if f.opcode == TEXT]

    async def say(self, *messages: str) -> None:
        """Send text messages, in one go; nothing if the connection is gone."""
        await self.upgraded.wait()
        assert self._peer is not None
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._peer.send(*(frame(TEXT, message.encode()) for message in messages))

    async def run(self, stream: _Paced, accept: Callable[[_Paced], Awaitable[Peer]] = upgrade) -> None:
        """Answer the handshake, pings and the close frame; read to the end."""
        start = 0
        try:
            self._peer = await accept(stream)
            self.upgraded.set()
            self.end = "reset"
            while self.end == "reset":
                start = len(stream.received) - len(self._peer._buffer)
                received = await self._peer.receive()
                self.frames.append(received)
                if received.opcode == PING:
                    await self._peer.send(frame(PONG, received.payload))
                elif received.opcode == CLOSE:
                    await self._peer.send(frame(CLOSE, received.payload))
                    self.end = "closed"
        except EOFError:
            if self._peer is not None:
                self.cut_off = _payload(stream.received[start:])
                self.end = "half a frame" if stream.received[start:] else "end"
        except trio.BrokenResourceError:
            pass  # `end` tells

    async def refuse(self, stream: trio.abc.Stream) -> None:
        """Refuse the handshake; read to the end."""
        with contextlib.suppress(EOFError, trio.BrokenResourceError):
            await read_request(stream)
            await stream.send_all(REFUSAL)
            while await stream.receive_some():
                pass


def _payload(half: bytes | bytearray) -> bytes:
    """The payload of half a frame, unmasked, as far as it came."""
    key_at = 2 + {126: 2, 127: 8}.get(half[1] & 0x7F, 0) if len(half) > 1 else 2
    key, masked = half[key_at : key_at + 4], half[key_at + 4 :]
    repeated = (key * (len(masked) // 4 + 1))[: len(masked)]
    return (int.from_bytes(masked) ^ int.from_bytes(repeated)).to_bytes(len(masked))


class Server:
    """A server whose pace can be set at any time.

    Attributes:
        pace: "fast", "slow" (a bite at a time) or "stalled" (neither reads nor writes until :meth:`release`).
        refuses: it does not make the handshake.
        peers: its connections.
    """

    def __init__(self) -> None:
        self.url = ""
        self.pace = "fast"
        self.refuses = False
        self.peers: list[RemotePeer] = []
        self._released = trio.Event()
        self._open = 0
        self._ended = trio.Event()

    def release(self) -> None:
        """Go on at full speed."""
        self.pace = "fast"
        self._released.set()

    async def pause(self) -> None:
        if self.pace == "stalled":
            await self._released.wait()
        elif self.pace == "slow":
            await trio.lowlevel.checkpoint()

    async def wait_idle(self) -> None:
        """Wait until all its connections have ended."""
        while self._open:
            await self._ended.wait()

    async def handle(self, stream: trio.abc.Stream) -> None:
        async with self._peer(stream) as peer:
            await (peer.refuse if self.refuses else peer.run)(_Paced(stream, self))

    async def handle_http2(self, stream: ServerStream) -> None:
        """One stream of HTTP/2."""

        async def accept(paced: _Paced) -> Peer:
            await self.pause()
            try:
                await stream.respond(200)
            except BrokenPipeError as exc:
                raise trio.BrokenResourceError from exc
            return Peer(paced)

        end = StreamEnd()
        end.attach(stream)
        async with self._peer(end) as peer:
            if not self.refuses:
                await peer.run(_Paced(end, self), accept)
                return
            await self.pause()
            with contextlib.suppress(OSError):
                await stream.respond(403, body=b"." * 200)
                await stream.read(1)

    @contextlib.asynccontextmanager
    async def _peer(self, stream: trio.abc.Stream) -> AsyncGenerator[RemotePeer]:
        peer = RemotePeer()
        self.peers.append(peer)
        self._open += 1
        try:
            yield peer
        finally:
            with trio.CancelScope(shield=True), contextlib.suppress(trio.BrokenResourceError):
                await stream.aclose()
            self._open -= 1
            self._ended.set()
            self._ended = trio.Event()


@contextlib.asynccontextmanager
async def paced_server(ssl_context: ssl.SSLContext | None, *, http2: bool = False) -> AsyncGenerator[Server]:
    """A :class:`Server`, over TLS if there is a context; over HTTP/2, each of its connections is a stream."""
    server = Server()
    if http2:
        settings = {CODES.ENABLE_CONNECT_PROTOCOL: 1, CODES.INITIAL_WINDOW_SIZE: BUFFER}
        async with serving(server.handle_http2, ssl_context, settings) as streams:
            server.url = f"{streams.url}/"
            yield server
        return
    handler: Any = server.handle
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        server.url = f"{'wss' if ssl_context else 'ws'}://127.0.0.1:{listener.socket.getsockname()[1]}/"
        listeners: list[Any] = [listener]
        if ssl_context is not None:
            listeners = [trio.SSLListener(listener, ssl_context, https_compatible=True)]
        await nursery.start(partial(trio.serve_listeners, handler, listeners))
        yield server
        nursery.cancel_scope.cancel()


def paced_client(ssl_context: ssl.SSLContext | None, *, http2: bool = False) -> httpx2.AsyncClient:
    """A client whose sockets hold little, or one for HTTP/2."""
    if http2:
        return httpx2.AsyncClient(transport=HTTP2Transport(verify=ssl_context or False, http1=False), trust_env=False)
    options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)]
    transport = httpx2.AsyncHTTPTransport(
        verify=False if ssl_context is None else ssl_context, trust_env=False, socket_options=options
    )
    return httpx2.AsyncClient(transport=transport, trust_env=False)
