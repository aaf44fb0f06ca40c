"""What a session tells of itself: to instruments, and to the log."""

from __future__ import annotations

import gc
import logging
import re
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
import trio.testing

import httpx2_trio_ws.anyio as on_any_loop
from httpx2_trio_ws import FrameInfo, Instrument, WebSocketNetworkError, connect_websocket, open_websocket
from httpx2_trio_ws._protocol import Connection
from httpx2_trio_ws.sync import open_websocket as open_blocking
from httpx2_trio_ws.testing import ScriptedPeer, memory_server

from .handshake_support import untouched
from .memory import BINARY, CLOSE, PING, PONG, TEXT, frame, memory_client, memory_session, text
from .servers import websocket_server as websocket_trio_server
from .sync.support import eventually, new_client, played, websocket_server
from .virtual_time import VIRTUAL, run_virtual

if TYPE_CHECKING:
    import httpx2

    from httpx2_trio_ws import Statistics, WebSocketException

each_loop = pytest.mark.parametrize("loop", VIRTUAL)


class Recorder(Instrument):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.sessions: set[int] = set()

    def _keep(self, session: Any, *what: Any) -> None:
        self.sessions.add(id(session))
        assert session.statistics().messages_sent >= 0
        self.told.append(what)

    def session_opened(self, session: Any) -> None:
        self._keep(session, "opened", session.response.status_code, session.closed)

    def frame_received(self, session: Any, frame: FrameInfo) -> None:
        self._keep(session, "<", int(frame.opcode), frame.payload)

    def frame_sent(self, session: Any, frame: FrameInfo) -> None:
        self._keep(session, ">", int(frame.opcode), frame.payload)

    def ping_answered(self, session: Any, round_trip: float) -> None:
        self._keep(session, "answered", round_trip == session.latency)

    def reading_paused(self, session: Any) -> None:
        self._keep(session, "paused", session.statistics().queued_messages)

    def reading_resumed(self, session: Any) -> None:
        self._keep(session, "resumed")

    def session_closed(self, session: Any, code: int, reason: str, failure: WebSocketException | None) -> None:
        self._keep(session, "closed", code, reason, failure, session.closed)


# -- instruments -----------------------------------------------------------------------------------

# What an instrument is told of the conversation that each kind of session has below.
CONVERSATION = [
    ("opened", 101, False),
    (">", TEXT, b"hello"),
    ("<", TEXT, b"one"),
    ("<", BINARY, b"two"),
    ("paused", 2),
    ("resumed",),
    ("<", TEXT, b"three"),
    (">", PING, b"p"),
    ("<", PONG, b"p"),
    ("answered", True),
    (">", TEXT, b"more"),
    ("<", PING, b"q"),
    (">", PONG, b"q"),
    ("<", TEXT, b"four"),
    (">", CLOSE, b"\x0b\xb8done"),
    ("<", CLOSE, b"\x0b\xb8done"),
    ("closed", 3000, "done", None, True),
]


def counted(statistics: Statistics) -> tuple[int, ...]:
    """Frames, pings and pongs of a conversation, sent and received."""
    s = statistics
    return s.frames_sent, s.frames_received, s.pings_sent, s.pings_received, s.pongs_sent, s.pongs_received


@each_loop
def test_an_instrument_is_told_everything_in_order(loop: str) -> None:
    recorder = Recorder()

    async def peer(peer: ScriptedPeer) -> None:
        assert await peer.receive() == "hello"
        await peer.send("one")
        await peer.send(b"two")
        await peer.send("three")  # does not fit
        assert await peer.receive() == "more"
        await peer.ping(b"q")
        await told(">", PONG, b"q")
        await peer.send("four")
        await peer.wait_closed()

    async def told(*what: Any) -> None:
        while recorder.told[-1] != what:  # noqa: ASYNC110 (the instrument may be told in any task)
            await anyio.sleep(0.01)

    async def main() -> None:
        async with (
            memory_server(peer) as client,
            on_any_loop.open_websocket(client, "ws://memory", queue_size=2, instruments=[recorder]) as ws,
        ):
            await ws.send("hello")
            await told("paused", 2)
            assert [await ws.receive(), await ws.receive()] == ["one", b"two"]
            await told("<", TEXT, b"three")
            await (await ws.ping(b"p"))
            await ws.send("more")
            assert [await ws.receive(), await ws.receive()] == ["three", "four"]
            await ws.close(3000, "done")
        assert counted(ws.statistics()) == (5, 7, 1, 1, 1, 1)

    run_virtual(loop, main)
    assert recorder.told == CONVERSATION
    assert len(recorder.sessions) == 1


