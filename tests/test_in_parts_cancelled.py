"""Messages in parts, cancelled at each checkpoint: whole, or broken off with the session, or never begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketClosedError

from .checkpoints import Canceller
from .memory import CLOSE, TEXT, Peer, frame, memory_session, text

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from httpx2_trio_ws import WebSocketSession

CONTINUATION = 0
PARTS = ("one ", "two ", "three")


class Reading:
    """What a peer sees of what is sent, to the end."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.unfinished = ""
        self.close_code: int | None = None

    async def run(self, peer: Peer) -> None:
        while self.close_code is None:
            received, fin = await peer.receive_fragment()
            if received.opcode == CLOSE:
                self.close_code = int.from_bytes(received.payload[:2])
                await peer.send(frame(CLOSE, received.payload))
                await peer.aclose()
                return
            assert (received.opcode == CONTINUATION) == bool(self.unfinished)
            self.unfinished += received.payload.decode()
            if fin:
                self.messages.append(self.unfinished)
                self.unfinished = ""


async def run(
    canceller: Canceller, operation: Callable[[WebSocketSession], Coroutine[object, object, None]], ws: WebSocketSession
) -> bool:
    """Run it, to be cancelled; whether it came to its end."""
    with canceller.scope:
        canceller.start()
        try:
            await operation(ws)
        finally:
            canceller.stop()
        return True
    return False


@pytest.mark.parametrize("stalling", [False, True])
@pytest.mark.parametrize("any_task", [False, True])
@pytest.mark.parametrize("behind", [False, True])
async def test_sending(any_task: bool, stalling: bool, behind: bool) -> None:
    """``behind``: another message in parts goes first."""

    async def send(ws: WebSocketSession) -> None:
        async with ws.send_stream("text") as message:
            for part in PARTS:
                await message.send(part)
                await trio.lowlevel.checkpoint()

    async def send_before(ws: WebSocketSession, task_status: trio.TaskStatus[None]) -> None:
        async with ws.send_stream("text") as message:
            task_status.started()
            await message.send("before")
            for _ in range(5):
                await trio.lowlevel.checkpoint()

    ended, outcomes = False, set()
    for step in range(200):
        reading = Reading()
        async with memory_session(stalling=stalling) as (ws, peer), trio.open_nursery() as nursery:
            nursery.start_soon(reading.run, peer)
            if behind:
                await nursery.start(send_before, ws)
            canceller = Canceller(step, any_task=any_task)
            ended = await run(canceller, send, ws)
            if ws.closed:
                with pytest.raises(WebSocketClosedError):
                    await ws.send("after")
            else:
                await ws.send("after")
            await ws.close()
        whole = "".join(PARTS)
        if reading.close_code == 1001:
            assert not ended
            assert reading.messages == ["before"] * behind
            assert whole.startswith(reading.unfinished)
            outcomes.add("broken off")
        else:
            assert reading.messages == ["before"] * behind + [whole] * ended + ["after"]
            outcomes.add("whole" if ended else "never begun")
        if ended and not canceller.scope.cancel_called:
            break
    assert outcomes == {"broken off", "whole", "never begun"}


@pytest.mark.parametrize("any_task", [False, True])
async def test_receiving(any_task: bool) -> None:
    taken: list[str | bytes] = []
    entered: list[str] = []

    async def receive(ws: WebSocketSession) -> None:
        async with ws.receive_stream() as message:
            entered.append(message.kind)
            taken.extend([part async for part in message])

    async def say(peer: Peer) -> None:
        await peer.send(frame(TEXT, b"one ", fin=False))
        for part in (b"two ", b"three"):
            await trio.lowlevel.checkpoint()
            await peer.send(frame(CONTINUATION, part, fin=part == b"three"))
        await peer.send(text("next"))

    outcomes = set()
    for step in range(200):
        taken.clear()
        entered.clear()
        async with memory_session(close_timeout_seconds=0) as (ws, peer), trio.open_nursery() as nursery:
            nursery.start_soon(say, peer)
            canceller = Canceller(step, any_task=any_task)
            ended = await run(canceller, receive, ws)
            if not entered:
                assert await ws.receive() == "one two three"
            assert await ws.receive() == "next"
            assert "one two three".startswith("".join(map(str, taken)))
            assert ended == ("".join(map(str, taken)) == "one two three") or not ended
            outcomes.add("taken" if ended else "skipped" if entered else "whole")
        if ended and not canceller.scope.cancel_called:
            break
    assert outcomes == {"taken", "skipped", "whole"}
