"""Time per message of whole sessions: this library beside httpx2's own, websockets and aiohttp.

    python benchmarks/compare.py [--rounds 7] [--loops trio asyncio uvloop threads] [--json FILE]

Each measurement is a process of its own against one server process on loopback that does little more than
move bytes. The contenders take turns, round by round, so that a change in the machine's speed meets all of
them; what is quoted are ratios of medians. Compression is off for all; everything else is at its default.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import importlib.metadata
import json
import platform
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

SIZE = 125  # bytes of text per message
MESSAGES = {"flood": 30_000, "burst": 30_000, "echo": 3_000}
Times = tuple[float, float]
Results = dict[str, dict[str, list[dict[str, float]]]]
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


# -- the server, a process of its own ----------------------------------------------------------


def serve(connection: socket.socket) -> None:
    """One connection: /flood sends messages, /burst counts them, /echo sends them back."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65536)
    lines = request.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    key = next(line.split(": ", 1)[1] for line in lines if line.lower().startswith("sec-websocket-key"))
    assert headers["upgrade"] == "websocket"
    accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
    connection.sendall(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    _, workload, count = lines[0].split(" ")[1].split("/")
    frame = bytes((0x81, SIZE)) + b"x" * SIZE
    masked = len(frame) + 4
    if workload == "flood":
        await_start(connection, masked)
        connection.sendall(frame * int(count))
    elif workload == "burst":
        await_start(connection, masked * int(count))
        connection.sendall(frame)
    else:
        for _ in range(int(count)):
            await_start(connection, masked)
            connection.sendall(frame)
    # Whatever comes now is the close frame and its answer.
    with contextlib.suppress(OSError):
        connection.recv(65536)
        connection.sendall(bytes((0x88, 2)) + (1000).to_bytes(2))
    connection.close()


def await_start(connection: socket.socket, count: int) -> None:
    """Read ``count`` bytes."""
    while count > 0:
        data = connection.recv(min(count, 1 << 20))
        if not data:
            raise EOFError
        count -= len(data)


def run_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


# -- the contenders, each in a process of its own ------------------------------------------------


async def work(workload: str, count: int, send: Any, receive: Any) -> Times:
    """Wall and CPU seconds of one workload."""
    message = "x" * SIZE
    if workload == "flood":
        await send(message)
    wall, cpu = time.perf_counter(), time.process_time()
    if workload == "flood":
        for _ in range(count):
            await receive()
    elif workload == "burst":
        for _ in range(count):
            await send(message)
        await receive()
    else:
        for _ in range(count):
            await send(message)
            await receive()
    return time.perf_counter() - wall, time.process_time() - cpu


def block(workload: str, count: int, send: Any, receive: Any) -> Times:
    """As :func:`work`, blocking."""
    message = "x" * SIZE
    if workload == "flood":
        send(message)
    wall, cpu = time.perf_counter(), time.process_time()
    if workload == "flood":
        for _ in range(count):
            receive()
    elif workload == "burst":
        for _ in range(count):
            send(message)
        receive()
    else:
        for _ in range(count):
            send(message)
            receive()
    return time.perf_counter() - wall, time.process_time() - cpu


async def ours(url: str, workload: str, count: int) -> Times:
    import httpx2

    from httpx2_trio_ws.anyio import open_websocket

    async with httpx2.AsyncClient() as client, open_websocket(client, url, compression=None) as ws:
        return await work(workload, count, ws.send_text, ws.receive_text)


async def ours_on_trio(url: str, workload: str, count: int) -> Times:
    import httpx2

    from httpx2_trio_ws import open_websocket

    async with httpx2.AsyncClient() as client, open_websocket(client, url, compression=None) as ws:
        return await work(workload, count, ws.send_text, ws.receive_text)


def ours_blocking(url: str, workload: str, count: int) -> Times:
    import httpx2

    from httpx2_trio_ws.sync import open_websocket

    with httpx2.Client() as client, open_websocket(client, url, compression=None) as ws:
        return block(workload, count, ws.send_text, ws.receive_text)


async def native(url: str, workload: str, count: int) -> Times:
    import httpx2

    async with httpx2.AsyncClient() as client, client.websocket(url) as ws:
        return await work(workload, count, ws.send_text, ws.receive_text)


def native_blocking(url: str, workload: str, count: int) -> Times:
    import httpx2

    with httpx2.Client() as client, client.websocket(url) as ws:
        return block(workload, count, ws.send_text, ws.receive_text)


async def websockets_trio(url: str, workload: str, count: int) -> Times:
    from websockets.trio.client import connect

    async with connect(url, compression=None) as ws:
        return await work(workload, count, ws.send, ws.recv)


async def websockets_asyncio(url: str, workload: str, count: int) -> Times:
    from websockets.asyncio.client import connect

    async with connect(url, compression=None) as ws:
        return await work(workload, count, ws.send, ws.recv)


def websockets_sync(url: str, workload: str, count: int) -> Times:
    from websockets.sync.client import connect

    with connect(url, compression=None) as ws:
        return block(workload, count, ws.send, ws.recv)


async def aiohttp(url: str, workload: str, count: int) -> Times:
    from aiohttp import ClientSession

    async with ClientSession() as session, session.ws_connect(url) as ws:
        return await work(workload, count, ws.send_str, ws.receive_str)


def on_trio(run: Any, *args: Any) -> Times:
    import trio

    times: Times = trio.run(run, *args)
    return times


def on_asyncio(run: Any, *args: Any) -> Times:
    times: Times = asyncio.run(run(*args))
    return times


def on_uvloop(run: Any, *args: Any) -> Times:
    import uvloop

    times: Times = uvloop.run(run(*args))
    return times


def on_threads(run: Any, *args: Any) -> Times:
    times: Times = run(*args)
    return times


# By event loop; the first of each is what the others are compared with.
CONTENDERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "trio": (on_trio, {"httpx2-trio-ws": ours_on_trio, "httpx2": native, "websockets": websockets_trio}),
    "asyncio": (
        on_asyncio,
        {"httpx2-trio-ws": ours, "httpx2": native, "websockets": websockets_asyncio, "aiohttp": aiohttp},
    ),
    "uvloop": (
        on_uvloop,
        {"httpx2-trio-ws": ours, "httpx2": native, "websockets": websockets_asyncio, "aiohttp": aiohttp},
    ),
    "threads": (
        on_threads,
        {"httpx2-trio-ws": ours_blocking, "httpx2": native_blocking, "websockets": websockets_sync},
    ),
}


