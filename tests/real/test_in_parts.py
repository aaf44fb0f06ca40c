"""Messages in parts, both ways, with servers that others wrote: aiohttp, Starlette on Uvicorn and Hypercorn, Node's ws."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anyio
import httpx2
import pytest

from httpx2_trio_ws import WebSocketClosedError, sync
from httpx2_trio_ws.anyio import open_websocket

from .services import free_port, needs, service

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent / "in_parts"
PARTS: dict[Literal["text", "binary"], list[Any]] = {
    "text": [f"part {number} of a text, with ümläuts; " for number in range(20_000)],
    "binary": [bytes([number % 251]) * 10_000 for number in range(300)],
}


@contextlib.contextmanager
def served(name: str) -> Iterator[str]:
    port = free_port()
    if name == "node":
        node = needs("node", "apt-get install nodejs")
        if subprocess.run([node, "-e", 'require("ws")'], cwd=HERE, check=False, capture_output=True).returncode:
            pytest.skip("Node has no ws on this machine: npm install ws, and NODE_PATH")
        command: list[str | Path] = [node, HERE / "echo.js", str(port)]
    else:
        command = [sys.executable, HERE / "echo.py", name, str(port)]
    with service(*command, port=port):
        yield f"ws://127.0.0.1:{port}/"


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("name", ["aiohttp", "uvicorn", "hypercorn", "node"])
def test_both_ways(name: str, compression: Any) -> None:
    options: Any = {"compression": compression, "stream_large_messages": True}

    async def on_a_loop(url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client, open_websocket(client, url, **options) as ws:
            for kind, parts in PARTS.items():
                async with ws.send_stream(kind) as message:
                    for part in parts:
                        await message.send(part)
                async with ws.receive_stream() as received:
                    assert received.kind == kind
                    got: list[Any] = [part async for part in received]
                assert type(parts[0])().join(got) == type(parts[0])().join(parts)
            with pytest.raises(ZeroDivisionError):
                async with ws.send_stream("binary") as message:
                    await message.send(b"broken off")
                    raise ZeroDivisionError
            with pytest.raises(WebSocketClosedError):
                await ws.send("next")

    def in_threads(url: str) -> None:
        with httpx2.Client(trust_env=False) as client, sync.open_websocket(client, url, **options) as ws:
            for kind, parts in PARTS.items():
                with ws.send_stream(kind) as message:
                    for part in parts:
                        message.send(part)
                with ws.receive_stream() as received:
                    assert received.kind == kind
                    got: list[Any] = list(received)
                assert type(parts[0])().join(got) == type(parts[0])().join(parts)

    with served(name) as url:
        for loop in ("trio", "asyncio"):
            anyio.run(on_a_loop, url, backend=loop)
        in_threads(url)
