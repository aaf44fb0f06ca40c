"""Sessions that end in every way: which are opened again, and when; on trio and on asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

import httpx2_trio_ws.anyio
from httpx2_trio_ws import WebSocketDisconnect, WebSocketException, WebSocketNetworkError, WebSocketProtocolError
from httpx2_trio_ws.reconnect import RetryPolicy
from tests.asgi.support import both_loops

from .support import (
    LONGEST,
    URL,
    Always,
    close,
    collect,
    deaf,
    drop,
    half_a_message,
    hello,
    leaves,
    play,
    reconnect,
    reset,
    reset_in_a_message,
    stay,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio.testing

    from httpx2_trio_ws.testing import ScriptedPeer

    Handler = Callable[[ScriptedPeer], Awaitable[None]]


# -- the peer's end --------------------------------------------------------------------------------


@both_loops
async def test_1000_ends_the_loop() -> None:
    async with play(hello) as server:
        assert await collect(server) == ["hello"]


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 1014])
@both_loops
async def test_close_codes_that_are_retried(code: int) -> None:
    async with play(close(code), hello) as server:
        assert await collect(server) == [str(code), "hello"]
        assert server.times == [0, 1]


@both_loops
async def test_a_close_without_a_code_is_as_1000() -> None:
    async def no_code(peer: ScriptedPeer) -> None:
        await peer.send("hello")
        await peer.send_raw(b"\x88\x00")

    async with play(no_code) as server:
        assert await collect(server) == ["hello"]
    async with play(no_code, hello) as server:
        policy = RetryPolicy(close_codes=RetryPolicy().close_codes | {1005})
        assert await collect(server, policy=policy) == ["hello", "hello"]


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 3000, 3999, 4000, 4999])
@both_loops
async def test_close_codes_that_are_not(code: int) -> None:
    async def part(peer: ScriptedPeer) -> None:
        await peer.close(code)

    async with play(part) as server:
        with pytest.raises(ExceptionGroup) as caught:
            await collect(server)
    (error,) = leaves(caught.value)
    assert isinstance(error, WebSocketDisconnect)
    assert error.code == code


@pytest.mark.parametrize("part", [drop, reset, half_a_message, reset_in_a_message])
@both_loops
async def test_lost_connections_are_retried(part: Handler) -> None:
    async with play(part, part, hello) as server:
        assert await collect(server) == ["hello"]
        assert server.times == [0, 1, 3]


@both_loops
async def test_keepalive_timeouts_are_retried() -> None:
    async with play(deaf, hello) as server:
        assert await collect(server) == ["hello"]
        assert server.times == [0, 41]  # 20 s of silence, 20 s for an answer


@pytest.mark.parametrize(("raw", "code"), [(b"\xc1\x00", 1002), (b"\x81\x01\xff", 1007), (b"\x81\x05hello", 1009)])
@both_loops
async def test_a_broken_protocol_is_not_retried(raw: bytes, code: int) -> None:
    async def part(peer: ScriptedPeer) -> None:
        await peer.send_raw(raw)
        await peer.wait_closed()

    async with play(part) as server:
        with pytest.raises(ExceptionGroup) as caught:
            await collect(server, max_message_size_bytes=4)
    (error,) = leaves(caught.value)
    assert isinstance(error, WebSocketProtocolError)
    assert error.code == code


@both_loops
async def test_a_failure_that_no_call_has_told() -> None:
    """The nursery tells it, when its grace is over."""
    async with play(drop, stay) as server:
        for connection in reconnect(server):
            async with connection:
                await anyio.sleep(100)
        assert server.times == [0, 6]


@both_loops
async def test_a_failure_told_in_several_tasks() -> None:
    async with play(drop, hello) as server:
        for connection in reconnect(server):
            async with connection as ws, anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(ws.wait_closed)
        assert server.times == [0, 1]


@both_loops
async def test_a_sending_call_tells_of_the_peers_close() -> None:
    async with play(close(1012), stay) as server:
        for connection in reconnect(server):
            async with connection as ws:
                await anyio.sleep(2)
                await ws.send("hello")
        assert server.times == [0, 3]


@pytest.mark.parametrize("read_on", [True, False])
@both_loops
async def test_a_failed_write_before_the_peers_close_has_been_read(*, read_on: bool) -> None:
    async def part(peer: ScriptedPeer) -> None:
        for number in range(5):
            await peer.send(str(number))
        await peer.send_close(1001)
        await peer.drop()

    async with play(part, stay) as server:
        for connection in reconnect(server, queue_size=1):
            async with connection as ws:
                await anyio.sleep(1)
                try:
                    await ws.send("hello")
                except WebSocketNetworkError:
                    if read_on:
                        async for _ in ws:
                            pass
                    assert ws.close_code == (1001 if read_on else None)
                    raise
        assert server.times == [0, 2]


async def test_the_anyio_face_on_trio(autojump_clock: trio.testing.MockClock) -> None:
    async with play(drop, hello) as server:
        messages = []
        for connection in httpx2_trio_ws.anyio.reconnect(server.client, URL, backoff=LONGEST):
            async with connection as ws:
                async for message in ws:
                    messages.append(message)
        assert messages == ["hello"]
        assert server.times == [0, 1]


# -- leaving the block normally --------------------------------------------------------------------


@both_loops
async def test_leaving_an_open_session_ends_the_loop() -> None:
    async with play(close(1001), stay) as server:
        turns = 0
        for connection in reconnect(server):
            turns += 1
            async with connection as ws:
                async for message in ws:
                    if message == "hello":
                        break
        assert turns == 2
    assert server.peers[-1].close_code == 1000


@both_loops
async def test_closing_the_session_ends_the_loop() -> None:
    """Also with a code that is retried where the peer sends it; this peer echoes it."""
    for policy in (RetryPolicy(), Always()):
        async with play(stay) as server:
            for connection in reconnect(server, policy=policy):
                async with connection as ws:
                    await ws.close(1001, "we are going")
                    assert ws.close_code == 1001


@both_loops
async def test_break_and_return_end_the_loop() -> None:
    async with play(close(1001)) as server:
        for connection in reconnect(server):
            async with connection as ws:
                async for _ in ws:
                    pass
                break
    async with play(drop) as server:
        for connection in reconnect(server):
            async with connection:
                break  # the session's failure is swallowed


@both_loops
async def test_leaving_normally_after_an_end_that_was_caught() -> None:
    async with play(close(1012), drop, close(4000)) as server:
        codes = []
        for connection in reconnect(server):
            async with connection as ws:
                try:
                    while True:
                        await ws.receive()
                except WebSocketException:
                    codes.append(ws.close_code)
        assert codes == [1012, 1006, 4000]
        assert server.times == [0, 1, 3]


# -- attempts, and sessions that last --------------------------------------------------------------


@both_loops
async def test_the_row_of_failures_ends_with_a_session_that_lasts() -> None:
    async with play(drop, drop, close(1012, after=59.9), close(1012, after=60), drop, hello) as server:
        await collect(server)
        assert server.times == [0, 1, 3, 3 + 59.9 + 4, 66.9 + 60 + 1, 127.9 + 2]


@both_loops
async def test_the_last_attempts_error_comes_out() -> None:
    async with play(drop, drop, drop) as server:
        with pytest.raises(ExceptionGroup) as caught:
            await collect(server, max_attempts=3)
        assert server.times == [0, 1, 3]
    (error,) = leaves(caught.value)
    assert isinstance(error, WebSocketNetworkError)


@both_loops
async def test_attempts_are_counted_anew_after_a_session_that_lasts() -> None:
    async with play(drop, close(1012, after=60), close(1012)) as server:
        with pytest.raises(ExceptionGroup):
            await collect(server, max_attempts=2)


@both_loops
async def test_1001_comes_out_where_no_attempt_is_left() -> None:
    """Though `async for` takes it for an end, so that no call has raised it."""
    async with play(close(1001)) as server:
        with pytest.raises(ExceptionGroup) as caught:
            await collect(server, max_attempts=1)
    (error,) = leaves(caught.value)
    assert isinstance(error, WebSocketDisconnect)
    assert error.code == 1001
