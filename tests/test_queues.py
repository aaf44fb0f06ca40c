"""The inbox and the outbox where the loop's events behave as asyncio's may: woken and cancelled in one breath."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketDisconnect
from httpx2_trio_ws._carriers._base import LARGE_READ
from httpx2_trio_ws._core._watermarks import HIGH_WATER, LARGEST, MAX_SIZE
from httpx2_trio_ws._protocol import BINARY, Connection
from httpx2_trio_ws._runtime._trio import TRIO, TrioRuntime
from httpx2_trio_ws._session._inbox import Inbox
from httpx2_trio_ws._session._outbox import Outbox

from .memory import CLOSE, PING, PONG, close_frame, frame, memory_session, text
from .protocol._reference import unmask

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2_trio_ws._runtime import Event, Runtime


class Struck(BaseException):
    """A cancellation that comes although the event was set."""


class _Event:
    """An event whose first waiter, once woken, is struck down."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> object:
        return self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()
        raise Struck


class EdgeRuntime(TrioRuntime):
    """trio, but the first event made is an :class:`_Event`."""

    def __init__(self, skip: int) -> None:
        made = 0

        def event() -> Any:
            nonlocal made
            made += 1
            return _Event() if made == skip + 1 else trio.Event()

        self.event: Callable[[], Event] = event


async def struck(call: Callable[[], Any]) -> None:
    with pytest.raises(Struck):
        await call()


async def test_a_message_handed_to_a_struck_receiver_goes_to_the_next() -> None:
    inbox = Inbox(EdgeRuntime(0), Connection(), 10)
    got: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(struck, inbox.wait_message)
        await trio.testing.wait_all_tasks_blocked()

        @nursery.start_soon
        async def second() -> None:
            got.append(await inbox.wait_message())

        await trio.testing.wait_all_tasks_blocked()
        inbox.put(["a"], 1)
    assert got == ["a"]


