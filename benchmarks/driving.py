"""The workloads, as a program that uses a session would have them: for event loops, and for threads.

What is driven is a pair of calls of the contender's own, ``send`` and ``receive``, with nothing in between. A contender
with callbacks brings its own way to do a workload as a method of that name.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import os
import threading
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from .jobs import Job

    Opener = Callable[[str], AbstractAsyncContextManager["Ends"]]
    SyncOpener = Callable[[str], AbstractContextManager["SyncEnds"]]

Figures = dict[str, float]
AT_ONCE = 50  # sessions being opened
BASE = 20  # sessions that are open when memory is looked at first
PAUSE = 0.7  # seconds that a slow consumer does nothing


class WrongError(Exception):
    """A contender received something else than was sent."""


@dataclass(slots=True)
class Ends:
    """A session: how to send and to receive the kind of message that the job is about."""

    send: Callable[[Any], Awaitable[Any]]
    receive: Callable[[], Awaitable[Any]]
    special: Any = None
    """What has methods named as workloads, if it has ways of its own."""


@dataclass(slots=True)
class SyncEnds:
    """As :class:`Ends`, blocking."""

    send: Callable[[Any], Any]
    receive: Callable[[], Any]


class Clock:
    """Wall and CPU seconds between entering and leaving; the CPU time is that of all threads."""

    def __enter__(self) -> Self:
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *exc: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

    def figures(self, count: int, **more: float) -> Figures:
        return {"wall": self.wall, "cpu": self.cpu, "count": count, **more}


def check(job: Job, last: object) -> None:
    if last != job.last:
        raise WrongError(f"the last message is {str(last)[:40]!r}, not {job.last[:40]!r}")


def check_done(answer: object) -> None:
    if answer not in ("done", b"done"):
        raise WrongError(f"the answer to a burst is {answer!r}")


def percentiles(latencies: list[float]) -> Figures:
    ordered = sorted(latencies)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]}


def resident() -> int:
    """Bytes of memory that the process has now, when it has given back what it can. 0 where that cannot be told."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc's
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


async def run(job: Job, opener: Opener, base: str) -> Figures:
    """Do a job on an event loop."""
    url = base + job.query()
    gc.collect()
    if job.kind == "open":
        return await opening(job, opener, url)
    if job.kind == "sessions":
        return await Sessions(job, opener, url).run()
    async with opener(url) as ends:
        gc.collect()
        special = getattr(ends.special, job.kind, None)
        if special is not None:
            figures: Figures = await special(job)
            return figures
        return await WORKLOADS[job.kind](job, ends)


async def flood(job: Job, ends: Ends) -> Figures:
    """The server sends so many messages as fast as it can."""
    receive, times, last = ends.receive, itertools.repeat(None, job.count), None
    await ends.send(job.messages()[0])
    with Clock() as clock:
        for _ in times:
            last = await receive()
    check(job, last)
    return clock.figures(job.count)


async def burst(job: Job, ends: Ends) -> Figures:
    """Send so many messages as fast as it goes; the server tells when it has them all."""
    send = ends.send
    messages = list(itertools.islice(itertools.cycle(job.messages()), job.count - 1))
    with Clock() as clock:
        for message in messages:
            await send(message)
        await send(job.last)
        answer = await ends.receive()
    check_done(answer)
    return clock.figures(job.count)


async def echo(job: Job, ends: Ends) -> Figures:
    """One message there and back, and the next."""
    send, receive, message, now = ends.send, ends.receive, job.ordinary, time.perf_counter
    latencies: list[float] = []
    last = None
    with Clock() as clock:
        for _ in itertools.repeat(None, job.count):
            begun = now()
            await send(message)
            last = await receive()
            latencies.append(now() - begun)
    check(job, last)
    return clock.figures(job.count, **percentiles(latencies))


async def slow(job: Job, ends: Ends) -> Figures:
    """The server floods, and nobody receives for a while: how much memory is taken?"""
    await ends.send(job.messages()[0])
    before = resident()
    await anyio.sleep(PAUSE)
    grown = resident() - before
    last = None
    with Clock() as clock:
        for _ in itertools.repeat(None, job.count):
            last = await ends.receive()
    check(job, last)
    return clock.figures(job.count, grown=grown)


async def opening(job: Job, opener: Opener, url: str) -> Figures:
    """Open a session and close it, and the next."""
    with Clock() as clock:
        for _ in itertools.repeat(None, job.count):
            async with opener(url):
                pass
    return clock.figures(job.count)


WORKLOADS = {"flood": flood, "burst": burst, "echo": echo, "slow": slow}