def test_an_instrument_is_told_everything_of_a_blocking_session() -> None:
    recorder = Recorder()

    def script() -> None:
        assert peer.receive().payload == b"hello"
        peer.send(text("one"), frame(BINARY, b"two"), text("three"))
        assert peer.receive().payload == b"p"
        peer.send(frame(PONG, b"p"))
        assert peer.receive().payload == b"more"
        peer.send(frame(PING, b"q"), text("four"))
        peer.answer_close()

    with played(queue_size=2, instruments=[recorder]) as (ws, peer):
        peer.begin(script)
        ws.send("hello")
        eventually(lambda: recorder.told[-1] == ("paused", 2))
        assert [ws.receive(), ws.receive()] == ["one", b"two"]
        eventually(lambda: recorder.told[-1] == ("<", TEXT, b"three"))
        ws.ping(b"p").wait()
        eventually(lambda: recorder.told[-1][0] == "answered")
        ws.send("more")
        assert [ws.receive(), ws.receive()] == ["three", "four"]
        eventually(lambda: (">", PONG, b"q") in recorder.told)
        ws.close(3000, "done")
    assert counted(ws.statistics()) == (5, 7, 1, 1, 1, 1)
    # What came in one read is told of before what answers it.
    assert sorted(map(repr, recorder.told)) == sorted(map(repr, CONVERSATION))
    assert recorder.told[:11] == CONVERSATION[:11]
    assert recorder.told[-3:] == CONVERSATION[-3:]


async def test_a_failure_is_told(autojump_clock: object) -> None:
    recorder = Recorder()
    async with memory_session(instruments=[recorder]) as (ws, peer):
        await peer.aclose()
        with pytest.raises(WebSocketNetworkError):
            await ws.receive()
    kind, code, reason, failure, closed = recorder.told[-1]
    assert (kind, code, reason, closed) == ("closed", 1006, "", True)
    assert isinstance(failure, WebSocketNetworkError)


async def test_one_instrument_for_several_sessions(autojump_clock: object) -> None:
    recorder = Recorder()
    opened: list[object] = []  # kept, so that each has an id of its own
    async with memory_client() as (client, peers), trio.open_nursery() as nursery:
        for _ in range(3):
            ws = await connect_websocket(nursery, client, "ws://memory", instruments=[recorder])
            opened.append(ws)
            nursery.start_soon((await peers.receive()).answer_close)
            await ws.aclose()
    assert recorder.sessions == set(map(id, opened))
    assert [kind for kind, *_ in recorder.told] == ["opened", ">", "<", "closed"] * 3


class Faulty(Instrument):
    """Raises when it is told of its first frame."""

    def __init__(self) -> None:
        self.told = 0

    def frame_sent(self, session: Any, frame: FrameInfo) -> None:
        self.told += 1
        raise KeyError(frame.payload)

    def session_closed(self, *args: Any) -> None:
        raise AssertionError("it is told no more")


async def test_an_instrument_that_raises_is_left_out(autojump_clock: object, caplog: pytest.LogCaptureFixture) -> None:
    faulty, recorder = Faulty(), Recorder()
    async with memory_session(instruments=[faulty, recorder], close_timeout_seconds=0) as (ws, peer):
        await ws.send("one")
        await ws.send("two")
        assert [(await peer.receive()).payload, (await peer.receive()).payload] == [b"one", b"two"]
    assert faulty.told == 1
    assert recorder.told[1:3] == [(">", TEXT, b"one"), (">", TEXT, b"two")]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("httpx2_trio_ws.instruments", logging.ERROR)
    assert re.fullmatch(
        r"frame_sent\(\) of <.*Faulty.*> raised; it is not called for this session any more", record.message
    )
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


class SeesNoFrames(Instrument):
    def session_closed(self, *args: Any) -> None: ...


@pytest.mark.parametrize("instruments", [[], [SeesNoFrames()]])
async def test_frames_are_looked_at_only_where_someone_wants_them(
    autojump_clock: object, instruments: list[Instrument]
) -> None:
    async with memory_session(instruments=instruments, close_timeout_seconds=0) as (ws, _):
        assert type(ws._engine.connection) is Connection


async def test_a_session_with_an_instrument_is_freed_at_once(autojump_clock: object) -> None:
    gc.collect()
    gc.disable()
    try:
        async with memory_session(instruments=[Recorder()], close_timeout_seconds=0) as (ws, _):
            gone = weakref.ref(ws)
        del ws
        await trio.testing.wait_all_tasks_blocked()
        assert gone() is None
    finally:
        gc.enable()


async def test_instruments_are_checked() -> None:
    wrong: Any
    for wrong in ([Instrument], [None], [object()]):
        async with untouched() as client:
            with pytest.raises(TypeError, match=r"instruments must be Instrument objects, in a sequence, not \["):
                async with open_websocket(client, "ws://h", instruments=wrong):
                    raise AssertionError


# -- the log ---------------------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """The records of the package, with N for the connection's number."""
    records = [record for record in caplog.records if record.name.startswith("httpx2_trio_ws")]
    numbers = {record.connection_id for record in records}  # type: ignore[attr-defined]
    assert len(numbers) == 1
    prefix = f"#{numbers.pop()} "
    assert all(record.message.startswith(prefix) for record in records)
    return [
        (record.levelname, record.name.removeprefix("httpx2_trio_ws."), record.message.removeprefix(prefix))
        for record in records
    ]


