"""Open and close many sessions one after another on each event loop and in threads, and count what is left.

    python soak/rounds.py [--rounds 1000]

Each round opens a session with a server in another process, exchanges a message and closes. What is left is counted
after a warm-up and at the end. The exit status is 1 if a task, a thread or a descriptor is left, or memory has grown by
more than :data:`NOISE` bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
import threading
import tracemalloc
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import trio
import uvloop

import httpx2_trio_ws
import httpx2_trio_ws.anyio
import httpx2_trio_ws.sync

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_UP = 200  # rounds; much is imported and cached in the first ones
NOISE = 32768  # bytes: tables of the interpreter and of the loop move by so much, whatever the number of rounds


class Left(NamedTuple):
    """What there is at one moment."""

    tasks: int
    threads: int
    descriptors: int
    memory: int


def count(tasks: int) -> Left:
    """What there is now, beside ``tasks``."""
    gc.collect()
    return Left(
        tasks, threading.active_count(), len(list(Path("/dev/fd").iterdir())), tracemalloc.get_traced_memory()[0]
    )


async def _rounds(open_websocket: Any, tasks: Callable[[], int], url: str, number: int) -> tuple[Left, Left]:
    async with httpx2.AsyncClient(trust_env=False) as client:

        async def play(times: int) -> None:
            for _ in range(times):
                async with open_websocket(client, url) as ws:
                    await ws.send("a")
                    await ws.receive()

        await play(WARM_UP)
        before = count(tasks())
        await play(number)
        return before, count(tasks())


def _blocking_rounds(url: str, number: int) -> tuple[Left, Left]:
    with httpx2.Client(trust_env=False) as client:

        def play(times: int) -> None:
            for _ in range(times):
                with httpx2_trio_ws.sync.open_websocket(client, url) as ws:
                    ws.send("a")
                    ws.receive()

        play(WARM_UP)
        before = count(0)
        play(number)
        return before, count(0)


def _trio_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def _asyncio_tasks() -> int:
    return len(asyncio.all_tasks())


def _on_trio(url: str, number: int) -> tuple[Left, Left]:
    return trio.run(_rounds, httpx2_trio_ws.open_websocket, _trio_tasks, url, number)


def _on_asyncio(run: Any, url: str, number: int) -> tuple[Left, Left]:
    found: tuple[Left, Left] = run(_rounds(httpx2_trio_ws.anyio.open_websocket, _asyncio_tasks, url, number))
    return found


RUNTIMES: dict[str, Callable[[str, int], tuple[Left, Left]]] = {
    "trio": _on_trio,
    "asyncio": partial(_on_asyncio, asyncio.run),
    "uvloop": partial(_on_asyncio, uvloop.run),
    "threads": _blocking_rounds,
}


def main() -> None:
    """Start the server, go through the runtimes, print a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000)
    rounds: int = parser.parse_args().rounds
    bad = False
    server = [sys.executable, "-m", "httpx2_trio_ws", "--serve", "0"]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[0]
            print(f"{'':10}{'rounds':>8}{'tasks':>8}{'threads':>9}{'descriptors':>13}{'bytes':>9}   left")
            tracemalloc.start()
            for name, run in RUNTIMES.items():
                before, after = run(url, rounds)
                tasks, threads, descriptors, memory = (b - a for a, b in zip(before, after, strict=True))
                print(f"{name:10}{rounds:8}{tasks:8}{threads:9}{descriptors:13}{memory:9}", flush=True)
                bad |= bool(tasks or threads or descriptors) or memory > NOISE
        finally:
            process.kill()
    sys.exit(bad)


if __name__ == "__main__":
    main()
