"""Every public operation, cancelled at each of its checkpoints, leaves the session sound or the connection dropped.

Each test runs one operation again and again: cancelled before its first checkpoint, at its first, at its second, and so
on until it completes. "turn" counts the steps of all tasks instead, the session's loops and the server's included, so
that the cancellation also comes in the middle of a wait.

The clock is a mock one that stands still, so that nothing is prompt because a timeout was. Only where a stalled peer
keeps everything waiting does it go on, to the next deadline.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio
import trio.testing

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketException,
    WebSocketSession,
    WebSocketUpgradeError,
    connect_websocket,
    open_websocket,
)

from .checkpoints import Canceller, Leftovers, fail_if_still, own_steps
from .paced import BUFFER, RemotePeer, Server, paced_client, paced_server

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Generator

    import httpx2

LARGE = "large" * 30_000
CLOSE_TIMEOUT = 30
# A session that is dropped says goodbye to a stalled peer for 0.1 s, and has 0.1 s for closing the connection.
FAREWELL = 0.2


class Setting(NamedTuple):
    """What all cases of one test have in common."""

    name: str
    pace: str
    server_context: ssl.SSLContext | None
    http2: bool
    clock: trio.testing.MockClock


class Case:
    """One operation, cancelled once: what was called, and what came of it."""

    def __init__(
        self, setting: Setting, server: Server, client: httpx2.AsyncClient, canceller: Canceller, nursery: trio.Nursery
    ) -> None:
        self.setting = setting
        self.name = setting.name
        self.server = server
        self.client = client
        self.canceller = canceller
        self.nursery = nursery
        self.calls: list[str] = []
        self.returned: set[str] = set()
        self.said: list[str] = []
        self.received: list[str | bytes] = []
        #: The session was open to the end and left in peace: nothing may be missing.
        self.sound = False
        self.options: Any = {"close_timeout_seconds": CLOSE_TIMEOUT, "compression": None}

    @property
    def peer(self) -> RemotePeer:
        return self.server.peers[0]

    @contextlib.contextmanager
    def operation(self) -> Generator[None]:
        """What is done in this block is cancelled; the canceller's scope is around it."""
        self.canceller.start()
        if self.server.pace == "stalled":
            self.nursery.start_soon(self.canceller.watch, self.setting.clock)
        try:
            yield
        finally:
            self.canceller.stop()

    async def send(self, ws: WebSocketSession, *messages: str) -> None:
        for message in messages:
            self.calls.append(message)
            await ws.send(message)
            self.returned.add(message)

    async def receive(self, ws: WebSocketSession, count: int = 1) -> None:
        for _ in range(count):
            self.received.append(await ws.receive())

    async def say(self, *messages: str) -> None:
        self.said.extend(messages)
        await self.peer.say(*messages)

    async def send_in_vain(self, ws: WebSocketSession, *messages: str) -> None:
        """Send in another task, during whose wait the session may be closed."""
        with contextlib.suppress(WebSocketClosedError):
            await self.send(ws, *messages)

    def judge(self) -> None:
        """The promises of sending and receiving."""
        assert self.received == self.said[: len(self.received)]
        for peer in self.server.peers:
            places = [self.calls.index(message) for message in peer.texts]
            assert places == sorted(set(places)), "in the order of the calls, none twice"
            if self.sound:
                assert peer.end == "closed"
                assert self.returned <= set(peer.texts)
                assert self.received == self.said
            elif peer.end == "half a frame":
                cut_off = [message for message in self.calls if message.encode().startswith(peer.cut_off)]
                assert any(len(message) > BUFFER for message in cut_off), "what fits goes out whole, or not at all"
            if places and not self.sound:
                assert self.returned & set(self.calls[: places[-1]]) <= set(peer.texts), "none missing in between"


async def use(case: Case, ws: WebSocketSession) -> None:
    """The session works both ways, or every call raises at once what ended it."""
    case.server.release()
    await trio.testing.wait_all_tasks_blocked()  # until the server has said what it was to say
    if ws.closed:
        while ws.statistics().queued_messages:  # what had arrived when the session was cancelled
            await case.receive(ws)
        errors = set()
        for call in (ws.receive, ws.ping, lambda: ws.send("too late"), ws.receive):

            async def refused(call: Callable[[], Awaitable[object]] = call) -> None:
                with pytest.raises(WebSocketException) as caught:
                    await call()
                errors.add(caught.type)

            assert await own_steps(refused()) <= 2
        assert errors == {WebSocketClosedError}
        return
    await case.say("last")
    while "last" not in case.received:
        await case.receive(ws)
    await case.send(ws, "after")
    await (await ws.ping())


