"""A server that does what a test says, frame by frame. On trio, over TLS on loopback."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import trio
from hpack import Decoder
from websockets.frames import Frame, Opcode

from httpx2_trio_ws.http2 import HTTP2Transport

from .wire import DATA, GOAWAY, HEADERS, PING, RST, SETTINGS, answer, data, frame, settings

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable

    Script = Callable[["Peer"], Awaitable[object]]
    Contexts = tuple[ssl.SSLContext, ssl.SSLContext]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WITH_WEBSOCKETS = settings((8, 1), (3, 100))


def text(message: str) -> bytes:
    """A WebSocket frame of a server's."""
    return Frame(Opcode.TEXT, message.encode()).serialize(mask=False)


def close_frame(code: int) -> bytes:
    return Frame(Opcode.CLOSE, code.to_bytes(2, "big")).serialize(mask=False)


class Peer:
    """The server's side of one connection."""

    def __init__(self, stream: trio.abc.Stream, number: int) -> None:
        self.stream = stream
        #: Which connection of the server this is, from 0.
        self.number = number
        self.decoder = Decoder()
        self._buffer = b""

    async def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            more = await self.stream.receive_some(65536)
            if not more:
                raise EOFError
            self._buffer += more
        got, self._buffer = self._buffer[:count], self._buffer[count:]
        return got

    async def send(self, *parts: bytes) -> None:
        await self.stream.send_all(b"".join(parts))

    async def greet(self, first: bytes = WITH_WEBSOCKETS) -> None:
        assert await self.exactly(len(PREFACE)) == PREFACE
        await self.send(first)

    async def frame(self) -> tuple[int, int, int, bytes]:
        """The next frame but for SETTINGS, PING and WINDOW_UPDATE; those are answered."""
        while True:
            head = await self.exactly(9)
            payload = await self.exactly(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
            if kind in (DATA, HEADERS, RST, GOAWAY):
                return kind, flags, stream, payload
            if kind == SETTINGS and not flags:
                await self.send(frame(SETTINGS, 1))
            if kind == PING and not flags:
                await self.send(frame(PING, 1, 0, payload))

    async def request(self) -> tuple[int, dict[bytes, bytes]]:
        """The next request's stream and headers."""
        while True:
            kind, flags, stream, payload = await self.frame()
            if kind == HEADERS:
                assert flags == 4, "END_HEADERS, and no END_STREAM"
                return stream, {bytes(name): bytes(value) for name, value in self.decoder.decode(payload, raw=True)}

    async def accept(self) -> int:
        """Answer the next request with 200; the stream."""
        stream, _ = await self.request()
        await self.send(answer(stream))
        return stream

    async def until(self, wanted: int, stream: int | None = None) -> bytes:
        """The payload of the next frame of a kind."""
        while True:
            kind, _, of, payload = await self.frame()
            if kind == wanted and stream in (None, of):
                return payload

    async def wait_end(self) -> None:
        """Until the client has closed the connection."""
        with contextlib.suppress(EOFError, trio.BrokenResourceError):
            while True:
                await self.frame()


async def echo(peer: Peer) -> None:
    """Accept everything, and send each message back."""
    await peer.greet()
    with contextlib.suppress(EOFError, trio.BrokenResourceError):
        while True:
            kind, _, stream, payload = await peer.frame()
            if kind == HEADERS:
                peer.decoder.decode(payload)
                await peer.send(answer(stream))
            elif kind == DATA:
                await peer.send(data(stream, unmasked(payload)))


def unmasked(payload: bytes) -> bytes:
    """The frames of a client, short ones, as a server's."""
    sent, pos = b"", 0
    while pos < len(payload):
        length = payload[pos + 1] & 127
        assert length < 126
        mask, masked = payload[pos + 2 : pos + 6], payload[pos + 6 : pos + 6 + length]
        sent += bytes([payload[pos], length]) + bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))
        pos += 6 + length
    return sent


class Server:
    """What :func:`scripted` gives."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connections = 0
        self.peers: list[Peer] = []
        self.done = trio.Event()


@contextlib.asynccontextmanager
async def scripted(
    script: Script, context: ssl.SSLContext | None, *, alpn: tuple[str, ...] = ("h2",)
) -> AsyncGenerator[Server]:
    """A server that plays the script on each connection, and then closes it."""

    async def handler(stream: trio.SocketStream) -> None:
        number = server.connections
        server.connections += 1
        secured: trio.abc.Stream = stream
        if context is not None:
            secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        peer = Peer(secured, number)
        server.peers.append(peer)
        try:
            await script(peer)
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            with trio.CancelScope(shield=True), contextlib.suppress(trio.BrokenResourceError):
                await trio.aclose_forcefully(stream)

    if context is not None:
        context.set_alpn_protocols(list(alpn))
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        server = Server(f"{'ws' if context is None else 'wss'}://127.0.0.1:{port}/")
        yield server
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def client_of(context: ssl.SSLContext, **options: Any) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client with the transport; ``client._transport`` is it."""
    transport = HTTP2Transport(verify=context, **options)
    async with httpx2.AsyncClient(transport=transport, timeout=httpx2.Timeout(10)) as client:
        yield client
