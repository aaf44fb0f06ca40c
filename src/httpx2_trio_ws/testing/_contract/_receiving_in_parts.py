"""Receiving in parts: as they arrive, little of them held, and a message that was cut off never ends like a whole one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from httpx2_trio_ws._exceptions import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketNetworkError,
    WebSocketProtocolError,
)
from httpx2_trio_ws.testing._frames import Opcode, encode_frame

from ._registry import check
from ._stage import SHORT, beside, equal, frames_to_the_end, leaves, raises, settle, stage, that, turns, until

if TYPE_CHECKING:
    from ._registry import SessionMaker

_MEBI = 2**20


async def _parts(message: Any) -> list[Any]:
    return [part async for part in message]


async def _joined(ws: Any) -> object:
    """Receive a message in parts, and join them."""
    async with ws.receive_stream() as message:
        parts = await _parts(message)
        empty = "" if message.kind == "text" else b""
        that(all(type(part) is type(empty) for part in parts), "a part is not of its message's kind")
    return empty.join(parts)


@check("parts")
async def parts_are_received_as_they_arrive(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send_frame(Opcode.TEXT, b"ein T", fin=False)
        async with ws.receive_stream() as message:
            equal(message.kind, "text", "the kind")
            equal(await message.__anext__(), "ein T", "the first part")
            await peer.send_frame(Opcode.CONT, "eilstück, ä".encode()[:-1], fin=False)
            equal(await message.__anext__(), "eilstück, ", "the second part")
            await peer.send_frame(Opcode.CONT, "ä".encode()[1:])
            equal(await _parts(message), ["ä"], "the last part")
        await peer.send("next")
        equal(await ws.receive(), "next", "the message after it")


@check("parts")
async def a_large_frame_is_received_as_it_arrives(maker: SessionMaker) -> None:
    async with stage(maker, max_message_size_bytes=1000, stream_large_messages=True) as (ws, peer):
        frame = encode_frame(Opcode.BINARY, b"x" * 300_000)
        async with beside(lambda: peer.send_raw(frame[:100_000])), ws.receive_stream() as message:
            size = 0
            while size < 99_990:
                size += len(await message.__anext__())
            async with beside(lambda: peer.send_raw(frame[100_000:])):
                equal(size + sum(map(len, await _parts(message))), 300_000, "bytes received")


@check("parts")
async def a_whole_message_is_one_part(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("whole")
        await peer.send(b"")
        await peer.send("next")
        await until(lambda: ws.statistics().queued_messages == 3)
        for kind, expected in (("text", ["whole"]), ("binary", [])):
            async with ws.receive_stream() as message:
                equal((message.kind, await _parts(message)), (kind, expected), "the message")
        equal(await ws.receive(), "next", "the message after it")


@check("parts")
async def messages_in_parts_are_received_in_order(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("1")
        await peer.send_frame(Opcode.TEXT, b"2", fin=False)
        await peer.send_frame(Opcode.CONT, b"2")
        await peer.send("3")
        equal(await ws.receive(), "1", "the first")
        equal(await _joined(ws), "22", "the second")
        equal(await ws.receive(), "3", "the third")


@check("parts")
async def what_is_not_taken_of_a_message_holds_up_the_peer(maker: SessionMaker) -> None:
    async with stage(maker, stream_large_messages=True, keepalive_ping_interval_seconds=None) as (ws, peer):
        sent = 0

        async def send() -> None:
            nonlocal sent
            await peer.send_frame(Opcode.BINARY, fin=False)
            for _ in range(1024):
                await peer.send_frame(Opcode.CONT, bytes(65536), fin=False)
                sent += 65536
            await peer.send_frame(Opcode.CONT)

        async with beside(send), ws.receive_stream() as message:
            before = -1
            while before != sent:
                before = sent
                await anyio.sleep(SHORT)
            that(sent < 16 * _MEBI, f"{sent} bytes were read, and nobody took them")
            equal(sum(map(len, await _parts(message))), 64 * _MEBI, "bytes received")


@check("parts")
async def the_rest_of_a_message_is_skipped_when_its_block_is_left(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send_frame(Opcode.BINARY, bytes(1000), fin=False)
        async with ws.receive_stream() as message:
            await message.__anext__()

        async def send() -> None:
            for _ in range(20):
                await peer.send_frame(Opcode.CONT, bytes(100_000), fin=False)
            await peer.send_frame(Opcode.CONT)
            await peer.send("next")

        async with beside(send):
            equal(await ws.receive(), "next", "the message after it")
        await peer.send_frame(Opcode.TEXT, b"not ", fin=False)
        async with ws.receive_stream():
            await peer.send_frame(Opcode.CONT, b"taken")
            await peer.send("next")
            await settle()
        equal(await ws.receive(), "next", "the message after one of which nothing was taken")


async def _drops(peer: Any) -> None:
    await peer.drop()


async def _closes(peer: Any) -> None:
    await peer.close(1000)


async def _begins_another(peer: Any) -> None:
    await peer.send_frame(Opcode.TEXT, b"inside")


@check("parts")
async def a_message_that_is_cut_off_does_not_end(maker: SessionMaker) -> None:
    for end, kind in (
        (_drops, WebSocketNetworkError),
        (_closes, WebSocketDisconnect),
        (_begins_another, WebSocketProtocolError),
    ):
        with leaves():
            async with stage(maker) as (ws, peer):
                await peer.send_frame(Opcode.TEXT, b"begun", fin=False)
                async with ws.receive_stream() as message:
                    equal(await message.__anext__(), "begun", "the part that came")
                    async with beside(partial(end, peer)):
                        with raises(kind):
                            await message.__anext__()
                        with raises(kind):
                            await message.__anext__()
                with raises(kind):
                    await ws.receive_stream().__aenter__()


@check("parts")
async def closing_ends_a_message_that_is_received(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send_frame(Opcode.TEXT, b"begun", fin=False)
        async with ws.receive_stream() as message:
            await message.__anext__()
            async with beside(peer.wait_closed):
                await ws.close()
            with raises(WebSocketClosedError):
                await message.__anext__()


@check("parts")
async def closing_discards_what_was_not_taken_of_a_message(maker: SessionMaker) -> None:
    """All of the message may have come. One that has been taken to its end has ended, all the same."""
    for at_once in (True, False):
        async with stage(maker) as (ws, peer):
            if at_once:
                await peer.send("whole")
            else:
                await peer.send_frame(Opcode.TEXT, b"begun, ", fin=False)
            async with ws.receive_stream() as message:
                if not at_once:
                    await peer.send_frame(Opcode.CONT, b"ended")
                    await settle()
                async with beside(peer.wait_closed):
                    await ws.close()
                with raises(WebSocketClosedError):
                    await message.__anext__()
    async with stage(maker) as (ws, peer):
        await peer.send("whole")
        async with ws.receive_stream() as message:
            equal(await message.__anext__(), "whole", "the only part")
            async with beside(peer.wait_closed):
                await ws.close()
            with raises(StopAsyncIteration):
                await message.__anext__()


@check("parts")
async def large_messages_may_wait_to_be_received_in_parts(maker: SessionMaker) -> None:
    async with stage(maker, max_message_size_bytes=1000, stream_large_messages=True) as (ws, peer):

        async def send() -> None:
            await peer.send("small")
            await peer.send("L" * 500_000)
            await peer.send("small")

        async with beside(send):
            await anyio.sleep(SHORT)
            equal(await ws.receive(), "small", "the first")
            equal(await _joined(ws), "L" * 500_000, "the large one")
            equal(await ws.receive(), "small", "the last")


@check("parts")
async def a_large_message_that_is_wanted_whole_is_refused(maker: SessionMaker) -> None:
    async with stage(maker, max_message_size_bytes=1000, stream_large_messages=True) as (ws, peer):
        await peer.send("small")
        await peer.send("L" * 5000)
        await anyio.sleep(SHORT)
        that(not ws.closed, "it was refused before anyone asked for it")
        equal(await ws.receive(), "small", "the first")
        with raises(WebSocketProtocolError) as raised:
            await ws.receive()
        equal(raised.error.code, 1009, "the code")
        await frames_to_the_end(peer)
        equal(peer.close_code, 1009, "the close code")


@check("parts", "cancellation")
async def waiting_for_a_message_in_parts_can_be_cancelled(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for _ in range(3):
            with anyio.move_on_after(SHORT / 3) as scope:
                await ws.receive_stream().__aenter__()
            that(scope.cancelled_caught, "there is no message")
        await peer.send_frame(Opcode.TEXT, b"begun", fin=False)
        async with ws.receive_stream() as message:
            equal(await message.__anext__(), "begun", "the first part")
            with anyio.move_on_after(SHORT / 3):
                await message.__anext__()
            await peer.send_frame(Opcode.CONT, b"ended")
            equal(await _parts(message), ["ended"], "the last part")


@check("parts", "cancellation", "order")
async def a_cancelled_task_gives_a_message_in_parts_to_the_next(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        received: list[str | bytes] = []

        async def receive() -> None:
            received.append(await ws.receive())

        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(SHORT):
                tasks.start_soon(receive)
                await ws.receive_stream().__aenter__()
            await peer.send_frame(Opcode.TEXT, b"be", fin=False)
            await settle()
            await peer.send_frame(Opcode.CONT, b"gun")
        equal(received, ["begun"], "what the other task received")


@check("parts", "cancellation")
async def a_message_that_nobody_took_is_received_whole(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for number in range(48):
            entered: list[str] = []
            async with anyio.create_task_group() as tasks:

                async def receive(entered: list[str] = entered) -> None:
                    async with ws.receive_stream() as message:
                        entered.append(message.kind)
                        await _parts(message)

                tasks.start_soon(receive)
                await settle()
                await peer.send_frame(Opcode.TEXT, b"in ", fin=False)
                await turns(number % 8)
                tasks.cancel_scope.cancel()
            await peer.send_frame(Opcode.CONT, b"parts")
            await peer.send("next")
            if not entered:
                equal(await ws.receive(), "in parts", "the message")
            equal(await ws.receive(), "next", "the message after it")


@check("parts", "compression")
async def compressed_messages_go_both_ways_in_parts(maker: SessionMaker) -> None:
    async with stage(maker, compression="deflate") as (ws, peer):

        async def send() -> None:
            async with ws.send_stream("text") as message:
                for _ in range(20):
                    await message.send("compressed, " * 100)

        async with beside(send):
            equal(await peer.receive(), "compressed, " * 2000, "the message sent")
        await peer.send("compressed, " * 50_000)
        equal(await _joined(ws), "compressed, " * 50_000, "the message received")


@check("parts")
async def a_block_of_parts_is_used_inside_and_once(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("whole")
        reader, writer = ws.receive_stream(), ws.send_stream("text")
        with raises(RuntimeError):
            await reader.__anext__()
        with raises(RuntimeError):
            that(reader.kind, "the kind was told before the message came")
        with raises(RuntimeError):
            await writer.send("early")
        async with writer, reader:
            pass
        with raises(RuntimeError):
            await reader.__anext__()
        with raises(RuntimeError):
            await writer.send("late")
        for block in (reader, writer):
            with raises(RuntimeError):
                await block.__aenter__()
        equal(await peer.receive(), "", "the message")


@check("parts", "turns")
async def waiting_for_oneself_is_refused(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        async with ws.send_stream("text") as message:
            await message.send("sound")
            for call in (lambda: ws.send("x"), lambda: ws.send_bytes(b"x"), ws.send_stream("text").__aenter__):
                with raises(RuntimeError):
                    await call()
        equal(await peer.receive(), "sound", "the message")
        await peer.send_frame(Opcode.TEXT, b"so", fin=False)
        async with ws.receive_stream() as message:
            for call in (ws.receive, ws.receive_text, ws.__anext__, ws.receive_stream().__aenter__):
                with raises(RuntimeError):
                    await call()
            await peer.send_frame(Opcode.CONT, b"und")
            equal("".join(await _parts(message)), "sound", "the message")


@check("parts", "turns")
async def two_tasks_do_not_share_a_message(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send_frame(Opcode.TEXT, b"one ", fin=False)
        async with ws.receive_stream() as message:
            equal(await message.__anext__(), "one ", "the first part")
            received: list[str | bytes] = []

            async def receive() -> None:
                received.append(await message.__anext__())

            async with beside(receive):
                with raises(RuntimeError):
                    await message.__anext__()
                await peer.send_frame(Opcode.CONT, b"message")
            equal(received, ["message"], "the part")


@check("parts")
async def statistics_count_messages_in_parts(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        async with ws.send_stream("text") as message:
            await message.send("one ")
            frames = [await peer.receive_frame()]
            await message.send("message")
        while not frames[-1].fin:
            frames.append(await peer.receive_frame())
        await peer.send_frame(Opcode.TEXT, b"an", fin=False)
        await peer.send_frame(Opcode.CONT, b"other")
        equal(await _joined(ws), "another", "the message")
        told = ws.statistics()
        equal((told.messages_sent, told.messages_received), (1, 1), "messages")
        equal((told.frames_sent, told.frames_received), (len(frames), 2), "frames")
