"""Sending in parts: one message in fragments of what has gathered, whole or with the session's end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio

from httpx2_trio_ws._exceptions import WebSocketClosedError, WebSocketDisconnect
from httpx2_trio_ws.testing._frames import Opcode

from ._registry import check
from ._stage import SHORT, beside, equal, fail, frames_to_the_end, raises, settle, stage, stall, takes, that, until

if TYPE_CHECKING:
    from httpx2_trio_ws.testing._frames import Frame
    from httpx2_trio_ws.testing._peer import ScriptedPeer

    from ._registry import SessionMaker

_MEBI = 2**20


async def _message(peer: ScriptedPeer) -> list[Frame]:
    """The frames of the next message; pings are not expected."""
    frames = [await peer.receive_frame()]
    while not frames[-1].fin:
        frames.append(await peer.receive_frame())
    return frames


@check("parts")
async def parts_are_sent_as_one_message(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        async with ws.send_stream("text") as message:
            for part in ("in ", "", "pärts"):
                await message.send(part)
        async with ws.send_stream("binary") as message:
            for data in (b"bytes", bytearray(b" of "), memoryview(b"many kinds")):
                await message.send(data)
        equal([await peer.receive(), await peer.receive()], ["in pärts", b"bytes of many kinds"], "the messages")


@check("parts")
async def an_empty_message_in_parts_is_sent_in_one_frame(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for kind, opcode in (("text", Opcode.TEXT), ("binary", Opcode.BINARY)):
            async with ws.send_stream(kind):
                pass
            equal(await peer.receive_frame(), (opcode, b"", True, False), "the frame")


@check("parts")
async def a_part_goes_out_before_the_next_is_made(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        async with ws.send_stream("text") as message:
            for number, part in enumerate(("one", "two", "three")):
                await message.send(part)
                opcode = Opcode.CONT if number else Opcode.TEXT
                equal(await peer.receive_frame(), (opcode, part.encode(), False, False), "the frame")
        equal(await peer.receive_frame(), (Opcode.CONT, b"", True, False), "the last frame")


@check("parts")
async def no_frame_of_a_message_in_parts_is_large(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):

        async def send() -> None:
            async with ws.send_stream("binary") as message:
                await message.send(bytes(_MEBI))

        async with beside(send):
            frames = await _message(peer)
        equal(sum(len(frame.payload) for frame in frames), _MEBI, "bytes sent")
        that(max(len(frame.payload) for frame in frames) <= 65536, "a frame is larger than 64 KiB")


@check("parts")
async def control_frames_go_between_the_parts(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), ws.send_stream("text") as message:
        await message.send("begun")
        equal((await peer.receive_frame()).payload, b"begun", "the part")
        await peer.ping(b"here?")
        equal(await peer.receive_frame(), (Opcode.PONG, b"here?", True, False), "the pong")
        await ws.ping(b"there?")
        equal(await peer.receive_frame(), (Opcode.PING, b"there?", True, False), "the ping")


@check("parts")
async def other_senders_wait_for_the_messages_end(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        begun = anyio.Event()

        async def send() -> None:
            async with ws.send_stream("text") as message:
                await message.send("first ")
                begun.set()
                await anyio.sleep(SHORT)
                await message.send("message")

        async def send_next() -> None:
            await begun.wait()
            await ws.send("second")

        async with beside(send, send_next):
            equal([await peer.receive(), await peer.receive()], ["first message", "second"], "the messages")


@check("parts")
async def sending_in_parts_waits_while_the_peer_reads_nothing(maker: SessionMaker) -> None:
    async with stage(maker, ending=stall) as (ws, _):
        taken = 0

        async def send() -> None:
            nonlocal taken
            with contextlib.suppress(WebSocketClosedError):
                async with ws.send_stream("binary") as message:
                    while taken < 64 * _MEBI:
                        await message.send(bytes(65536))
                        taken += 65536

        async with beside(send):
            before = -1
            while before != taken:
                before = taken
                await anyio.sleep(SHORT)
            that(taken < 16 * _MEBI, f"{taken} bytes were taken, and nobody read them")
            await ws.close()


@check("parts")
async def an_error_breaks_a_message_off_with_1011(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        with raises(ZeroDivisionError):
            async with ws.send_stream("text") as message:
                await message.send("begun")
                fail(ZeroDivisionError())
        with raises(WebSocketClosedError):
            await ws.send("next")
        frames = await frames_to_the_end(peer)
        equal(frames[-1].opcode, Opcode.CLOSE, "the last frame")
        equal(peer.close_code, 1011, "the close code")
        that(not any(frame.fin for frame in frames[:-1]), "a message was ended that was not complete")


@check("parts")
async def an_error_before_the_first_part_sends_nothing(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for wrong in ((), ("",), (1,), ("\ud800",)):
            with raises(Exception):
                async with ws.send_stream("text") as message:
                    for part in wrong:
                        await message.send(part)
                    fail(ZeroDivisionError())
        await ws.send("next")
        equal(await peer.receive_frame(), (Opcode.TEXT, b"next", True, False), "the next frame")


@check("parts", "cancellation")
async def a_cancelled_message_is_broken_off_with_1001(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        with anyio.move_on_after(SHORT):
            async with ws.send_stream("text") as message:
                await message.send("begun")
                await anyio.sleep_forever()
        with raises(WebSocketClosedError):
            await ws.send("next")
        await frames_to_the_end(peer)
        equal(peer.close_code, 1001, "the close code")


@check("parts", "cancellation")
async def a_cancelled_part_was_not_taken(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        async with ws.send_stream("binary") as message:
            taken, cancelled = 0, False
            while not cancelled:
                with anyio.move_on_after(SHORT) as scope:
                    await message.send(bytes(65536))
                    taken += 65536
                cancelled = scope.cancelled_caught
            received: list[str | bytes] = []

            async def receive() -> None:
                received.append(await peer.receive())

            async with beside(receive):
                await message.send(b"the end")
                await message.__aexit__(None, None, None)
        equal(len(received[0]), taken + 7, "bytes received")


@check("parts")
async def closing_inside_a_message_sends_what_was_taken(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        frames: list[Frame] = []

        async def read() -> None:
            frames.extend(await frames_to_the_end(peer))

        async with beside(read):
            with raises(WebSocketClosedError):
                async with ws.send_stream("binary") as message:
                    await message.send(bytes(200_000))
                    await ws.close()
                    await message.send(b"too late")
        equal(sum(len(frame.payload) for frame in frames[:-1]), 200_000, "bytes before the close frame")
        that(not any(frame.fin for frame in frames[:-1]), "a message was ended that was not complete")
        equal((frames[-1].opcode, peer.close_code), (Opcode.CLOSE, 1000), "the last frame")


@check("parts")
async def nothing_is_sent_after_a_close_frame_inside_a_message(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        frames: list[Frame] = []

        async def read() -> None:
            while not frames or frames[-1].opcode != Opcode.CLOSE:
                frames.append(await peer.receive_frame())
            with anyio.move_on_after(SHORT):
                frames.append(await peer.receive_frame())
            await peer.send_frame(Opcode.CLOSE, frames[-1].payload)
            await peer.drop()

        async def send() -> None:
            with raises(WebSocketClosedError):
                await ws.send("waits")

        async with beside(read):
            with raises(WebSocketClosedError):
                async with ws.send_stream("text") as message:
                    await message.send("begun")
                    async with beside(send):
                        await settle()
                        await ws.close()
                    await message.send("too late")
        equal([frame.opcode for frame in frames], [Opcode.TEXT, Opcode.CLOSE], "what was sent")


@check("parts")
async def a_message_that_the_session_cuts_off_is_not_left_in_silence(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        with raises(WebSocketDisconnect):
            async with ws.send_stream("text") as message:
                await message.send("begun")
                await peer.close(1001)
                await until(lambda: ws.closed)
        with raises(WebSocketDisconnect):
            await ws.send_stream("text").__aenter__()


@check("parts")
async def a_flood_of_parts_does_not_starve_other_tasks(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):

        async def send() -> None:
            async with ws.send_stream("text") as message:
                for _ in range(3000):
                    await message.send("token ")

        with takes(0, 2):
            async with beside(send):
                equal(await peer.receive(), "token " * 3000, "the message")


@check("parts")
async def wrong_parts_are_refused_and_the_message_goes_on(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        with raises(ValueError):
            ws.send_stream("bytes")
        for kind, part, wrong in (("text", "right", b"x"), ("binary", b"right", "x"), ("text", "right", None)):
            async with ws.send_stream(kind) as message:
                await message.send(part)
                with raises(TypeError):
                    await message.send(wrong)
            equal(await peer.receive(), part, "the message")
        async with ws.send_stream("text") as message:
            await message.send("right")
            with raises(UnicodeEncodeError):
                await message.send("\ud800")
        equal(await peer.receive(), "right", "the message")
