"""The proxy's process: ``python -m soak.proxy DIRECTORY SEED [DEFECT …]``.

It prints its port and passes bytes on between the sessions and the server, both ways. On standard input it is told
``upstream PORT``, with 0 while there is no server; ``faults SECONDS``, and each connection meets one so often on average;
``calm`` to make no more. When standard input ends, it prints how many faults of each kind there were.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .child import serve_until_end
from .defects import Defect
from .records import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

KINDS = {  # and how often, in proportion
    "latency": 20,
    "tiny chunks": 20,
    "stall": 20,
    "reset": 8,
    "end": 8,
    "half-close": 8,
    "truncated": 8,
    "silence": 4,
}
HARMLESS = ("latency", "tiny chunks", "stall")
BUFFER = 65536  # bytes that wait in a pipe before its source is read no more


class End(asyncio.Protocol):
    """One end of a link. What is read from it goes into ``out``."""

    transport: asyncio.Transport
    out: Pipe
    #: The pipe that writes here.
    into: Pipe

    def __init__(self, link: Link) -> None:
        self.link = link
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.transport = cast("asyncio.Transport", transport)
        self.is_open = True
        self.link.made(self)

    def data_received(self, data: bytes) -> None:
        """Something was read."""
        self.out.feed(data)

    def eof_received(self) -> bool:
        """FIN was read."""
        self.out.feed(b"")
        return True  # the other direction goes on

    def pause_writing(self) -> None:
        """Too much waits to be written."""
        self.into.full = True
        self.into.regulate()

    def resume_writing(self) -> None:
        """No longer."""
        self.into.full = False
        self.into.regulate()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio passes it)
        """The connection is gone."""
        self.is_open = False
        self.into.end()
        self.out.feed(b"")
        self.link.lost()

    def close(self) -> None:
        """FIN, after what has been written."""
        if self.is_open:
            self.transport.close()

    def reset(self) -> None:
        """RST, now."""
        if self.is_open:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()


class Pipe:
    """One direction of a link."""

    def __init__(self, source: End, sink: End, defect: Defect | None) -> None:
        self.source = source
        self.sink = sink
        self.delay = 0.0
        self.tiny = False
        self.held = False
        self.full = False
        self.truncate: Callable[[], None] | None = None
        self._defect = defect
        self._queue: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._last_due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._loop = asyncio.get_running_loop()

    def feed(self, data: bytes) -> None:
        """Pass ``data`` on; ``b""`` is the end."""
        if self._defect is not None and data:
            data = self._defect.feed(data)
            if not data:
                return
        if self.truncate is not None and len(data) > 1:
            self._write(data[: len(data) // 2])
            self.truncate()
            return
        if not (self._queue or self.delay or self.tiny or self.held):
            self._write(data)
            return
        due = self._loop.time() + self.delay
        # The beginning of a read in tiny chunks, each of which is likely to be read alone.
        tiny = 64 if self.tiny else 0
        while tiny and len(data) > 7:
            size = self.source.link.rng.randint(1, 7)
            self._put(due, data[:size])
            data = data[size:]
            tiny -= 1
            due += 0.001
        self._put(due, data)
        self._pump()

    def _put(self, due: float, data: bytes) -> None:
        self._last_due = max(due, self._last_due)
        self._queue.append((self._last_due, data))
        self._size += len(data)

    def _pump(self) -> None:
        now = self._loop.time()
        queue = self._queue
        while queue and not self.held and queue[0][0] <= now:
            _, data = queue.popleft()
            self._size -= len(data)
            self._write(data)
        if queue and not self.held and self._timer is None:
            self._timer = self._loop.call_at(queue[0][0], self._tick)
        self.regulate()

    def _tick(self) -> None:
        self._timer = None
        self._pump()

    def _write(self, data: bytes) -> None:
        if not data:
            self.end()
        elif not self._ended and self.sink.is_open and not self.sink.transport.is_closing():
            self.sink.transport.write(data)

    def end(self) -> None:
        """FIN; nothing is written after it."""
        if not self._ended:
            self._ended = True
            if self.sink.is_open and not self.sink.transport.is_closing():
                with contextlib.suppress(OSError):  # the connection has just been lost
                    self.sink.transport.write_eof()
            self.source.link.ended()

    def hold(self, *, held: bool) -> None:
        """Pass nothing on, until told otherwise."""
        self.held = held
        self._pump()

    def regulate(self) -> None:
        """Read the source, or let it wait."""
        if self.source.is_open and not self.source.transport.is_closing():
            if self.held or self.full or self._size > BUFFER:
                self.source.transport.pause_reading()
            else:
                self.source.transport.resume_reading()


class Link:
    """A connection of the client's, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, number: int) -> None:
        self.proxy = proxy
        self.rng = random.Random(f"{proxy.seed} {number}")
        self.client, self.server = End(self), End(self)
        defect = proxy.next_defect()
        self.up = Pipe(self.client, self.server, defect if defect and defect.up else None)
        self.down = Pipe(self.server, self.client, defect if defect and not defect.up else None)
        self.client.out = self.server.into = self.up
        self.server.out = self.client.into = self.down
        self._ended = 0
        self._silent = False
        self._port = 0

    def made(self, end: End) -> None:
        """A connection stands."""
        if end is self.server:
            if not self.client.is_open:  # it has gone while we connected
                self.server.close()
            self.up.hold(held=False)
            return
        self._port = end.transport.get_extra_info("peername")[1]
        self.proxy.links.add(self)
        self.up.hold(held=True)
        self.proxy.start(self._connect())
        self.next_fault()

    async def _connect(self) -> None:
        try:
            if not self.proxy.upstream:
                raise ConnectionRefusedError
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self.server, "127.0.0.1", self.proxy.upstream)
        except OSError:
            self.client.reset()

    def lost(self) -> None:
        """One of the connections is gone."""
        if not (self.client.is_open or self.server.is_open):
            self.proxy.links.discard(self)

    def ended(self) -> None:
        """One direction has ended. With the second, both connections are closed."""
        self._ended += 1
        if self._ended == 2:
            self.client.close()
            self.server.close()

    # -- faults --------------------------------------------------------------------------------------

    def next_fault(self, after: float = 0.0) -> None:
        """There will be one, in a while."""
        if not self.proxy.seconds:
            return
        delay = after + self.rng.expovariate(1 / self.proxy.seconds)
        asyncio.get_running_loop().call_later(delay, self._fault)

    def _fault(self) -> None:
        if not (self.proxy.seconds and self.client.is_open and self.server.is_open):
            return
        (kind,) = self.rng.choices(list(KINDS), list(KINDS.values()))
        self.proxy.made[kind] += 1
        pipes = self.rng.choice([[self.up], [self.down], [self.up, self.down]])
        if kind in HARMLESS:
            seconds = self.rng.uniform(0.1, min(4, 2 * self.proxy.seconds))
            self._disturb(kind, pipes, on=True)
            asyncio.get_running_loop().call_later(seconds, self._disturb, kind, pipes)
            self.next_fault(after=seconds + 0.5)
        elif kind == "truncated":
            pipes[0].truncate = self._truncated
        else:
            self._break(kind, pipes[0])

    def _disturb(self, kind: str, pipes: list[Pipe], *, on: bool = False) -> None:
        for pipe in pipes:
            if kind == "latency":
                pipe.delay = self.rng.uniform(0.005, 0.3) if on else 0.0
            elif kind == "tiny chunks":
                pipe.tiny = on
            elif not self._silent:
                pipe.hold(held=on)

    def _truncated(self) -> None:
        """Half of what was read has been passed on: end both connections."""
        self._break("end", self.down)

    def _break(self, kind: str, pipe: Pipe) -> None:
        """What a session does not survive."""
        self.proxy.faults.mark(self._port)
        if kind == "reset":
            self.reset()
        elif kind == "end":
            self.client.close()
            self.server.close()
        elif kind == "half-close":
            pipe.end()
        else:
            self._silent = True
            self.up.hold(held=True)
            self.down.hold(held=True)

    def calm(self) -> None:
        """Make good what can be made good, and end what cannot."""
        if self._silent:
            self.reset()

    def reset(self) -> None:
        """RST, both ways."""
        self.client.reset()
        self.server.reset()


