"""Every call that a session makes of its carrier, of hooks and of the event loop raises, once each, in every phase.

Whatever it is, and wherever it comes: the block is left within its limits, every call that waits is woken, the session is
done, and the response, with it the pool's slot, is closed.

Of the calls of one kind in one phase, the first few raise. For all of them: EVERY_CALL=1000 pytest tests/test_every_call_raises.py
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from httpx2_trio_ws import Instrument, WebSocketException, WebSocketSession
from httpx2_trio_ws._carriers import CarrierError
from httpx2_trio_ws._handshake._asking import AsyncOpening
from httpx2_trio_ws._runtime._asyncio import AsyncioRuntime
from httpx2_trio_ws._runtime._trio import TRIO
from httpx2_trio_ws._session._opening import OpenSession
from httpx2_trio_ws.testing import ScriptedPeer, memory_server

from .virtual_time import VIRTUAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


#: The phase, what was called, and that for the how many-eth time.
Call = tuple[str, str, int]


class Injected(Exception):
    """An error that nobody expects."""


class InjectedBase(BaseException):
    """As ``pytest.fail()`` raises, for one."""


class Faults:
    """Notes each call by its phase and name, and has one of them go wrong."""

    def __init__(self, target: Call | None, error: type[BaseException] | None) -> None:
        self.phase = "opening"
        self.seen: list[Call] = []
        self._count: Counter[tuple[str, str]] = Counter()
        self.scope = anyio.CancelScope()
        self._target = target
        self._error = error

    def strike(self, name: str) -> None:
        self._count[self.phase, name] += 1
        call = self.phase, name, self._count[self.phase, name]
        self.seen.append(call)
        if call == self._target:
            self._target = None
            if self._error is not None:
                raise self._error(name)
            self.scope.cancel()


class FaultyEvent:
    def __init__(self, event: Any, strike: Callable[[str], None]) -> None:
        self._event = event
        self._strike = strike
        self.is_set = event.is_set

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        self._strike("event.wait")
        await self._event.wait()


class FaultyRuntime:
    """The event loop's runtime, whose calls are noted."""

    def __init__(self, runtime: Any, strike: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._strike = strike

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._runtime, name)
        if name in ("cancelled", "is_cancellation"):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._strike(name)
            made = value(*args, **kwargs)
            if name == "event":
                return FaultyEvent(made, self._strike)
            return FaultyCarrier(made, self._strike) if name == "carrier" else made

        return call


class FaultyCarrier:
    """A carrier whose calls are noted. In the phase "draining", nothing can be written any more."""

    def __init__(self, carrier: Any, strike: Callable[[str], None]) -> None:
        self._carrier = carrier
        self._strike = strike
        self.broken = False
        self.linger_seconds = carrier.linger_seconds
        self.turn = carrier.turn

    @property
    def had_room(self) -> bool:
        return bool(self._carrier.had_room)

    @property
    def in_flight(self) -> int:
        return int(self._carrier.in_flight)

    @property
    def writes_now(self) -> bool:
        self._strike("carrier.writes_now")
        return bool(self._carrier.writes_now)

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:
        return bool(self._carrier.read_straight(room))

    async def pump(self, take: Callable[[bytes | memoryview], bool]) -> None:
        self._strike("carrier.pump")
        await self._carrier.pump(take)

    def write_now(self, data: bytes | memoryview) -> int:
        self._strike("carrier.write_now")
        return int(self._carrier.write_now(data))

    async def write(self, data: memoryview) -> int:
        self._strike("carrier.write")
        if self.broken:
            raise CarrierError from OSError("broken")
        return int(await self._carrier.write(data))

    async def aclose(self) -> None:
        await self._carrier.aclose()
        self._strike("carrier.aclose")


class Hooks(Instrument):
    """All of them."""

    def __init__(self, strike: Callable[[str], None]) -> None:
        self._strike = strike

    def session_opened(self, session: Any) -> None:
        self._strike("session_opened")

    def frame_received(self, session: Any, frame: Any) -> None:
        self._strike(f"frame_received {frame.opcode}")

    def frame_sent(self, session: Any, frame: Any) -> None:
        self._strike(f"frame_sent {frame.opcode}")

    def ping_answered(self, session: Any, round_trip: float) -> None:
        self._strike("ping_answered")

    def reading_paused(self, session: Any) -> None:
        self._strike("reading_paused")

    def reading_resumed(self, session: Any) -> None:
        self._strike("reading_resumed")

    def session_closed(self, session: Any, code: int, reason: str, failure: WebSocketException | None) -> None:
        self._strike("session_closed")


