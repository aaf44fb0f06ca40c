"""Failing: what had arrived comes first, every call raises it, and it is told once, where someone listens."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from httpx2_trio_ws._exceptions import WebSocketNetworkError, WebSocketProtocolError
from httpx2_trio_ws.testing._frames import Opcode, close_payload, encode_frame

from ._registry import add, check
from ._stage import (
    SHORT,
    Sender,
    answer_nothing,
    beside,
    calls_of,
    equal,
    fail,
    leaves,
    raise_all,
    raises,
    settle,
    stage,
    take,
    takes,
    that,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2_trio_ws.testing._peer import ScriptedPeer

    from ._registry import SessionMaker


class _Own(Exception):
    """An error of the block itself."""


@check()
async def messages_before_a_lost_connection_come_first(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("a")
        await peer.send(b"b")
        await peer.drop()
        await until(lambda: ws.closed)
        equal(await take(ws, 2), ["a", b"b"], "the messages")
        with raises(WebSocketNetworkError):
            await ws.receive()


@check()
async def a_lost_connection_is_raised_by_every_later_call(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.drop()
        await raise_all(WebSocketNetworkError, [ws.receive, *calls_of(ws).values(), ws.wait_closed])
        await raise_all(WebSocketNetworkError, calls_of(ws).values())
        equal((ws.close_code, ws.close_reason, ws.closed), (1006, "", True), "code, reason and closed")


@check()
async def closing_after_a_failure_raises_nothing_and_hides_nothing(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.drop()
        with raises(WebSocketNetworkError):
            await ws.receive()
        await ws.close()
        await ws.aclose()
        await raise_all(WebSocketNetworkError, calls_of(ws).values())


@check()
async def a_reset_connection_is_a_failure(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.reset()
        await raise_all(WebSocketNetworkError, [ws.receive, *calls_of(ws).values()])


@check()
async def half_a_frame_at_the_end_is_no_message(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send_raw(encode_frame(Opcode.TEXT, b"whole") + encode_frame(Opcode.TEXT, b"cut off")[:-1])
        await peer.drop()
        equal(await ws.receive(), "whole", "the message")
        with raises(WebSocketNetworkError):
            await ws.receive()


@check()
async def an_unfinished_message_at_the_end_is_no_message(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send_frame(Opcode.TEXT, b"to be continued", fin=False)
        await peer.drop()
        with raises(WebSocketNetworkError):
            await ws.receive()


@check()
async def every_waiting_task_is_told_of_a_failure(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        waiter = await ws.ping()
        calls = [ws.receive, ws.receive_text, ws.__anext__, waiter.wait, ws.wait_closed]
        async with beside(*(partial(raise_all, WebSocketNetworkError, [call]) for call in calls)):
            await peer.drop()


@check()
async def senders_that_wait_are_told_of_a_failure(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        senders = [Sender(ws.send, b"x" * 65536) for _ in range(3)]
        async with beside(*(partial(raise_all, WebSocketNetworkError, [sender.run]) for sender in senders)):
            await senders[0].blocked()
            await peer.drop()


@check()
async def each_call_raises_an_exception_of_its_own(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.drop()
        raised: list[Any] = []
        for _ in range(2):
            with raises(WebSocketNetworkError) as one:
                await ws.receive()
            raised.append(one.error)
        that(raised[0] is not raised[1], "two calls raised one object, on which tracebacks pile up")
        equal(str(raised[0]), str(raised[1]), "the text")


@check()
async def wait_closed_raises_a_failure_and_nothing_else(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.drop()
        with raises(WebSocketNetworkError):
            await ws.wait_closed()
    async with stage(maker) as (ws, peer), beside(ws.wait_closed):
        await peer.close()
    async with stage(maker) as (ws, peer), beside(ws.wait_closed, peer.wait_closed):
        await ws.close()


@check()
async def a_told_failure_is_not_raised_again(maker: SessionMaker) -> None:
    with leaves():
        async with stage(maker, failure_grace_seconds=0.01) as (ws, peer):
            await peer.drop()
            with raises(WebSocketNetworkError):
                await ws.receive()
            await settle()


@check("groups")
async def an_untold_failure_is_raised_after_the_grace(maker: SessionMaker) -> None:
    with takes(SHORT, SHORT), leaves(WebSocketNetworkError):
        async with stage(maker, failure_grace_seconds=SHORT) as (_, peer):
            await peer.drop()
            await anyio.sleep_forever()


@check("groups")
async def with_no_grace_an_untold_failure_is_raised_at_once(maker: SessionMaker) -> None:
    with takes(0, 0), leaves(WebSocketNetworkError):
        async with stage(maker, failure_grace_seconds=0) as (_, peer):
            await peer.drop()
            await anyio.sleep_forever()


@check("groups")
async def with_an_infinite_grace_an_untold_failure_is_raised_where_the_block_is_left(maker: SessionMaker) -> None:
    ends: list[str] = []
    with leaves(WebSocketNetworkError):
        async with stage(maker, failure_grace_seconds=math.inf) as (_, peer):
            await peer.drop()
            await anyio.sleep(SHORT)
            ends.append("came to its end")
    equal(ends, ["came to its end"], "the block")


@check("groups")
async def an_untold_failure_is_raised_where_the_block_is_left_within_the_grace(maker: SessionMaker) -> None:
    with takes(0, 0), leaves(WebSocketNetworkError):
        async with stage(maker) as (ws, peer):
            await peer.drop()
            await until(lambda: ws.closed)


@check("groups")
async def an_untold_failure_is_raised_beside_the_blocks_own_error(maker: SessionMaker) -> None:
    with leaves(WebSocketNetworkError, _Own):
        async with stage(maker) as (ws, peer):
            await peer.drop()
            await until(lambda: ws.closed)
            fail(_Own())


@check("groups", "cancellation")
async def an_untold_failure_survives_a_cancellation(maker: SessionMaker) -> None:
    with leaves(WebSocketNetworkError), anyio.CancelScope() as scope:
        async with stage(maker) as (ws, peer):
            await peer.drop()
            await until(lambda: ws.closed)
            scope.cancel()
            await anyio.sleep_forever()


@check("groups")
async def a_blocks_own_error_leaves_it_in_a_group(maker: SessionMaker) -> None:
    with raises(ExceptionGroup):
        async with stage(maker):
            fail(_Own())


@check()
async def a_blocks_own_error_is_not_hidden(maker: SessionMaker) -> None:
    with leaves(_Own):
        async with stage(maker):
            fail(_Own())


@check("groups")
async def a_close_by_the_peer_is_no_failure(maker: SessionMaker) -> None:
    with leaves():
        async with stage(maker, failure_grace_seconds=0) as (ws, peer):
            await peer.close(1011, "broken")
            await ws.wait_closed()
            await settle()


# -- what a peer may not send ----------------------------------------------------------------------

_BROKEN: dict[str, tuple[bytes, int]] = {
    "a_reserved_opcode": (encode_frame(3), 1002),
    "a_reserved_control_opcode": (encode_frame(11), 1002),
    "a_first_reserved_bit": (encode_frame(Opcode.TEXT, rsv1=True), 1002),
    "a_second_reserved_bit": (encode_frame(Opcode.TEXT, rsv2=True), 1002),
    "a_third_reserved_bit": (encode_frame(Opcode.BINARY, rsv3=True), 1002),
    "a_masked_frame": (b"\x81\x81\0\0\0\0a", 1002),
    "a_continuation_of_nothing": (encode_frame(Opcode.CONT), 1002),
    "a_message_inside_a_message": (encode_frame(Opcode.TEXT, fin=False) + encode_frame(Opcode.TEXT), 1002),
    "a_fragmented_ping": (encode_frame(Opcode.PING, fin=False), 1002),
    "a_long_ping": (encode_frame(Opcode.PING, bytes(126)), 1002),
    "half_a_close_code": (encode_frame(Opcode.CLOSE, b"\x03"), 1002),
    "a_close_code_that_may_not_be_sent": (encode_frame(Opcode.CLOSE, close_payload(1005)), 1002),
    "a_close_reason_that_is_no_text": (encode_frame(Opcode.CLOSE, b"\x03\xe8\xff"), 1007),
    "text_that_is_no_utf8": (encode_frame(Opcode.TEXT, b"\xff"), 1007),
    "text_with_a_surrogate": (encode_frame(Opcode.TEXT, b"\xed\xa0\x80"), 1007),
    "text_that_ends_in_a_character": (encode_frame(Opcode.TEXT, b"\xc3"), 1007),
}


def _refuses(raw: bytes, code: int) -> Callable[[SessionMaker], Awaitable[None]]:
    async def function(maker: SessionMaker) -> None:
        async with stage(maker, ending=answer_nothing, close_timeout_seconds=SHORT) as (ws, peer):
            await peer.send_raw(encode_frame(Opcode.TEXT, b"before") + raw + encode_frame(Opcode.TEXT, b"after"))
            equal(await ws.receive(), "before", "the message before")
            for call in (ws.receive, ws.receive, ws.__anext__, ws.ping):
                with raises(WebSocketProtocolError) as raised:
                    await call()
                equal(raised.error.code, code, "the code in the exception")
            await _is_told(peer, code)
            equal(ws.close_code, 1006, "the session's close code")
            await peer.drop()

    return function


async def _is_told(peer: ScriptedPeer, code: int) -> None:
    frame = await peer.receive_frame()
    equal((frame.opcode, int.from_bytes(frame.payload[:2])), (Opcode.CLOSE, code), "what the peer is told")


for _name, (_raw, _code) in _BROKEN.items():
    add(f"{_name}_is_refused_with_{_code}", __name__, _refuses(_raw, _code))


@check("groups")
async def an_untold_breach_of_the_protocol_is_raised_and_the_peer_told(maker: SessionMaker) -> None:
    codes: list[int | None] = []
    with leaves(WebSocketProtocolError):
        async with stage(maker, failure_grace_seconds=0.01, close_timeout_seconds=SHORT) as (_, peer):
            await peer.send_frame(3)
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                    await answer_nothing(peer)
                codes.append(peer.close_code)
    equal(codes, [1002], "the code that the peer is told")
