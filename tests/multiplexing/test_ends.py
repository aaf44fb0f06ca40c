"""How a multiplexer ends: for good, when it is left, when it is closed; and what the functions it is given raise."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import pytest

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketInvalidTypeReceived,
    WebSocketNetworkError,
    WebSocketUpgradeError,
)
from tests.asgi.support import both_loops

from .support import Wire, by_id, closes, drop, echo, face, hears_and_drops, leaves, listen, says, serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@pytest.mark.parametrize("code", [1000, None, 4001])
@both_loops
async def test_what_ends_it_for_good_is_raised_by_every_call(code: int | None) -> None:
    async def ends(wire: Wire) -> None:
        await wire.get()
        await (wire.peer.send_raw(b"\x88\x00") if code is None else wire.peer.send_close(code))
        await wire.peer.wait_closed()

    async with serve(ends) as server, face().multiplex(server.source(), key=by_id) as mux, mux.subscribe("a") as feed:
        with pytest.raises(WebSocketDisconnect) as caught:
            await mux.request(1, {"id": 1})
        assert caught.value.code == (code or 1005)
        for call in (mux.receive, feed.receive, mux.wait_connected, lambda: mux.send(1)):
            with pytest.raises(WebSocketDisconnect) as caught:
                await call()
            assert caught.value.code == (code or 1005)
        with pytest.raises(WebSocketDisconnect):
            await mux.request(2, {"id": 2}, resend=True)
        with pytest.raises(WebSocketDisconnect):
            async with mux.subscribe("b", subscribe={}):
                pass
        for iterable in (mux, feed):
            if code == 4001:
                with pytest.raises(WebSocketDisconnect):
                    async for _ in iterable:
                        pass
            else:
                assert [message async for message in iterable] == []
    with pytest.raises(WebSocketClosedError):
        await mux.send(1)
    with pytest.raises(WebSocketClosedError):
        await mux.request(1, {})
    with pytest.raises(WebSocketClosedError):
        await mux.receive()


@both_loops
async def test_a_failure_for_good_that_nobody_tells_is_raised_after_the_grace() -> None:
    async with serve(closes(4001, after=0)) as server:
        began = anyio.current_time()
        with pytest.raises(ExceptionGroup) as caught:
            async with face().multiplex(server.source(), failure_grace_seconds=7):
                await anyio.sleep_forever()
        assert anyio.current_time() - began == 7
    assert [getattr(leaf, "code", None) for leaf in leaves(caught.value)] == [4001]


@both_loops
async def test_a_failure_for_good_that_nobody_tells_is_raised_on_leaving() -> None:
    async with serve(closes(4001, after=0)) as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with face().multiplex(server.source()):
                await anyio.sleep(1)
        assert len(leaves(caught.value)) == 1
        with pytest.raises(ExceptionGroup) as caught:  # beside an error of the block's own
            async with face().multiplex(server.source()):
                await anyio.sleep(1)
                raise KeyError
        assert {type(leaf) for leaf in leaves(caught.value)} == {KeyError, WebSocketDisconnect}
        with pytest.raises(ExceptionGroup) as caught:  # told by the call with which the block is left
            async with face().multiplex(server.source()) as mux:
                await mux.receive()
        assert len(leaves(caught.value)) == 1


@both_loops
async def test_each_failure_for_good_is_told_though_a_session_before_it_was() -> None:
    async with serve(hears_and_drops(1), 403) as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with face().multiplex(server.source(), key=by_id) as mux:
                with pytest.raises(WebSocketNetworkError):
                    await mux.request(1, {"id": 1})
                await anyio.sleep_forever()
        assert [type(leaf) for leaf in leaves(caught.value)] == [WebSocketUpgradeError]


@both_loops
async def test_who_waits_for_a_session_is_told_that_there_will_be_none() -> None:
    async with serve(hears_and_drops(1), 403) as server, face().multiplex(server.source(), key=by_id) as mux:
        with pytest.raises(WebSocketNetworkError):
            await mux.request(1, {"id": 1})
        with anyio.fail_after(1000), pytest.raises(WebSocketUpgradeError):
            await mux.wait_connected()  # until the end of the backoff


@both_loops
async def test_the_first_opening_fails_bare() -> None:
    async def log_in(ws: Any) -> None:
        raise KeyError("log-in")

    async def never(ws: Any) -> None:
        await anyio.sleep_forever()

    async with serve(403, 403, echo) as server:
        with pytest.raises(WebSocketUpgradeError):
            async with face().multiplex(server.source()):
                raise AssertionError
        with pytest.raises(WebSocketUpgradeError):
            async with face().multiplex(server.session()):
                raise AssertionError
        with pytest.raises(KeyError, match="log-in"):
            async with face().multiplex(server.source(on_connect=log_in)):
                raise AssertionError
        with anyio.move_on_after(1) as scope:
            async with face().multiplex(server.source(on_connect=never)):
                raise AssertionError
        assert scope.cancelled_caught


@both_loops
async def test_on_connect_that_raises_later_ends_it_for_good() -> None:
    async def log_in(ws: Any) -> None:
        logins.append(ws)
        if len(logins) == 2:
            raise KeyError("log-in")

    logins: list[Any] = []
    async with serve(drop, echo) as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with face().multiplex(server.source(on_connect=log_in)) as mux:
                await mux.receive()
        assert [type(leaf) for leaf in leaves(caught.value)] == [KeyError]
        logins.clear()
        server.handlers = [drop, echo]
        with pytest.raises(ExceptionGroup) as caught:
            async with face().multiplex(server.source(on_connect=log_in)):
                await anyio.sleep_forever()
        assert [type(leaf) for leaf in leaves(caught.value)] == [KeyError]


@both_loops
async def test_leaving_is_prompt_in_backoff_and_while_opening() -> None:
    async def stall(wire: Wire) -> None:
        await anyio.sleep_forever()

    async with serve(drop, 503, stall) as server:
        async with face().multiplex(server.source(), key=by_id) as mux:
            with anyio.move_on_after(0.5):  # in backoff
                await mux.send(1)
            began = anyio.current_time()
        assert anyio.current_time() == began
        with pytest.raises(WebSocketClosedError):
            await mux.wait_connected()

        async def silent(ws: Any) -> None:
            if mux2:
                await anyio.sleep_forever()

        mux2: list[Any] = []
        server.handlers = [drop, stall]
        async with face().multiplex(server.source(on_connect=silent)) as mux:
            mux2.append(mux)
            await anyio.sleep(10)
            began = anyio.current_time()
        assert anyio.current_time() == began


@both_loops
async def test_leaving_normally_flushes() -> None:
    async with serve(listen) as server:
        async with face().multiplex(server.source()) as mux:
            for number in range(500):
                await mux.send(number)
        assert server.wires[0].heard == list(range(500))
        assert server.closed_with == [1000]
        with pytest.raises(ExceptionGroup), anyio.fail_after(1):
            async with face().multiplex(server.source()):
                raise KeyError
        await anyio.sleep(1)
        assert server.closed_with == [1000, 1001]


@both_loops
async def test_aclose() -> None:
    async with serve(listen) as server, face().multiplex(server.source(), key=by_id) as mux:
        async with mux.subscribe("a") as feed:
            await mux.send(1)
            await mux.aclose()
            await mux.aclose()
            for call in (mux.receive, feed.receive, mux.wait_connected, lambda: mux.request(1, {})):
                with pytest.raises(WebSocketClosedError):
                    await call()
        assert server.closed_with == [1000]
        assert server.wires[0].heard == [1]


@both_loops
async def test_a_cancelled_aclose_drops_the_connection() -> None:
    async def deaf(wire: Wire) -> None:
        await anyio.sleep_forever()

    async with serve(deaf) as server, face().multiplex(server.source()) as mux:
        began = anyio.current_time()
        with anyio.move_on_after(1):
            await mux.aclose()
        await anyio.sleep(0.1)
        assert mux._gone.is_set()
        assert anyio.current_time() - began < 2


@both_loops
async def test_a_peer_that_never_reads_holds_up_only_who_sends() -> None:
    async def deaf(wire: Wire) -> None:
        await anyio.sleep_forever()

    async with serve(deaf) as server, face().multiplex(server.source(close_timeout_seconds=3), key=by_id) as mux:
        with anyio.move_on_after(5) as sending:
            async with anyio.create_task_group() as tasks:
                for _ in range(30):
                    tasks.start_soon(mux.send, "x" * 10_000)
        assert sending.cancelled_caught
        with anyio.move_on_after(5) as subscribing:
            async with mux.subscribe("a", subscribe={}):
                raise AssertionError
        assert subscribing.cancelled_caught
        began = anyio.current_time()
        await mux.aclose()
        assert anyio.current_time() - began <= 3


@pytest.mark.parametrize("what", ["not JSON", "key", "receive"])
@both_loops
async def test_what_the_functions_raise_is_an_error_of_the_block(what: str) -> None:
    async def nonsense(wire: Wire) -> None:
        await wire.get()
        await wire.peer.send("{no" if what == "not JSON" else "{}")
        await wire.listen()

    async def receive(ws: Any) -> Any:
        message = await ws.receive()
        if what == "receive":
            raise WebSocketInvalidTypeReceived(message)
        return message if what == "key" else __import__("json").loads(message)

    def key(message: Any) -> Any:
        return message["no such key"] if what != "key" else message.get

    expected = {"not JSON": ValueError, "key": AttributeError, "receive": WebSocketInvalidTypeReceived}[what]
    async with serve(nonsense) as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with face().multiplex(server.source(), key=key, receive=receive) as mux:
                await mux.send(1)
                with pytest.raises(expected):
                    await mux.receive()
                raise KeyError("left")
        assert [type(leaf) for leaf in leaves(caught.value)] == [KeyError]

    class Tolerant(face().RetryPolicy):  # type: ignore[misc]
        def retry_block(self, error: Exception) -> bool:
            return isinstance(error, expected)

    async with (
        serve(nonsense, says({})) as server,
        face().multiplex(server.source(policy=Tolerant()), receive=receive) as mux,
    ):
        if what != "key":
            await mux.send(1)


@both_loops
async def test_a_function_that_sends_may_raise() -> None:
    async def send(ws: Any, message: Any) -> None:
        if message == "bad":
            raise WebSocketInvalidTypeReceived("bad")
        await ws.send_json(message)

    async with serve(listen) as server, face().multiplex(server.source(), key=by_id, send=send) as mux:
        with pytest.raises(WebSocketInvalidTypeReceived):
            await mux.send("bad")
        with pytest.raises(WebSocketInvalidTypeReceived):
            await mux.request(1, "bad")
        with pytest.raises(WebSocketInvalidTypeReceived):
            async with mux.subscribe("a", subscribe="bad"):
                raise AssertionError
        await mux.send("good")
    assert server.wires[0].heard == ["good"]


@both_loops
async def test_cancelled_while_it_opens() -> None:
    async def stall(wire: Wire) -> None:
        await anyio.sleep_forever()

    async def silent(ws: Any) -> None:
        await anyio.sleep_forever()

    async with serve(stall) as server:
        with anyio.move_on_after(5) as scope:
            async with face().multiplex(server.source(on_connect=silent)):
                raise AssertionError
        assert scope.cancelled_caught
        assert anyio.current_time() - server.times[0] == pytest.approx(5, abs=0.2)


@both_loops
async def test_cancelled_while_leaving_waits_for_the_peer() -> None:
    async def deaf(wire: Wire) -> None:
        await anyio.sleep_forever()

    async with serve(deaf) as server:
        with anyio.CancelScope() as scope:
            async with face().multiplex(server.source(close_timeout_seconds=100)) as mux:
                await mux.send("x")
                scope.deadline = anyio.current_time() + 5
        assert scope.cancelled_caught
        assert anyio.current_time() - server.times[0] == pytest.approx(5, abs=0.2)


@both_loops
async def test_what_waits_when_the_block_is_left() -> None:
    async def request(mux: Any) -> None:
        with pytest.raises(WebSocketClosedError):
            await mux.request(1, {"id": 1, "silent": True})

    async def subscribe(mux: Any) -> None:
        with pytest.raises(WebSocketClosedError):
            async with mux.subscribe(2, subscribe={"silent": True}, confirm=lambda _: None):
                raise AssertionError

    async with serve(echo) as server, anyio.create_task_group() as tasks:
        async with face().multiplex(server.source(), key=by_id) as mux:
            tasks.start_soon(request, mux)
            tasks.start_soon(subscribe, mux)
            await anyio.sleep(1)
        with anyio.fail_after(1):
            await mux.aclose()


@both_loops
async def test_what_fails_while_it_is_cancelled_is_told() -> None:
    async def fail() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError

    @contextlib.asynccontextmanager
    async def source(session: Any) -> AsyncGenerator[Any]:
        async with anyio.create_task_group() as tasks, session as ws:
            tasks.start_soon(fail)
            yield ws

    async with serve(listen) as server:
        with pytest.raises(BaseExceptionGroup) as caught, anyio.CancelScope() as scope:
            async with face().multiplex(source(server.session())):
                await anyio.sleep(1)
                scope.cancel()
                await anyio.sleep(1)
        assert [type(leaf) for leaf in leaves(caught.value)] == [LookupError]


class Uncopied(Exception):
    def __copy__(self) -> Any:
        raise TypeError


class CopiedWrongly(Exception):
    def __copy__(self) -> Any:
        return "no exception"


@pytest.mark.parametrize("kind", [Uncopied, CopiedWrongly])
@both_loops
async def test_an_error_that_cannot_be_copied_is_raised_as_it_is(kind: type[Exception]) -> None:
    async def receive(ws: Any) -> Any:
        await ws.receive()
        raise kind

    async with serve(says(1)) as server, face().multiplex(server.source(), receive=receive) as mux:
        for _ in range(2):
            with pytest.raises(kind):
                await mux.receive()
