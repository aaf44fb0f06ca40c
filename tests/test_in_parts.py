"""Messages in parts, on trio and in memory: what the session contract cannot see from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from httpx2_trio_ws import (
    FrameInfo,
    Instrument,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketProtocolError,
    open_websocket,
)

from .memory import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_frame, frame, memory_session, text
from .servers import websocket_server

if TYPE_CHECKING:
    import httpx2
    from websockets.trio.server import ServerConnection

CONTINUATION = 0


async def still() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_no_limit_applies_to_a_message_that_is_waited_for(nursery: trio.Nursery) -> None:
    async with memory_session(close_timeout_seconds=0, max_message_size_bytes=10) as (ws, peer):
        parts: list[str | bytes] = []

        async def receive() -> None:
            async with ws.receive_stream() as message:
                parts.extend([part async for part in message])

        nursery.start_soon(receive)
        await still()
        await peer.send(frame(BINARY, bytes(5), fin=False), frame(CONTINUATION, bytes(1000)))
        await still()
        assert b"".join(parts) == bytes(1005)  # type: ignore[arg-type]
        await peer.send(frame(BINARY, bytes(11)))
        with pytest.raises(WebSocketProtocolError, match="1009"):
            await ws.receive()


async def test_who_takes_a_message_in_parts_waits_for_no_other() -> None:
    """So there is no room for one more in the queue."""
    async with memory_session(close_timeout_seconds=0, queue_size=1, compression=None) as (ws, peer):
        await peer.send(frame(TEXT, b"begun, ", fin=False))
        async with ws.receive_stream() as message:
            await peer.send(frame(CONTINUATION, b"ended"), text("1"), text("2"), text("3"))
            await still()
            assert ws.statistics().queued_messages == 1
            assert [part async for part in message] == ["begun, ended"]
        assert [await ws.receive() for _ in range(3)] == ["1", "2", "3"]


async def test_a_message_is_joined_in_the_middle_of_a_frame() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        wire = frame(TEXT, b"0123456789")
        await peer.send(wire[:7])
        await still()
        async with ws.receive_stream() as message:
            assert await anext(message) == "01234"
            await peer.send(wire[7:])
            assert [part async for part in message] == ["56789"]
            assert [part async for part in message] == []


async def test_receivers_take_turns_whole_or_in_parts(nursery: trio.Nursery) -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        received: list[tuple[str, Any]] = []

        async def whole(name: str) -> None:
            received.append((name, await ws.receive()))

        async def in_parts(name: str) -> None:
            async with ws.receive_stream() as message:
                received.append((name, [part async for part in message]))

        for function, name in ((whole, "a"), (in_parts, "b"), (whole, "c"), (in_parts, "d"), (in_parts, "e")):
            nursery.start_soon(function, name)
            await still()
        await peer.send(text("1"), frame(TEXT, b"2", fin=False))
        await still()
        await peer.send(frame(CONTINUATION, b"2"), text("3"), text("4"), frame(TEXT, b"5", fin=False))
        await still()
        await peer.send(frame(CONTINUATION, b"5"))
        await still()
        assert received == [("a", "1"), ("b", ["2", "2"]), ("c", "3"), ("d", ["4"]), ("e", ["5", "5"])]


async def test_who_waits_behind_a_skipped_message_gets_the_next(nursery: trio.Nursery) -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        await peer.send(frame(TEXT, b"begun", fin=False))
        async with ws.receive_stream():
            pass
        got: list[list[str | bytes]] = []

        async def in_parts() -> None:
            async with ws.receive_stream() as message:
                got.append([part async for part in message])

        nursery.start_soon(in_parts)
        await still()
        await peer.send(frame(CONTINUATION, b"skipped"), frame(TEXT, b"in ", fin=False), frame(CONTINUATION, b"parts"))
        await still()
        assert "".join(map(str, got[0])) == "in parts"


async def test_a_large_message_is_no_concern_of_a_session_that_is_closed() -> None:
    async with memory_session(max_message_size_bytes=10, stream_large_messages=True) as (ws, peer):
        await peer.send(frame(BINARY, bytes(100_000), fin=False))
        await still()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.close)
            assert (await peer.receive()).opcode == CLOSE
            await peer.send(frame(CONTINUATION, bytes(10)), close_frame())
            await peer.aclose()
        assert ws.statistics().messages_received == 0
        assert ws.close_code == 1000


async def test_a_large_message_that_waits_wakes_who_wants_it_whole(nursery: trio.Nursery) -> None:
    async with memory_session(close_timeout_seconds=0, max_message_size_bytes=9, stream_large_messages=True) as (
        ws,
        peer,
    ):
        with trio.move_on_after(1):
            errors: list[WebSocketProtocolError] = []

            async def receive() -> None:
                with pytest.raises(WebSocketProtocolError) as caught:
                    await ws.receive()
                errors.append(caught.value)

            for _ in range(2):
                nursery.start_soon(receive)
            await still()
            await peer.send(frame(BINARY, bytes(10)))
            await still()
            assert [error.code for error in errors] == [1009, 1009]


async def test_reading_pauses_and_goes_on() -> None:
    async with memory_session(close_timeout_seconds=0, max_message_size_bytes=None) as (ws, peer):
        await peer.send(frame(BINARY, b"begun", fin=False))
        async with ws.receive_stream() as message:
            assert await anext(message) == b"begun"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.send, frame(CONTINUATION, bytes(2**20)), text("next"))
                await still()
                assert ws.statistics().consumer_wait_seconds > 0
                assert ws.statistics().bytes_received < 2**20
                size = 0
                async for part in message:
                    size += len(part)
        assert size == 2**20
        assert await ws.receive() == "next"


async def test_reading_goes_on_when_a_message_is_left() -> None:
    async with memory_session(close_timeout_seconds=0, stream_large_messages=True) as (ws, peer):
        await peer.send(frame(BINARY, bytes(2**20 + 1), fin=False), frame(CONTINUATION, bytes(2**20)), text("next"))
        async with ws.receive_stream():
            await still()
        assert await ws.receive() == "next"


async def test_reading_goes_on_when_whole_messages_are_taken_in_parts() -> None:
    async with memory_session(close_timeout_seconds=0, queue_size=2) as (ws, peer):
        await peer.send(*(text(str(number)) for number in range(8)))
        await still()
        for number in range(8):
            async with ws.receive_stream() as message:
                assert [part async for part in message] == [str(number)]


async def test_who_waits_for_a_part_is_told_of_the_end(nursery: trio.Nursery) -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        await peer.send(frame(TEXT, b"begun", fin=False))

        async def receive() -> None:
            async with ws.receive_stream() as message:
                assert await anext(message) == "begun"
                with pytest.raises(WebSocketDisconnect):
                    await anext(message)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(receive)
            await still()
            await peer.send(close_frame(1000))


async def test_short_messages_leave_in_one_frame() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        for parts in ([], ["short"], ["in ", "parts"]):
            async with ws.send_stream("text") as message:
                for part in parts:
                    await message.send(part)
            assert await peer.receive() == Frame(TEXT, "".join(parts).encode())
        assert ws.statistics().frames_sent == 3


async def test_a_flood_of_tokens_is_gathered() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):

        async def send() -> None:
            async with ws.send_stream("text") as message:
                for _ in range(20_000):
                    await message.send("token")

        async def read() -> None:
            while (await peer.receive_fragment())[1] is False:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await read()
        told = ws.statistics()
        assert told.messages_sent == 1
        assert told.frames_sent < 1000


async def test_a_message_that_waits_for_its_turn_can_be_cancelled() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        async with ws.send_stream("text") as first, trio.open_nursery() as nursery:
            await first.send("first")
            waits = ws.send_stream("binary")

            async def enter() -> None:
                async with waits:
                    pass  # pragma: no cover

            nursery.start_soon(enter)
            nursery.start_soon(ws.send, "third")
            await still()
            with pytest.raises(RuntimeError, match="send_stream"):
                await ws.send("inside")
            nursery.cancel_scope.cancel()
        await ws.send("second")
        assert [await peer.receive_message() for _ in range(2)] == [b"first", b"second"]


async def test_a_message_is_broken_off_before_others_get_into_it() -> None:
    async with memory_session() as (ws, peer), trio.open_nursery() as nursery:

        async def behind() -> None:
            with pytest.raises(WebSocketClosedError):
                await ws.send("behind it")

        with pytest.raises(ZeroDivisionError):
            async with ws.send_stream("text") as message:
                await message.send("begun")
                nursery.start_soon(behind)
                await still()
                raise ZeroDivisionError
        assert await peer.receive_fragment() == (Frame(TEXT, b"begun"), False)
        (closing,) = await peer.answer_close()
        assert closing.payload == b"\x03\xf3a message was broken off"


async def test_pings_are_answered_in_the_middle() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer), ws.send_stream("binary") as message:
        await message.send(bytes(10))
        await still()
        await peer.send(frame(PING, b"?"))
        assert (await peer.receive_fragment())[0] == Frame(BINARY, bytes(10))
        assert (await peer.receive_fragment())[0] == Frame(PONG, b"?")


async def test_a_writer_is_told_of_the_peers_close() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        with pytest.raises(WebSocketDisconnect, match="4000"):
            async with ws.send_stream("binary") as message:
                await message.send(bytes(10))
                await still()
                await peer.send(close_frame(4000))
                await still()
                await message.send(bytes(10))
        with pytest.raises(WebSocketDisconnect):
            async with ws.send_stream("binary"):
                pass  # pragma: no cover
        with pytest.raises(WebSocketDisconnect):
            async with ws.receive_stream():
                pass  # pragma: no cover


async def test_a_writer_that_waits_for_room_is_used_by_one_task_and_told_of_the_end() -> None:
    async with memory_session(stalling=True, close_timeout_seconds=0) as (ws, _):
        with pytest.raises(WebSocketClosedError):
            async with ws.send_stream("binary") as message, trio.open_nursery() as nursery:

                async def fill() -> None:
                    with pytest.raises(WebSocketClosedError):
                        while True:
                            await message.send(bytes(65536))

                nursery.start_soon(fill)
                await still()
                with pytest.raises(RuntimeError, match="another task"):
                    await message.send(b"!")
                nursery.start_soon(ws.close)
        assert not message._outgoing.complete


async def test_a_block_that_is_left_ends_it_for_who_sends_in_another_task(nursery: trio.Nursery) -> None:
    async with memory_session(stalling=True, close_timeout_seconds=0) as (ws, peer):
        async with ws.send_stream("binary") as message:

            async def fill() -> None:
                with pytest.raises(RuntimeError, match="was left"):
                    while True:
                        await message.send(bytes(65536))

            nursery.start_soon(fill)
            await still()
        while not (await peer.receive_fragment())[1]:
            pass


async def test_instruments_see_fragments() -> None:
    seen: list[tuple[str, FrameInfo]] = []

    class Seen(Instrument):
        def frame_received(self, session: Any, frame: FrameInfo) -> None:
            seen.append(("<", frame))

        def frame_sent(self, session: Any, frame: FrameInfo) -> None:
            seen.append((">", frame))

    async with memory_session(close_timeout_seconds=0, instruments=[Seen()], stream_large_messages=True) as (ws, peer):
        async with ws.send_stream("text") as message:
            await message.send("one")
            await still()
        await still()
        nursery: trio.Nursery
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, frame(BINARY, bytes(2**21)))
            async with ws.receive_stream() as received:
                assert sum([len(part) async for part in received]) == 2**21
        assert seen == [
            (">", FrameInfo(TEXT, b"one", fin=False)),
            (">", FrameInfo(CONTINUATION, b"")),
            ("<", FrameInfo(BINARY, bytes(65536), size=2**21)),
        ]


async def test_real_messages_both_ways_without_a_limit(client: httpx2.AsyncClient) -> None:
    async def echo_in_parts(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send([message[:1000], message[1000:]])

    async with (
        websocket_server(echo_in_parts, max_size=None) as url,
        open_websocket(client, url, stream_large_messages=True) as ws,
    ):
        for kind, part in (("text", "sømething " * 1000), ("binary", bytes(10_000))):
            async with ws.send_stream(kind) as message:  # type: ignore[arg-type]
                for _ in range(500):
                    await message.send(part)
            async with ws.receive_stream() as received:
                assert received.kind == kind
                parts: list[Any] = [part async for part in received]
                assert type(part)().join(parts) == part * 500


async def test_what_wrong_use_is_told() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        block = ws.send_stream("binary")
        async with block as message:
            await message.send(b"x")
            with pytest.raises(RuntimeError, match=r"send_stream\(\)"):
                await ws.send("inside")
        with pytest.raises(RuntimeError, match=r"this block was left; make another, by send_stream\(\)"):
            async with block:
                raise AssertionError
        with pytest.raises(RuntimeError, match="the message's block was left"):
            await message.send(b"y")
        await peer.send(frame(TEXT, b"a", fin=False))
        async with ws.receive_stream():
            with pytest.raises(RuntimeError, match=r"receive_stream\(\)"):
                await ws.receive()
        await peer.send(frame(0), text("b"))
        assert await ws.receive() == "b"


async def test_the_session_ends_while_a_message_waits_for_its_turn(nursery: trio.Nursery) -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, _):
        raised: list[BaseException] = []

        async def second() -> None:
            with pytest.raises(WebSocketClosedError) as caught:
                async with ws.send_stream("text"):
                    raise AssertionError("it never has its turn")
            raised.append(caught.value)

        with pytest.raises(WebSocketClosedError):
            async with ws.send_stream("text") as message:
                await message.send("begun")
                nursery.start_soon(second)
                await still()
                await ws.aclose()
        await still()
        assert len(raised) == 1


async def test_another_task_receives_what_comes_after_it(nursery: trio.Nursery) -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, peer):
        received: list[str | bytes] = []

        async def other() -> None:
            received.append(await ws.receive())

        await peer.send(frame(TEXT, b"be", fin=False))
        async with ws.receive_stream() as message:
            assert await anext(message) == "be"
            nursery.start_soon(other)
            await still()
            await peer.send(frame(CONTINUATION, b"gun"), text("next"))
            assert [part async for part in message] == ["gun"]
        await still()
        assert received == ["next"]
