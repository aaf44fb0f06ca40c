"""Standing in, by chance: sessions over TCP, TLS and HTTP/2, whose receivers are cancelled all the time and in many ways.

The model (:mod:`.test_model`) says what one session promises, in virtual time. Here are what it leaves out: records of TLS,
several sessions over one connection, time that passes, and bytes that come in pieces at any moment. Each message is received
once and in order, each ping is answered whoever receives or does not, and all ends soon; nobody is left at the socket.

Each carrier has the same few programs each time. To search for new trouble among others::

    CHANCE=1000:2000 pytest -o faulthandler_timeout=3600 tests/test_standing_in_by_chance.py
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import socket
import struct
from typing import TYPE_CHECKING, Any

import h2.exceptions
import httpx2
import pytest
import trio

from httpx2_trio_ws import WebSocketException, WebSocketSession, open_websocket

from .http2.scripted import client_of
from .http2.server import serving
from .memory import CLOSE, PING, PONG, TEXT, Peer, close_frame, frame, text
from .servers import tcp_server, upgrade
from .test_places import tasks_waiting_read

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from .http2.server import ServerStream

    Contexts = tuple[ssl.SSLContext, ssl.SSLContext]

FIRST, LAST = (int(number) for number in os.environ.get("CHANCE", "0:8").split(":"))
#: Seconds for anything that should take none.
SOON = 20
OPTIONS: dict[str, Any] = {
    "keepalive_ping_interval_seconds": 0.004,
    "keepalive_ping_timeout_seconds": SOON,
    "close_timeout_seconds": SOON,
}
# As the server's side meets the end; h2 sends nothing after a GOAWAY that has come.
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError, EOFError, h2.exceptions.ProtocolError)
ENDS = ("the peer closes", "we close", "an error", "cancelled", "the client is closed", "lost")


class Bytes:
    """A stream of HTTP/2 as one of trio's."""

    def __init__(self, stream: ServerStream) -> None:
        self._stream = stream
        self.receive_some = lambda: stream.read(65536)
        self.send_all = stream.write
        self.aclose = stream.aclose


class Speaker:
    """The server's side of one session."""

    def __init__(self, peer: Peer, lose: Callable[[], Awaitable[object]], chance: random.Random, end: str) -> None:
        self._peer = peer
        self._lose = lose
        self._chance = chance
        self._end = end
        self._control: list[bytes] = []
        self._messages: list[bytes] = []
        self._answered = b""
        self._closed = False
        self._heard = trio.Event()

    async def speak(self, messages: int) -> None:
        # Not suppress(), which knows no groups before Python 3.12.
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen)
                await self._say_all(messages)
                nursery.cancel_scope.cancel()
            if self._end != "lost":
                await self._peer.aclose()
        except* GONE:
            pass

    async def _say_all(self, messages: int) -> None:
        chance = self._chance
        for number in range(messages):
            await self._say(number)
            if chance.random() < 0.3:
                await trio.sleep(chance.choice([0, 0.001, 0.003]))
        if self._end == "lost":
            await self._lose()
            return
        if self._end == "the peer closes":
            await self._send(*self._messages, close_frame(1000))
        while not self._closed:
            await self._more()

    async def _say(self, number: int) -> None:
        """The next message, in some way, and perhaps a ping, whose pong must come."""
        chance = self._chance
        message = str(number).encode() + b" " + b"x" * chance.choice([0, 0, 0, 10, 300, 20_000])
        ping = frame(PING, str(number).encode())
        if chance.random() < 0.6:
            await self._send(*self._messages, frame(TEXT, message))
        else:
            middle = chance.randrange(len(message))
            await self._send(frame(TEXT, message[:middle], fin=False))
            if chance.random() < 0.3:
                await self._send(ping)
            await self._send(frame(0, message[middle:]))
        if chance.random() < 0.2:
            await self._send(ping)
            with trio.fail_after(SOON):
                while self._answered != str(number).encode() and not self._closed:
                    await self._more()

    async def _send(self, *frames: bytes) -> None:
        view = memoryview(b"".join([*self._control, *frames]))
        self._control.clear()
        if len(frames) != 1:
            self._messages.clear()
        while view:
            size = self._chance.choice([1, 2, 50, 5000, len(view), len(view)])
            await self._peer.send(bytes(view[:size]))
            view = view[size:]
            if view and self._chance.random() < 0.2:
                await trio.sleep(self._chance.choice([0, 0.0005]))

    async def _more(self) -> None:
        with trio.move_on_after(0.01):
            await self._heard.wait()
        self._heard = trio.Event()
        await self._send(*self._messages, b"")

    async def _listen(self) -> None:
        while not self._closed:
            heard = await self._peer.receive()
            if heard.opcode == PING:
                self._control.append(frame(PONG, heard.payload))
            elif heard.opcode == PONG:
                self._answered = heard.payload
            elif heard.opcode == CLOSE:
                self._control.append(frame(CLOSE, heard.payload))
                self._closed = True
            elif heard.payload == b"echo":
                self._messages.append(text("-1"))
            self._heard.set()