def run_contender(loop: str, name: str, workload: str, count: int, port: str) -> None:
    start, contenders = CONTENDERS[loop]
    wall, cpu = start(contenders[name], f"ws://127.0.0.1:{port}/{workload}/{count}", workload, count)
    print(json.dumps({"wall_us": wall / count * 1e6, "cpu_us": cpu / count * 1e6}))


# -- the comparison ------------------------------------------------------------------------------


def measure(rounds: int, port: str, loop: str, workloads: list[str]) -> Results:
    contenders = CONTENDERS[loop][1]
    results: Results = {w: {c: [] for c in contenders} for w in workloads}
    for _ in range(rounds):
        for workload in workloads:
            for contender in contenders:
                what = ["--contender", loop, contender, workload, str(MESSAGES[workload]), port]
                out = subprocess.run([sys.executable, __file__, *what], check=True, capture_output=True, text=True)
                results[workload][contender].append(json.loads(out.stdout))
    return results


def report(loop: str, results: Results) -> None:
    for workload, contenders in results.items():
        medians = {
            name: {unit: statistics.median(r[unit] for r in runs) for unit in ("wall_us", "cpu_us")}
            for name, runs in contenders.items()
        }
        ours = next(iter(medians.values()))
        for name, median in medians.items():
            print(
                f"{loop:8}{workload:6} {name:15} wall {median['wall_us']:8.2f} "
                f"({median['wall_us'] / ours['wall_us']:5.1f} x ours)   "
                f"cpu {median['cpu_us']:8.2f} ({median['cpu_us'] / ours['cpu_us']:5.1f} x ours)"
            )
        print(flush=True)


def compare(rounds: int, loops: list[str], workloads: list[str]) -> dict[str, Results]:
    packages = ("httpx2-trio-ws", "httpx2", "websockets", "aiohttp", "trio", "anyio", "uvloop")
    versions = {name: importlib.metadata.version(name) for name in packages}
    print(f"Python {platform.python_version()}, {platform.machine()}, {json.dumps(versions)}")
    print(f"{SIZE} bytes of text per message; medians of {rounds} rounds in microseconds per message\n")
    server = subprocess.Popen([sys.executable, __file__, "--server"], stdout=subprocess.PIPE, text=True)
    results = {}
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        for loop in loops:
            results[loop] = measure(rounds, port, loop, workloads)
            report(loop, results[loop])
    finally:
        server.kill()
        server.wait()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write all measurements here")
    parser.add_argument("--workloads", nargs="+", default=list(MESSAGES), choices=list(MESSAGES))
    parser.add_argument("--loops", nargs="+", default=["trio"], choices=list(CONTENDERS))
    parser.add_argument("--server", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--contender", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.server:
        run_server()
    elif args.contender:
        loop, name, workload, count, port = args.contender
        run_contender(loop, name, workload, int(count), port)
    else:
        results = compare(args.rounds, args.loops, args.workloads)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
