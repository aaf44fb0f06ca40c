"""How a session fails: told once, where someone listens, and never lost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketNetworkError,
    WebSocketProtocolError,
    connect_websocket,
)
from httpx2_trio_ws._session._inbox import Inbox

from .memory import CLOSE, PING, TEXT, close_frame, frame, memory_client, memory_session, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BAD = bytes((0x83, 0))  # a reserved opcode


async def expect(error: type[Exception], call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(error):
        await call()


async def test_messages_before_a_failure_come_first_and_then_every_call_raises_it(autojump_clock: object) -> None:
    async with memory_session() as (ws, peer):
        await peer.send(text("a"), text("b"))
        await peer.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert [await ws.receive(), await ws.receive()] == ["a", "b"]
        for call in (ws.receive, ws.receive_text, ws.__anext__, ws.ping, ws.pong, ws.wait_closed):
            await expect(WebSocketNetworkError, call)
            await expect(trio.BrokenResourceError, call)
        await expect(WebSocketNetworkError, lambda: ws.send("x"))
        await ws.close()  # closing never raises
        await expect(WebSocketNetworkError, ws.receive)  # and does not hide the failure
        await trio.sleep(10)  # it has been told, so the nursery is left in peace


async def test_every_waiting_task_is_told(autojump_clock: object) -> None:
    async with memory_session(stalling=True) as (ws, peer), trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            await ws.send("x" * 100_000)  # on the wire for ever
        waiter = await ws.ping()
        for call in (ws.receive, ws.receive, waiter.wait, ws.wait_closed, lambda: ws.send("y"), lambda: ws.send("z")):
            nursery.start_soon(expect, WebSocketNetworkError, call)
        await trio.testing.wait_all_tasks_blocked()
        await peer.aclose()


async def test_tracebacks_do_not_pile_up_on_one_exception(autojump_clock: object) -> None:
    async with memory_session() as (ws, peer):
        await peer.aclose()
        raised = []
        for _ in range(2):
            with pytest.raises(WebSocketNetworkError) as caught:
                await ws.receive()
            raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert str(raised[0]) == str(raised[1])


@pytest.mark.parametrize(("grace", "raised_after"), [(5, 5), (0, 0), (2.5, 2.5)])
async def test_an_untold_failure_is_raised_when_the_grace_is_over(
    autojump_clock: object, grace: float, raised_after: float
) -> None:
    start = trio.current_time()
    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session(failure_grace_seconds=grace) as (_, peer):
            await peer.aclose()
            await trio.sleep(60)
    assert trio.current_time() - start == pytest.approx(raised_after)
    assert caught.group_contains(WebSocketNetworkError, depth=1)
    assert len(caught.value.exceptions) == 1


async def test_with_an_infinite_grace_it_is_raised_where_the_block_is_left(autojump_clock: object) -> None:
    start = trio.current_time()
    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session(failure_grace_seconds=math.inf) as (_, peer):
            await peer.aclose()
            await trio.sleep(1000)
    assert trio.current_time() - start == 1000
    assert caught.group_contains(WebSocketNetworkError, depth=1)


async def test_an_untold_failure_is_raised_beside_the_blocks_own_error(autojump_clock: object) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session() as (_, peer):
            await peer.aclose()
            await trio.testing.wait_all_tasks_blocked()
            raise KeyError("mine")
    assert caught.group_contains(KeyError, depth=1)
    assert caught.group_contains(WebSocketNetworkError, depth=1)


async def test_an_untold_failure_survives_a_cancellation(autojump_clock: object) -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.move_on_after(1):
        async with memory_session() as (_, peer):
            await peer.aclose()
            await trio.sleep_forever()
    assert caught.group_contains(WebSocketNetworkError)


async def test_a_told_failure_is_not_raised_again() -> None:
    async with memory_session() as (ws, peer):
        await peer.aclose()
        await expect(WebSocketNetworkError, ws.receive)


async def test_errors_of_the_block_come_out_in_a_group_like_a_nurserys(autojump_clock: object) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session(close_timeout_seconds=1) as (_, peer):
            raise KeyError("mine")
    assert [type(exc) for exc in caught.value.exceptions] == [KeyError]
    frames = await peer.frames()
    assert frames == [(CLOSE, (1011).to_bytes(2))]


BROKEN = [
    pytest.param(BAD, 1002, id="reserved opcode"),
    pytest.param(frame(TEXT, b"\xff"), 1007, id="bad UTF-8"),
    pytest.param(frame(TEXT, b"x" * 101), 1009, id="too big"),
    pytest.param(frame(PING, b"p", fin=False), 1002, id="fragmented ping"),
]


@pytest.mark.parametrize(("raw", "code"), BROKEN)
async def test_a_peer_that_breaks_the_protocol_is_told(autojump_clock: object, raw: bytes, code: int) -> None:
    async with memory_session(max_message_size_bytes=100) as (ws, peer):
        await peer.send(text("before"), raw, text("after"))
        assert await ws.receive() == "before"
        with pytest.raises(WebSocketProtocolError, match=f": {code} ") as caught:
            await ws.receive()
        assert caught.value.code == code
        assert ws.close_code == 1006
        opcode, payload = await peer.receive()
        assert (opcode, int.from_bytes(payload[:2])) == (CLOSE, code)
        await peer.aclose()


@pytest.mark.parametrize("grace", [0, 3])
async def test_a_broken_protocol_is_raised_after_the_grace_and_the_peer_told_all_the_same(
    autojump_clock: object, grace: float
) -> None:
    start = trio.current_time()
    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session(failure_grace_seconds=grace) as (_, peer):
            await peer.send(BAD)
            await trio.sleep(60)
    assert trio.current_time() - start == pytest.approx(grace)
    assert caught.group_contains(WebSocketProtocolError, depth=1)
    assert int.from_bytes((await peer.receive()).payload[:2]) == 1002


async def test_a_failure_in_a_nursery_of_the_users(autojump_clock: object) -> None:
    async with memory_client() as (client, peers):
        start = trio.current_time()
        with pytest.raises(ExceptionGroup) as caught:
            async with trio.open_nursery() as nursery:
                await connect_websocket(nursery, client, "ws://memory", failure_grace_seconds=2)
                await (await peers.receive()).aclose()
                await trio.sleep(60)
        assert caught.group_contains(WebSocketNetworkError, depth=1)
        assert trio.current_time() - start == pytest.approx(2)


async def test_a_cancelled_nursery_of_the_users_ends_its_sessions(autojump_clock: object) -> None:
    async with memory_client() as (client, peers):
        async with trio.open_nursery() as nursery:
            ws = await connect_websocket(nursery, client, "ws://memory")
            nursery.cancel_scope.cancel()
        for call in (ws.receive, lambda: ws.send("x"), ws.ping):
            with pytest.raises(WebSocketClosedError, match="cancelled"):
                await call()
        peer = await peers.receive()
        assert await peer.frames() == [(CLOSE, (1001).to_bytes(2))]


async def test_a_failed_write_does_not_lose_what_has_arrived(autojump_clock: object) -> None:
    """The peer stops reading for good, but has sent messages: they are handed out, then the failure."""
    async with memory_session(close_timeout_seconds=2) as (ws, peer):
        await peer.send(text("a"), text("b"))
        assert isinstance(peer.stream, trio.StapledStream)
        await peer.stream.receive_stream.aclose()  # our writes fail, our reads do not
        start = trio.current_time()
        for _ in range(2):
            with pytest.raises(WebSocketNetworkError, match="lost while sending"):
                await ws.send("x")
        assert [await ws.receive(), await ws.receive()] == ["a", "b"]
        await peer.send(text("c"))
        assert await ws.receive() == "c"
        await expect(WebSocketNetworkError, ws.receive)
        assert trio.current_time() - start == pytest.approx(1)  # not longer than this, if nothing more comes


async def test_a_failed_write_waits_for_a_slow_consumer(autojump_clock: object) -> None:
    async with memory_session(queue_size=1, close_timeout_seconds=2) as (ws, peer):
        await peer.send(text("a"), text("b"))
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(peer.stream, trio.StapledStream)
        await peer.stream.receive_stream.aclose()
        await expect(WebSocketNetworkError, lambda: ws.send("x"))
        await trio.sleep(10)
        assert [await ws.receive(), await ws.receive()] == ["a", "b"]
        await expect(WebSocketNetworkError, ws.receive)


async def test_a_ping_meets_the_failed_write(autojump_clock: object) -> None:
    """The send loop, not a caller, finds that the peer is gone."""
    async with memory_session(close_timeout_seconds=2, failure_grace_seconds=1) as (ws, peer):
        assert isinstance(peer.stream, trio.StapledStream)
        await peer.stream.receive_stream.aclose()
        waiter = await ws.ping()
        await expect(WebSocketNetworkError, waiter.wait)


async def test_an_error_of_ours_in_a_loop_ends_the_session_and_is_not_swallowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Inbox, "put", broken)
    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session() as (ws, peer):
            await peer.send(text("x"))
            await expect(WebSocketException, ws.receive)
    assert caught.group_contains(ZeroDivisionError)


async def test_a_close_that_cannot_be_answered_is_a_close_all_the_same(autojump_clock: object) -> None:
    async with memory_session() as (ws, peer):
        assert isinstance(peer.stream, trio.StapledStream)
        await peer.stream.receive_stream.aclose()
        await peer.send(close_frame(1000, "bye"))
        await expect(WebSocketDisconnect, ws.receive)
        await expect(WebSocketDisconnect, lambda: ws.send("x"))
    assert ws.close_code == 1000