# -- operations on an open session ---------------------------------------------------------------


async def send_small(case: Case, ws: WebSocketSession) -> None:
    await case.send(ws, "small")


async def send_burst(case: Case, ws: WebSocketSession) -> None:
    await case.send(ws, *(f"burst {number}" for number in range(70)))


async def send_large(case: Case, ws: WebSocketSession) -> None:
    await case.send(ws, LARGE)


async def send_after_large(case: Case, ws: WebSocketSession) -> None:
    await trio.testing.wait_all_tasks_blocked()  # until the other task's large message fills the way
    await case.send(ws, "behind it")


async def receive(case: Case, ws: WebSocketSession) -> None:
    await case.receive(ws, 3)


async def receive_many(case: Case, ws: WebSocketSession) -> None:
    await case.receive(ws, 70)


async def ping(case: Case, ws: WebSocketSession) -> None:
    await ws.ping()


async def ping_and_wait(case: Case, ws: WebSocketSession) -> None:
    assert await (await ws.ping()) >= 0


async def ping_past_burst(case: Case, ws: WebSocketSession) -> None:
    await trio.testing.wait_all_tasks_blocked()  # until the other task's messages fill the way
    await ws.ping()


async def pong(case: Case, ws: WebSocketSession) -> None:
    await ws.pong()


async def close(case: Case, ws: WebSocketSession) -> None:
    await ws.close()


OPERATIONS = {
    operation.__name__: operation
    for operation in (
        send_small,
        send_burst,
        send_large,
        send_after_large,
        receive,
        receive_many,
        ping,
        ping_and_wait,
        ping_past_burst,
        pong,
        close,
    )
}


async def run_operation(case: Case, pace: str) -> None:
    """Open a session, cancel one operation in it, use what is left, leave."""
    name, nursery = case.name, case.nursery
    async with open_websocket(case.client, case.server.url, **case.options) as ws:
        await case.peer.upgraded.wait()
        await case.send(ws, "first")
        await case.say("early")
        if name == "receive_many":
            await case.say(*map(str, range(66)))
            await trio.testing.wait_all_tasks_blocked()
        case.server.pace = pace
        if name in ("send_after_large", "close"):
            nursery.start_soon(case.send_in_vain, ws, LARGE)
        if name == "ping_past_burst":
            nursery.start_soon(case.send_in_vain, ws, *(f"{number}".ljust(8000) for number in range(16)))
        if name.startswith("receive"):
            nursery.start_soon(case.say, "two", "three", "four")
        with case.canceller.scope, case.operation():
            await OPERATIONS[name](case, ws)
        assert ws.closed == (name == "close"), "only close() ends the session"
        case.sound = not ws.closed or not (case.canceller.scope.cancel_called or pace == "stalled")
        await use(case, ws)
        if name == "close":
            case.said = case.said[: len(case.received)]  # those not received are discarded


async def run_opening(case: Case, pace: str) -> None:
    case.server.pace = pace
    with case.canceller.scope, contextlib.ExitStack() as operation:
        operation.enter_context(case.operation())
        async with open_websocket(case.client, case.server.url, **case.options) as ws:
            operation.close()
            await use(case, ws)
    case.sound = not case.canceller.scope.cancelled_caught


async def run_refused(case: Case, pace: str) -> None:
    case.server.pace = pace
    case.server.refuses = True
    with case.canceller.scope, case.operation(), pytest.raises(WebSocketUpgradeError, match="403"):
        async with open_websocket(case.client, case.server.url, **case.options):
            raise AssertionError


async def run_connecting(case: Case, pace: str) -> None:
    case.server.pace = pace
    ws: WebSocketSession | None = None
    async with trio.open_nursery() as nursery:
        with case.canceller.scope, case.operation():
            ws = await connect_websocket(nursery, case.client, case.server.url, **case.options)
        if ws is not None:
            await use(case, ws)
            case.sound = True
            await ws.aclose()


