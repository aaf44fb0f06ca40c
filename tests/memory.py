"""A carrier in memory: sessions whose peer is played by the test, on trio's mock clock, without sockets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import trio
import trio.testing

from httpx2_trio_ws import WebSocketSession, open_websocket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Frame(NamedTuple):
    """A frame as the client sent it, unmasked."""

    opcode: int
    payload: bytes


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame as a server sends it."""
    first = opcode | (0x80 if fin else 0)
    if len(payload) < 126:
        return bytes((first, len(payload))) + payload
    if len(payload) < 65536:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


def text(message: str) -> bytes:
    return frame(TEXT, message.encode())


def close_frame(code: int = 1000, reason: str = "") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason.encode())


def accept_key(key: str) -> str:
    """RFC 6455 §4.2.2, written out."""
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, *raw: bytes) -> None:
        await self.stream.send_all(b"".join(raw))

    async def aclose(self) -> None:
        await self.stream.aclose()

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError(f"{len(self._buffer)} bytes of a frame, then the end")
            self._buffer += data
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def receive(self) -> Frame:
        """The next frame; EOFError at the end. Half a frame before the end is in the error's text."""
        received, fin = await self.receive_fragment()
        assert fin, "the client fragments only what it sends in parts"
        return received

    async def receive_message(self) -> bytes:
        """The payload of the next message, and no other frame before its end."""
        payload, fin = b"", False
        while not fin:
            received, fin = await self.receive_fragment()
            payload += received.payload
        return payload

    async def receive_fragment(self) -> tuple[Frame, bool]:
        """The next frame, and whether it is its message's last."""
        first, second = await self._exactly(2)
        assert second & 0x80, "the client masks"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self._exactly(8))
        key = await self._exactly(4)
        masked = await self._exactly(length)
        repeated = (key * (length // 4 + 1))[:length]
        payload = int.from_bytes(masked) ^ int.from_bytes(repeated)
        return Frame(first & 0x0F, payload.to_bytes(length)), bool(first & 0x80)

    async def frames(self) -> list[Frame]:
        """All frames until the end of the connection, which must come between two frames."""
        frames = []
        while True:
            try:
                frames.append(await self.receive())
            except EOFError as exc:
                assert str(exc).startswith("0 bytes"), exc
                return frames

    async def close(self, code: int = 1000, reason: str = "") -> list[Frame]:
        """Close as a server does: close frame, wait for the answer, close the connection. What came until then."""
        await self.send(close_frame(code, reason))
        return await self._until_close()

    async def answer_close(self) -> list[Frame]:
        """Wait for the client's close frame, answer it, close the connection. What came until then."""
        return await self._until_close(answer=True)

    async def _until_close(self, *, answer: bool = False) -> list[Frame]:
        frames: list[Frame] = []
        while not frames or frames[-1].opcode != CLOSE:
            frames.append(await self.receive())
        if answer:
            await self.send(frame(CLOSE, frames[-1].payload))
        await self.aclose()
        return frames


class _NetworkStream:
    """What an httpx2 transport hands out as ``network_stream``, over a trio stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 (httpx2 calls it so)
        return bytes(await self._stream.receive_some(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 (httpx2 calls it so)
        await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return None


class _Body(httpx2.AsyncByteStream):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        no_chunks: tuple[bytes, ...] = ()
        for chunk in no_chunks:
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class MemoryTransport(httpx2.AsyncBaseTransport):
    """Answers every request with a 101; the other end of the connection goes to ``peers``."""

    def __init__(self, pair: Callable[[], tuple[Any, Any]], extensions: str | None = None) -> None:
        self._pair = pair
        self._extensions = extensions
        self._new_peers, self.peers = trio.open_memory_channel[Peer](100)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        ours, theirs = self._pair()
        self._new_peers.send_nowait(Peer(theirs))
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_key(request.headers["sec-websocket-key"]),
        }
        if self._extensions is not None:
            headers["Sec-WebSocket-Extensions"] = self._extensions
        stream = {"network_stream": _NetworkStream(ours)}
        return httpx2.Response(101, headers=headers, stream=_Body(ours), extensions=stream)


@contextlib.asynccontextmanager
async def memory_client(
    *, stalling: bool = False, extensions: str | None = None
) -> AsyncGenerator[tuple[httpx2.AsyncClient, trio.MemoryReceiveChannel[Peer]]]:
    """A client whose connections end at the test. With ``stalling``, a write waits until the peer reads it."""
    pair = trio.testing.lockstep_stream_pair if stalling else trio.testing.memory_stream_pair
    transport = MemoryTransport(pair, extensions)
    async with httpx2.AsyncClient(transport=transport) as client:
        yield client, transport.peers


@contextlib.asynccontextmanager
async def memory_session(
    *, stalling: bool = False, extensions: str | None = None, **options: Any
) -> AsyncGenerator[tuple[WebSocketSession, Peer]]:
    """An open session and its peer. The peer must answer the close, or the test waits (on the mock clock)."""
    async with (
        memory_client(stalling=stalling, extensions=extensions) as (client, peers),
        open_websocket(client, "ws://memory/", **options) as ws,
    ):
        yield ws, await peers.receive()
