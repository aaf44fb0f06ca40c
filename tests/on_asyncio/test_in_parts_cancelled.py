"""Messages in parts in tasks that asyncio cancels, at any turn."""

from __future__ import annotations

import asyncio

import pytest

from httpx2_trio_ws import WebSocketClosedError
from httpx2_trio_ws.anyio import WebSocketSession, open_websocket

from .support import REAL_LOOPS, cancelled_at, run_real, server


@pytest.mark.parametrize("loop", REAL_LOOPS)
def test_sending(loop: str) -> None:
    async def main() -> None:
        outcomes, step, cancelled = set(), 0, True
        async with server() as (client, url):
            while cancelled:
                async with open_websocket(client, url) as ws:

                    async def send(ws: WebSocketSession = ws) -> None:
                        async with ws.send_stream("text") as message:
                            for _ in range(100):
                                await message.send("token ")

                    cancelled = await cancelled_at(step, send)
                    step += 1
                    if ws.closed:
                        outcomes.add("broken off")
                        with pytest.raises(WebSocketClosedError):
                            await ws.send("after")
                        continue
                    await ws.send("after")
                    received = await ws.receive_text()
                    outcomes.add(received)
                    if received != "after":
                        assert received == "token " * 100
                        assert await ws.receive() == "after"
        assert outcomes == {"after", "broken off", "token " * 100}

    run_real(loop, main)


@pytest.mark.parametrize("loop", REAL_LOOPS)
def test_receiving(loop: str) -> None:
    async def main() -> None:
        step, cancelled = 0, True
        async with server() as (client, url):
            while cancelled:
                async with open_websocket(client, url) as ws:
                    entered: list[str] = []

                    async def receive(ws: WebSocketSession = ws, entered: list[str] = entered) -> None:
                        async with ws.receive_stream() as message:
                            entered.append(message.kind)
                            assert [part async for part in message] == ["one"]

                    await ws.send("one")
                    cancelled = await cancelled_at(step, receive)
                    step += 1
                    await ws.send("two")
                    assert [await ws.receive() for _ in range(2 - len(entered))] == ["one", "two"][len(entered) :]

    run_real(loop, main)


@pytest.mark.parametrize("loop", REAL_LOOPS)
def test_a_task_that_goes_on_after_its_cancellation(loop: str) -> None:
    async def main() -> None:
        async with server() as (client, url), open_websocket(client, url) as ws:

            async def go_on() -> str | bytes:
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.sleep(60)
                async with ws.send_stream("text") as message:
                    await message.send("still ")
                    await message.send("here")
                return await ws.receive()

            task = asyncio.ensure_future(go_on())
            await asyncio.sleep(0)
            task.cancel()
            assert await task == "still here"

    run_real(loop, main)
