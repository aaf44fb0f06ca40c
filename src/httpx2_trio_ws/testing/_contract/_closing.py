"""Closing: the right code, everybody woken, nobody stranded, and never longer than agreed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from httpx2_trio_ws._exceptions import WebSocketClosedError, WebSocketDisconnect
from httpx2_trio_ws.testing._frames import Opcode, close_payload, encode_frame

from ._registry import check
from ._stage import (
    SHORT,
    Sender,
    answer_nothing,
    beside,
    calls_of,
    equal,
    fail,
    frames_to_the_end,
    leaves,
    payloads,
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
    from ._registry import SessionMaker


# -- from our side ---------------------------------------------------------------------------------


@check()
async def leaving_the_block_closes_with_1000(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        equal((ws.closed, ws.close_code, ws.close_reason), (False, None, None), "closed, code and reason while open")
    equal((peer.close_code, peer.close_reason), (1000, ""), "what the peer got")
    equal((ws.closed, ws.close_code), (True, 1000), "closed and the code that the peer answered")


@check()
async def leaving_the_block_by_an_error_closes_with_1011(maker: SessionMaker) -> None:
    with leaves(KeyError):
        async with stage(maker) as (_, peer):
            fail(KeyError())
    equal(peer.close_code, 1011, "the code that the peer got")


@check()
async def close_sends_code_and_reason(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), beside(peer.wait_closed):
        await ws.close(4321, "grüße")
        equal((peer.close_code, peer.close_reason), (4321, "grüße"), "what the peer got")
        equal((ws.close_code, ws.close_reason), (4321, "grüße"), "what the peer answered")


@check()
async def aclose_closes_with_1000(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), beside(peer.wait_closed):
        await ws.aclose()
        equal(peer.close_code, 1000, "the code that the peer got")


@check()
async def every_code_that_may_be_sent_is_sent(maker: SessionMaker) -> None:
    for code in (1000, 1003, 1007, 1014, 3000, 4999):
        async with stage(maker) as (ws, peer), beside(peer.wait_closed):
            await ws.close(code)
            equal(peer.close_code, code, "the code that the peer got")


@check()
async def codes_that_may_not_be_sent_are_refused(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1, 65536):
            with raises(ValueError):
                await ws.close(code)
        with raises(ValueError):
            await ws.close(1000, "é" * 62)
        await ws.send("still open")
        equal(await peer.receive(), "still open", "the message")


@check()
async def closing_again_does_nothing(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        frames: list[Any] = []

        async def play() -> None:
            frames.extend(await frames_to_the_end(peer))

        async with beside(play):
            await ws.close(4000, "first")
            await ws.close(4001, "second")
            await ws.aclose()
    equal([frame[:2] for frame in frames], [(Opcode.CLOSE, close_payload(4000, "first"))], "all that the peer got")


@check()
async def closing_from_several_tasks_lets_each_go_on(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), beside(ws.close, partial(ws.close, 4001), ws.aclose, ws.wait_closed):
        await peer.wait_closed()
    that(peer.close_code in (1000, 4001), f"the peer got {peer.close_code}")  # whoever came first


@check()
async def what_was_sent_before_is_flushed(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for number in range(50):
            await ws.send(f"{number}".encode() * 100)
        async with beside(ws.close):
            frames = await frames_to_the_end(peer)
        equal(payloads(frames), [f"{number}".encode() * 100 for number in range(50)], "the messages")
        equal(frames[-1].opcode, Opcode.CLOSE, "the last frame")


@check()
async def every_waiting_task_is_woken(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        waiter = await ws.ping()
        calls = [ws.receive, ws.receive_text, ws.__anext__, waiter.wait]
        waiting = [partial(raise_all, WebSocketClosedError, [call]) for call in calls]
        async with beside(*waiting, partial(frames_to_the_end, peer), ws.wait_closed):
            await ws.close()


@check()
async def waiting_tasks_are_woken_though_the_peer_does_not_answer(maker: SessionMaker) -> None:
    async with (
        stage(maker, ending=answer_nothing, close_timeout_seconds=SHORT) as (ws, _),
        beside(partial(raise_all, WebSocketClosedError, [ws.receive, ws.ping])),
    ):
        await ws.close()


@check()
async def senders_that_wait_are_woken_by_close(maker: SessionMaker) -> None:
    async with stage(maker, ending=answer_nothing, close_timeout_seconds=SHORT) as (ws, _):
        senders = [Sender(ws.send, b"x" * 65536) for _ in range(3)]
        async with beside(*(partial(raise_all, WebSocketClosedError, [sender.run]) for sender in senders)):
            await senders[0].blocked()
            await ws.close()


@check()
async def every_later_call_raises(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("never received")
        await settle()
        async with beside(peer.wait_closed):
            await ws.close()
        for _ in range(2):
            await raise_all(WebSocketClosedError, calls_of(ws).values())
        await ws.wait_closed()
    await raise_all(WebSocketClosedError, calls_of(ws).values())


@check()
async def closing_inside_a_loop_over_the_messages(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send("a")
        await peer.send("b")
        async with beside(peer.wait_closed):
            with raises(WebSocketClosedError):
                async for message in ws:
                    equal(message, "a", "the message")
                    await ws.close()


# -- a peer that does not play along ---------------------------------------------------------------


@check()
async def a_peer_that_does_not_answer_is_not_waited_for_longer_than_agreed(maker: SessionMaker) -> None:
    async with stage(maker, ending=answer_nothing, close_timeout_seconds=SHORT) as (ws, peer):
        with takes(SHORT, SHORT):
            async with beside(partial(answer_nothing, peer)):
                await ws.close()
        equal((ws.close_code, ws.close_reason), (1006, ""), "code and reason of a peer that said nothing")


@check()
async def a_peer_that_reads_nothing_is_not_waited_for_longer_than_agreed(maker: SessionMaker) -> None:
    async with stage(maker, ending=answer_nothing, close_timeout_seconds=SHORT) as (ws, _):
        sender = Sender(ws.send, b"x" * 65536)
        async with beside(partial(raise_all, WebSocketClosedError, [sender.run])):
            await sender.blocked()
            with takes(0, 2 * SHORT + 0.2):
                await ws.close()


@check()
async def a_peer_that_answers_and_stays_is_left(maker: SessionMaker) -> None:
    async with stage(maker, ending=answer_nothing, close_timeout_seconds=SHORT) as (ws, peer):

        async def play() -> None:
            frame = await peer.receive_frame()
            await peer.send_frame(Opcode.CLOSE, frame.payload)
            await answer_nothing(peer)

        with takes(0, SHORT):
            async with beside(play):
                await ws.close()
        equal(ws.close_code, 1000, "the code that the peer answered")


@check()
async def messages_that_come_before_the_answer_hold_nothing_up(maker: SessionMaker) -> None:
    async with stage(maker, queue_size=1) as (ws, peer):

        async def play() -> None:
            frame = await peer.receive_frame()
            for _ in range(1000):
                await peer.send("x" * 1000)
            await peer.send_frame(Opcode.CLOSE, frame.payload)
            await peer.drop()

        async with beside(play):
            await ws.close()
        equal(ws.close_code, 1000, "the code that the peer answered")


# -- both sides, and the peer's side ---------------------------------------------------------------


@check()
async def both_sides_may_close_at_once(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.send_close(4001)
        async with beside(partial(ws.close, 4000)):
            frame = await peer.receive_frame()
            await peer.drop()
        that(frame.opcode == Opcode.CLOSE and peer.close_code in (4000, 4001), f"the peer got {frame}")
        equal(ws.close_code, 4001, "the peer's code")


@check()
async def a_close_frame_of_the_peer_is_answered_with_its_code(maker: SessionMaker) -> None:
    for payload in (close_payload(1001, "away"), close_payload(4999), b""):
        async with stage(maker) as (ws, peer):
            await peer.send_frame(Opcode.CLOSE, payload)
            frame = await peer.receive_frame()
            equal((frame.opcode, frame.payload[:2]), (Opcode.CLOSE, payload[:2]), "the answer")
            await peer.drop()
            await ws.wait_closed()
            code = int.from_bytes(payload[:2]) or 1005
            equal((ws.close_code, ws.close_reason), (code, payload[2:].decode()), "code and reason")


@check()
async def after_the_peers_close_every_call_raises_it(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.close(4000, "enough")
        await until(lambda: ws.closed)
        calls = calls_of(ws)
        calls.pop("iteration")
        for call in [*calls.values(), *calls.values()]:
            with raises(WebSocketDisconnect) as raised:
                await call()
            equal((raised.error.code, raised.error.reason), (4000, "enough"), "code and reason")


@check()
async def the_peers_close_wakes_those_who_send(maker: SessionMaker) -> None:
    async with stage(maker, ending=answer_nothing, close_timeout_seconds=SHORT) as (ws, peer):
        sender = Sender(ws.send, b"x" * 65536)
        async with beside(partial(raise_all, WebSocketDisconnect, [sender.run])):
            await sender.blocked()
            await peer.send_close(1001)


@check()
async def the_peers_close_wakes_those_who_receive(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer), beside(*[partial(raise_all, WebSocketDisconnect, [ws.receive])] * 3):
        await peer.close(1000)


@check()
async def what_comes_after_the_peers_close_is_ignored(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        after = encode_frame(Opcode.TEXT, b"after") + encode_frame(3)
        await peer.send_raw(
            encode_frame(Opcode.TEXT, b"before") + encode_frame(Opcode.CLOSE, close_payload(1000)) + after
        )
        equal(await ws.receive(), "before", "the message")
        with raises(WebSocketDisconnect):
            await ws.receive()


@check()
async def a_peer_that_closes_and_stays_is_left(maker: SessionMaker) -> None:
    with takes(0, SHORT):
        async with stage(maker, ending=answer_nothing, close_timeout_seconds=SHORT) as (ws, peer):
            await peer.send_close(1000)
            with raises(WebSocketDisconnect):
                await ws.receive()


@check()
async def messages_received_before_the_peers_close_survive_leaving_late(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        for number in range(3):
            await peer.send(str(number))
        await peer.close(1000)
        await until(lambda: ws.close_code == 1000)
        await settle()
        equal(await take(ws, 3), ["0", "1", "2"], "the messages")


@check()
async def close_after_the_peers_close_returns(maker: SessionMaker) -> None:
    async with stage(maker) as (ws, peer):
        await peer.close(1001)
        await until(lambda: ws.closed)
        await ws.close(4000)
        equal(ws.close_code, 1001, "the peer's code")
