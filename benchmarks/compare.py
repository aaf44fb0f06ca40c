"""Time per message of whole sessions on trio: this library, httpx2's own sessions, websockets.trio.

    python benchmarks/compare.py [--rounds 7] [--json FILE]

Each measurement is a process of its own against one server process on loopback that does little more than
move bytes. The contenders take turns, round by round, so that a change in the machine's speed meets all of
them; what is quoted are ratios of medians. Compression is off for all; everything else is at its default.
"""

from __future__ import annotations

import argparse
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
CONTENDERS = ("httpx2-trio-ws", "httpx2", "websockets.trio")
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


async def work(workload: str, count: int, send: Any, receive: Any) -> tuple[float, float]:
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


async def run_ours(url: str, workload: str, count: int) -> tuple[float, float]:
    import httpx2

    from httpx2_trio_ws import open_websocket

    async with httpx2.AsyncClient() as client, open_websocket(client, url, compression=None) as ws:
        return await work(workload, count, ws.send_text, ws.receive_text)


async def run_httpx2(url: str, workload: str, count: int) -> tuple[float, float]:
    import httpx2

    async with httpx2.AsyncClient() as client, client.websocket(url) as ws:
        return await work(workload, count, ws.send_text, ws.receive_text)


async def run_websockets(url: str, workload: str, count: int) -> tuple[float, float]:
    from websockets.trio.client import connect

    async with connect(url, compression=None) as ws:
        return await work(workload, count, ws.send, ws.recv)


def run_contender(name: str, workload: str, count: int, port: str) -> None:
    import trio

    run = dict(zip(CONTENDERS, (run_ours, run_httpx2, run_websockets), strict=True))[name]
    wall, cpu = trio.run(run, f"ws://127.0.0.1:{port}/{workload}/{count}", workload, count)
    print(json.dumps({"wall_us": wall / count * 1e6, "cpu_us": cpu / count * 1e6}))


# -- the comparison ------------------------------------------------------------------------------


def measure(rounds: int, port: str, workloads: list[str]) -> dict[str, dict[str, list[dict[str, float]]]]:
    results: dict[str, dict[str, list[dict[str, float]]]] = {w: {c: [] for c in CONTENDERS} for w in workloads}
    for _ in range(rounds):
        for workload in workloads:
            for contender in CONTENDERS:
                command = [sys.executable, __file__, "--contender", contender, workload, str(MESSAGES[workload]), port]
                out = subprocess.run(command, check=True, capture_output=True, text=True)
                results[workload][contender].append(json.loads(out.stdout))
    return results


def report(results: dict[str, dict[str, list[dict[str, float]]]]) -> None:
    versions = {name: importlib.metadata.version(name) for name in ("httpx2-trio-ws", "httpx2", "websockets", "trio")}
    print(f"Python {platform.python_version()}, {platform.machine()}, {json.dumps(versions)}")
    print(f"{SIZE} bytes of text per message; medians in microseconds per message\n")
    for workload, contenders in results.items():
        medians = {
            name: {unit: statistics.median(r[unit] for r in runs) for unit in ("wall_us", "cpu_us")}
            for name, runs in contenders.items()
        }
        ours = medians[CONTENDERS[0]]
        for name, median in medians.items():
            print(
                f"{workload:6} {name:16} wall {median['wall_us']:8.2f} ({median['wall_us'] / ours['wall_us']:5.1f} x ours)"
                f"   cpu {median['cpu_us']:8.2f} ({median['cpu_us'] / ours['cpu_us']:5.1f} x ours)"
            )
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write all measurements here")
    parser.add_argument("--workloads", nargs="+", default=list(MESSAGES), choices=list(MESSAGES))
    parser.add_argument("--server", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--contender", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.server:
        run_server()
    elif args.contender:
        name, workload, count, port = args.contender
        run_contender(name, workload, int(count), port)
    else:
        server = subprocess.Popen([sys.executable, __file__, "--server"], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            results = measure(args.rounds, server.stdout.readline().strip(), args.workloads)
        finally:
            server.kill()
            server.wait()
        report(results)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
