"""What the calls of a session do while all is well."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketClosedError, WebSocketDisconnect, WebSocketInvalidTypeReceived, open_websocket
from httpx2_trio_ws._runtime import _trio as trio_runtime
from httpx2_trio_ws._runtime._trio import TRIO, TrioRuntime

from .memory import BINARY, PING, PONG, TEXT, Frame, frame, memory_session, text
from .servers import websocket_server

if TYPE_CHECKING:
    import httpx2
    from websockets.trio.server import ServerConnection


async def test_messages_go_out_and_come_back(client: httpx2.AsyncClient) -> None:
    big_text, big_bytes = "ü" * 200_000, bytes(range(256)) * 2000
    async with websocket_server() as url, open_websocket(client, url) as ws:
        for message in ("text", b"bytes", "", b"", "x" * 125, "x" * 126, "x" * 65535, "x" * 65536, big_text, big_bytes):
            await ws.send(message)
            assert await ws.receive() == message


async def test_messages_without_compression(client: httpx2.AsyncClient) -> None:
    async with websocket_server() as url, open_websocket(client, url, compression=None) as ws:
        assert "sec-websocket-extensions" not in ws.response.headers
        await ws.send_text("text")
        await ws.send_bytes(memoryview(b"bytes"))
        await ws.send_bytes(bytearray(b"array"))
        assert [await ws.receive(), await ws.receive(), await ws.receive()] == ["text", b"bytes", b"array"]


async def test_json_goes_as_text_or_binary() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        await ws.send_json({"ä": [1, None]})
        await ws.send_json([], mode="binary")
        assert await peer.receive() == Frame(TEXT, '{"ä":[1,null]}'.encode())
        assert await peer.receive() == Frame(BINARY, b"[]")
        await peer.send(text('{"a": 1}'), frame(BINARY, b"[2]"), text("not json"))
        assert await ws.receive_json() == {"a": 1}
        assert await ws.receive_json() == [2]
        with pytest.raises(json.JSONDecodeError) as caught:
            await ws.receive_json()
        assert caught.value.doc == "not json"
        with pytest.raises(ValueError, match='"text" or "binary", not \'bytes\''):
            await ws.send_json(1, mode="bytes")  # type: ignore[arg-type]


async def test_a_message_of_the_other_type_is_not_lost() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        await peer.send(text("text"), frame(BINARY, b"bytes"), text("t"), frame(BINARY, b"b"))
        with pytest.raises(WebSocketInvalidTypeReceived, match="expected bytes, but text arrived") as got_text:
            await ws.receive_bytes()
        with pytest.raises(WebSocketInvalidTypeReceived, match="expected text, but bytes arrived") as got_bytes:
            await ws.receive_text()
        assert (got_text.value.message, got_bytes.value.message) == ("text", b"bytes")
        assert (await ws.receive_text(), await ws.receive_bytes()) == ("t", b"b")


@pytest.mark.parametrize("name", ["receive", "receive_text", "receive_bytes", "receive_json", "wait_closed"])
async def test_a_timeout_is_a_cancel_scope(name: str) -> None:
    """Whoever comes from threads, or from another library, is told what to write."""
    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session(close_timeout_seconds=0) as (ws, _):
            call: Any = getattr(ws, name)
            await call(timeout=5)
    assert caught.group_contains(TypeError, match="got an unexpected keyword argument 'timeout'")
    [error] = caught.value.exceptions
    assert "trio.fail_after(seconds)" in error.__notes__[0]


async def test_other_errors_about_a_timeout_are_left_alone() -> None:
    async def other() -> None: ...

    with pytest.raises(ExceptionGroup) as caught:
        async with memory_session(close_timeout_seconds=0):
            await other(timeout=5)  # type: ignore[call-arg]
    [error] = caught.value.exceptions
    assert not hasattr(error, "__notes__")


async def test_wrong_arguments_are_refused_and_nothing_is_sent() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        with pytest.raises(TypeError, match=r"a message is str or bytes, not dict; .* send_json"):
            await ws.send({"a": 1})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"send_text\(\) takes str, or bytes that are UTF-8, not int"):
            await ws.send_text(1)  # type: ignore[arg-type]
        with pytest.raises(UnicodeDecodeError):
            await ws.send_text(b"\xff")
        with pytest.raises(TypeError, match=r"send_bytes\(\) takes bytes, .* not str; for text there is send_text\(\)"):
            await ws.send_bytes("text")  # type: ignore[arg-type]
        with pytest.raises(UnicodeEncodeError):
            await ws.send("\ud800")
        with pytest.raises(TypeError, match="not JSON serializable"):
            await ws.send_json(object())
        with pytest.raises(TypeError, match="the payload is bytes, not str"):
            await ws.ping("x")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="125 bytes at most"):
            await ws.pong(b"x" * 126)
        for code, error in ((1005, ValueError), (999, ValueError), (5000, ValueError), ("1000", TypeError)):
            with pytest.raises(error, match="close code"):
                await ws.close(code)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a close reason is a str"):
            await ws.close(1000, b"bye")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="123 bytes of UTF-8 at most"):
            await ws.close(1000, "ü" * 62)
        await ws.send("whole")
        assert await peer.receive() == Frame(TEXT, b"whole")


async def test_iteration_ends_when_the_peer_goes(client: httpx2.AsyncClient) -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.send("a")
        await ws.send(b"b")
        await ws.aclose(int(await ws.recv()))

    async with websocket_server(handler) as url:
        for code in (1000, 1001):
            async with open_websocket(client, url) as ws:
                await ws.send(str(code))
                assert [message async for message in ws] == ["a", b"b"]
                assert ws.closed
                assert ws.close_code == code
        async with open_websocket(client, url) as ws:
            await ws.send("4321")
            received = []
            with pytest.raises(WebSocketDisconnect) as caught:
                async for message in ws:
                    received.append(message)
            assert received == ["a", b"b"]
            assert caught.value.code == ws.close_code == 4321


async def test_ping_returns_the_round_trip() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        assert ws.latency is None
        first, second = await ws.ping(), await ws.ping(b"second")
        random, named = await peer.receive(), await peer.receive()
        assert (random.opcode, len(random.payload)) == (PING, 4)
        assert named == Frame(PING, b"second")
        with pytest.raises(ValueError, match="waits for its pong already"):
            await ws.ping(b"second")
        await peer.send(frame(PONG, b"unsolicited"), frame(PONG, b"second"))
        assert await second >= 0
        assert await first.wait() >= 0  # a pong answers the pings before it, too
        assert await second == ws.latency


async def test_pings_are_answered_and_pongs_sent() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        await peer.send(frame(PING, b"are you there"))
        assert await peer.receive() == Frame(PONG, b"are you there")
        await ws.pong(b"here I am")
        assert await peer.receive() == Frame(PONG, b"here I am")


async def test_state_statistics_and_repr() -> None:
    async with memory_session() as (ws, peer):
        assert repr(ws) == "<WebSocketSession ws://memory/ (open)>"
        assert (ws.closed, ws.close_code, ws.close_reason, ws.subprotocol) == (False, None, None, None)
        assert ws.response.status_code == 101
        await ws.send("12345")
        await peer.send(text("abc"), text("def"))
        await ws.receive()
        statistics = ws.statistics()
        assert (statistics.messages_sent, statistics.bytes_sent) == (1, 11)
        assert (statistics.messages_received, statistics.bytes_received) == (2, 10)
        assert (statistics.queued_messages, statistics.unsent_bytes, statistics.latency) == (1, 0, None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.close, 3000, "done")
            await peer.receive()
            close = await peer.receive()
            assert repr(ws) == "<WebSocketSession ws://memory/ (closing)>"
            assert (ws.closed, ws.close_code) == (True, None)
            await peer.send(frame(8, close.payload))
            await peer.aclose()
        assert repr(ws) == "<WebSocketSession ws://memory/ (closed, 3000)>"
        assert (ws.close_code, ws.close_reason) == (3000, "done")


async def test_a_session_is_a_trio_channel() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        channel: trio.abc.Channel[str | bytes] = ws
        assert isinstance(ws, trio.abc.Channel)
        await channel.send("x")
        assert (await peer.receive()).payload == b"x"
        await peer.send(text("y"))
        assert await channel.receive() == "y"
        await channel.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()
        with pytest.raises(trio.ClosedResourceError):
            await channel.send("x")
    assert isinstance(WebSocketDisconnect(1000), trio.EndOfChannel)
    assert issubclass(WebSocketClosedError, trio.ClosedResourceError)


async def test_receivers_are_served_first_come_first_served() -> None:
    got: list[tuple[int, str | bytes]] = []
    async with memory_session(close_timeout_seconds=0) as (ws, peer), trio.open_nursery() as nursery:

        async def receive(number: int) -> None:
            got.append((number, await ws.receive()))

        for number in range(3):
            nursery.start_soon(receive, number)
            await trio.testing.wait_all_tasks_blocked()
        await peer.send(text("a"), text("b"), text("c"), text("d"))
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(got) == [(0, "a"), (1, "b"), (2, "c")]
        assert await ws.receive() == "d"


async def test_senders_keep_the_order_of_their_calls() -> None:
    """Also when they must wait: more than the high-water mark is queued while the peer reads nothing."""
    async with memory_session(stalling=True, close_timeout_seconds=0) as (ws, peer):
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ws.send, f"{number:05}" * 2000)
                await trio.testing.wait_all_tasks_blocked()
            assert ws.statistics().unsent_bytes < 65536 + 2 * 10_008
            for number in range(20):
                assert (await peer.receive()).payload.decode() == f"{number:05}" * 2000
        await trio.testing.wait_all_tasks_blocked()
        assert ws.statistics().unsent_bytes == 0


async def test_a_lone_message_has_left_when_send_returns() -> None:
    """On a carrier in memory: the bytes are in the peer's buffer without another turn of the scheduler."""
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        for message in ("one", "two"):
            await ws.send(message)
            assert ws.statistics().unsent_bytes == 0
            assert (await peer.receive()).payload.decode() == message
            await trio.testing.wait_all_tasks_blocked()