class Player:
    """Our side of one session: what receives, and what disturbs it."""

    def __init__(self, chance: random.Random, end: str) -> None:
        self._chance = chance
        self.end = end
        #: The first word of each message, or ``None`` for one of which not all was taken.
        self.received: list[list[int | None]] = []

    async def play(self, client: httpx2.AsyncClient, url: str, all_open: Callable[[], Awaitable[object]]) -> None:
        chance = self._chance
        options: dict[str, Any] = OPTIONS | {"queue_size": chance.choice([1, 2, 16]), "compression": None}
        async with (
            _expected(),
            trio.open_nursery() as around,
            open_websocket(client, url, **options) as ws,
            trio.open_nursery() as within,
        ):
            for number in range(chance.choice([1, 1, 2, 3])):
                (around if number % 2 else within).start_soon(self._receive, ws)
            within.start_soon(self._disturb, ws)
            await all_open()
            if self.end in ("the peer closes", "lost"):
                await ws.wait_closed()
            else:
                await trio.sleep(chance.uniform(0, 0.1))
                await self._ends(client, ws, around)

    async def _ends(self, client: httpx2.AsyncClient, ws: WebSocketSession, around: trio.Nursery) -> None:
        if self.end == "we close":
            await ws.close()
        elif self.end == "the client is closed":
            await client.aclose()
        elif self.end == "cancelled":
            around.cancel_scope.cancel()
        else:
            raise ZeroDivisionError

    async def _receive(self, ws: WebSocketSession) -> None:
        chance = self._chance
        try:
            while True:
                way = chance.random()
                if way < 0.6:
                    with trio.move_on_after(chance.choice([0, 0.0003, 0.002, math.inf])):
                        self._note(await ws.receive())
                elif way < 0.7:
                    async with ws.receive_stream() as message:
                        slot: list[int | None] = [None]
                        self.received.append(slot)
                        slot[0] = int("".join([str(part) async for part in message]).split()[0])
                elif way < 0.8:
                    await trio.sleep(chance.choice([0, 0.001, 0.01]))
                else:
                    await self._cancel_both(ws)
        except WebSocketException:
            pass

    async def _cancel_both(self, ws: WebSocketSession) -> None:
        """Receive in two tasks, which are cancelled in one turn of the loop or in two."""
        scopes = [trio.CancelScope(), trio.CancelScope()]

        async def receive(scope: trio.CancelScope) -> None:
            with scope, contextlib.suppress(WebSocketException):
                self._note(await ws.receive())

        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(receive, scope)
            await trio.sleep(self._chance.choice([0, 0, 0.001]))
            self._chance.shuffle(scopes)
            for scope in scopes:
                scope.cancel()
                if self._chance.random() < 0.3:
                    await trio.lowlevel.checkpoint()

    def _note(self, message: str | bytes) -> None:
        assert isinstance(message, str)
        self.received.append([int(message.split()[0])])

    async def _disturb(self, ws: WebSocketSession) -> None:
        chance = self._chance
        with contextlib.suppress(WebSocketException):
            for _ in range(40):
                way = chance.random()
                if way < 0.3:
                    await ws.send("echo")
                elif way < 0.4:
                    await ws.send("x" * chance.choice([100, 300_000]))
                elif way < 0.6:
                    with trio.move_on_after(chance.choice([0, 0.001, SOON])):
                        await (await ws.ping())
                elif way < 0.7:
                    with trio.move_on_after(0.001):
                        await ws.wait_closed()
                else:
                    await trio.sleep(chance.choice([0, 0.001, 0.003]))

    def judge(self, messages: int, *, whole: bool) -> None:
        """All of it in order, up to where the end has come. What was broken off in the middle may be any message."""
        numbers = [number for [number] in self.received if number not in (-1, None)]
        broken_off = len([number for [number] in self.received if number is None])
        assert numbers == sorted(set(numbers))
        assert [-1, *numbers][-1] < len(numbers) + broken_off
        if whole:
            assert numbers == list(range(messages))


