"""The floor on asyncio: the same bytes through a bare protocol, counted and not parsed."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from .driving import Clock, Ends, Figures, WrongError, percentiles
from .jobs import encoded, header, masked_frame, pieces
from .upgrading import CLOSE, upgrade

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from .jobs import Job


class Bare(asyncio.Protocol):
    """A connection; frames are made before the clock runs."""

    transport: asyncio.Transport

    def __init__(self, job: Job) -> None:
        self.job = job
        self.frame = masked_frame(encoded(job.ordinary), text=job.text)
        self.final = masked_frame(encoded(job.last), text=job.text)
        self.size = len(header(0, job.size)) + job.size
        self.loop = asyncio.get_running_loop()
        self.end = b""
        self.left = 0
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.room = asyncio.Event()
        self.room.set()
        self.answer: bytes | None = b""
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed"))
            self.done.exception()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def data_received(self, data: bytes) -> None:
        if self.answer is not None:
            self.answer += data
            if not self.answer.endswith(b"\r\n\r\n"):
                return
            self.answer = None
            self.done.set_result(None)
            return
        self.left -= len(data)
        self.end = data if len(data) >= 16 else self.end[-16:] + data
        if self.left <= 0:
            self.arrived()

    def arrived(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def expect(self, count: int) -> asyncio.Future[None]:
        """So many bytes from now on; what came too early counts."""
        self.left += count
        self.done = self.loop.create_future()
        if self.left <= 0:
            self.done.set_result(None)
        return self.done

    async def send(self, _message: str | bytes) -> None:
        self.transport.write(self.frame)

    async def receive(self) -> str | bytes:
        await self.expect(self.size)
        return self.job.last if self.ends_well() else self.job.ordinary

    def ends_well(self) -> bool:
        return self.end.endswith(encoded(self.job.last)[-16:])

    async def flood(self, job: Job) -> Figures:
        done = self.expect(sum(map(len, pieces(job, job.count))))
        self.transport.write(self.frame)
        with Clock() as clock:
            await done
        if not self.ends_well():
            raise WrongError("not the end of the flood")
        return clock.figures(job.count)

    async def burst(self, job: Job) -> Figures:
        done, write, frame, room = self.expect(6), self.transport.write, self.frame, self.room
        with Clock() as clock:
            for _ in itertools.repeat(None, job.count - 1):
                write(frame)
                if not room.is_set():
                    await room.wait()
            write(self.final)
            await done
        return clock.figures(job.count)


class Echoing(Bare):
    """For round trips: the callback for one sends the next frame."""

    def arrived(self) -> None:
        self.latencies.append(time.perf_counter() - self.begun)
        self.rounds -= 1
        if self.rounds == 0:
            self.done.set_result(None)
        else:
            self.left += self.size
            self.go()

    def go(self) -> None:
        self.begun = time.perf_counter()
        self.transport.write(self.frame)

    async def echo(self, job: Job) -> Figures:
        self.latencies: list[float] = []
        self.rounds = job.count
        done = self.expect(self.size)
        with Clock() as clock:
            self.go()
            await done
        if not self.ends_well():
            raise WrongError("not the last echo")
        return clock.figures(job.count, **percentiles(self.latencies))


@asynccontextmanager
async def connect(url: str, job: Job, context: ssl.SSLContext | None) -> AsyncGenerator[Ends]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    made = Echoing if job.kind == "echo" else Bare
    _, bare = await asyncio.get_running_loop().create_connection(
        lambda: made(job), parts.hostname, parts.port, ssl=context if job.tls else None
    )
    bare.transport.write(upgrade(url))
    await bare.done
    try:
        yield Ends(bare.send, bare.receive, bare)
    finally:
        bare.left = 1 << 60  # the answer to the close frame is not waited for
        bare.transport.write(CLOSE)
        await bare.lost.wait()