async def test_a_message_handed_to_a_struck_receiver_goes_back_to_the_front() -> None:
    inbox = Inbox(EdgeRuntime(0), Connection(), 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(struck, inbox.wait_message)
        await trio.testing.wait_all_tasks_blocked()
        inbox.put(["a", "b"], 2)
    assert list(inbox.messages) == ["a", "b"]


async def test_a_receiver_struck_when_the_session_ends() -> None:
    inbox = Inbox(EdgeRuntime(0), Connection(), 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(struck, inbox.wait_message)
        await trio.testing.wait_all_tasks_blocked()
        inbox.wake()
    assert inbox.room == 10


async def test_the_turn_of_a_struck_sender_goes_to_the_next() -> None:
    outbox = Outbox(EdgeRuntime(0), Connection())
    outbox.add_frame(b"x" * (HIGH_WATER + 1))
    admitted: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(struck, outbox.wait_turn)
        await trio.testing.wait_all_tasks_blocked()

        @nursery.start_soon
        async def second() -> None:
            await outbox.wait_turn()
            admitted.append("second")

        await trio.testing.wait_all_tasks_blocked()
        data = outbox.take()
        assert data is not None
        assert outbox.must_wait
        outbox.wrote(len(data))
    assert admitted == ["second"]
    assert not outbox.must_wait


@pytest.mark.parametrize(
    ("messages", "room", "resume_at"),
    [
        ([], 10, 0),
        (["x"] * 9, 1, 5),
        (["x"] * 10, 0, 5),
        ([b"x" * MAX_SIZE], 0, 0),
        (["x" * (MAX_SIZE // 4)] * 4, 0, 1),
        (["\U0001f600" * (MAX_SIZE // 8)], 9, 0),
        (["\U0001f600" * (MAX_SIZE // 4)], 0, 0),  # a character may take four bytes
        (["x" * MAX_SIZE, "x"], 0, 1),
    ],
)
async def test_the_inbox_is_full_by_count_or_by_size(messages: list[Any], room: int, resume_at: int) -> None:
    inbox = Inbox(TRIO, Connection(), 10)
    inbox.put(messages, sum(len(each.encode()) if isinstance(each, str) else len(each) for each in messages))
    assert inbox.room == room
    assert not inbox.is_paused
    inbox.pause()
    assert inbox.resume_at == resume_at


async def test_a_ping_and_a_close_right_behind_a_full_queue_are_answered(autojump_clock: object) -> None:
    async with memory_session(queue_size=2, compression=None) as (ws, peer):
        await peer.send(text("1"), text("2"), frame(PING, b"p"))
        assert await peer.receive() == (PONG, b"p")
        await peer.send(frame(PING, b"q"))  # likewise in a read of its own
        assert await peer.receive() == (PONG, b"q")
        await peer.send(close_frame(4000))
        assert (await peer.receive()).opcode == CLOSE
        assert [await ws.receive(), await ws.receive()] == ["1", "2"]
        with pytest.raises(WebSocketDisconnect):
            await ws.receive()
        await peer.aclose()


async def test_admitted_senders_follow_one_another_while_there_is_room() -> None:
    runtime: Runtime = TRIO
    outbox = Outbox(runtime, Connection())
    outbox.add_frame(b"x" * (HIGH_WATER + 1))
    order: list[int] = []
    wire = b""
    async with trio.open_nursery() as nursery:

        async def send(number: int) -> None:
            await outbox.wait_turn((bytes([number]) * 30_000, BINARY))
            order.append(number)

        for number in range(5):
            nursery.start_soon(send, number)
            await trio.testing.wait_all_tasks_blocked()
        assert order == []
        while len(order) < 5:
            data = outbox.take()
            assert data is not None
            wire += data
            outbox.wrote(len(data))
            assert outbox.size <= HIGH_WATER + 30_020
            await trio.testing.wait_all_tasks_blocked()
    wire += outbox.take() or b""
    assert [payload[0] for _, payload in unmask(wire[HIGH_WATER + 1 :])] == sorted(order) == [0, 1, 2, 3, 4]


async def test_control_frames_part_a_batch_at_a_frames_end() -> None:
    """The batch was written just up to a frame's end: control frames go at once, and the rest after them."""
    outbox = Outbox(TRIO, Connection())

    def taken() -> bytes:
        data = outbox.take()
        assert data is not None
        return bytes(data)

    for made in (b"aa", b"bb", b"cc"):
        outbox.add_frame(made)
    assert taken() == b"aabbcc"
    outbox.wrote(2)
    outbox.push_control(b"!")
    assert taken() == b"!"
    outbox.wrote(1)
    assert taken() == b"bbcc"
    outbox.wrote(1)
    outbox.push_control(b"?")
    assert taken() == b"b"
    assert not outbox.between_frames
    outbox.wrote(1)
    assert taken() == b"?"
    outbox.wrote(1)
    assert taken() == b"cc"
    outbox.wrote(2)
    assert outbox.take() is None
    assert outbox.is_empty
    assert outbox.size == 0


async def test_the_size_of_the_inbox_is_counted_anew_when_it_comes_to_the_limit() -> None:
    inbox = Inbox(TRIO, Connection(), 10)
    for _ in range(20):
        inbox.put(["x" * (MAX_SIZE // 3)], MAX_SIZE // 3)
        assert inbox.room == 9
        inbox.messages.clear()
    inbox.put(["x" * MAX_SIZE], MAX_SIZE)
    assert inbox.room == 0


async def test_the_size_of_the_inbox_is_not_counted_while_it_is_emptied() -> None:
    """Of what one read brings, even if each byte might become a character of four."""
    inbox = Inbox(TRIO, Connection(), 5000)
    for _ in range(20):
        inbox.put(["x" * 100] * (LARGE_READ // 102), LARGE_READ)
        assert inbox.room
        assert inbox._size_at_most == LARGE_READ * LARGEST
        inbox.messages.clear()
        assert inbox.room == 5000


async def test_all_that_wait_for_control_frames_to_go_are_woken() -> None:
    outbox = Outbox(TRIO, Connection())
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            outbox.push_control(b"!")
            nursery.start_soon(outbox.wait_control)
            nursery.start_soon(outbox.wait_control)
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 2
            data = outbox.take()
            assert data is not None
            outbox.wrote(len(data))
            await trio.testing.wait_all_tasks_blocked()
            assert not nursery.child_tasks


async def test_senders_that_once_waited_are_a_burst_again(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0

    async with memory_session(stalling=True, compression=None) as (ws, peer):
        write = ws._engine.carrier.write

        async def counted(data: memoryview) -> int:
            nonlocal writes
            writes += 1
            written: int = await write(data)
            return written

        async def send() -> None:
            for _ in range(500):
                await ws.send("x" * 500)

        monkeypatch.setattr(ws._engine.carrier, "write", counted)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(send)
            for _ in range(1000):
                await peer.receive()
        assert writes < 300, "a write for each of 1,000 messages; a peer that is slow is given little at a time"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.answer_close)
            await ws.close()
