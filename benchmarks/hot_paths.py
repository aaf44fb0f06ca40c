"""The hot paths, for `instructions.py` to count: sessions of one process with a peer that runs in step with them.

    python benchmarks/hot_paths.py protocol|trio|asyncio|threads

The peer is not another program, but the other end of the same TCP connection on loopback: what it sends lies in the
socket before the session looks, so that what the session does never depends on anybody's speed. Between two paths
os.getpriority() is called, which nothing else here does: there the counter is read.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import os
import random
import socket
import sys
import threading
import types
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.lowlevel

from httpx2_trio_ws._protocol import Connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

SIZE = 125  # bytes of text per message
TEXT = "x" * SIZE
FRAME = bytes((0x81, SIZE)) + TEXT.encode()
MASKED = len(FRAME) + 4
BLOCK = 512  # messages in one read of 64 KiB, and a little more
# Messages of each path that are counted. As many again go before them, uncounted: the first ones are not like the rest.
MESSAGES = {"cut": 16 * BLOCK, "flood": 4 * BLOCK, "burst": 4 * BLOCK, "echo": 512, "yardstick": 4 * BLOCK}
# What counts the instructions makes the program fifty times slower. So that a burst is taken for one all the same, the
# clock goes slower as well.
SLOWLY = 0.01
# No ping is ever due, but the clockwork for them runs.
OPTIONS: Any = {"compression": None, "keepalive_ping_interval_seconds": 3600}


def begin() -> None:
    """From here on is counted."""
    os.getpriority(os.PRIO_PROCESS, 0)


def end(path: str) -> None:
    """Up to here is counted, and this is what it was: the path, and how many messages."""
    os.getpriority(os.PRIO_PROCESS, 0)
    print(path, MESSAGES[path.partition("/")[2]])


# -- the peer ----------------------------------------------------------------------------------


class Peer:
    """The server's end of one connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._shake_hands)
        self._thread.start()

    def _shake_hands(self) -> None:
        with self._listener:
            self._socket, _ = self._listener.accept()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b""
        while b"\r\n\r\n" not in request:
            request += self._socket.recv(65536)
        headers = dict(line.lower().split(": ", 1) for line in request.decode().split("\r\n") if ": " in line)
        key = request.decode()[request.decode().lower().index("sec-websocket-key: ") + 19 :][:24]
        assert headers["upgrade"] == "websocket"
        accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
        self._socket.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def ready(self) -> None:
        """From here on there is no thread."""
        self._thread.join()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read(self, size: int) -> None:
        while size:
            size -= len(self._socket.recv(min(size, 1 << 20)))

    def close(self) -> None:
        """Answer the close frame to come, and end."""
        self._socket.sendall(bytes((0x88, 2)) + (1000).to_bytes(2))
        self._socket.shutdown(socket.SHUT_WR)


# -- what is counted -----------------------------------------------------------------------------


class Tasks:
    """A little of everything that a loop of tasks does, for the yardstick."""

    __slots__ = ("done", "left", "queue", "taken", "waiting")

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self.waiting: dict[int, Any] = {}
        self.taken: list[str] = []
        self.left = self.done = 0

    @property
    def is_full(self) -> bool:
        return len(self.queue) >= 8

    @types.coroutine
    def pause(self) -> Generator[None, None, None]:
        yield

    async def take(self, start: int) -> None:
        if not self.queue:
            await self.pause()
        data = self.queue.popleft()
        try:
            self.taken.append(str(data[start : start + SIZE], "utf-8"))
        finally:
            self.left -= 1

    async def taker(self, count: int) -> None:
        for number in range(count):
            await self.take(number % SIZE)
            self.done = max(self.done, number)

    async def putter(self, count: int) -> None:
        data = TEXT.encode() * 16
        for number in range(count):
            if self.is_full:
                await self.pause()
            self.queue.append(b"".join([data, number.to_bytes(2)]))
            self.left += 1


def yardstick() -> None:
    """Python as the paths are made of; none of it is this project's, so it never changes."""
    tasks = Tasks()
    count = MESSAGES["yardstick"]
    ready: deque[Any] = deque([tasks.taker(count), tasks.putter(count)])
    while ready:
        task = ready.popleft()
        try:
            task.send(None)
        except StopIteration:
            continue
        tasks.waiting[id(task)] = task
        ready.extend(tasks.waiting.values())
        tasks.waiting.clear()