class Proxy:
    """All links.

    Args:
        faults: where connections are marked that are going to be broken.
        seed: of all that is left to chance.
        defects: what to do to messages that arrive at the first connections on which it can be done.
    """

    def __init__(self, faults: Faults, seed: str, defects: list[str]) -> None:
        self.faults = faults
        self.seed = seed
        self.seconds = 0.0  # between two faults of a connection; 0 for none
        self.upstream = 0
        self.made: Counter[str] = Counter()
        self.links: set[Link] = set()
        self._defects = [Defect(name) for name in defects]
        self._accepted = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self) -> End:
        """A new link's end at the client."""
        self._accepted += 1
        return Link(self, self._accepted).client

    def next_defect(self) -> Defect | None:
        """A defect that no connection has had yet."""
        return next((defect for defect in self._defects if defect.claim()), None)

    def start(self, coroutine: Coroutine[None, None, None]) -> None:
        """Run a task that nobody waits for."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def told(self, line: str) -> None:
        """A line of standard input."""
        word, *rest = line.split()
        if word == "upstream":
            self.upstream = int(rest[0])
        elif word == "faults":
            self.seconds = float(rest[0])
            for link in self.links:
                link.next_fault()
        else:
            self.seconds = 0.0
            for link in list(self.links):
                link.calm()


async def main(directory: Path, seed: str, defects: list[str]) -> None:
    """Pass on."""
    proxy = Proxy(Faults(directory), seed, defects)
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    async with await loop.create_server(proxy.accept, sock=listener, backlog=4096) as server:
        await serve_until_end(server.sockets[0].getsockname()[1], proxy.told)
        print(json.dumps(proxy.made))
        for link in list(proxy.links):
            link.reset()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