async def play(peer: ScriptedPeer, *, end: str) -> None:
    """The peer: it echoes; on "deaf" it reads no more, on "flood" it sends more than the queue holds."""
    with contextlib.suppress(WebSocketException):
        async for message in peer:
            if message == "deaf":
                await anyio.sleep(3)
                break
            for _ in range(9 if message == "flood" else 1):
                await peer.send(message)
        if end == "closes":
            await peer.close(4000)
        elif end == "violates":
            await peer.send_raw(b"\xff\xff")
        elif end != "is silent":
            await peer.send("last")
            await peer.drop()
        await anyio.sleep(3)


async def live(ws: WebSocketSession, faults: Faults, waiters: Any, *, end: str) -> None:
    """A session's life, up to what ends it."""
    faults.phase = "open"
    await ws.send("lone")
    assert await ws.receive() == "lone"
    await (await ws.ping())
    await ws.pong()
    await ws.send("flood")
    await anyio.sleep(0.1)
    for _ in range(9):
        assert await ws.receive() == "flood"
    await ws.send("deaf")
    carrier: Any = ws._engine.carrier

    async def waiter(call: Callable[[], Awaitable[Any]]) -> None:
        with contextlib.suppress(WebSocketException, Injected, InjectedBase):
            while True:
                await call()

    async def closed() -> None:
        await ws.wait_closed()
        await ws.receive()

    async def pong() -> None:
        await (await ws.ping())

    for call in (ws.receive, partial(ws.send, "x" * 50_000), pong, partial(ws.pong, b"x" * 125), closed, closed):
        waiters.start_soon(waiter, call)
    await anyio.sleep(1)
    faults.phase = end
    if end == "draining":
        carrier.broken = True
    if end in ("we close", "is silent"):
        await ws.close()
    else:
        await anyio.sleep(10)


async def scenario(runtime: Any, target: Call | None, error: type[BaseException] | None, end: str) -> Faults:
    faults = Faults(target, error)
    made: list[Any] = []

    class Session(WebSocketSession):
        __slots__ = ()

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    allowed = (WebSocketException, Injected, InjectedBase)
    options: Any = {
        "compression": None,
        "queue_size": 4,
        "close_timeout_seconds": 2,
        "failure_grace_seconds": 1,
        "keepalive_ping_interval_seconds": 30,
        "instruments": [Hooks(faults.strike)],
    }
    faulty: Any = FaultyRuntime(runtime, faults.strike)

    async def watch() -> None:
        await anyio.sleep(60)
        for ws in made:
            ws._engine.done.set()  # else the test would wait for ever, shielded
        raise AssertionError("somebody waited for ever")

    async with anyio.create_task_group() as watching:
        watching.start_soon(watch)
        async with memory_server(partial(play, end=end), capacity=1000) as client, anyio.create_task_group() as waiters:
            session = OpenSession(AsyncOpening, Session, faulty, client, "ws://memory/", options)
            with faults.scope:
                try:
                    async with session as ws:
                        await live(ws, faults, waiters, end=end)
                except BaseException as exc:
                    if not _only(exc, (*allowed, runtime.cancelled)):
                        raise
                    if runtime.is_cancellation(exc):
                        raise
            faults.phase = "over"
            for ws in made:
                assert ws._engine.done.is_set()
                assert ws.response.is_closed
                with contextlib.suppress(WebSocketException):
                    await ws.wait_closed()
                await ws.aclose()
        watching.cancel_scope.cancel()
    return faults


def _only(exc: BaseException, allowed: tuple[type[BaseException], ...]) -> bool:
    if isinstance(exc, BaseExceptionGroup):
        return all(_only(inner, allowed) for inner in cast("BaseExceptionGroup[BaseException]", exc).exceptions)
    return isinstance(exc, allowed)


# Of the calls of one kind in one phase.
MOST = int(os.environ.get("EVERY_CALL", "1"))
ENDS = ("we close", "is silent", "closes", "violates", "drops", "draining")


def _calls(loop: str, end: str) -> Iterator[Call]:
    faults = VIRTUAL[loop](partial(scenario, _runtime(loop), None, None, end))
    return (key for key in faults.seen if key[2] <= MOST and key[0] not in ("opening", "over"))


def _runtime(loop: str) -> Any:
    return TRIO if loop == "trio" else _AsyncioLater()


class _AsyncioLater:
    """The runtime of the loop that runs when it is first used."""

    def __getattr__(self, name: str) -> Any:
        runtime = AsyncioRuntime()
        vars(self).update({key: getattr(runtime, key) for key in dir(runtime) if not key.startswith("_")})
        return getattr(runtime, name)


@pytest.mark.parametrize("error", [Injected, InjectedBase, None])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("loop", sorted(VIRTUAL))
def test_whatever_raises_everybody_is_woken_and_nothing_is_left(
    loop: str, end: str, error: type[BaseException] | None
) -> None:
    calls = list(_calls(loop, end))
    assert len(calls) > 20
    for target in calls:
        try:
            VIRTUAL[loop](partial(scenario, _runtime(loop), target, error, end))
        except BaseException as exc:
            exc.add_note(f"{target} went wrong")
            raise
