"""What statistics and instruments say was sent, beside what the peer got; above all after a cancellation. On every face."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
import trio

from httpx2_trio_ws import FrameInfo, Instrument
from httpx2_trio_ws import anyio as on_anyio
from httpx2_trio_ws import sync as in_threads

from .handshake_support import client_context, server_context
from .memory import CLOSE, PING, TEXT, memory_session
from .on_asyncio.support import REAL_LOOPS, run_real
from .sync.support import Peer, Task, listening, upgrade

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from .memory import Frame

FACES = ["trio", *REAL_LOOPS, "threads"]
each_face = pytest.mark.parametrize("face", FACES)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


class Told(Instrument):
    """Keeps the frames that were sent, by opcode and payload."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []

    def frame_sent(self, session: Any, frame: FrameInfo) -> None:
        self.frames.append((int(frame.opcode), frame.payload))


class Kept:
    """All that the peer got, once it reads."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.raw = b""

    def read(self) -> Kept:
        with contextlib.suppress(ConnectionError):
            while data := self.peer.socket.recv(65536):
                self.raw += data
        return self

    def frames(self) -> Iterator[Frame]:
        """The whole frames."""
        self.peer._buffer = self.raw
        with contextlib.suppress(EOFError, OSError):  # no more, of a socket that is closed by now
            while True:
                yield self.peer.receive()


class Broken(BaseException):
    """What leaves a block like Ctrl-C."""


def leave_early(face: str, act: Callable[[Any], Awaitable[None]], extra: str = "", *, tls: bool = False) -> Any:
    """Open a session, ``act``, and leave it as by a cancellation. Gives statistics, frames told, and what the peer got."""
    told = Told()
    session: Any = None
    options: dict[str, Any] = {"instruments": [told], "keepalive_ping_interval_seconds": None}
    buffers = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)]

    async def on_loop() -> None:
        nonlocal session
        transport = httpx2.AsyncHTTPTransport(verify=client_context(), socket_options=buffers)
        with anyio.CancelScope() as scope:
            async with (
                httpx2.AsyncClient(transport=transport) as client,
                on_anyio.open_websocket(client, url, **options) as session,
            ):
                await act(session)
                scope.cancel()
                await anyio.lowlevel.checkpoint()

    def in_thread() -> None:
        nonlocal session
        transport = httpx2.HTTPTransport(verify=client_context(), socket_options=buffers)
        with (
            contextlib.suppress(Broken),
            httpx2.Client(transport=transport) as client,
            in_threads.open_websocket(client, url, **options) as session,
        ):
            trio.run(act, session)
            raise Broken

    with listening(server_context() if tls else None) as (address, accept):
        url = f"{'wss' if tls else 'ws'}://{address}"
        accepting = Task(lambda: Kept(upgrade(accept(), extra)))
        if face == "threads":
            Task(in_thread).result()
        elif face == "trio":
            trio.run(on_loop)
        else:
            run_real(face, on_loop)
        kept = accepting.result().read()
    return session.statistics(), told.frames, kept


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """A call of either kind of session."""
    result = function(*args)
    return await result if hasattr(result, "__await__") else result


@pytest.mark.parametrize("extra", ["", DEFLATE])
@pytest.mark.parametrize("tls", [False, True])
@each_face
def test_a_burst_and_a_cancellation(face: str, tls: bool, extra: str) -> None:
    payloads = [b"message %d " % number * 20 for number in range(5)]

    async def act(ws: Any) -> None:
        for payload in payloads:
            await call(ws.send_text, payload)
        await call(ws.ping, b"p")

    statistics, told, kept = leave_early(face, act, extra, tls=tls)
    assert statistics.messages_sent == len(payloads)
    got = list(kept.frames())
    assert [frame.opcode for frame in got] == [opcode for opcode, _ in told]
    assert sorted(told[:-1]) == sorted([*((TEXT, payload) for payload in payloads), (PING, b"p")])
    assert told[-1] == (CLOSE, b"\x03\xe9")
    assert statistics.bytes_sent == len(kept.raw)
    if not extra:
        assert [frame.payload for frame in got] == [payload for _, payload in told]


@each_face
def test_a_peer_that_reads_nothing_and_a_cancellation(face: str) -> None:
    """Frames that were made, and that nobody could write, were not sent."""

    async def act(ws: Any) -> None:
        blocking = isinstance(ws, in_threads.SyncWebSocketSession)
        async with anyio.create_task_group() as senders:
            while ws.statistics().unsent_bytes < 30_000:
                if blocking:
                    Task(ws.send, bytes(1000))
                else:
                    senders.start_soon(ws.send, bytes(1000))
                await anyio.sleep(0.001)
            senders.cancel_scope.cancel()

    statistics, told, kept = leave_early(face, act)
    assert told == [(frame.opcode, frame.payload) for frame in kept.frames()]
    assert len(told) < statistics.messages_sent
    assert statistics.bytes_sent == len(kept.raw)


@pytest.mark.parametrize("extra", [None, "permessage-deflate"])
async def test_a_peer_that_takes_nothing_at_all_and_a_cancellation(autojump_clock: object, extra: str | None) -> None:
    told = Told()
    ws: Any = None
    with trio.CancelScope() as scope:
        async with memory_session(stalling=True, extensions=extra, instruments=[told]) as (ws, _):
            for _ in range(5):
                with trio.move_on_after(1):
                    await ws.send("accepted")
            scope.cancel()
    assert ws.statistics().messages_sent == 5
    assert ws.statistics().bytes_sent == 0
    assert told.frames == []
