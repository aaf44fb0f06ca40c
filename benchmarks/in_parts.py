"""One large message in parts, each way: peak memory, with and without deflate; or speed, beside other libraries.

    python benchmarks/in_parts.py               peak memory of 1024 MiB
    python benchmarks/in_parts.py --speed       speed with 256 MiB, each the best of five, in turns
    python benchmarks/in_parts.py --speed --docs  writes that into docs/how-to/messages-in-parts.md, too
    python benchmarks/in_parts.py --mib 64 --only trio threads

Each case runs in a process of its own. The peer is a server in another process that reads and writes frames of 64 KiB, so
that its memory and its work are not counted: memory is what the process takes above what it took with the session open,
before the message, and speed is told by the processor time of the client, which sends pieces of 64 KiB and counts what it
receives. aiohttp's client has no messages in parts: it sends and receives this one whole.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from websockets.sync.server import serve

from httpx2_trio_ws import anyio as on_any_loop
from httpx2_trio_ws import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from websockets.sync.server import ServerConnection

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "messages-in-parts.md"
BEGIN, END = "<!-- speed -->\n", "<!-- /speed -->\n"
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


class Spent:
    """What the message has taken: bytes at the peak, seconds, and seconds of processor time."""

    def __init__(self) -> None:
        self._peak, self._began, self._cpu = peak(), time.perf_counter(), time.process_time()

    def now(self) -> dict[str, float]:
        return {
            "bytes": peak() - self._peak,
            "seconds": time.perf_counter() - self._began,
            "cpu": time.process_time() - self._cpu,
        }


async def on_loop(url: str, way: str, mib: int, options: dict[str, Any]) -> dict[str, float]:
    async with httpx2.AsyncClient(trust_env=False) as client, on_any_loop.open_websocket(client, url, **options) as ws:
        spent, size = Spent(), 0
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
        return spent.now()


def in_threads(url: str, way: str, mib: int, options: dict[str, Any]) -> dict[str, float]:
    with httpx2.Client(trust_env=False) as client, sync.open_websocket(client, url, **options) as ws:
        spent, size = Spent(), 0
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
        return spent.now()


async def websockets_on_asyncio(url: str, way: str, mib: int, options: dict[str, Any]) -> dict[str, float]:
    from websockets.asyncio.client import connect

    async with connect(url, proxy=None, max_size=None, **options) as ws:
        spent, size = Spent(), 0
        if way == "up":
            await ws.send(pieces(mib))
            await ws.recv()
        else:
            await ws.send(str(mib))
            async for part in ws.recv_streaming():
                size += len(part)
            assert size == mib * MIB
        return spent.now()


def websockets_in_threads(url: str, way: str, mib: int, options: dict[str, Any]) -> dict[str, float]:
    from websockets.sync.client import connect

    with connect(url, proxy=None, max_size=None, **options) as ws:
        spent, size = Spent(), 0
        if way == "up":
            ws.send(pieces(mib))
            ws.recv()
        else:
            ws.send(str(mib))
            for part in ws.recv_streaming():
                size += len(part)
            assert size == mib * MIB
        return spent.now()


async def aiohttp_on_asyncio(url: str, way: str, mib: int, _: dict[str, Any]) -> dict[str, float]:
    from aiohttp import ClientSession

    async with ClientSession() as session, session.ws_connect(url, max_msg_size=0) as ws:
        spent = Spent()
        if way == "up":
            await ws.send_bytes(b"".join(pieces(mib)))
            await ws.receive()
        else:
            await ws.send_str(str(mib))
            assert len((await ws.receive()).data) == mib * MIB
        return spent.now()


def ours(loop: str) -> Callable[..., dict[str, float]]:
    def run(url: str, way: str, mib: int, options: dict[str, Any]) -> dict[str, float]:
        options = {"stream_large_messages": True, **options}
        if loop == "threads":
            return in_threads(url, way, mib, options)
        how = {"backend": "asyncio", "backend_options": {"use_uvloop": True}} if loop == "uvloop" else {"backend": loop}
        spent: dict[str, float] = anyio.run(partial(on_loop, url, way, mib, options), **how)
        return spent

    return run


def on_asyncio(function: Callable[..., Any]) -> Callable[..., dict[str, float]]:
    return lambda *arguments: asyncio.run(function(*arguments))


LOOPS = ["trio", "asyncio", "threads"]
CONTENDERS: dict[str, Callable[..., dict[str, float]]] = {
    "trio": ours("trio"),
    "asyncio": ours("asyncio"),
    "websockets, asyncio": on_asyncio(websockets_on_asyncio),
    "aiohttp, asyncio, whole": on_asyncio(aiohttp_on_asyncio),
    "threads": ours("threads"),
    "websockets, threads": websockets_in_threads,
    "uvloop": ours("uvloop"),
}


def run_case(url: str, contender: str, way: str, compression: str, mib: int) -> dict[str, float]:
    """In a process of its own."""
    command = [sys.executable, __file__, "--case", url, contender, way, compression, str(mib)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    spent: dict[str, float] = json.loads(done.stdout)
    return spent


def show_memory(url: str, mib: int, contenders: list[str]) -> None:
    for contender in contenders:
        for way in ("up", "down"):
            for compression in ("plain", "deflate"):
                spent = run_case(url, contender, way, compression, mib)
                rate = mib / spent["seconds"]
                print(
                    f"{contender:8} {way:5} {compression:8} +{spent['bytes'] / MIB:.1f} MiB {rate:6.0f} MiB/s",
                    flush=True,
                )


def speed_table(url: str, mib: int, contenders: list[str]) -> str:
    """In Markdown: milliseconds of processor time for each MiB, and MiB in a second."""
    best: dict[tuple[str, str], dict[str, float]] = {}
    for _ in range(5):
        for contender in contenders:
            for way in ("up", "down"):
                spent, known = run_case(url, contender, way, "plain", mib), best.get((contender, way))
                best[contender, way] = {
                    name: min(value, known[name]) if known else value for name, value in spent.items()
                }
    lines = ["| | up, ms of CPU per MiB | up, MiB/s | down, ms of CPU per MiB | down, MiB/s |", "|---|--:|--:|--:|--:|"]
    for contender in contenders:
        cells = [contender if "," in contender else f"this library, {contender}"]
        for way in ("up", "down"):
            spent = best[contender, way]
            cells += [f"{1000 * spent['cpu'] / mib:.2f}", f"{mib / spent['seconds']:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write(table: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + table + END + rest.partition(END)[2], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true", help="beside other libraries, instead of peak memory")
    parser.add_argument("--docs", action="store_true", help="write the table of speed into its page")
    parser.add_argument("--mib", type=int, help="how large the message is")
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), metavar="CONTENDER", help=", ".join(CONTENDERS))
    parser.add_argument("--case", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        with contextlib.suppress(KeyboardInterrupt):
            serve_for_ever()
        return
    if arguments.case:
        url, contender, way, compression, mib = arguments.case
        options = {"compression": None if compression == "plain" else compression}
        print(json.dumps(CONTENDERS[contender](url, way, int(mib), options)))
        return
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"ws://127.0.0.1:{int(server.stdout.readline())}"
    try:
        if arguments.speed:
            table = speed_table(url, arguments.mib or 256, arguments.only or list(CONTENDERS))
            print(table)
            if arguments.docs:
                write(table)
        else:
            show_memory(url, arguments.mib or 1024, arguments.only or LOOPS)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
