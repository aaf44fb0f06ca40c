"""Plays every scenario of the table against a real session."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
import tracemalloc
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio
import trio.testing

import httpx2_trio_ws
from httpx2_trio_ws import WebSocketDisconnect, WebSocketException, WebSocketNetworkError, WebSocketSession
from httpx2_trio_ws import open_websocket as open_session
from tests.http2.stream_end import StreamEnd, StreamTransport
from tests.memory import Frame, Peer, accept_key, memory_client
from tests.servers import read_request, tcp_server

from .render import MARKER, PAGE, THEMES, table
from .scenario import CLOSE, PING, PONG, Act, Does, Drip, Pause, Repeat, Scenario, Script, Step, switch

if TYPE_CHECKING:
    from collections.abc import Callable

SCENARIOS = [scenario for theme in THEMES.values() for scenario in theme]
# Time stands still in memory while anything can run, so there a play may take so many real seconds.
REAL_SECONDS = 20
_GONE = (EOFError, trio.BrokenResourceError, trio.ClosedResourceError)


# -- the server --------------------------------------------------------------------------------


@dataclass
class Heard:
    """What the server got."""

    frames: list[Frame] = field(default_factory=list)
    frame: trio.Event = field(default_factory=trio.Event)
    close: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    rest: str = ""

    @property
    def codes(self) -> list[int]:
        """The codes of close frames, 1005 for an empty one."""
        payloads = [f.payload for f in self.frames if f.opcode == CLOSE]
        return [int.from_bytes(payload[:2]) if payload else 1005 for payload in payloads]


async def listen(peer: Peer, heard: Heard) -> None:
    """Read until the end."""
    try:
        while True:
            heard.frames.append(await peer.receive())
            heard.frame.set()
            if heard.frames[-1].opcode == CLOSE:
                heard.close.set()
    except EOFError as exc:
        heard.rest = str(exc)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        for event in (heard.frame, heard.close, heard.ended):
            event.set()


async def perform(step: Step, peer: Peer, heard: Heard) -> None:
    match step:
        case bytes():
            await peer.send(step)
        case Repeat(data, None):
            while True:
                await peer.send(data * (65536 // len(data) or 1))
        case Repeat(data, int(times)):
            await peer.send(data * times)
        case Drip(data, seconds):
            for n in range(len(data)):
                await peer.send(data[n : n + 1])
                await trio.sleep(seconds)
        case Pause(seconds):
            await trio.sleep(seconds)
        case Act():
            await act(step, peer, heard)


async def act(step: Act, peer: Peer, heard: Heard) -> None:
    match step:
        case Act.HANG_UP:
            await peer.aclose()
        case Act.HALF_CLOSE:
            assert isinstance(peer.stream, trio.abc.HalfCloseableStream)
            await peer.stream.send_eof()
        case Act.RESET if isinstance(peer.stream, StreamEnd):
            peer.stream.reset()
            await peer.aclose()
        case Act.RESET:
            assert isinstance(peer.stream, trio.SocketStream)
            peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.stream.socket.close()
        case Act.SETTLE:
            await trio.testing.wait_all_tasks_blocked(0.01)
        case Act.SILENCE:
            await trio.sleep_forever()
        case Act.AWAIT_FRAME:
            await heard.frame.wait()
        case Act.AWAIT_CLOSE:
            await heard.close.wait()


async def serve(script: Script, peer: Peer, heard: Heard, *, reads: bool) -> None:
    """Play a script, and close as a good server does unless the script has done so."""
    async with trio.open_nursery() as nursery:
        if reads:
            nursery.start_soon(listen, peer, heard)
        with contextlib.suppress(*_GONE):
            for step in script:
                await perform(step, peer, heard)
            await heard.close.wait()
            await peer.send(*(bytes((0x88, len(f.payload))) + f.payload for f in heard.frames if f.opcode == CLOSE))
            await peer.aclose()


def fill(script: Script, key: str) -> Script:
    """Put what belongs to the request into a script."""
    accept = accept_key(key)
    names = {
        b"{accept}": accept,
        b"{key}": key,
        b"{swapcase}": accept.swapcase(),
        b"{other}": accept_key("other"),
        b"{noise}": "\xff\xfe",
    }

    def filled(data: bytes) -> bytes:
        for name, value in names.items():
            data = data.replace(name, value.encode("latin-1"))
        return data

    return tuple(
        filled(step)
        if isinstance(step, bytes)
        else Drip(filled(step.data), step.seconds)
        if isinstance(step, Drip)
        else step
        for step in script
    )


# -- the client --------------------------------------------------------------------------------


@dataclass
class Seen:
    """What the application saw."""

    messages: list[str | bytes] = field(default_factory=list)
    error: Exception | None = None
    session: WebSocketSession | None = None
    cancelled: bool = False


async def use(ws: WebSocketSession, scenario: Scenario, seen: Seen) -> None:
    """Do what the application does in its block."""
    match scenario.does:
        case Does.RECEIVES:
            endless = scenario.outcome.error is not None or scenario.patience is not None
            while endless or len(seen.messages) < len(scenario.outcome.messages):
                seen.messages.append(await ws.receive())
        case Does.STREAMS:
            while scenario.outcome.error is not None or len(seen.messages) < max(1, len(scenario.outcome.messages)):
                async with ws.receive_stream() as message:
                    seen.messages.append(str(sum([len(part) async for part in message])))
        case Does.SENDS:
            while True:
                await ws.send(b"x" * 65536)
        case Does.CLOSES:
            await ws.close()
            await ws.send("closed")
        case Does.PINGS:
            await (await ws.ping())
        case Does.SLEEPS:
            await trio.sleep_forever()


async def drive(client: httpx2.AsyncClient, url: str, scenario: Scenario) -> Seen:
    """Open a session, use it and leave it."""
    seen = Seen()
    try:
        with trio.fail_after(scenario.seconds), trio.CancelScope() as block:
            if scenario.limit is not None:
                block.deadline = trio.current_time() + scenario.limit
            async with open_session(client, url, **scenario.options) as ws:
                seen.session = ws
                with trio.CancelScope() as call:
                    if scenario.patience is not None:
                        call.deadline = trio.current_time() + scenario.patience
                    try:
                        await use(ws, scenario, seen)
                    except WebSocketException as exc:
                        seen.error = exc
                seen.cancelled = call.cancelled_caught
        seen.cancelled |= block.cancelled_caught
    except (WebSocketException, httpx2.HTTPError) as exc:  # the handshake
        seen.error = exc
    except ExceptionGroup as group:  # what no call has told
        [seen.error] = group.exceptions
    return seen


# -- the judgement -----------------------------------------------------------------------------


def public_type(error: Exception | None) -> type | None:
    """The class of an error, or of a private one its nearest public base."""
    if error is None:
        return None
    return next(
        cls for cls in type(error).__mro__ if cls.__module__ == "httpx2" or cls.__name__ in httpx2_trio_ws.__all__
    )


def judge(scenario: Scenario, seen: Seen, heard: Heard) -> None:
    """Compare with the table, and with what holds in all of it."""
    wanted = scenario.outcome
    assert tuple(seen.messages) == wanted.messages
    assert public_type(seen.error) is wanted.error, seen.error
    assert getattr(seen.error, "code", None) == wanted.code, seen.error
    assert scenario.says in str(seen.error)
    assert seen.cancelled == (scenario.patience is not None or scenario.limit is not None)
    if scenario.body is not None:
        assert len(getattr(seen.error, "response").content) == scenario.body  # noqa: B009 (of any error)
    assert heard.codes == ([] if scenario.code is None else [scenario.code])
    pongs = tuple(f.payload for f in heard.frames if f.opcode == PONG)
    assert scenario.pongs is None or pongs == scenario.pongs
    assert {f.opcode for f in heard.frames} <= {CLOSE, PING, PONG} or scenario.does is Does.SENDS
    # Half a frame is left only where the connection is given up.
    given_up = scenario.limit is not None or isinstance(seen.error, WebSocketNetworkError)
    assert given_up or not heard.rest or heard.rest.startswith("0 bytes"), heard.rest
    if seen.session is not None:
        assert seen.session.closed
        assert seen.session._engine.done.is_set()
        if isinstance(seen.error, WebSocketDisconnect):
            assert seen.session.close_code == seen.error.code
        if isinstance(seen.error, WebSocketNetworkError):
            assert seen.session.close_code == 1006


@contextlib.contextmanager
def bounded(memory: int | None) -> Any:
    """Fail if more than ``memory`` bytes are taken at any time."""
    if memory is None:
        yield
        return
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= memory


def plays(wanted: Callable[[Scenario], bool]) -> list[Any]:
    """Every script of the scenarios, as parameters."""
    return [
        pytest.param(
            scenario,
            script,
            id=f"{scenario.name}: {label}" if label else scenario.name,
            marks=pytest.mark.xfail(reason=scenario.defect, strict=True) if scenario.defect else (),
        )
        for scenario in SCENARIOS
        if wanted(scenario)
        for label, script in scenario.scripts.items()
    ]


@pytest.mark.parametrize(("scenario", "script"), plays(lambda scenario: scenario.tcp))
async def test_on_a_socket(client: httpx2.AsyncClient, scenario: Scenario, script: Script) -> None:
    heard = Heard()

    async def handler(stream: trio.SocketStream) -> None:
        _, headers = await read_request(stream)
        steps = script
        if not scenario.handshake:
            lines = [f"Sec-WebSocket-Extensions: {scenario.extensions}"] if scenario.extensions else []
            steps = (switch(*lines), *steps)
        await serve(fill(steps, headers["sec-websocket-key"]), Peer(stream), heard, reads=scenario.reads)

    async with tcp_server(handler) as address:
        with bounded(scenario.memory):
            seen = await drive(client, f"ws://{address}", scenario)
        if scenario.reads and seen.session is not None:  # a refusal may leave the connection to the pool
            with trio.fail_after(5):
                await heard.ended.wait()
    judge(scenario, seen, heard)
    assert "Connections: 0 active, " in repr(client._transport._pool)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("scenario", "script"), plays(lambda scenario: not scenario.tcp))
async def test_in_memory(autojump_clock: object, scenario: Scenario, script: Script) -> None:
    heard = Heard()
    began = time.monotonic()
    async with (
        memory_client(stalling=not scenario.reads, extensions=scenario.extensions) as (client, peers),
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def server() -> None:
            await serve(script, await peers.receive(), heard, reads=scenario.reads)

        with bounded(scenario.memory):
            seen = await drive(client, "ws://memory", scenario)
        if scenario.reads:
            with trio.fail_after(5):
                await heard.ended.wait()
        nursery.cancel_scope.cancel()
    judge(scenario, seen, heard)
    assert time.monotonic() - began < REAL_SECONDS


async def play_on_a_stream(scenario: Scenario, script: Script) -> None:
    heard = Heard()
    transport = StreamTransport(extensions=scenario.extensions)
    async with httpx2.AsyncClient(transport=transport) as client, trio.open_nursery() as nursery:
        transport.start(nursery)
        nursery.start_soon(partial(serve, script, Peer(transport.peer_end), heard, reads=scenario.reads))
        with bounded(scenario.memory):
            seen = await drive(client, "ws://memory", scenario)
        if scenario.reads:
            with trio.fail_after(5):
                await heard.ended.wait()
        assert transport.is_closed
        nursery.cancel_scope.cancel()
    judge(scenario, seen, heard)


@pytest.mark.parametrize(("scenario", "script"), plays(lambda scenario: scenario.tcp and not scenario.handshake))
async def test_on_a_stream_of_http2(scenario: Scenario, script: Script) -> None:
    await play_on_a_stream(scenario, script)


@pytest.mark.parametrize(("scenario", "script"), plays(lambda scenario: not scenario.tcp))
async def test_on_a_stream_of_http2_while_time_stands_still(
    autojump_clock: object, scenario: Scenario, script: Script
) -> None:
    await play_on_a_stream(scenario, script)


# -- the table itself --------------------------------------------------------------------------


def test_the_table_is_large_and_its_names_are_unique() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names) >= 80


@pytest.mark.parametrize("theme", THEMES)
def test_the_page_shows_the_table(theme: str) -> None:
    assert PAGE.read_text(encoding="utf-8").count(MARKER.format(theme)) == 1
    rows = table(theme).splitlines()[2:]
    assert len(rows) == len(THEMES[theme])
    for row, scenario in zip(rows, THEMES[theme], strict=True):
        assert scenario.name in row
        assert row.replace(r"\|", "").count("|") == 6
