"""The sessions: each talks for a while and ends in one of several ways; then its place is taken by a new one."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import trio

from httpx2_trio_ws import (
    OpenOptions,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketHandshakeTimeout,
    WebSocketNetworkError,
    WebSocketSession,
    WebSocketUpgradeError,
    connect_websocket,
    open_websocket,
)

from .messages import DONE, FINISH, ORDINARY, Checker, Size, build, traffic
from .records import End

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .records import Faults, Records, Row

# How a session ends when its time is over, if nothing else ends it first:
PLANS = {  # and how often, in proportion
    "finish": 4,  # both sides say all that they had to say, and we close
    "close": 2,  # we close, while a task of ours waits for messages
    "leave": 2,  # the block is left
    "error": 1,  # an error leaves the block
    "cancel": 2,  # the block is cancelled
    "server": 3,  # the server is asked to close
}
OUR_CODE = 4001
SERVER_CODES = (1000, 1001, 1011, 4002)
RESTARTED = 1001  # what a server says that stops
END_SECONDS = 90.0  # from the plan's beginning to the end; stalls, keepalive and close timeouts take their time
OPENING = 250  # handshakes at a time


class Mistake(Exception):
    """Leaves a block on purpose."""


class Settings(NamedTuple):
    """What a run is made of.

    Attributes:
        per_second: bursts of messages per second and direction, for each session.
        lifetime: mean seconds of a session.
        pause: the longest time in seconds for which a consumer is slow.
        back_off: the longest time in seconds until the next try, after a handshake that failed.
        compression: of every second session.
    """

    url: str
    sessions: int
    seed: str
    per_second: float
    lifetime: float
    pause: float
    back_off: float
    compression: bool


class Crowd:
    """All sessions, and what is to be told about them at the end."""

    def __init__(
        self, client: httpx2.AsyncClient, settings: Settings, records: Records, faults: Faults, resets: Faults
    ) -> None:
        self.client = client
        self.settings = settings
        self.records = records
        self.faults = faults
        self.resets = resets
        self.held = 0
        self.peak = 0
        self.opened = 0
        #: Handshakes that failed, ends of sessions, and failures that a call raised, by kind.
        self.refused: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        #: What should not have happened.
        self.unexpected: list[str] = []
        #: All are open for the first time.
        self.complete = trio.Event()
        #: No more sessions are opened, and those that are open finish.
        self.over = trio.Event()
        #: Odd while the server is being restarted.
        self.generation = 0
        self.opening = trio.Semaphore(OPENING)
        #: Messages whose sending was cancelled.
        self.given_up = 0

    async def run(self) -> None:
        """Hold the sessions until it is over."""
        async with trio.open_nursery() as nursery:
            for place in range(self.settings.sessions):
                nursery.start_soon(self._hold, place)

    def arrived(self) -> None:
        """One more session is open."""
        self.opened += 1
        self.held += 1
        self.peak = max(self.peak, self.held)
        if self.held == self.settings.sessions:
            self.complete.set()

    async def _hold(self, place: int) -> None:
        rng = random.Random(f"{self.settings.seed} {place}")
        while not self.over.is_set():
            if not await self._one(rng):
                with trio.move_on_after(rng.uniform(0.1, self.settings.back_off)):
                    await self.over.wait()

    async def _one(self, rng: random.Random) -> bool:
        """One session from its opening to its end; false if it could not be opened."""
        session = Session(self, self.records.begin(), rng)
        try:
            await session.run()
        except* Mistake:
            pass
        except* WebSocketNetworkError as group:
            session.failure = leaves(group)[0]
        except* (WebSocketUpgradeError, WebSocketHandshakeTimeout, httpx2.TransportError) as group:
            self.refused[type(leaves(group)[0]).__name__] += 1
        except* Exception as group:  # noqa: BLE001 (it is reported, and the run fails by it)
            self.unexpected.append(f"session {session.row.number}, {session.plan}: {leaves(group)!r}")
        session.conclude()
        return session.port is not None


def leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """The exceptions in a group, without the groups between."""
    return [e for exc in group.exceptions for e in (leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc])]


class Session:
    """One session."""

    def __init__(self, crowd: Crowd, row: Row, rng: random.Random) -> None:
        self.crowd = crowd
        self.row = row
        self.rng = rng
        (self.plan,) = rng.choices(list(PLANS), list(PLANS.values()))
        self.code = rng.choice(SERVER_CODES)
        #: The local port, once the session is open, and what calls raised at its end.
        self.port: int | None = None
        self.failure: BaseException | None = None
        self.closed_with: int | None = None
        self._began = time.monotonic()
        self._generation = crowd.generation
        self._end = End.OVER
        self._unsure = 0
        self._scope = trio.CancelScope()
        self._stopping = trio.Event()
        self._sent_all = trio.Event()
        self._received_all = trio.Event()

    async def run(self) -> None:
        """Open, talk and close."""
        with self._scope:
            async with self._opened() as ws:
                address = ws.response.extensions["network_stream"].get_extra_info("client_addr")
                self.port = address[1]
                self.crowd.arrived()
                try:
                    await self._talk(ws)
                finally:
                    self.crowd.held -= 1
            if self.plan in ("finish", "close", "leave", "error"):
                self._note_close(ws)

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncGenerator[WebSocketSession]:
        crowd, number = self.crowd, self.row.number
        options: OpenOptions = {
            "compression": "deflate" if crowd.settings.compression and self.rng.random() < 0.5 else None,
            "queue_size": self.rng.choice((4, 64, 512)),
            "keepalive_ping_interval_seconds": 10,
            "keepalive_ping_timeout_seconds": 10,
        }
        url = f"{crowd.settings.url}/{number}"
        async with contextlib.AsyncExitStack() as stack:
            async with crowd.opening:
                if number % 2:
                    ws = await stack.enter_async_context(open_websocket(crowd.client, url, **options))
                else:
                    nursery = await stack.enter_async_context(trio.open_nursery())
                    ws = await connect_websocket(nursery, crowd.client, url, **options)
                    await stack.enter_async_context(ws)
            yield ws

    async def _talk(self, ws: WebSocketSession) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, ws)
            nursery.start_soon(self._receive, ws)
            nursery.start_soon(self._stop_in_time)
            await self._stopping.wait()
            with trio.fail_after(END_SECONDS):
                await self._end_as_planned(ws)
            nursery.cancel_scope.cancel()
        if self.plan == "error" and not self._received_all.is_set():
            raise Mistake

    async def _end_as_planned(self, ws: WebSocketSession) -> None:
        if self.plan == "cancel" and not self._received_all.is_set():
            self._scope.cancel()
            await trio.sleep_forever()
        await self._sent_all.wait()
        if self.plan == "close":
            await ws.close(OUR_CODE)
        if self.plan in ("close", "finish", "server"):
            await self._received_all.wait()
        if self.plan == "finish":
            await ws.close(OUR_CODE)

    def _stop(self) -> None:
        """What is planned begins. It is no longer chosen when all sessions are to end."""
        if not self._stopping.is_set():
            if self.crowd.over.is_set():
                self.plan = "finish"
            self._stopping.set()

    async def _stop_in_time(self) -> None:
        """The first lives begin when all sessions are open."""
        await self.crowd.complete.wait()
        with trio.move_on_after(self.crowd.settings.lifetime * self.rng.expovariate(1.0)):
            await self.crowd.over.wait()
        self._stop()

    # -- sending -------------------------------------------------------------------------------------

    async def _send(self, ws: WebSocketSession) -> None:
        last = {"finish": FINISH, "server": str(self.code)}
        with contextlib.suppress(WebSocketException):  # the task that receives tells what it was
            for pause, sizes in traffic(self.rng, self.crowd.settings.per_second):
                with trio.move_on_after(pause):
                    await self._stopping.wait()
                    break
                for size in sizes:
                    await self._send_one(ws, size)
                if self.rng.random() < 0.02:
                    with trio.move_on_after(1):
                        await (await ws.ping())
            if self.plan in last:
                await self._send_one(ws, Size(0, text=True), last[self.plan])
        self._sent_all.set()

    async def _send_one(self, ws: WebSocketSession, size: Size, asks: str = ORDINARY) -> None:
        """Send a message, with little patience at times: then it may have been sent or not."""
        row = self.row
        message = build(row, size, unsure=self._unsure, asks=asks)
        row.attempted += 1
        patience = 0.3 if asks == ORDINARY and self.rng.random() < 0.2 else math.inf
        with trio.move_on_after(patience) as scope:
            await ws.send(message)
        if scope.cancelled_caught:
            self._unsure += 1
            self.crowd.given_up += 1
        else:
            self._unsure = 0
            row.completed = row.attempted

    # -- receiving -----------------------------------------------------------------------------------

    async def _receive(self, ws: WebSocketSession) -> None:
        try:
            await self._receive_all(ws)
        except WebSocketDisconnect as exc:
            self.closed_with = exc.code
            self._end |= End.COMPLETE
        except WebSocketNetworkError as exc:
            self.failure = exc
        except WebSocketClosedError:
            pass  # by ourselves
        self._received_all.set()
        self._stop()

    async def _receive_all(self, ws: WebSocketSession) -> None:
        checker = Checker(self.row)
        while True:
            with trio.move_on_after(self.rng.choice((0.01, 0.1, 1, 10))) as scope:
                message = await ws.receive()
            if scope.cancelled_caught:
                continue
            if checker.check(message) == DONE:
                self._end |= End.COMPLETE
                return
            if self.rng.random() < 0.005:  # a slow consumer, mostly for a moment
                with trio.move_on_after(self.crowd.settings.pause * self.rng.random() ** 8):
                    await self._stopping.wait()

    # -- the end -------------------------------------------------------------------------------------

    def _note_close(self, ws: WebSocketSession) -> None:
        """Our close frame was answered with the same code: the server has received all that was sent before."""
        if self.closed_with is None and ws.close_code in (OUR_CODE, 1000, 1011):
            self._end |= End.ANSWERED

    def conclude(self) -> None:
        """The session is over: note how, and whether it had reason to be."""
        crowd = self.crowd
        excused = self._generation != crowd.generation or self._generation % 2
        if self.failure is not None:
            self._end |= End.FAILED
            crowd.failures[type(self.failure).__name__] += 1
            crowd.ends["by a failure"] += 1
            excused = excused or crowd.resets.broken(self.row.number, self._began)
            if not excused and (self.port is None or not crowd.faults.broken(self.port, self._began)):
                crowd.unexpected.append(f"session {self.row.number}: {self.failure!r}, and nothing was broken")
        elif self.closed_with is not None:
            asked = self.plan == "server" and self.closed_with == self.code
            crowd.ends["server" if asked else "server stopped"] += 1
            if not asked and not (excused and self.closed_with == RESTARTED):
                crowd.unexpected.append(f"session {self.row.number}: the server closed with {self.closed_with}")
        elif self.port is not None:
            crowd.ends[self.plan] += 1
        else:
            self._end |= End.FAILED
        self.row.end = int(self._end)
