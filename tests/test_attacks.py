"""What answers that mean harm cost: processor time, memory, and turns of other tasks. On every face."""

from __future__ import annotations

import contextlib
import gzip
import time
import tracemalloc
import zlib
from functools import cache
from typing import TYPE_CHECKING

import anyio
import pytest

from httpx2_trio_ws import WebSocketUpgradeError

from .test_answers import FACES, Opener, Token, accepted, answer_of, run, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 2**20
# Far above what is measured (some 30 ms, and 5 MiB with a client's TLS), and far below what an attack wants.
SECONDS, BYTES = 1.5, 24 * MIB


@cache
def empty_blocks(mebibytes: int, layers: int) -> bytes:
    """Deflate blocks that hold nothing, as a gzip stream, in some more of them."""
    unit = _dynamic_blocks()
    chunks: Iterator[bytes] = (unit * (MIB // len(unit)) for _ in range(mebibytes))
    body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"".join(chunks)
    for _ in range(layers - 1):
        body = gzip.compress(body, 9)
    return body


def _dynamic_blocks() -> bytes:
    """Four times the same block with Huffman codes of its own (RFC 1951 §3.2.7), and nothing in it but its end."""
    bits: list[int] = []

    def low_first(value: int, count: int) -> None:
        bits.extend(value >> place & 1 for place in range(count))

    for _ in range(8):
        low_first(0, 1)  # not the last
        low_first(2, 2)  # dynamic
        for value, count in ((0, 5), (0, 5), (14, 4)):
            low_first(value, count)
        for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
            low_first(symbol in (1, 18), 3)
        for code, value in ((1, 127), (1, 107)):  # a run of zeros, twice; the end's code follows
            low_first(code, 1)
            low_first(value, 7)
        bits.extend((0, 0, 0))
    return bytes(sum(bit << place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))


@cache
def bomb() -> bytes:
    """A quarter of a gibibyte in a quarter of a mebibyte."""
    return gzip.compress(bytes(256 * MIB), 9)


def test_the_blocks_are_what_they_are_said_to_be() -> None:
    assert zlib.decompressobj(-15).decompress(_dynamic_blocks() * 100) == b""


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

    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        last = time.thread_time()
        while True:
            await anyio.sleep(0.001)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    async def main(opened: Opener) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
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
        assert longest < SECONDS
        assert peak < BYTES

    with serving(answer) as server, contextlib.suppress(ConnectionError):
        run(face, main)
