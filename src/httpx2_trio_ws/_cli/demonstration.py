"""What ``python -m httpx2_trio_ws`` shows: a session, a fan-in and a failure. Also a first example to read.

And the server that it shows them with, which ``--serve`` runs alone, for the examples.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import httpx2
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import basic_auth, serve
from websockets.typing import Subprotocol

from httpx2_trio_ws import WebSocketNetworkError, open_websocket

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from websockets.http11 import Request, Response
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


async def fan_in(client: httpx2.AsyncClient, feeds: dict[str, str]) -> None:
    """Several sessions in one nursery, into one memory channel."""
    say(f"2. {len(feeds)} sessions in one nursery, into one memory channel")
    async with trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[tuple[str, str | bytes]](0)
        async with receive, send:
            for name, url in feeds.items():
                nursery.start_soon(_follow, client, name, url, send)
            for _ in range(3 * len(feeds)):
                name, message = await receive.receive()
                say(f"   {name}: {message!r}")
            nursery.cancel_scope.cancel()  # enough seen: every session ends


async def _follow(
    client: httpx2.AsyncClient,
    name: str,
    url: str,
    channel: trio.MemorySendChannel[tuple[str, str | bytes]],
) -> None:
    async with open_websocket(client, url) as ws:
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


async def show_all(base: str, seconds: float) -> None:
    """The demonstration against :func:`own_server`, whose URL is ``base``."""
    # Without the environment's proxies: they could not reach this computer's loopback.
    async with httpx2.AsyncClient(trust_env=False) as client:
        with trio.fail_after(seconds):
            await converse(client, f"{base}/echo")
            await fan_in(client, {f"feed {n}": f"{base}/feed/{n}" for n in (1, 2, 3)})
            await lose(client, f"{base}/crash")


# -- the server ------------------------------------------------------------------------------------


@contextlib.contextmanager
def own_server(port: int = 0) -> Generator[str]:
    """A real WebSocket server on loopback, in a thread; gives its URL. Port 0 is any that is free."""
    # websockets would log tracebacks when a client drops its connection, which the examples do on purpose.
    silent = logging.getLogger(f"{__name__}.server")
    silent.setLevel(logging.CRITICAL)
    server = serve(
        _handle,
        "127.0.0.1",
        port,
        logger=silent,
        max_size=None,
        process_request=_process_request,
        process_response=_process_response,
        select_subprotocol=lambda _, offered: Subprotocol("chat.v1") if "chat.v1" in offered else None,
    )
    # A daemon, and so are the connections' threads: with websockets 15, shutdown() leaves these running.
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        thread.join()


def serve_alone(port: int) -> None:
    """Run the server, and nothing else, until Ctrl-C."""
    with own_server(port) as base, contextlib.suppress(KeyboardInterrupt):
        for path, what in PATHS.items():
            say(f"{base}{path:<10}{what}")
        say("Ctrl-C ends it.")
        while True:
            time.sleep(3600)


PATHS = {
    "/echo": "sends back what it receives",
    "/feed": "waits for a message, sends three, and closes",
    "/feed/1": "sends numbered messages, without end; /feed/2 and so on likewise",
    "/count/10": "sends the numbers up to 10, or another, and closes",
    "/prices": "waits for a message, and sends a price each tenth of a second, without end",
    "/crash": "sends two numbers, and drops the connection",
    "/jobs": "sends words, waits for as many answers, and closes",
    "/tokens": "answers a message with one that comes word by word",
    "/square": 'answers {"id": 1, "square": 7} with {"id": 1, "result": 49}',
    "/login": "asks for the user alice with the password secret, and speaks chat.v1",
}


def _echo(connection: ServerConnection, _: str) -> None:
    for message in connection:
        connection.send(message)


def _feed(connection: ServerConnection, name: str) -> None:
    if not name:
        connection.recv()
        for text in ("one", "two", "three"):
            connection.send(text)
        return
    number = 0
    while True:
        number += 1
        connection.send(f"message {number} of feed {name}")
        time.sleep(0.01)


def _count(connection: ServerConnection, last: str) -> None:
    for number in range(1, int(last) + 1):
        connection.send(str(number))


def _prices(connection: ServerConnection, _: str) -> None:
    connection.recv()  # a subscription, whatever it says
    number = 0
    while True:
        connection.send(f"{100 + 10 * math.sin(number / 20):.2f}")
        number += 1
        time.sleep(0.1)


def _crash(connection: ServerConnection, _: str) -> None:
    connection.send("1")
    connection.send("2")
    connection.socket.shutdown(socket.SHUT_RDWR)  # no close frame


def _jobs(connection: ServerConnection, _: str) -> None:
    jobs = ["red", "green", "blue"] * 5
    for job in jobs:
        connection.send(job)
    for _job in jobs:
        connection.recv()


def _tokens(connection: ServerConnection, _: str) -> None:
    for message in connection:
        connection.send(
            _word_by_word(f"You have sent {len(message)} characters, and this answer is made while it is sent.")
        )


def _word_by_word(text: str) -> Generator[str]:
    for word in text.split():
        yield f"{word} "
        time.sleep(0.02)


def _square(connection: ServerConnection, _: str) -> None:
    for message in connection:
        request = json.loads(message)
        connection.send(json.dumps({"id": request["id"], "result": request["square"] ** 2}))


def _login(connection: ServerConnection, _: str) -> None:
    for _message in connection:
        connection.send(f"you are {connection.username}")


_HANDLERS: dict[str, Callable[[ServerConnection, str], None]] = {
    "echo": _echo,
    "feed": _feed,
    "count": _count,
    "prices": _prices,
    "crash": _crash,
    "jobs": _jobs,
    "tokens": _tokens,
    "square": _square,
    "login": _login,
}
_ask_password = basic_auth("demonstration", credentials=("alice", "secret"))


def _parts(request: Request | None) -> tuple[str, str]:
    """``/feed/1?x=y`` is ``feed`` and ``1``."""
    assert request is not None
    name, _, argument = request.path.partition("?")[0].removeprefix("/").partition("/")
    return name, argument


def _handle(connection: ServerConnection) -> None:
    name, argument = _parts(connection.request)
    with contextlib.suppress(ConnectionClosed):
        _HANDLERS[name](connection, argument)


def _process_request(connection: ServerConnection, request: Request) -> Response | None:
    name, argument = _parts(request)
    if name not in _HANDLERS or (name == "count" and not argument.isdecimal()):
        return connection.respond(404, f"nothing is here; try {', '.join(PATHS)}\n")
    return _ask_password(connection, request) if name == "login" else None


def _process_response(_: ServerConnection, request: Request, response: Response) -> None:
    if _parts(request)[0] == "login":
        response.headers["Set-Cookie"] = "session=abc123"
