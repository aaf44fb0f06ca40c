"""Receiving: each message to one task, first come first served, none lost, and no more of them held than agreed."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from httpx2_trio_ws._exceptions import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketInvalidTypeReceived,
    WebSocketNetworkError,
)
from httpx2_trio_ws.testing._frames import Opcode, encode_frame

from ._registry import check
from ._stage import Sender, beside, collect, equal, raises, settle, stage, take, that, turns, until

if TYPE_CHECKING:
    from httpx2_trio_ws.testing._peer import ScriptedPeer

    from ._registry import SessionMaker


@check()
async def text_is_str_and_binary_is_bytes(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for message in ("text", "漢字 😀", "", b"bytes", b"\xff", b""):
            await peer.send(message)
            received = await ws.receive()
            equal((type(received), received), (type(message), message), "the message and its type")


@check()
async def messages_are_received_in_order(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        numbers = [str(number) for number in range(300)]
        for number in numbers:
            await peer.send(number)
        equal(await take(ws, 300), numbers, "the messages")


@check()
async def many_messages_in_one_packet(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), beside(partial(peer.send_raw, encode_frame(Opcode.TEXT, b"x") * 2000)):
        equal(await take(ws, 2000), ["x"] * 2000, "the messages")


@check()
async def a_message_that_comes_byte_by_byte(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        message = "drip é" * 30
        for byte in encode_frame(Opcode.TEXT, message.encode()):
            await peer.send_raw(bytes((byte,)))
        equal(await ws.receive(), message, "the message")


@check()
async def messages_of_every_length_are_received(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), anyio.create_task_group() as tasks:
        for length in (1, 125, 126, 127, 65535, 65536, 65537, 1_000_000):
            tasks.start_soon(peer.send, b"x" * length)
            equal(len(await ws.receive()), length, "the length of a message")


@check()
async def fragments_are_put_together(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for opcode, message in ((Opcode.TEXT, "häl"), (Opcode.BINARY, b"h\xc3\xa4l")):
            for position, byte in enumerate(b"h\xc3\xa4l"):  # text is cut within a character
                await peer.send_frame(opcode if position == 0 else Opcode.CONT, bytes((byte,)), fin=False)
            await peer.send_frame(Opcode.CONT)
            equal(await ws.receive(), message, "the message")


@check()
async def control_frames_may_come_between_fragments(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send_frame(Opcode.TEXT, b"a", fin=False)
        await peer.ping(b"between")
        await peer.pong(b"nobody asked")
        await peer.send_frame(Opcode.CONT, b"b")
        equal(await ws.receive(), "ab", "the message")
        equal(await peer.receive_frame(), (Opcode.PONG, b"between", True, False), "the answer")


@check()
async def receive_text_and_receive_bytes(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("text")
        await peer.send(b"bytes")
        equal([await ws.receive_text(), await ws.receive_bytes()], ["text", b"bytes"], "the messages")


@check()
async def the_wrong_type_is_in_the_exception(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for message in (b"bytes", "text", b"end"):
            await peer.send(message)
        for call, message in ((ws.receive_text, b"bytes"), (ws.receive_bytes, "text")):
            with raises(WebSocketInvalidTypeReceived) as raised:
                await call()
            equal(raised.error.message, message, "the message in the exception")
        equal(await ws.receive(), b"end", "the message after")


@check()
async def json_is_received_from_text_and_binary(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        data = {"a": [1, 2.5, None, True], "ü": "漢"}
        await peer.send(json.dumps(data))
        await peer.send(json.dumps(data, ensure_ascii=False).encode())
        equal([await ws.receive_json(), await ws.receive_json()], [data, data], "the data")


@check()
async def what_is_not_json_is_in_the_exception(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("{no")
        await peer.send("{}")
        with raises(json.JSONDecodeError) as raised:
            await ws.receive_json()
        equal((raised.error.doc, await ws.receive_json()), ("{no", {}), "the text, and the data after")


@check()
async def each_message_goes_to_one_task(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        received: list[Any] = []

        async def receive() -> None:
            received.extend([await ws.receive() for _ in range(20)])

        async with beside(*[receive] * 5):
            for number in range(100):
                await peer.send(str(number))
        equal(sorted(map(int, received)), list(range(100)), "what the tasks received together")


@check("order")
async def first_come_first_served(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        received: dict[int, Any] = {}

        async def receive(number: int) -> None:
            received[number] = await ws.receive()

        async with beside(*(partial(receive, number) for number in range(8))):
            await peer.send_raw(b"".join(encode_frame(Opcode.TEXT, str(n).encode()) for n in range(8)))
        equal(received, {number: str(number) for number in range(8)}, "task and message")


@check("order", "turns")
async def a_newcomer_does_not_overtake_a_task_that_waits(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        received: list[Any] = []

        async def receive(name: str) -> None:
            received.append((name, await ws.receive()))

        for moment in range(8):
            received.clear()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive, "old")
                await settle()
                tasks.start_soon(peer.send_raw, encode_frame(Opcode.TEXT, b"1") + encode_frame(Opcode.TEXT, b"2"))
                await turns(moment)
                tasks.start_soon(receive, "new")
            equal(dict(received), {"old": "1", "new": "2"}, f"task and message, the newcomer {moment} turns later")


@check("cancellation")
async def a_cancelled_receive_loses_nothing(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        received: list[Any] = []

        async def receive() -> None:
            received.append(await ws.receive())

        for number in range(40):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                await turns(3)
                await peer.send(str(number))
                await turns(number % 20)
                tasks.cancel_scope.cancel()
            received += await take(ws, number + 1 - len(received))
            equal(received[-1], str(number), "the message, however it was received")


@check("cancellation")
async def a_receive_that_times_out_as_a_message_comes_loses_nothing(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        received: list[Any] = []
        for number in range(10):
            at = anyio.current_time() + 0.005

            async def send(at: float, number: int) -> None:
                await anyio.sleep_until(at)
                await peer.send(str(number))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send, at, number)
                with anyio.CancelScope(deadline=at):
                    received.append(await ws.receive())
            received += await take(ws, number + 1 - len(received))
            equal(received[-1], str(number), "the message, however it was received")


@check("cancellation")
async def a_cancelled_task_gives_its_place_to_the_next(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        received: list[Any] = []

        async def receive() -> None:
            received.append(await ws.receive())

        for moment in range(12):
            received.clear()
            async with anyio.create_task_group() as tasks:
                async with anyio.create_task_group() as cancelled:
                    cancelled.start_soon(receive)
                    await settle()
                    tasks.start_soon(receive)
                    await settle()
                    await peer.send("1")
                    await turns(moment)
                    cancelled.cancel_scope.cancel()
                await peer.send("2")  # the second task's, if the first was too quick to be cancelled
            equal(received + await take(ws, 2 - len(received)), ["1", "2"], "the messages")


@check()
async def the_queue_is_bounded_by_its_size(maker: SessionMaker) -> None:
    async with stage(maker, queue_size=4) as (ws, peer), anyio.create_task_group() as tasks:
        sender = Sender(peer.send, "x" * 10_000, limit=1000)
        tasks.start_soon(sender.run)
        await sender.blocked()
        that(sender.sent < 1000, "a peer could send 10 MB that nobody receives")
        await until(lambda: ws.statistics().queued_messages >= 4)
        equal(ws.statistics().queued_messages, 4, "messages in a queue of four")
        equal(await take(ws, 1000), ["x" * 10_000] * 1000, "the messages")


@check()
async def the_queue_is_bounded_in_bytes(maker: SessionMaker) -> None:
    async with stage(maker, queue_size=100_000) as (ws, peer), anyio.create_task_group() as tasks:
        sender = Sender(peer.send, b"x" * 100_000, limit=200)
        tasks.start_soon(sender.run)
        await sender.blocked()
        await until(lambda: ws.statistics().queued_messages > 0)
        queued = ws.statistics().queued_messages
        that(queued < 50, f"{queued} messages of 100 KB are queued")
        equal(sum(map(len, await take(ws, 200))), 20_000_000, "bytes received")


@check()
async def reading_goes_on_when_the_queue_has_room_again(maker: SessionMaker) -> None:
    async with stage(maker, queue_size=2) as (ws, peer):
        for number in range(10):
            await peer.send(str(number))
        await peer.send_close(1000)
        equal(await collect(ws), [str(number) for number in range(10)], "the messages")


@check()
async def messages_before_a_close_come_first(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("a")
        await peer.send("b")
        await peer.send_close(4000, "so long")
        await until(lambda: ws.closed)
        equal(await take(ws, 2), ["a", "b"], "the messages before the close")
        for _ in range(2):
            with raises(WebSocketDisconnect) as raised:
                await ws.receive()
            equal((raised.error.code, raised.error.reason), (4000, "so long"), "code and reason")


@check()
async def iteration_ends_on_1000_and_1001_and_no_code(maker: SessionMaker) -> None:
    for code in (1000, 1001, None):
        async with stage(maker) as (ws, peer):
            await peer.send("a")
            await (peer.send_frame(Opcode.CLOSE) if code is None else peer.send_close(code))
            equal(await collect(ws), ["a"], f"messages before {code}")
            equal(await collect(ws), [], f"messages after {code}")


@check()
async def iteration_raises_on_other_codes(maker: SessionMaker) -> None:
    for code in (1002, 1011, 1012, 3000, 4999):
        async with stage(maker) as (ws, peer):
            await peer.send("a")
            await peer.send_close(code)
            received: list[Any] = []
            with raises(WebSocketDisconnect) as raised:
                async for message in ws:
                    received.append(message)  # noqa: PERF401 (what came before the exception counts)
            equal((received, raised.error.code), (["a"], code), "the messages and the code")


@check()
async def iteration_raises_when_the_connection_is_lost(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("a")
        await peer.drop()
        received: list[Any] = []
        with raises(WebSocketNetworkError):
            async for message in ws:
                received.append(message)  # noqa: PERF401 (what came before the exception counts)
        equal(received, ["a"], "the messages")


@check()
async def iteration_raises_when_another_task_closes(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):

        async def iterate() -> None:
            with raises(WebSocketClosedError):
                await collect(ws)

        async with beside(iterate, peer.wait_closed):
            await ws.close()


@check()
async def every_task_that_iterates_comes_to_the_end(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        received: list[Any] = []

        async def iterate() -> None:
            async for message in ws:
                received.append(message)  # noqa: PERF401 (others add to it as well)

        async with beside(*[iterate] * 4):
            for number in range(8):
                await peer.send(str(number))
            await peer.send_close()
        equal(sorted(received), [str(number) for number in range(8)], "the messages")


@check()
async def a_peer_may_speak_first(maker: SessionMaker) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await peer.send("welcome")
        await peer.wait_closed()

    async with maker(handler) as ws:
        equal(await ws.receive(), "welcome", "the message")
