"""Sending: each message whole, in the order of the calls, and no faster than the peer reads."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from httpx2_trio_ws._exceptions import WebSocketException
from httpx2_trio_ws.testing._frames import Opcode

from ._registry import check
from ._stage import (
    SHORT,
    Sender,
    answer_nothing,
    beside,
    comes_to,
    equal,
    frames_to_the_end,
    payloads,
    raises,
    settle,
    stage,
    takes,
    that,
    turns,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from httpx2_trio_ws.testing._peer import ScriptedPeer

    from ._registry import SessionMaker

# More than a session may hold unsent, with the frame now on the wire and what is yet to be framed.
_UNSENT = 4 * 65536
# So many unsent bytes are more than one write takes.
_MUCH = 32768


@check()
async def text_is_sent_as_text(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for text in ("plain", "é", "漢字 😀", "\0", ""):
            await ws.send(text)
            equal(await peer.receive_frame(), (Opcode.TEXT, text.encode(), True, False), "the frame of a text")


@check()
async def bytes_are_sent_as_binary(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for data in (b"plain", b"\xff\0", b""):
            await ws.send(data)
            equal(await peer.receive_frame(), (Opcode.BINARY, data, True, False), "the frame of bytes")


@check()
async def send_text_and_send_bytes_do_as_they_are_called(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await ws.send_text("text")
        await ws.send_bytes(b"bytes")
        equal([await peer.receive(), await peer.receive()], ["text", b"bytes"], "the peer's messages")


@check()
async def bytearrays_and_memoryviews_are_copied(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        data = bytearray(b"before")
        await ws.send_bytes(data)
        await ws.send_bytes(memoryview(data)[2:])
        data[:] = b"after!"
        equal([await peer.receive(), await peer.receive()], [b"before", b"fore"], "the peer's messages")


@check()
async def text_may_be_given_as_utf8(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for text in ("a", "\u6f22\u5b57", ""):
            await ws.send_text(text.encode())
            equal(await peer.receive(), text, "the peer's message")


@check()
async def json_is_sent_as_text_or_binary(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        data = {"a": [1, 2.5, None, True], "ü": "漢"}
        for mode, opcode in (({}, Opcode.TEXT), ({"mode": "text"}, Opcode.TEXT), ({"mode": "binary"}, Opcode.BINARY)):
            await ws.send_json(data, **mode)
            frame = await peer.receive_frame()
            equal((frame.opcode, json.loads(frame.payload)), (opcode, data), "the frame of JSON")


@check()
async def messages_of_every_length_arrive(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), anyio.create_task_group() as tasks:
        for length in (1, 125, 126, 127, 65535, 65536, 65537, 300_000):
            tasks.start_soon(ws.send, b"x" * length)
            equal(len(await peer.receive()), length, "the length of a message")


@check()
async def a_large_message_arrives_intact(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), anyio.create_task_group() as tasks:
        message = bytes(range(256)) * 8192
        tasks.start_soon(ws.send, message)
        that(await peer.receive() == message, "2 MiB arrived changed")


@check()
async def messages_keep_the_order_of_the_calls(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        numbers = [str(number) for number in range(300)]
        for number in numbers:
            await ws.send(number)
        equal([await peer.receive() for _ in numbers], numbers, "the peer's messages")


@check()
async def many_tasks_may_send(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), anyio.create_task_group() as tasks:

        async def send(name: str) -> None:
            for number in range(20):
                await ws.send(f"{name}{number}" + name * 1000 * number)

        for name in "abcdefgh":
            tasks.start_soon(send, name)
        received = [str(await peer.receive()) for _ in range(8 * 20)]
        for name in "abcdefgh":
            own = [message for message in received if message[0] == name]
            equal(own, [f"{name}{n}" + name * 1000 * n for n in range(20)], f"the messages of task {name}")


@check("order")
async def tasks_that_wait_to_send_keep_their_order(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), anyio.create_task_group() as tasks:
        sender = Sender(ws.send, b"x" * 65536, limit=1000)
        received: list[str] = []
        async with anyio.create_task_group() as filling:
            filling.start_soon(sender.run)
            await sender.blocked()
            for name in "abcdefgh":
                tasks.start_soon(ws.send, name)
                await settle()
            while len(received) < 8:
                message = await peer.receive()
                if isinstance(message, str):
                    received.append(message)
            filling.cancel_scope.cancel()
        equal("".join(received), "abcdefgh", "the order of the waiting tasks' messages")


@check()
async def a_lone_message_is_with_the_transport_when_send_returns(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for _ in range(3):
            await ws.send("alone")
            equal(ws.statistics().unsent_bytes, 0, "unsent bytes after a lone send")
            equal(await peer.receive(), "alone", "the message")
            await settle()


@check()
async def a_burst_arrives_without_more_calls(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for number in range(100):
            await ws.send(str(number))
        equal([await peer.receive() for _ in range(100)], [str(n) for n in range(100)], "the burst")


@check()
async def send_waits_while_the_peer_reads_nothing(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), anyio.create_task_group() as tasks:
        senders = [Sender(ws.send, b"x" * 16384, limit=256) for _ in range(4)]
        for sender in senders:
            tasks.start_soon(sender.run)
        await senders[-1].blocked()
        that(sum(sender.sent for sender in senders) < 1024, "16 MiB were sent to a peer that reads nothing")
        await until(lambda: ws.statistics().unsent_bytes > 0)
        unsent = ws.statistics().unsent_bytes
        that(unsent < _UNSENT, f"{unsent} bytes unsent while senders wait, allowed are {_UNSENT}")
        for _ in range(1024):
            await peer.receive_frame()


@check()
async def a_message_over_the_high_water_mark_is_sent(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ws.send, b"x" * 1_000_000)
        equal([len(await peer.receive()) for _ in range(3)], [1_000_000] * 3, "the lengths of large messages")


@contextlib.asynccontextmanager
async def _full(maker: SessionMaker) -> AsyncGenerator[tuple[Any, ScriptedPeer]]:
    """A session whose queue is full, and its peer."""
    async with stage(maker, ending=answer_nothing) as (ws, peer), anyio.create_task_group() as tasks:
        senders = [Sender(ws.send, b"x" * 400) for _ in range(4)]
        for sender in senders:
            tasks.start_soon(_quietly, sender)
        await senders[-1].blocked()
        yield ws, peer
        await peer.drop()


@check()
async def a_pong_does_not_wait_behind_messages(maker: SessionMaker) -> None:
    async with _full(maker) as (ws, peer):
        before = ws.statistics().bytes_received
        await peer.ping(b"answer me")
        await until(lambda: ws.statistics().bytes_received > before)
        await settle()
        await _overtakes(ws, peer, Opcode.PONG, b"answer me")


@check()
async def a_ping_does_not_wait_behind_messages(maker: SessionMaker) -> None:
    async with _full(maker) as (ws, peer):
        await ws.ping(b"first")
        await _overtakes(ws, peer, Opcode.PING, b"first")


async def _overtakes(ws: Any, peer: ScriptedPeer, opcode: int, payload: bytes) -> None:
    """A control frame that was queued comes before a quarter, at least, of what is unsent, if that is much."""
    unsent, sent = ws.statistics().unsent_bytes, ws.statistics().bytes_sent
    read = 0
    while (frame := await peer.receive_frame())[:2] != (opcode, payload):
        read += len(frame.payload)
    overtaken = sent + unsent - read
    that(
        unsent < _MUCH or overtaken > unsent // 4,
        f"after {sent} bytes, and with {unsent} unsent, {read} more came before it",
    )


async def _quietly(sender: Sender) -> None:
    with raises(WebSocketException):
        await sender.run()


@check("cancellation")
async def a_cancelled_send_leaves_the_message_whole_or_absent(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        returned: list[bytes] = []
        for number in range(30):
            message = bytes((number,)) * 100_000
            with anyio.move_on_after(SHORT / 20):
                await ws.send(message)
                returned.append(message)
        received: list[bytes] = []
        async with beside(partial(ws.close, 4000)):
            received = payloads(await frames_to_the_end(peer))
        equal(peer.incomplete, b"", "half a frame")
        numbers = [message[0] for message in received]
        equal([len(message) for message in received], [100_000] * len(received), "the lengths of messages")
        that(set(returned) <= set(received), "a message whose send() had returned is missing")
        equal(numbers, sorted(set(numbers)), "the order of the messages")


@check("cancellation")
async def a_cancelled_sender_does_not_hold_up_those_behind_it(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        async with anyio.create_task_group() as tasks:
            sender = Sender(ws.send, b"x" * 65536)
            tasks.start_soon(sender.run)
            await sender.blocked()
            tasks.cancel_scope.cancel()
        async with anyio.create_task_group() as behind:
            behind.start_soon(ws.send, "behind")
            await comes_to(peer, "behind")


@check("cancellation")
async def cancelled_at_any_turn_a_send_is_whole_or_absent_and_the_next_goes_out(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for number in range(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ws.send, f"maybe {number}")
                await turns(number % 5)
                tasks.cancel_scope.cancel()
            await ws.send(f"surely {number}")
            messages = [str(await peer.receive())]
            if messages[0].startswith("maybe"):
                messages.append(str(await peer.receive()))
            equal(messages, [f"maybe {number}", f"surely {number}"][-len(messages) :], "the peer's messages")


@check()
async def a_blocked_sender_goes_on_when_the_peer_reads_again(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), anyio.create_task_group() as tasks:
        sender = Sender(ws.send, "x" * 10_000, limit=2000)
        tasks.start_soon(sender.run)
        await sender.blocked()
        with takes(0, SHORT):
            await peer.receive()
        for _ in range(1999):
            equal(len(await peer.receive()), 10_000, "the length of a message")