class Sessions:
    """Many sessions at once: time to open them, memory while they wait, and messages from all of them."""

    def __init__(self, job: Job, opener: Opener, url: str) -> None:
        self.job, self.opener, self.url = job, opener, url
        self.opened = self.received = 0
        self.based, self.ready, self.go, self.done, self.leave = (anyio.Event() for _ in range(5))
        self.limit = anyio.Semaphore(AT_ONCE)

    async def run(self) -> Figures:
        base = min(BASE, self.job.count)
        async with anyio.create_task_group() as group:
            for _ in range(base):
                group.start_soon(self.one)
            await self.based.wait()
            before = resident()
            with Clock() as opening:
                for _ in range(self.job.count - base):
                    group.start_soon(self.one)
                await self.ready.wait()
            memory = resident() - before
            with Clock() as clock:
                self.go.set()
                await self.done.wait()
            self.leave.set()
        more = max(1, self.job.count - base)
        opened = {"open_wall": opening.wall / more, "open_cpu": opening.cpu / more, "memory": memory / more}
        return clock.figures(self.job.count * self.job.each, **opened)

    async def one(self) -> None:
        job = self.job
        async with AsyncExitStack() as stack:
            async with self.limit:
                ends = await stack.enter_async_context(self.opener(self.url))
            self.opened += 1
            if self.opened == min(BASE, job.count):
                self.based.set()
            if self.opened == job.count:
                self.ready.set()
            await self.go.wait()
            await ends.send(job.ordinary)
            last = None
            for _ in itertools.repeat(None, job.each):
                last = await ends.receive()
            check(job, last)
            self.received += 1
            if self.received == job.count:
                self.done.set()
            await self.leave.wait()


# -- the same, blocking -------------------------------------------------------------------------


def run_blocking(job: Job, opener: SyncOpener, base: str) -> Figures:
    """Do a job in this thread, or in many."""
    url = base + job.query()
    gc.collect()
    if job.kind == "open":
        with Clock() as clock:
            for _ in itertools.repeat(None, job.count):
                with opener(url):
                    pass
        return clock.figures(job.count)
    if job.kind == "sessions":
        return blocking_sessions(job, opener, url)
    with opener(url) as ends:
        gc.collect()
        return BLOCKING[job.kind](job, ends)


def blocking_flood(job: Job, ends: SyncEnds) -> Figures:
    receive, last = ends.receive, None
    ends.send(job.messages()[0])
    with Clock() as clock:
        for _ in itertools.repeat(None, job.count):
            last = receive()
    check(job, last)
    return clock.figures(job.count)


def blocking_burst(job: Job, ends: SyncEnds) -> Figures:
    send = ends.send
    messages = list(itertools.islice(itertools.cycle(job.messages()), job.count - 1))
    with Clock() as clock:
        for message in messages:
            send(message)
        send(job.last)
        answer = ends.receive()
    check_done(answer)
    return clock.figures(job.count)


def blocking_echo(job: Job, ends: SyncEnds) -> Figures:
    send, receive, message, now = ends.send, ends.receive, job.ordinary, time.perf_counter
    latencies: list[float] = []
    last = None
    with Clock() as clock:
        for _ in itertools.repeat(None, job.count):
            begun = now()
            send(message)
            last = receive()
            latencies.append(now() - begun)
    check(job, last)
    return clock.figures(job.count, **percentiles(latencies))


def blocking_slow(job: Job, ends: SyncEnds) -> Figures:
    ends.send(job.messages()[0])
    before = resident()
    time.sleep(PAUSE)
    grown = resident() - before
    last = None
    with Clock() as clock:
        for _ in itertools.repeat(None, job.count):
            last = ends.receive()
    check(job, last)
    return clock.figures(job.count, grown=grown)


BLOCKING = {"flood": blocking_flood, "burst": blocking_burst, "echo": blocking_echo, "slow": blocking_slow}


def blocking_sessions(job: Job, opener: SyncOpener, url: str) -> Figures:
    """One thread opens them all; then a thread each receives."""
    base = min(BASE, job.count)
    with ExitStack() as stack:
        sessions = [stack.enter_context(opener(url)) for _ in range(base)]
        before = resident()
        with Clock() as opening:
            sessions += [stack.enter_context(opener(url)) for _ in range(job.count - base)]
        memory = resident() - before
        wrong: list[object] = []

        def one(ends: SyncEnds) -> None:
            ends.send(job.ordinary)
            received = [ends.receive() for _ in range(job.each)]
            if received[-1] != job.last:
                wrong.append(received[-1])

        threads = [threading.Thread(target=one, args=(ends,), daemon=True) for ends in sessions]
        with Clock() as clock:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    if wrong:
        check(job, wrong[0])
    more = max(1, job.count - base)
    opened = {"open_wall": opening.wall / more, "open_cpu": opening.cpu / more, "memory": memory / more}
    return clock.figures(job.count * job.each, **opened)
