"""Runs programs: calls of a session, what its peer does, and time that passes, in any order.

A program is a list of steps, each the name of a method of :class:`Run` and its arguments. Calls are made in tasks of
their own, which later steps may cancel. All runs on trio's mock clock. What the tasks and the peer have seen is held
against the promises in :mod:`.promises`.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import httpx2
import trio
import trio.testing

from httpx2_trio_ws import WebSocketException, WebSocketSession, open_websocket

from .http2.stream_end import StreamTransport
from .promises import check_progress
from .simulation import MAX_MESSAGE, SimulatedPeer, SimulatedTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from httpx2_trio_ws._session._streaming import MessageWriter

Step = tuple[str, dict[str, Any]]
Kind = Literal["text", "binary"]


class OwnError(Exception):
    """An error of the block's own."""


@dataclass(frozen=True)
class Setting:
    """How the session and its peer are made, and how the block is left."""

    carrier: str
    capacity: int
    bite: int
    answers_pings: bool
    answers_close: bool
    #: When it has read a close frame, it is silent for so long each time before it says one thing more; then it answers.
    talk: tuple[float, ...]
    queue_size: int
    close_timeout: float
    grace: float
    keepalive: float | None
    drain: bool
    leave: str
    #: How often other tasks may run between two steps.
    turns: int


@dataclass(eq=False)
class Call:
    """One call: when it began and when it returned, in ticks of the run, and what it sent or received."""

    name: str
    scope: trio.CancelScope
    began: int
    message: str | bytes = ""
    returned: float = math.inf


@dataclass
class Raised:
    """What a call raised, and when."""

    tick: int
    at: float
    call: str
    error: WebSocketException


