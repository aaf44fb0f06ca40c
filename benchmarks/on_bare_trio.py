"""The floor on trio: the same bytes over a bare stream, counted and not parsed."""

from __future__ import annotations

import itertools
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from .driving import Clock, Ends, Figures, WrongError, percentiles
from .jobs import encoded, header, masked_frame, pieces
from .upgrading import CLOSE, upgrade

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from .jobs import Job

MOST = 1 << 16


class Bare:
    """A connection; frames are made before the clock runs."""

    def __init__(self, stream: trio.abc.Stream, job: Job) -> None:
        self.stream, self.job = stream, job
        self.frame = masked_frame(encoded(job.ordinary), text=job.text)
        self.final = masked_frame(encoded(job.last), text=job.text)
        self.size = len(header(0, job.size)) + job.size
        self.kept = 0  # bytes of the next message that came with the one before
        self.end = b""

    async def send(self, _message: str | bytes) -> None:
        await self.stream.send_all(self.frame)

    async def receive(self) -> str | bytes:
        await self.take(self.size)
        return self.job.last if self.ends_well() else self.job.ordinary

    def ends_well(self) -> bool:
        return self.end.endswith(encoded(self.job.last)[-16:])

    async def take(self, count: int) -> None:
        """Wait for so many bytes; keep the end of what came."""
        receive = self.stream.receive_some
        count -= self.kept
        while count > 0:
            data = await receive(MOST)
            if not data:
                raise WrongError("the server closed")
            count -= len(data)
            self.end = bytes(data) if len(data) >= 16 else self.end[-16:] + data
        self.kept = -count

    async def flood(self, job: Job) -> Figures:
        total = sum(map(len, pieces(job, job.count)))
        await self.send(b"")
        with Clock() as clock:
            await self.take(total)
        if not self.ends_well():
            raise WrongError("not the end of the flood")
        return clock.figures(job.count)

    async def burst(self, job: Job) -> Figures:
        send, frame = self.stream.send_all, self.frame
        with Clock() as clock:
            for _ in itertools.repeat(None, job.count - 1):
                await send(frame)
            await send(self.final)
            await self.take(6)
        return clock.figures(job.count)

    async def echo(self, job: Job) -> Figures:
        send, frame, take, size, now = self.stream.send_all, self.frame, self.take, self.size, time.perf_counter
        latencies = []
        with Clock() as clock:
            for _ in itertools.repeat(None, job.count):
                begun = now()
                await send(frame)
                await take(size)
                latencies.append(now() - begun)
        if not self.ends_well():
            raise WrongError("not the last echo")
        return clock.figures(job.count, **percentiles(latencies))


@asynccontextmanager
async def connect(url: str, job: Job, context: ssl.SSLContext | None) -> AsyncGenerator[Ends]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    stream: trio.abc.Stream
    if job.tls and context is not None:
        stream = await trio.open_ssl_over_tcp_stream(parts.hostname, parts.port, ssl_context=context)
    else:
        stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    async with stream:
        await stream.send_all(upgrade(url))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            data = await stream.receive_some(MOST)
            if not data:
                raise WrongError("the server closed")
            answer += data
        bare = Bare(stream, job)
        yield Ends(bare.send, bare.receive, bare)
        await stream.send_all(CLOSE)
        await stream.receive_some(MOST)
