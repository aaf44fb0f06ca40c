"""Jupyter: one client for REST and for the kernel's WebSocket, many executions at once.

    python examples/real/jupyter.py http://127.0.0.1:8888 TOKEN

Starts a kernel by REST, runs ten cells at once and one that fails, and deletes the kernel. docs/real/jupyter.md says how to
start a server.
"""

from __future__ import annotations

import json
import sys
import uuid
from itertools import pairwise
from typing import Any

import httpx2
import trio

from httpx2_trio_ws import WebSocketSession, open_websocket
from httpx2_trio_ws.multiplex import Multiplexer, multiplex

PROTOCOL = "v1.kernel.websocket.jupyter.org"
PARTS = ("header", "parent_header", "metadata", "content")
Message = dict[str, Any]


async def send(ws: WebSocketSession, message: Message) -> None:
    """The number of offsets, the offsets, and the parts: the channel, and four of JSON."""
    parts = [message["channel"].encode(), *(json.dumps(message[name]).encode() for name in PARTS)]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    numbers = [len(offsets), *offsets]
    await ws.send_bytes(b"".join([*(number.to_bytes(8, "little") for number in numbers), *parts]))


async def receive(ws: WebSocketSession) -> Message:
    data = await ws.receive_bytes()
    count = int.from_bytes(data[:8], "little")
    offsets = [int.from_bytes(data[at : at + 8], "little") for at in range(8, 8 * (count + 1), 8)]
    channel, *parts = [data[start:end] for start, end in pairwise(offsets)][:5]  # buffers come after
    return {"channel": channel.decode()} | {name: json.loads(part) for name, part in zip(PARTS, parts, strict=True)}


def key(message: Message) -> Any:
    """All that a cell causes has the cell's message as its parent."""
    return message["parent_header"].get("msg_id")


async def execute(kernel: Multiplexer[Message], code: str) -> str:
    """Run a cell; what it prints, or how it failed."""
    number = uuid.uuid4().hex
    header = {
        "msg_id": number,
        "msg_type": "execute_request",
        "version": "5.3",
        "username": "",
        "session": "",
        "date": "",
    }
    content = {"code": code, "silent": False, "store_history": False, "stop_on_error": False}
    request = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
    printed, ended = "", set[str]()
    async with kernel.subscribe(number, subscribe=request) as messages:
        async for message in messages:
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "stream":
                printed += content["text"]
            elif kind == "error":
                printed += f"{content['ename']}: {content['evalue']}"
            elif kind == "execute_reply" or (kind == "status" and content["execution_state"] == "idle"):
                ended.add(kind)
                if len(ended) == 2:  # two channels: either may be the first
                    break
    return printed.strip()


async def main(url: str, token: str) -> None:
    # What is set on the client holds for REST and for the handshake: the base URL, the token, cookies, TLS, proxies.
    headers = {"Authorization": f"token {token}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        kernel_id = (await client.post("/api/kernels", json={"name": "python3"})).raise_for_status().json()["id"]
        path = f"/api/kernels/{kernel_id}/channels"
        session = open_websocket(client, path, subprotocols=[PROTOCOL], max_message_size_bytes=None)
        async with multiplex(session, key=key, receive=receive, send=send) as kernel, trio.open_nursery() as nursery:

            async def cell(code: str) -> None:
                print(f"{code} -> {await execute(kernel, code)}")

            for number in range(10):
                nursery.start_soon(cell, f"print({number} ** 2)")
            nursery.start_soon(cell, "1 / 0")
        print(f"deleted: {(await client.delete(f'/api/kernels/{kernel_id}')).status_code}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} URL TOKEN (see docs/real/jupyter.md)")
    trio.run(main, sys.argv[1], sys.argv[2])
