"""What blocks raise, `on_connect`, and policies of the user's own; on trio and on asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from httpx2_trio_ws import (
    CloseCode,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketInvalidTypeReceived,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
    WebSocketSession,
    WebSocketUpgradeError,
)
from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.reconnect import RetryPolicy
from tests.asgi.support import both_loops

from .support import (
    Always,
    close,
    collect,
    deaf,
    drop,
    hello,
    leaves,
    play,
    reconnect,
    stay,
)

if TYPE_CHECKING:
    import trio.testing

    from httpx2_trio_ws.testing import ScriptedPeer


# -- errors of the block's own ---------------------------------------------------------------------


@both_loops
async def test_an_error_of_the_blocks_own_comes_out_as_it_is() -> None:
    own = ValueError("mine")
    async with play(stay) as server:
        with pytest.raises(ExceptionGroup) as caught:
            for connection in reconnect(server):
                async with connection:
                    raise own
    assert leaves(caught.value) == [own]
    assert server.peers[0].close_code == 1011


@both_loops
async def test_beside_an_error_of_the_blocks_own_nothing_is_swallowed() -> None:
    own = ValueError("mine")

    async def fail() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise own

    async with play(drop) as server:
        with pytest.raises(ExceptionGroup) as caught:
            for connection in reconnect(server):
                async with connection as ws, anyio.create_task_group() as tasks:
                    tasks.start_soon(fail)
                    await ws.receive()
    assert {type(error) for error in leaves(caught.value)} == {ValueError, WebSocketNetworkError}


async def test_ctrl_c_comes_out_without_what_would_be_retried(autojump_clock: trio.testing.MockClock) -> None:
    async def interrupted() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyboardInterrupt

    async with play(drop) as server:
        with pytest.raises(BaseExceptionGroup) as caught:
            for connection in reconnect(server):
                async with connection as ws, anyio.create_task_group() as tasks:
                    tasks.start_soon(interrupted)
                    await ws.receive()
    assert [type(error) for error in leaves(caught.value)] == [KeyboardInterrupt]


@both_loops
async def test_the_type_of_a_message_is_the_blocks_own_matter() -> None:
    """Also where the session has ended since."""
    async with play(close(1001)) as server:
        with pytest.raises(ExceptionGroup) as caught:
            for connection in reconnect(server):
                async with connection as ws:
                    await anyio.sleep(1)
                    await ws.receive_bytes()
    (error,) = leaves(caught.value)
    assert isinstance(error, WebSocketInvalidTypeReceived)


@both_loops
async def test_the_end_of_another_session_is_an_error_of_the_blocks_own() -> None:
    async with play(stay) as server, play(drop) as downstream:
        with pytest.raises(ExceptionGroup) as caught:
            for connection in reconnect(server):
                async with connection, open_websocket(downstream.client, "/") as other:
                    await other.receive()
    (error,) = leaves(caught.value)
    assert isinstance(error, WebSocketNetworkError)


@both_loops
async def test_an_error_that_is_caught_in_the_loop_does_not_end_it() -> None:
    async with play(stay, stay, hello) as server:
        texts = []
        for connection in reconnect(server, max_attempts=1):
            try:
                async with connection as ws:
                    texts.append(await ws.receive())
                    if len(texts) < 3:
                        raise ValueError
            except* ValueError:
                pass
        assert texts == ["hello"] * 3
        assert server.times == [0, 1, 3]


@both_loops
async def test_failures_that_come_out_may_be_caught_as_well() -> None:
    async with play(404, drop, drop, hello) as server:
        caught = 0
        for connection in reconnect(server, max_attempts=1):
            try:
                async with connection as ws:
                    async for _ in ws:
                        pass
            except* (WebSocketUpgradeError, WebSocketNetworkError):
                caught += 1
        assert caught == 3
        assert server.times == [0, 1, 3, 7]


@both_loops
async def test_a_session_that_is_cut_off_on_purpose() -> None:
    """A new one each hour, say: a cancellation inside the loop does not end it, and is no failure."""
    async with play(stay, stay, hello) as server:
        for connection in reconnect(server):
            with anyio.move_on_after(3600):
                async with connection as ws:
                    async for _ in ws:
                        pass
        assert server.times == [0, 3600, 7200]


# -- on_connect ------------------------------------------------------------------------------------


@both_loops
async def test_on_connect_is_called_with_each_session() -> None:
    async def part(peer: ScriptedPeer) -> None:
        subscriptions.append(await peer.receive())
        await peer.close(1001 if len(subscriptions) < 3 else 1000)

    async def subscribe(ws: WebSocketSession) -> None:
        await ws.send("prices")

    subscriptions: list[str | bytes] = []
    async with play(part, part, part) as server:
        await collect(server, on_connect=subscribe)
    assert subscriptions == ["prices"] * 3


@both_loops
async def test_what_ends_the_session_in_on_connect_is_retried() -> None:
    async def log_in(ws: WebSocketSession) -> None:
        assert await ws.receive() == "hello"

    async with play(drop, close_at_once, hello) as server:
        assert await collect(server, on_connect=log_in) == []
        assert server.times == [0, 1, 3]


async def close_at_once(peer: ScriptedPeer) -> None:
    await peer.close(1013)


@both_loops
async def test_errors_of_on_connects_own_come_out() -> None:
    own = ValueError("mine")

    async def fail(ws: WebSocketSession) -> None:
        raise own

    async with play(stay) as server:
        with pytest.raises(ExceptionGroup) as caught:
            await collect(server, on_connect=fail)
    assert leaves(caught.value) == [own]
    assert server.peers[0].close_code == 1011


@both_loops
async def test_on_connect_is_cancelled() -> None:
    async def hang(ws: WebSocketSession) -> None:
        await anyio.sleep_forever()

    async with play(stay) as server:
        with anyio.move_on_after(10) as scope:
            await collect(server, on_connect=hang)
        assert scope.cancelled_caught
        assert anyio.current_time() - server.began == pytest.approx(10, abs=0.01)


# -- policies --------------------------------------------------------------------------------------


@both_loops
async def test_other_close_codes() -> None:
    """1000, too: a feed that is not to end."""
    policy = RetryPolicy(close_codes=RetryPolicy().close_codes | {CloseCode.NORMAL_CLOSURE, 4000})
    async with play(hello, close(4000), stay) as server:
        with anyio.move_on_after(10):
            await collect(server, policy=policy)
        assert server.times == [0, 1, 3]


@both_loops
async def test_lost_connections_may_be_left_alone() -> None:
    async with play(deaf) as server:
        with pytest.raises(ExceptionGroup) as caught:
            await collect(server, policy=RetryPolicy(close_codes=frozenset({1001})))
    (error,) = leaves(caught.value)
    assert isinstance(error, WebSocketKeepaliveTimeout)


@both_loops
async def test_a_policy_is_asked_what_ended_the_session() -> None:
    class Mine(RetryPolicy):
        def retry_session(self, error: WebSocketException) -> bool:
            asked.append(error)
            return True

    async def bad_frame(peer: ScriptedPeer) -> None:
        await peer.send_raw(b"\xc1\x00")
        await peer.wait_closed()

    asked: list[Any] = []
    async with play(close(1001), bad_frame, drop, close(1008), stay) as server:
        with anyio.move_on_after(20):
            await collect(server, policy=Mine())
    assert [type(error) for error in asked] == [
        *(WebSocketDisconnect, WebSocketProtocolError, WebSocketNetworkError, WebSocketDisconnect)
    ]
    assert [getattr(error, "code", None) for error in asked] == [1001, 1002, None, 1008]


class StaleError(Exception):
    pass


class UnlessStale(RetryPolicy):
    def retry_block(self, error: Exception) -> bool:
        return isinstance(error, StaleError)


@both_loops
async def test_errors_of_the_blocks_own_may_be_retried() -> None:
    async with play(stay, hello) as server:
        for connection in reconnect(server, policy=UnlessStale()):
            async with connection as ws:
                async for _ in ws:
                    if len(server.times) == 1:
                        raise StaleError
        assert server.times == [0, 1]


@both_loops
async def test_our_own_close_is_no_end_of_the_session_for_a_policy() -> None:
    async with play(stay) as server:
        with pytest.raises(ExceptionGroup) as caught:
            for connection in reconnect(server, policy=Always()):
                async with connection as ws:
                    await ws.close()
                    await ws.receive()
    (error,) = leaves(caught.value)
    assert isinstance(error, WebSocketClosedError)


# -- ordinary requests in the block ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (httpx2.ConnectError("refused"), True),
        (httpx2.ReadTimeout("late"), True),
        (httpx2.PoolTimeout("full"), False),
        (httpx2.UnsupportedProtocol("ftp"), False),
        (503, True),
        (404, False),
        (KeyError("own"), False),
    ],
)
@both_loops
async def test_errors_of_requests_may_be_worth_another_attempt(error: Exception | int, retried: bool) -> None:
    if isinstance(error, int):
        response = httpx2.Response(error, request=httpx2.Request("GET", "https://x/"))
        error = httpx2.HTTPStatusError("no", request=response.request, response=response)
    for policy, again in ((RetryPolicy(retry_requests=True), retried), (RetryPolicy(), False)):
        sessions = 0
        async with play(stay, *([stay] if again else [])) as server:
            try:
                for connection in reconnect(server, policy=policy):
                    async with connection as ws:
                        sessions += 1
                        await ws.receive()
                        if sessions == 1:
                            raise error
            except* type(error):
                assert not again
        assert sessions == (2 if again else 1)


@both_loops
async def test_the_retry_after_of_a_requests_answer_is_waited_for() -> None:
    async with play(stay, stay) as server:
        response = httpx2.Response(503, headers={"Retry-After": "100"}, request=httpx2.Request("GET", "https://x/"))
        for connection in reconnect(server, policy=RetryPolicy(retry_requests=True)):
            async with connection:
                if len(server.times) == 1:
                    response.raise_for_status()
        assert server.times == [0, 101]


def test_retry_requests_is_a_bool() -> None:
    with pytest.raises(TypeError, match="retry_requests must be a bool"):
        RetryPolicy(retry_requests=1)  # type: ignore[arg-type]
