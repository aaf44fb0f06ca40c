"""What servers that mean harm cost: processor time, memory, and turns of other tasks. On every face.

First what they answer to a handshake, then what they send in a session.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import time
import tracemalloc
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from httpx2_trio_ws import WebSocketException, WebSocketUpgradeError
from httpx2_trio_ws import anyio as on_anyio
from httpx2_trio_ws import sync as in_threads

from .attacks import (
    ATTACKS,
    STORED_BLOCK,
    Attack,
    Attacker,
    Turns,
    dynamic_block,
    fixed_block,
    frames_per_mib,
    yardstick,
)
from .test_answers import FACES, Opener, Token, accepted, answer_of, run, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

MIB = 2**20
# Far above what is measured (some 30 ms, and 5 MiB with a client's TLS), and far below what an attack wants.
SECONDS, BYTES = 1.5, 24 * MIB


@cache
def empty_blocks(mebibytes: int, layers: int) -> bytes:
    """Deflate blocks that hold nothing, as a gzip stream, in some more of them."""
    unit = dynamic_block()
    chunks: Iterator[bytes] = (unit * (MIB // len(unit)) for _ in range(mebibytes))
    body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"".join(chunks)
    for _ in range(layers - 1):
        body = gzip.compress(body, 9)
    return body


@cache
def bomb() -> bytes:
    """A quarter of a gibibyte in a quarter of a mebibyte."""
    return gzip.compress(bytes(256 * MIB), 9)


def test_the_blocks_are_what_they_are_said_to_be() -> None:
    for block in (dynamic_block(), fixed_block(), STORED_BLOCK):
        inflater = zlib.decompressobj(-15)
        assert inflater.decompress(block * 100) == b""
        assert not inflater.unused_data


BODIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty blocks": ("gzip", lambda: empty_blocks(4, 1)),
    "empty blocks in two layers": ("gzip, gzip", lambda: empty_blocks(32, 2)),
    "a bomb": ("gzip", bomb),
    "a large body": ("identity", lambda: bytes(32 * MIB)),
}


@pytest.mark.parametrize("status", ["403 Forbidden", "401 Unauthorized", "302 Found"])
@pytest.mark.parametrize("attack", BODIES)
@pytest.mark.parametrize("face", FACES)
def test_bodies(face: str, attack: str, status: str) -> None:
    coding, made = BODIES[attack]
    harmful = answer_of(status, "Location: /to", f"Content-Encoding: {coding}", body=made())

    def answer(head: bytes, number: int) -> bytes:
        if b"authorization" in head.lower() or head.startswith(b"GET /to"):
            return accepted(head)
        return harmful

    turns = Turns()

    async def main(opened: Opener) -> None:
        result: Any = None
        spent = peak = math.inf
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turns.watch)
            await anyio.sleep(0.01)
            tracemalloc.start()
            began = time.thread_time()
            result = await opened(server.url, auth=Token(), follow_redirects=True)
            spent = time.thread_time() - began
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            tasks.cancel_scope.cancel()
        assert isinstance(result, WebSocketUpgradeError) is status.startswith("403"), result
        assert spent < SECONDS
        assert turns.longest < SECONDS
        assert peak < BYTES

    with serving(answer) as server, contextlib.suppress(ConnectionError):
        run(face, main)


# -- sessions --------------------------------------------------------------------------------------

# In times of what this machine takes for the yardstick, now: of each MiB that is sent, of each frame in it, and of each
# MiB that is received of it; and how long others wait for a turn at most. Some five times what is measured on a machine
# that does nothing else.
PER_MIB, PER_FRAME, PER_MIB_RECEIVED, A_TURN = 50, 0.004, 1, 10
# What a session may hold: a message of 1 MiB in the making, a mebibyte and one message more in the queue, and what was
# read. Of text, each in up to four bytes a character.
HELD = 16 * MIB


@pytest.fixture(scope="module")
def unit() -> float:
    return yardstick()


class Cost:
    """What an attack has cost: seconds of processor time, those between two turns of another task, bytes."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.turns = Turns()
        self.held = self.read = self.received = 0


@contextlib.contextmanager
def measured(cost: Cost, *, memory: bool) -> Generator[None]:
    if memory:
        tracemalloc.start()
    began = time.process_time()
    yield
    cost.spent = time.process_time() - began
    if memory:
        cost.held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


async def attacked_on_loop(attacker: Attacker, cost: Cost, memory: bool) -> None:
    async with (
        httpx2.AsyncClient(trust_env=False) as client,
        anyio.create_task_group() as tasks,
        on_anyio.open_websocket(client, attacker.url) as ws,
    ):
        tasks.start_soon(cost.turns.watch)
        with measured(cost, memory=memory), contextlib.suppress(WebSocketException):
            attacker.go()
            async for message in ws:
                cost.received += len(message)
        cost.read = ws.statistics().bytes_received
        tasks.cancel_scope.cancel()


def attacked_in_threads(attacker: Attacker, cost: Cost, memory: bool) -> None:
    with httpx2.Client(trust_env=False) as client, in_threads.open_websocket(client, attacker.url) as ws:
        with measured(cost, memory=memory), contextlib.suppress(WebSocketException):
            attacker.go()
            for message in ws:
                cost.received += len(message)
        cost.read = ws.statistics().bytes_received


def attacked(face: str, attack: Attack, *, memory: bool) -> Cost:
    cost = Cost()
    # What counts allocations makes them many times slower.
    with Attacker(attack, attack.size // 4 if memory else attack.size) as attacker:
        if face == "threads":
            attacked_in_threads(attacker, cost, memory)
        else:
            anyio.run(attacked_on_loop, attacker, cost, memory, backend=face)
    cost.spent -= attacker.cpu
    return cost


each_attack = pytest.mark.parametrize("attack", ATTACKS)
each_face = pytest.mark.parametrize("face", ["trio", "asyncio", "threads"])


@each_attack
@each_face
def test_the_time_that_sessions_take(face: str, attack: str, unit: float) -> None:
    cost = attacked(face, ATTACKS[attack], memory=False)
    assert cost.read >= ATTACKS[attack].size, "all of it is read"
    sent, frames = cost.read / MIB, frames_per_mib(ATTACKS[attack])
    most = sent * (PER_MIB + PER_FRAME * frames) + PER_MIB_RECEIVED * cost.received / MIB
    assert cost.spent / unit < most
    assert cost.turns.longest / unit < A_TURN


@each_attack
@each_face
def test_the_memory_that_sessions_take(face: str, attack: str) -> None:
    cost = attacked(face, ATTACKS[attack], memory=True)
    assert cost.held < HELD
