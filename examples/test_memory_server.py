"""Testing a client without a server: each test plays the server itself, in memory, and hours pass in no time.

Run it with pytest; it needs pytest-trio, with ``trio_mode = true`` in its settings::

    python -m pytest -o trio_mode=true examples/test_memory_server.py
"""

from __future__ import annotations

import httpx2
import pytest
import trio

from httpx2_trio_ws import WebSocketException, WebSocketKeepaliveTimeout, open_websocket
from httpx2_trio_ws.testing import ScriptedPeer, memory_server


# What is tested: it follows a feed of numbers, and comes back one minute after it has been lost.
async def follow(client: httpx2.AsyncClient, url: str, numbers: list[int]) -> None:
    """Put the feed's numbers into ``numbers`` until the server says that there are no more."""
    while True:
        try:
            async with open_websocket(client, url) as ws:
                await ws.send_json({"after": len(numbers)})
                async for message in ws:
                    numbers.append(int(message))
                return
        except* WebSocketException:
            await trio.sleep(60)


async def test_it_follows_to_the_end(autojump_clock: object) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        assert await peer.receive() == '{"after":0}'
        for number in range(3):
            await peer.send(str(number))
            await peer.sleep(3600)  # answers pings meanwhile, and takes no time: the clock jumps

    numbers: list[int] = []
    async with memory_server(handler) as client:
        await follow(client, "ws://feed.example/", numbers)
    assert numbers == [0, 1, 2]


async def test_it_comes_back_after_a_minute_and_goes_on(autojump_clock: object) -> None:
    asked: list[tuple[str | bytes, float]] = []

    async def handler(peer: ScriptedPeer) -> None:
        asked.append((await peer.receive(), trio.current_time()))
        await peer.send(str(len(asked)))
        if len(asked) == 1:
            await peer.drop()  # the server dies

    numbers: list[int] = []
    async with memory_server(handler) as client:
        await follow(client, "ws://feed.example/", numbers)
    (first, began), (second, came_back) = asked
    assert (first, second) == ('{"after":0}', '{"after":1}')
    assert came_back - began == pytest.approx(60)


async def test_a_server_that_has_died_is_noticed(autojump_clock: object) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        await trio.sleep_forever()  # it reads nothing, so it answers no ping

    async with memory_server(handler) as client, open_websocket(client, "ws://feed.example/") as ws:
        with pytest.raises(WebSocketKeepaliveTimeout):
            await ws.receive()
    assert trio.current_time() > 40


async def test_it_tells_who_it_is() -> None:
    def respond(request: httpx2.Request) -> httpx2.Response | None:
        return None if "Authorization" in request.headers else httpx2.Response(401)

    async def handler(peer: ScriptedPeer) -> None:
        await peer.close(1000, "welcome")

    async with memory_server(handler, respond=respond) as client:
        client.auth = ("user", "password")
        await follow(client, "ws://feed.example/", [])
