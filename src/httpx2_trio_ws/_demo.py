"""What ``python -m httpx2_trio_ws`` shows: a session, a fan-in and a failure. Also a first example to read."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import httpx2
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from . import WebSocketNetworkError, open_websocket

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from websockets.sync.server import ServerConnection


say = partial(print, flush=True)  # at once, also into a pipe


async def converse(client: httpx2.AsyncClient, url: str) -> None:
    """One session: send messages, receive their echoes, measure a round trip."""
    say(f"1. A session with {url}")
    async with open_websocket(client, url) as ws:
        for message in ("hello", b"\x00\x01\x02"):  # str is sent as text, bytes as binary
            await ws.send(message)
            while await ws.receive() != message:
                pass  # some servers greet before they echo
            say(f"   sent {message!r}, received the same")
        seconds = await (await ws.ping())
        say(f"   a ping took {seconds * 1000:.1f} ms")


async def fan_in(client: httpx2.AsyncClient, feeds: dict[str, str], requests: Sequence[str] = ()) -> None:
    """Several sessions in one nursery, into one memory channel.

    ``requests`` are sent to each feed first: an echo server says nothing by itself.
    """
    say(f"2. {len(feeds)} sessions in one nursery, into one memory channel")
    async with trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[tuple[str, str | bytes]](0)
        async with receive, send:
            for name, url in feeds.items():
                nursery.start_soon(_feed, client, name, url, requests, send)
            for _ in range(3 * len(feeds)):
                name, message = await receive.receive()
                say(f"   {name}: {message!r}")
            nursery.cancel_scope.cancel()  # enough seen: every session ends


async def _feed(
    client: httpx2.AsyncClient,
    name: str,
    url: str,
    requests: Sequence[str],
    channel: trio.MemorySendChannel[tuple[str, str | bytes]],
) -> None:
    async with open_websocket(client, url) as ws:
        for request in requests:
            await ws.send(request)
        while True:
            await channel.send((name, await ws.receive()))


async def lose(client: httpx2.AsyncClient, url: str) -> None:
    """A server that drops the connection: what it sent arrives, then the failure."""
    say("3. A connection that breaks")
    try:
        async with open_websocket(client, url) as ws:
            async for message in ws:
                say(f"   received {message!r}")
    except* WebSocketNetworkError as group:
        say(f"   caught with except*: {group.exceptions[0]!r}")


async def fail(client: httpx2.AsyncClient, url: str) -> None:
    """An error of the program's own: the session is closed with 1011, and the error leaves it in a group."""
    say("3. An error inside a session")
    try:
        async with open_websocket(client, url):
            say(f"   the answer is {int('forty-two')}")
    except* ValueError as group:
        say(f"   caught with except*: {group.exceptions[0]!r}")


async def show_all(base: str, seconds: float) -> None:
    """The demonstration against :func:`own_server`, whose URL is ``base``."""
    # Without the environment's proxies: they could not reach this computer's loopback.
    async with httpx2.AsyncClient(trust_env=False) as client:
        with trio.fail_after(seconds):
            await converse(client, f"{base}/echo")
            await fan_in(client, {f"feed {n}": f"{base}/feed/{n}" for n in (1, 2, 3)})
            await lose(client, f"{base}/crash")


async def show_with(url: str, seconds: float) -> None:
    """The demonstration against an echo server."""
    async with httpx2.AsyncClient() as client:
        with trio.fail_after(seconds):
            await converse(client, url)
            await fan_in(client, {f"session {n}": url for n in (1, 2, 3)}, requests=("one", "two", "three"))
            await fail(client, url)


@contextlib.contextmanager
def own_server() -> Generator[str]:
    """A real WebSocket server on loopback, in a thread; gives its URL."""
    server = serve(_handle, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        thread.join()


def _handle(connection: ServerConnection) -> None:
    """``/echo`` echoes, ``/feed/N`` sends numbered messages, anything else sends two and drops the connection."""
    assert connection.request is not None
    path = connection.request.path
    with contextlib.suppress(ConnectionClosed):
        if path == "/echo":
            for message in connection:
                connection.send(message)
        elif path.startswith("/feed/"):
            number = 0
            while True:
                number += 1
                connection.send(f"message {number} of feed {path.removeprefix('/feed/')}")
                time.sleep(0.01)
        else:
            connection.send("first")
            connection.send("second")
            connection.socket.shutdown(socket.SHUT_RDWR)  # no close frame
