"""A server in memory that plays one part for each attempt, and what the tests do with it."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import trio

import httpx2_trio_ws.anyio
from httpx2_trio_ws import WebSocketException
from httpx2_trio_ws.reconnect import Backoff, RetryPolicy
from httpx2_trio_ws.testing import memory_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from httpx2_trio_ws import WebSocketSession
    from httpx2_trio_ws.reconnect import Connecting
    from httpx2_trio_ws.testing import ScriptedPeer

    # A status, a response or an error answers the handshake; a function plays the session.
    Part = int | httpx2.Response | Exception | Callable[[ScriptedPeer], Awaitable[object]]

URL = "wss://feed.example/"


class Longest(random.Random):
    """Always the longest wait: the bounds of the backoff, to be seen on the clock."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


LONGEST = Backoff(rng=Longest())


class Always(RetryPolicy):
    def retry_session(self, error: WebSocketException) -> bool:
        return True


class Play:
    """The server; :attr:`times` is when each attempt came, :attr:`peers` its end of each session."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.client: httpx2.AsyncClient
        self.began = 0.0
        self.times: list[float] = []
        self.requests: list[httpx2.Request] = []
        self.peers: list[ScriptedPeer] = []
        self.played = 0
        self._parts = iter(parts)

    async def respond(self, request: httpx2.Request) -> httpx2.Response | None:
        self.times.append(round(anyio.current_time() - self.began, 6))
        self.requests.append(request)
        part = next(self._parts)
        if part is silence:
            await anyio.sleep_forever()
        if isinstance(part, int):
            return httpx2.Response(part)
        if isinstance(part, httpx2.Response):
            return part
        if isinstance(part, Exception):
            raise part
        request.extensions["part"] = part
        return None

    async def handle(self, peer: ScriptedPeer) -> None:
        self.peers.append(peer)
        with contextlib.suppress(WebSocketException):  # the client is gone
            await peer.request.extensions["part"](peer)
        self.played += 1


@contextlib.asynccontextmanager
async def play(*parts: Part, to_the_end: bool = True) -> AsyncGenerator[Play]:
    """A server that plays ``parts``, one for each attempt. More attempts fail the test; fewer ones, too, if asked."""
    server = Play(parts)
    async with memory_server(server.handle, respond=server.respond) as server.client:
        server.began = anyio.current_time()
        yield server
    if to_the_end:
        assert len(server.times) == len(parts)
    assert server.played == len(server.peers), "a session is left"


def reconnect(server: Play, **options: Any) -> Iterable[Connecting[WebSocketSession]]:
    """That of the event loop that runs."""
    face: Any = httpx2_trio_ws if trio.lowlevel.in_trio_run() else httpx2_trio_ws.anyio
    loop: Iterable[Connecting[WebSocketSession]] = face.reconnect(server.client, URL, **{"backoff": LONGEST, **options})
    return loop


async def collect(server: Play, **options: Any) -> list[str | bytes]:
    """All that the sessions say, until the loop ends."""
    messages: list[str | bytes] = []
    for connection in reconnect(server, **options):
        async with connection as ws:
            async for message in ws:
                messages.append(message)
    return messages


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group, and in the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


# -- parts -----------------------------------------------------------------------------------------


async def silence(_: ScriptedPeer) -> None:
    """Never answers the handshake."""


async def hello(peer: ScriptedPeer) -> None:
    """Says hello, and closes with 1000."""
    await peer.send("hello")


async def drop(peer: ScriptedPeer) -> None:
    await peer.drop()


async def reset(peer: ScriptedPeer) -> None:
    await peer.reset()


async def half_a_message(peer: ScriptedPeer) -> None:
    await peer.send_raw(b"\x81\x05hel")
    await drop(peer)


async def reset_in_a_message(peer: ScriptedPeer) -> None:
    await peer.send_raw(b"\x81\x05hel")
    await reset(peer)


async def deaf(peer: ScriptedPeer) -> None:
    """Answers no ping, until the client has gone."""
    with contextlib.suppress(WebSocketException):
        while True:
            await peer.receive_frame()


async def stay(peer: ScriptedPeer) -> None:
    await peer.send("hello")
    await peer.wait_closed()


def close(code: int, *, after: float = 0) -> Callable[[ScriptedPeer], Awaitable[None]]:
    """Says its code, lets time pass, and closes."""

    async def part(peer: ScriptedPeer) -> None:
        await peer.send(str(code))
        await peer.sleep(after)
        await peer.close(code)

    return part
