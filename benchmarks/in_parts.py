"""Peak memory and time of one large message in parts, each way, on trio, asyncio and in threads.

    python benchmarks/in_parts.py [MIB [LOOP …]]        1024, and trio, asyncio, threads

Each case runs in a process of its own. The peer is a server in another process that reads and writes frames of 64 KiB, so
that its memory and its work are not counted. The base is what the process takes with the session open, before the message.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from websockets.sync.server import serve

from httpx2_trio_ws import anyio as on_any_loop
from httpx2_trio_ws import sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.server import ServerConnection

PIECE = 65536
MIB = 2**20
# Compresses to a third or so.
DATA = b"".join(b"line %d of a file that is worth compressing, if not by much: %d\n" % (n, n * n) for n in range(1000))[
    :PIECE
]


def answer(connection: ServerConnection) -> None:
    """Take a message, or send one of so many MiB."""
    for message in connection.recv_streaming():
        if isinstance(message, str):
            connection.send(pieces(int(message)))
            return
    connection.send("taken")


def pieces(mib: int) -> Iterator[bytes]:
    for _ in range(mib * MIB // PIECE):
        yield DATA


def serve_for_ever() -> None:
    server = serve(answer, "127.0.0.1", 0, max_size=None)
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


async def on_loop(url: str, way: str, mib: int, options: dict[str, Any]) -> tuple[int, float]:
    async with httpx2.AsyncClient(trust_env=False) as client, on_any_loop.open_websocket(client, url, **options) as ws:
        base, began, size = peak(), time.perf_counter(), 0
        if way == "up":
            async with ws.send_stream("binary") as message:
                for piece in pieces(mib):
                    await message.send(piece)
            await ws.receive()
        else:
            await ws.send(str(mib))
            async with ws.receive_stream() as received:
                async for part in received:
                    size += len(part)
            assert size == mib * MIB
        return peak() - base, time.perf_counter() - began


def in_threads(url: str, way: str, mib: int, options: dict[str, Any]) -> tuple[int, float]:
    with httpx2.Client(trust_env=False) as client, sync.open_websocket(client, url, **options) as ws:
        base, began, size = peak(), time.perf_counter(), 0
        if way == "up":
            with ws.send_stream("binary") as message:
                for piece in pieces(mib):
                    message.send(piece)
            ws.receive()
        else:
            ws.send(str(mib))
            with ws.receive_stream() as received:
                for part in received:
                    size += len(part)
            assert size == mib * MIB
        return peak() - base, time.perf_counter() - began


def run_case(url: str, loop: str, way: str, compression: str, mib: int) -> None:
    options: dict[str, Any] = {"compression": None if compression == "plain" else compression}
    options["stream_large_messages"] = True
    if loop == "threads":
        more, seconds = in_threads(url, way, mib, options)
    else:
        more, seconds = anyio.run(partial(on_loop, url, way, mib, options), backend=loop)
    print(f"{loop:8} {way:5} {compression:8} +{more / MIB:.1f} MiB {mib / seconds:6.0f} MiB/s", flush=True)


def main(mib: int, loops: list[str]) -> None:
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"ws://127.0.0.1:{int(server.stdout.readline())}"
    try:
        for loop in loops:
            for way in ("up", "down"):
                for compression in ("plain", "deflate"):
                    case = [url, loop, way, compression, str(mib)]
                    subprocess.run([sys.executable, __file__, "case", *case], check=True)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            with contextlib.suppress(KeyboardInterrupt):
                serve_for_ever()
        case ["case", url, loop, way, compression, mib]:
            run_case(url, loop, way, compression, int(mib))
        case [] | [_, *_] as given:
            main(int(given[0]) if given else 1024, given[1:] or ["trio", "asyncio", "threads"])