async def test_a_burst_is_coalesced(client: httpx2.AsyncClient) -> None:
    """A burst over a real socket takes few writes, and every message arrives."""
    count = 0
    counted_all = trio.Event()

    async def handler(ws: ServerConnection) -> None:
        nonlocal count
        async for _ in ws:
            count += 1
        counted_all.set()

    async with websocket_server(handler) as url:
        async with open_websocket(client, url, compression=None) as ws:
            writes = 0
            original = ws._engine.carrier.write

            async def counted(data: memoryview) -> int:
                nonlocal writes
                writes += 1
                return await original(data)

            ws._engine.carrier.write = counted  # type: ignore[method-assign]
            for _ in range(1000):
                await ws.send("x" * 10)
        await counted_all.wait()
        assert count == 1000
        assert 0 < writes < 100


@pytest.mark.parametrize("call", ["send", "receive"])
async def test_calls_that_need_not_wait_leave_others_their_turns(call: str) -> None:
    async with memory_session(queue_size=2000, close_timeout_seconds=0) as (ws, peer):
        await peer.send(text("x") * 1000)
        await trio.testing.wait_all_tasks_blocked()
        turns = 0
        longest = since = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(640):
                before = turns
                await (ws.send("x") if call == "send" else ws.receive())
                since = since + 1 if turns == before else 0
                longest = max(longest, since)
            nursery.cancel_scope.cancel()
        # The other task needs two turns for its first step; and the order of tasks within a turn is random.
        assert longest < 3 * 64