def cut() -> None:
    connection = Connection(max_message_size=2**20)
    data = FRAME * BLOCK
    for _ in range(MESSAGES["cut"] // BLOCK):
        assert len(connection.receive_data(data)) == BLOCK


async def flood(peer: Peer, ws: Any) -> None:
    receive = ws.receive_text
    for _ in range(MESSAGES["flood"] // BLOCK):
        peer.send(FRAME * BLOCK)
        for _ in range(BLOCK):
            await receive()


async def burst(peer: Peer, ws: Any) -> None:
    send = ws.send_text
    for _ in range(MESSAGES["burst"] // BLOCK):
        for _ in range(BLOCK):
            await send(TEXT)
        # The last of them may wait for the send loop. It writes them when a receive waits, or a turn later.
        peer.send(FRAME)
        await ws.receive_text()
        while ws.statistics().unsent_bytes:
            await anyio.lowlevel.checkpoint()
        peer.read(MASKED * BLOCK)


async def echo(peer: Peer, ws: Any) -> None:
    send, receive = ws.send_text, ws.receive_text
    for _ in range(MESSAGES["echo"]):
        await send(TEXT)
        peer.read(MASKED)
        peer.send(FRAME)
        await receive()


def blocking_flood(peer: Peer, ws: Any) -> None:
    receive = ws.receive_text
    for _ in range(MESSAGES["flood"] // BLOCK):
        peer.send(FRAME * BLOCK)
        for _ in range(BLOCK):
            receive()


def blocking_burst(peer: Peer, ws: Any) -> None:
    send = ws.send_text
    for _ in range(MESSAGES["burst"] // BLOCK):
        for _ in range(BLOCK):
            send(TEXT)
        peer.read(MASKED * BLOCK)


def blocking_echo(peer: Peer, ws: Any) -> None:
    send, receive = ws.send_text, ws.receive_text
    for _ in range(MESSAGES["echo"]):
        send(TEXT)
        peer.read(MASKED)
        peer.send(FRAME)
        receive()


# -- the loops -----------------------------------------------------------------------------------


def on_nothing() -> None:
    for name, path in (("yardstick", yardstick), ("cut", cut)):
        path()
        begin()
        path()
        end(f"protocol/{name}")


async def count_all(loop: str, open_websocket: Callable[..., Any]) -> None:
    import httpx2

    paths: dict[str, Callable[[Peer, Any], Awaitable[None]]] = {"flood": flood, "burst": burst, "echo": echo}
    for name, path in paths.items():
        peer = Peer()
        async with httpx2.AsyncClient() as client, open_websocket(client, peer.url, **OPTIONS) as ws:
            peer.ready()
            await path(peer, ws)
            begin()
            await path(peer, ws)
            end(f"{loop}/{name}")
            peer.close()


def on_trio() -> None:
    import trio
    import trio.testing

    from httpx2_trio_ws import open_websocket

    # trio takes ready tasks in random order, on purpose.
    trio._core._run._r = random.Random(0)
    trio.run(partial(count_all, "trio", open_websocket), clock=trio.testing.MockClock(rate=SLOWLY))


def on_asyncio() -> None:
    from httpx2_trio_ws.anyio import open_websocket

    with asyncio.Runner(loop_factory=SlowLoop) as runner:
        runner.run(count_all("asyncio", open_websocket))


class SlowLoop(asyncio.SelectorEventLoop):
    """A loop whose clock is slowed down."""

    def time(self) -> float:
        return super().time() * SLOWLY


def on_threads() -> None:
    import httpx2

    from httpx2_trio_ws.sync import open_websocket

    paths = {"flood": blocking_flood, "burst": blocking_burst, "echo": blocking_echo}
    for name, path in paths.items():
        peer = Peer()
        with httpx2.Client() as client, open_websocket(client, peer.url, **OPTIONS) as ws:
            peer.ready()
            path(peer, ws)
            begin()
            path(peer, ws)
            end(f"threads/{name}")
            peer.close()


if __name__ == "__main__":
    gc.disable()
    {"protocol": on_nothing, "trio": on_trio, "asyncio": on_asyncio, "threads": on_threads}[sys.argv[1]]()
