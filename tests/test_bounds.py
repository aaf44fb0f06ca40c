"""What the pages say that a peer may make us hold, measured: on event loops and in threads."""

from __future__ import annotations

import gc
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from httpx2_trio_ws import WebSocketUpgradeError
from httpx2_trio_ws import anyio as on_anyio
from httpx2_trio_ws import sync as in_threads

from .attacks import MIB, Attack, Attacker, frame
from .test_answers import Opener, answer_of, run, serving

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT, FIN = 1, 0x80
# Each with one character that makes all of them take four bytes, but for the plain one.
TEXTS = {
    "plain": "a" * 1000,
    "small": "a" * 250 + "\N{GRINNING FACE}",
    "medium": "a" * 60_000 + "\N{GRINNING FACE}",
    "as large as may be": "a" * (MIB - 4) + "\N{GRINNING FACE}",
}


async def filled(url: str, go: Callable[[], None], queue_size: int) -> list[Any]:
    async with (
        httpx2.AsyncClient(trust_env=False) as client,
        on_anyio.open_websocket(client, url, queue_size=queue_size, close_timeout_seconds=0) as ws,
    ):
        go()
        while not ws.statistics().consumer_wait_seconds:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        return list(ws._inbox.messages)


def filled_in_threads(url: str, go: Callable[[], None], queue_size: int) -> list[Any]:
    with (
        httpx2.Client(trust_env=False) as client,
        in_threads.open_websocket(client, url, queue_size=queue_size, close_timeout_seconds=0) as ws,
    ):
        go()
        while not ws.statistics().consumer_wait_seconds:
            time.sleep(0.01)
        return list(ws._messages)


@pytest.mark.parametrize("queue_size", [512, 100_000])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("face", ["trio", "asyncio", "threads"])
def test_the_queue_of_who_receives_nothing(face: str, text: str, queue_size: int) -> None:
    payload = TEXTS[text].encode()
    with Attacker(Attack(lambda: frame(FIN | TEXT, payload)), 12 * MIB) as attacker:
        if face == "threads":
            queued = filled_in_threads(attacker.url, attacker.go, queue_size)
        else:
            queued = anyio.run(filled, attacker.url, attacker.go, queue_size, backend=face)
    assert 0 < len(queued) <= queue_size
    assert sum(map(sys.getsizeof, queued)) < max(2 * MIB, 4 * MIB * (len(queued) == 1) + 100)


@pytest.mark.parametrize("face", ["trio", "asyncio", "threads"])
def test_what_refusals_leave_is_in_the_clients_jar(face: str) -> None:
    names = itertools.count()

    def answer(head: bytes, number: int) -> bytes:
        cookies = (f"Set-Cookie: c{next(names)}={'x' * 100}" for _ in range(10))
        return answer_of("403 Forbidden", *cookies, body=b"x" * 1000)

    def responses() -> int:
        gc.collect()
        return sum(isinstance(thing, httpx2.Response) for thing in gc.get_objects())

    async def refused(opened: Opener) -> None:
        assert isinstance(await opened(server.url), WebSocketUpgradeError)

    async def main(opened: Opener) -> None:
        before = responses()
        for _ in range(20):
            await refused(opened)
        assert len(opened.client.cookies.jar) == 200
        assert responses() == before

    with serving(answer) as server:
        run(face, main)