async def secrets(*, ending: str = "close") -> None:
    """A session with something that should not be in a log."""
    async with memory_client() as (client, peers):
        url = "ws://user:password@memory/path?token=secret"
        async with open_websocket(client, url, queue_size=1, close_timeout_seconds=0.1) as ws:
            peer = await peers.receive()
            await ws.send("private" * 20)
            await ws.ping(b"p")
            await trio.testing.wait_all_tasks_blocked()  # frames are told of when they have left
            await peer.send(frame(PONG, b"p"), text("a"), text("b"))
            await trio.testing.wait_all_tasks_blocked()
            assert [await ws.receive(), await ws.receive()] == ["a", "b"]
            if ending == "close":
                await peer.close(1001, "secret")
            await peer.aclose()
            with pytest.raises(trio.EndOfChannel if ending == "close" else trio.BrokenResourceError):
                await ws.receive()


async def test_nothing_is_logged_by_default(caplog: pytest.LogCaptureFixture, autojump_clock: object) -> None:
    await secrets()
    await secrets(ending="loss")
    assert caplog.records == []
    assert [type(handler) for handler in logging.getLogger("httpx2_trio_ws").handlers] == [logging.NullHandler]


async def test_info_tells_of_sessions_and_nothing_private(
    caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    caplog.set_level(logging.INFO, "httpx2_trio_ws")
    await secrets()
    opened = ("INFO", "session", "opened ws://memory/path, subprotocol None")
    assert lines(caplog) == [opened, ("INFO", "session", "closed with 1001")]
    caplog.clear()
    await secrets(ending="loss")
    first, last = lines(caplog)
    assert first == opened
    assert last[2].startswith("failed: WebSocketNetworkError('the connection was lost")


async def test_debug_tells_of_frames_in_little_room(caplog: pytest.LogCaptureFixture, autojump_clock: object) -> None:
    caplog.set_level(logging.DEBUG, "httpx2_trio_ws")
    await secrets()
    assert lines(caplog) == [
        ("INFO", "session", "opened ws://memory/path, subprotocol None"),
        ("DEBUG", "frames", f"> TEXT '{'private' * 6 + 'privat'}'…'eprivate' (140 bytes)"),
        ("DEBUG", "frames", "> PING b'p' (1 bytes)"),
        ("DEBUG", "frames", "< PONG b'p' (1 bytes)"),
        ("DEBUG", "frames", "< TEXT 'a' (1 bytes)"),
        ("DEBUG", "session", "a ping was answered after 0.000000 s"),
        ("DEBUG", "session", "reading pauses: the queue is full"),
        ("DEBUG", "session", "reading goes on"),
        ("DEBUG", "frames", "< TEXT 'b' (1 bytes)"),
        ("DEBUG", "frames", "< CLOSE 1001 'secret' (8 bytes)"),
        ("DEBUG", "frames", "> CLOSE 1001 'secret' (8 bytes)"),
        ("INFO", "session", "closed with 1001"),
    ]


async def test_sessions_have_numbers_of_their_own(caplog: pytest.LogCaptureFixture, autojump_clock: object) -> None:
    caplog.set_level(logging.INFO, "httpx2_trio_ws")
    await secrets()
    await secrets()
    first, last = (record.connection_id for record in caplog.records if "opened" in record.message)  # type: ignore[attr-defined]
    assert last == first + 1


def test_a_blocking_session_logs_likewise(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "httpx2_trio_ws")
    with websocket_server() as url, new_client() as client, open_blocking(client, url, compression=None) as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    told = [line for _, _, line in lines(caplog)]
    assert told[0].startswith("opened ws://127.0.0.1:")
    assert told[1:3] == ["> TEXT 'hello' (5 bytes)", "< TEXT 'hello' (5 bytes)"]
    assert told[-3:] == ["> CLOSE 1000 '' (2 bytes)", "< CLOSE 1000 '' (2 bytes)", "closed with 1000"]


# -- the handshake -----------------------------------------------------------------------------------


async def test_the_trace_extension_tells_of_each_step_with_what_it_returned(client: httpx2.AsyncClient) -> None:
    steps: list[tuple[str, dict[str, Any]]] = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        steps.append((name, info))

    async with websocket_trio_server() as url, open_websocket(client, url, extensions={"trace": trace}) as ws:
        names = [name for name, _ in steps]
        started = [name.removesuffix(".started") for name in names if name.endswith(".started")]
        assert started[0] == "connection.connect_tcp"
        assert [name.removesuffix(".complete") for name in names if name.endswith(".complete")] == started
        (_, status, _, headers), *_ = (
            info["return_value"] for name, info in steps if name == "http11.receive_response_headers.complete"
        )
        assert (status, dict(headers)[b"Upgrade"]) == (101, b"websocket")
        told = len(steps)
        await ws.send("hello")
        assert await ws.receive() == "hello"
        assert len(steps) == told  # the session is none of httpx2's business
