"""The tutorial's tests of its program: each plays the server itself, in memory, and on a clock that jumps.

Run them with pytest; they need pytest-trio, with ``trio_mode = true`` in its settings::

    python -m pytest -o trio_mode=true examples/test_resilient_feeds.py
"""

from __future__ import annotations

import httpx2
import pytest
import trio
from resilient_feeds import SILENCE_SECONDS, Item, follow

from httpx2_trio_ws.testing import ScriptedPeer, memory_server


async def collect(client: httpx2.AsyncClient) -> list[Item]:
    """What ``follow()`` puts into its channel, until it ends."""
    out, incoming = trio.open_memory_channel[Item](16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, client, "ws://feeds.example/", "red", out)
        return [item async for item in incoming]


async def test_it_goes_on_when_the_connection_was_lost(autojump_clock: object) -> None:
    sessions = 0

    async def handler(peer: ScriptedPeer) -> None:
        nonlocal sessions
        sessions += 1
        await peer.send(f"session {sessions}")
        if sessions < 3:
            await peer.drop()  # without a close frame

    async with memory_server(handler) as client:
        assert await collect(client) == [("red", "session 1"), ("red", "session 2"), ("red", "session 3")]


async def test_it_does_not_wait_for_a_silent_feed(autojump_clock: object) -> None:
    began: list[float] = []

    async def handler(peer: ScriptedPeer) -> None:
        began.append(trio.current_time())
        if len(began) == 1:
            async for _ in peer:  # answers pings, and says nothing
                pass

    async with memory_server(handler) as client:
        assert await collect(client) == []
    assert began[1] - began[0] == pytest.approx(SILENCE_SECONDS, abs=2)


async def test_it_gives_up_what_is_not_there(autojump_clock: object, capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        raise AssertionError

    async with memory_server(handler, respond=lambda _: httpx2.Response(404)) as client:
        assert await collect(client) == []
    assert "red is given up" in capsys.readouterr().out