@dataclass
class Run:
    """One program, as it runs, and what is known of it afterwards."""

    setting: Setting
    ws: WebSocketSession = field(init=False)
    peer: SimulatedPeer = field(init=False)
    transport: SimulatedTransport | StreamTransport = field(init=False)
    tasks: trio.Nursery = field(init=False)
    calls: list[Call] = field(default_factory=list)
    #: The calls that have not returned.
    waiting: list[Call] = field(default_factory=list)
    raised: list[Raised] = field(default_factory=list)
    scopes: list[trio.CancelScope] = field(default_factory=list)
    #: What was cancelled, and when.
    cancelled: dict[trio.CancelScope, float] = field(default_factory=dict)
    #: The close codes of our own closes, the block's included.
    closes: list[int] = field(default_factory=list)
    #: Some message may be received in parts, and is not held to the limit.
    takes_parts: bool = False
    #: A task is in the block of a message that it sends in parts.
    in_parts: bool = False
    stalled_once: bool = False
    #: When the peer first did what no peer may do, or broke off.
    trouble_at: float = math.inf
    #: When it was last seen that messages are queued, or one was received: reading may have paused until then.
    paused_at: float = 0
    #: When it was first seen that nothing can be sent any more, and that this is a failure.
    closed_since: float = math.inf
    failed_since: float = math.inf
    #: What left the block, one by one.
    out_of_block: list[BaseException] = field(default_factory=list)
    #: How the block was left; empty if the session's failure cancelled it.
    left: str = ""
    left_at: float = math.inf
    left_tick: float = math.inf
    over_at: float = math.inf
    #: The session had failed when the block was left.
    failed: bool = False
    #: Every message that arrived was asked for.
    drained: bool = False
    ticks: int = 0
    number: int = 0

    @property
    def connection_closed(self) -> bool:
        return self.transport.is_closed

    def tick(self) -> int:
        self.ticks += 1
        return self.ticks

    def message(self, kind: str, size: int) -> str | bytes:
        """A message unlike all others, of about so many bytes."""
        self.number += 1
        message = f"{self.number}:".ljust(size, "\u00e4" if size % 2 else "x")
        return message if kind == "text" else message.encode()

    @property
    def sends(self) -> list[Call]:
        return [call for call in self.calls if call.name == "send"]

    @property
    def received(self) -> list[Call]:
        """The calls of ``receive()`` that returned."""
        return [call for call in self.calls if call.name == "receive" and call.returned < math.inf]

    # -- steps: calls --------------------------------------------------------------------------

    def _start(self, calls: Callable[[trio.CancelScope], Awaitable[None]]) -> None:
        """Make calls in a task of their own, which may be cancelled."""
        scope = trio.CancelScope()
        self.scopes.append(scope)

        async def task() -> None:
            with scope:
                await calls(scope)

        self.tasks.start_soon(task)

    async def _make(
        self, scope: trio.CancelScope, name: str, function: Callable[[], Awaitable[Any]], message: str | bytes = ""
    ) -> Any:
        """As :meth:`_call`; ``None`` if it raises an error of the session's."""
        try:
            return await self._call(scope, name, function, message)
        except WebSocketException:
            return None

    async def _call(
        self, scope: trio.CancelScope, name: str, function: Callable[[], Awaitable[Any]], message: str | bytes = ""
    ) -> Any:
        """Make one call and note what comes of it."""
        call = Call(name, scope, self.tick(), message)
        self.calls.append(call)
        self.waiting.append(call)
        try:
            result = await function()
        except WebSocketException as exc:
            self.raised.append(Raised(self.tick(), trio.current_time(), name, exc))
            raise
        finally:
            self.waiting.remove(call)
        call.returned = self.tick()
        if name == "receive":
            call.message = result
            self.paused_at = trio.current_time()
        return result

    async def send(self, kind: Kind, size: int, count: int) -> None:
        async def calls(scope: trio.CancelScope) -> None:
            for _ in range(min(count, 1 + 200_000 // size)):
                message = self.message(kind, size)
                await self._make(scope, "send", partial(self.ws.send, message), message)

        self._start(calls)

    async def send_in_parts(self, kind: Kind, size: int, part: int, pause: float, count: int) -> None:
        async def calls(scope: trio.CancelScope) -> None:
            for _ in range(count):
                call = Call("send", scope, self.tick(), self.message(kind, size))
                self.calls.append(call)
                with contextlib.suppress(WebSocketException):
                    await self._send_parts(call, self.ws.send_stream(kind), max(part, size // 50), pause)
                    call.returned = self.tick()

        self._start(calls)

    async def _send_parts(self, call: Call, block: MessageWriter, size: int, pause: float) -> None:
        """Send a message in parts of that size, so far apart."""
        await self._call(call.scope, "begin", block.__aenter__)
        self.in_parts, taken = True, False
        try:
            for start in range(0, len(call.message), size):
                await self._call(call.scope, "part", partial(block.send, call.message[start : start + size]))
                taken = True
                await trio.sleep(pause)
        except BaseException as exc:
            if taken and not self.ws.closed:
                self.closes.append(1001)
            await block.__aexit__(type(exc), exc, None)
            raise
        else:
            await self._call(call.scope, "end", partial(block.__aexit__, None, None, None))
        finally:
            self.in_parts = False

    async def receive(self, count: int) -> None:
        async def calls(scope: trio.CancelScope) -> None:
            for _ in range(count):
                await self._make(scope, "receive", self.ws.receive)

        self._start(calls)

    async def receive_in_parts(self, count: int) -> None:
        async def one() -> str | bytes:
            async with self.ws.receive_stream() as message:
                # Once it is entered, the rest would be skipped, which the model knows nothing of.
                with trio.CancelScope(shield=True):
                    parts: list[Any] = [part async for part in message]
            whole: str | bytes = ("" if message.kind == "text" else b"").join(parts)
            return whole

        async def calls(scope: trio.CancelScope) -> None:
            for _ in range(count):
                await self._make(scope, "receive", one)

        self._start(calls)

    async def ping(self, *, wait: bool) -> None:
        async def calls(scope: trio.CancelScope) -> None:
            began = trio.current_time()
            waiter = await self._make(scope, "ping", self.ws.ping)
            if wait and waiter is not None:
                round_trip = await self._make(scope, "round trip", waiter.wait)
                if round_trip is not None:
                    assert self.setting.answers_pings
                    assert 0 <= round_trip <= trio.current_time() - began

        self._start(calls)

    async def pong(self) -> None:
        async def calls(scope: trio.CancelScope) -> None:
            await self._make(scope, "pong", partial(self.ws.pong, b"unasked"))

        self._start(calls)

    async def wait_closed(self) -> None:
        async def calls(scope: trio.CancelScope) -> None:
            await self._make(scope, "wait_closed", self.ws.wait_closed)

        self._start(calls)

    async def close(self, code: int) -> None:
        async def calls(scope: trio.CancelScope) -> None:
            await trio.lowlevel.checkpoint()
            self.closes.append(code)
            await self._make(scope, "close", partial(self.ws.close, code))

        self._start(calls)

    async def cancel(self, which: int, turns: int) -> None:
        """Cancel a task that waits, or one that has just been started, so many turns later."""

        async def cancel() -> None:
            await self.turn(turns)
            scopes = [call.scope for call in self.waiting] or self.scopes[-1:]
            if self.peer.in_a_message and any(call.name == "receive" for call in self.waiting):
                return  # who receives in parts has a shield, until the end of a message that does not come
            if scopes:
                scope = scopes[which % len(scopes)]
                self.cancelled.setdefault(scope, trio.current_time())
                scope.cancel()

        self.tasks.start_soon(cancel)

    # -- steps: the peer -----------------------------------------------------------------------

    async def peer_says(self, kind: str, size: int, fragments: int, count: int, *, ping_between: bool) -> None:
        for _ in range(min(count, 1 + 50_000 // size)):
            self.peer.say(self.message(kind, size), fragments, ping_between=ping_between)

    async def peer_says_half(self, size: int) -> None:
        """The rest of the message never comes."""
        self._trouble()
        self.peer.say_half(f"{self.number}:".ljust(size))

    async def peer_pings(self) -> None:
        self.number += 1
        self.peer.ping(str(self.number).encode())

    async def peer_pongs(self) -> None:
        self.peer.pong(b"unasked")

    async def peer_closes(self, code: int) -> None:
        self.peer.close(code)

    async def peer_violates(self, name: str) -> None:
        if name == "too big" and self.takes_parts:
            return  # whether it is depends on who waits for it
        self._trouble()
        self.peer.violate(name)

    async def peer_drops(self) -> None:
        self._trouble()
        await self.peer.drop()

    async def peer_deafens(self) -> None:
        self._trouble()
        self.peer.deafen()

    def _trouble(self) -> None:
        self.trouble_at = min(self.trouble_at, trio.current_time())

    async def peer_stalls(self) -> None:
        self.stalled_once = True
        self.peer.stall()

    async def peer_resumes(self) -> None:
        self.peer.resume()

    # -- steps: time ---------------------------------------------------------------------------

    async def turn(self, count: int) -> None:
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    async def settle(self) -> None:
        await trio.testing.wait_all_tasks_blocked()
        check_progress(self)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
        await self.settle()

    # -- the whole -----------------------------------------------------------------------------

    async def run(self, program: Sequence[Step]) -> None:
        """Run ``program``. Whatever hangs is cut off by a deadline on the mock clock, and fails."""
        transport = (
            StreamTransport(self.setting.capacity)
            if self.setting.carrier == "stream"
            else SimulatedTransport(self.setting.carrier, self.setting.capacity)
        )
        self.transport = transport
        client = httpx2.AsyncClient(transport=transport, trust_env=False)
        self.takes_parts = any(name == "receive_in_parts" for name, _ in program)
        with trio.fail_after(100_000):
            async with client, trio.open_nursery() as peers, trio.open_nursery() as self.tasks:
                self.peer = SimulatedPeer(
                    transport.peer_end,
                    bite=self.setting.bite,
                    answers_pings=self.setting.answers_pings,
                    answers_close=self.setting.answers_close,
                    talk=self.setting.talk,
                )
                transport.start(peers)
                peers.start_soon(self.peer.write)
                peers.start_soon(self.peer.read)
                try:
                    await self._block(client, program)
                except* (OwnError, WebSocketException) as group:
                    self.out_of_block.extend(leaves(group))
                self.over_at = trio.current_time()
                assert self.connection_closed, "the connection is still open"
                self.peer.resume()
                await trio.testing.wait_all_tasks_blocked()
                assert not self.waiting, f"the block is over; these wait: {self.waiting}"
                peers.cancel_scope.cancel()
                await self.peer.stream.aclose()

    async def _block(self, client: httpx2.AsyncClient, program: Sequence[Step]) -> None:
        setting = self.setting
        with trio.CancelScope() as block:
            async with open_websocket(
                client,
                "ws://model/",
                max_message_size_bytes=MAX_MESSAGE,
                queue_size=setting.queue_size,
                close_timeout_seconds=setting.close_timeout,
                failure_grace_seconds=setting.grace,
                keepalive_ping_interval_seconds=setting.keepalive,
                keepalive_ping_timeout_seconds=setting.keepalive,
            ) as self.ws:
                for name, arguments in program:
                    with trio.fail_after(20):
                        await getattr(self, name)(**arguments)
                        await self.turn(setting.turns)
                await self.settle()
                if setting.drain and not self.closes:
                    await self._drain()
                await self._leave(block)

    async def _drain(self) -> None:
        """Receive all there is."""
        self.peer.resume()
        while not self.drained:
            message = None
            with trio.move_on_after(1) as patience:
                message = await self._make(patience, "receive", self.ws.receive)
            self.drained = message is None

    async def _leave(self, block: trio.CancelScope) -> None:
        """Leave the block. If the session's failure has cancelled it, this is not reached."""
        await self.settle()
        self.left_at, self.left_tick = trio.current_time(), self.tick()
        self.left = self.setting.leave
        self.closes.append({"normal": 1000, "error": 1011, "cancel": 1001}[self.left])
        if self.left == "error":
            raise OwnError
        if self.left == "cancel":
            block.cancel()
            await trio.lowlevel.checkpoint()


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The exceptions in a group and in the groups in it."""
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from leaves(exc)
        else:
            yield exc