@contextlib.asynccontextmanager
async def _expected() -> AsyncGenerator[None]:
    """Failures come out of the block as well as out of calls."""
    try:
        yield
    except* (WebSocketException, ZeroDivisionError):
        pass


class Gate:
    """Opens when so many have come."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self.open = trio.Event()

    async def __call__(self) -> None:
        self._missing -= 1
        if not self._missing:
            self.open.set()
        await self.open.wait()


async def lose(stream: Any) -> None:
    """As a router that forgets a connection."""
    beneath = getattr(stream, "transport_stream", stream)
    beneath.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await beneath.aclose()


async def one_session(seed: int, contexts: Contexts | None) -> None:
    chance = random.Random(seed)
    end, messages = chance.choice(ENDS), chance.randrange(60)
    player = Player(random.Random(seed + 1), end)

    async def handler(stream: trio.SocketStream) -> None:
        peer = await upgrade(stream)
        await Speaker(peer, lambda: lose(stream), random.Random(seed + 2), end).speak(messages)

    verify: Any = contexts[1] if contexts else False
    async with (
        tcp_server(handler, contexts[0] if contexts else None) as address,
        httpx2.AsyncClient(verify=verify, trust_env=False) as client,
    ):
        await player.play(client, f"{'wss' if contexts else 'ws'}://{address}", Gate(1))
    player.judge(messages, whole=end == "the peer closes")


async def some_sessions(seed: int, contexts: Contexts) -> None:
    """Over one connection, which may be lost, or closed by us, with all of them."""
    chance = random.Random(seed)
    messages = chance.randrange(40)
    all_end = chance.random() < 0.4
    ends = [chance.choice(ENDS if all_end else ENDS[:4]) for _ in range(chance.choice([1, 2, 4]))]
    players = [Player(random.Random(seed + number), end) for number, end in enumerate(ends)]
    gate = Gate(len(players))

    async def handler(stream: ServerStream) -> None:
        await stream.respond(200)
        number = int(stream.request.url.path[1:])

        async def lose() -> None:
            await gate.open.wait()
            await stream.connection.send(chance.choice([b"no frame", bytes(30), b"x" * 70_000]))

        as_bytes: Any = Bytes(stream)
        await Speaker(Peer(as_bytes), lose, random.Random(seed - number), ends[number]).speak(messages)

    async with (
        serving(handler, contexts[0]) as server,
        client_of(contexts[1]) as client,
        trio.open_nursery() as nursery,
    ):
        for number, player in enumerate(players):
            nursery.start_soon(player.play, client, f"{server.url}/{number}", gate)
    for player in players:
        player.judge(messages, whole=player.end == "the peer closes" and not all_end)


@pytest.mark.parametrize("seed", range(FIRST, LAST))
@pytest.mark.parametrize("carrier", ["TCP", "TLS", "HTTP/2"])
async def test_all_is_received_once_and_in_order(
    carrier: str, seed: int, tls: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio._core._run._r", random.Random(seed))
    before = tasks_waiting_read()
    with trio.fail_after(2 * SOON):
        if carrier == "HTTP/2":
            await some_sessions(seed, tls)
        else:
            await one_session(seed, tls if carrier == "TLS" else None)
    assert tasks_waiting_read() == before