class _OwnError(Exception):
    """An error of the block's own."""


async def run_leaving(case: Case, pace: str) -> None:
    """Leave the block while messages wait to be sent and to be received."""
    own = trio.CancelScope()
    caught: list[BaseException] = []
    left: list[WebSocketSession] = []
    try:
        with case.canceller.scope, own, contextlib.ExitStack() as operation:
            async with open_websocket(case.client, case.server.url, **case.options) as ws:
                left.append(ws)
                await case.peer.upgraded.wait()
                await case.say("not received")
                case.server.pace = pace
                for messages in ([LARGE], [f"burst {number}" for number in range(10)]):
                    case.nursery.start_soon(case.send_in_vain, ws, *messages)
                    await trio.lowlevel.checkpoint()
                operation.enter_context(case.operation())
                if case.name == "leave_by_error":
                    raise _OwnError
                if case.name == "leave_by_cancellation":
                    own.cancel()
                    await trio.lowlevel.checkpoint()
    except* _OwnError as group:
        caught.extend(group.exceptions)
    assert len(caught) == (case.name == "leave_by_error"), "an error of the block's own always comes out"
    case.sound = not case.canceller.scope.cancel_called and not own.cancel_called and pace != "stalled"
    await use(case, left[0])
    case.said = case.said[: len(case.received)]  # those not received are discarded


RUNS: dict[str, Callable[[Case, str], Awaitable[None]]] = {
    **dict.fromkeys(OPERATIONS, run_operation),
    "open": run_opening,
    "open_refused": run_refused,
    "connect": run_connecting,
    **dict.fromkeys(("leave", "leave_by_error", "leave_by_cancellation"), run_leaving),
}
# What ends by itself however much the peer stalls.
BOUNDED = ("close", "leave", "leave_by_error")


def longest(name: str, canceller: Canceller) -> float:
    """How many seconds an operation may wait for a stalled peer, from its cancellation on."""
    if canceller.scope.cancel_called or name not in BOUNDED:
        return FAREWELL if name in (*BOUNDED, "leave_by_cancellation") else 0
    return CLOSE_TIMEOUT + FAREWELL


async def run_case(setting: Setting, client: httpx2.AsyncClient, canceller: Canceller) -> None:
    # A server for each case: if the opening was cancelled, there may be a connection that is not accepted yet.
    async with paced_server(setting.server_context, http2=setting.http2) as server, trio.open_nursery() as nursery:
        nursery.start_soon(fail_if_still)
        case = Case(setting, server, client, canceller, nursery)
        await RUNS[setting.name](case, setting.pace)
        server.release()
        await server.wait_idle()
        nursery.cancel_scope.cancel()
    if setting.http2:
        transport: Any = client._transport
        while transport._pool is not None and transport._pool._ending:  # the connection ends with its server
            await trio.lowlevel.checkpoint()
    assert canceller.seconds <= longest(setting.name, canceller)
    case.judge()


@pytest.mark.parametrize("count", ["checkpoint", "turn"])
@pytest.mark.parametrize("pace", ["fast", "slow", "stalled"])
@pytest.mark.parametrize("carrier", ["tcp", "tls", "http2"])
@pytest.mark.parametrize("name", RUNS)
async def test_cancelled_at_each(
    mock_clock: trio.testing.MockClock,
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    name: str,
    carrier: str,
    pace: str,
    count: str,
) -> None:
    server_context, client_context = (None, None) if carrier == "tcp" else tls
    setting = Setting(name, pace, server_context, carrier == "http2", mock_clock)
    async with paced_client(client_context, http2=setting.http2) as client:
        leftovers = Leftovers()
        at = cuts = 0
        while True:
            canceller = Canceller(at, any_task=count == "turn")
            await run_case(setting, client, canceller)
            leftovers.check(client)
            cuts += canceller.scope.cancelled_caught
            if canceller.still or not canceller.scope.cancel_called:
                break
            # One by one. The turns of all tasks may be many; then the later ones are sampled.
            at += 1 if count == "checkpoint" or at < 24 else at // 2
        if canceller.still and name in BOUNDED:
            await run_case(setting, client, Canceller(math.inf))
            leftovers.check(client)
    assert cuts