async def test_a_session_closed_in_the_turn_that_a_burst_gives(client: httpx2.AsyncClient) -> None:
    """What was sent before goes out before the close frame; nothing is taken that would come after it."""
    got: list[str | bytes] = []
    got_all = trio.Event()

    async def handler(peer: ServerConnection) -> None:
        async for message in peer:
            got.append(message)
        got_all.set()

    async with websocket_server(handler) as url, open_websocket(client, url) as ws, trio.open_nursery() as nursery:
        nursery.start_soon(ws.close)
        sent = 0
        with pytest.raises(WebSocketClosedError):
            while True:
                await ws.send(str(sent))
                sent += 1
        await got_all.wait()
    assert sent >= 60, "the session was closed in the middle of a burst"
    assert got == [str(number) for number in range(sent)]


async def test_without_a_quick_look_at_the_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trio that hides what a quick look needs costs time and nothing else."""
    assert TRIO.is_cancelled is trio_runtime._is_cancelled
    for name in ("is_cancelled", "will_raise"):
        monkeypatch.setattr(TrioRuntime, name, staticmethod(trio_runtime._may_be_cancelled))
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        await peer.send(text("x") * 100)
        assert [await ws.receive() for _ in range(100)] == ["x"] * 100
        for _ in range(100):
            await ws.send("y")
        assert [await peer.receive() for _ in range(100)] == [Frame(TEXT, b"y")] * 100


async def test_receivers_that_yield_to_one_another_share_what_there_is() -> None:
    """A receiver whose turn it was to yield may find that another has taken the last message meanwhile."""
    got: list[str | bytes] = []
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        await peer.send(*(text(str(n)) for n in range(100)))
        await trio.testing.wait_all_tasks_blocked()

        async def receive() -> None:
            while True:
                got.append(await ws.receive())

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert sorted(map(int, got)) == list(range(100))
