"""Our side of the suite: go through the fuzzing server's cases with sessions of one kind or another.

For each case a session is opened that echoes what it receives, with nothing but the library's public names, and with
its options at their defaults apart from what lets large messages in: the suite sends up to 16 MiB. Messages are echoed
whole, or in parts, as they arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from functools import partial
from typing import Any, NamedTuple, Protocol

import anyio
import httpx2

import httpx2_trio_ws.anyio
import httpx2_trio_ws.sync
from httpx2_trio_ws import WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError
from httpx2_trio_ws.http2 import HTTP2Transport

# Bytes; cases 9.1.6 and 9.2.6. A message in parts need not be raised a limit for.
WHOLE: dict[str, Any] = {"max_message_size_bytes": 16 * 2**20}
IN_PARTS: dict[str, Any] = {"stream_large_messages": True}
REPORT_SECONDS = 300.0  # for writing the report, a page for each case
# Many cases close with a code, break the protocol or drop the connection, and mean to.
ENDS = (WebSocketDisconnect, WebSocketProtocolError, WebSocketNetworkError)


class Drive(NamedTuple):
    """What our side of the connections saw."""

    seconds: dict[str, float]  # per case
    errors: dict[str, str]  # cases in which the library, or the time limit, raised what no case should


async def echo(ws: Any) -> None:
    """Send back each message."""
    async for message in ws:
        await ws.send(message)


async def echo_in_parts(ws: Any) -> None:
    """Send back each part of a message when it has come."""
    while True:
        async with ws.receive_stream() as message, ws.send_stream(message.kind) as answer:
            async for part in message:
                await answer.send(part)


class Client:
    """Asks the server for one thing after the other, with sessions of one event loop."""

    def __init__(self, open_websocket: Any, client: httpx2.AsyncClient, *, in_parts: bool) -> None:
        self._open = partial(open_websocket, client)
        self._echo, self._options = (echo_in_parts, IN_PARTS) if in_parts else (echo, WHOLE)

    async def ask(self, url: str, seconds: float) -> str:
        """What the server says where it has one thing to say, which may be nothing. It closes without a code then."""
        with anyio.fail_after(seconds):
            async with self._open(url) as ws:
                said = ""
                with contextlib.suppress(WebSocketDisconnect):
                    while True:
                        said += await ws.receive_text()
                return said

    async def run_case(self, url: str, seconds: float) -> str | None:
        """Echo for one case. Returns what was raised, if it is none of the ends that a case may come to."""
        error: str | None = None
        try:
            with anyio.fail_after(seconds):
                async with self._open(url, **self._options) as ws:
                    await self._echo(ws)
        except* ENDS:
            pass
        except* TimeoutError:
            error = f"not over after {seconds:g} s"
        except* Exception as group:  # noqa: BLE001 (it is reported, and the run fails by it)
            error = repr(group)
        return error


async def _drive(open_websocket: Any, url: str, agent: str, seconds: float, *, in_parts: bool, http2: bool) -> Drive:
    """Go through all cases, and have the report written."""
    result = Drive({}, {})
    transport = HTTP2Transport(verify=False, http1=False) if http2 else None
    # No proxy from the environment: it could not reach this machine's loopback.
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as http:
        client = Client(open_websocket, http, in_parts=in_parts)
        count = int(await client.ask(f"{url}/getCaseCount", seconds))
        for number in range(1, count + 1):
            case = json.loads(await client.ask(f"{url}/getCaseInfo?case={number}", seconds))["id"]
            began = time.perf_counter()
            error = await client.run_case(f"{url}/runCase?case={number}&agent={agent}", seconds)
            result.seconds[case] = time.perf_counter() - began
            if error is not None:
                result.errors[case] = error
        await client.ask(f"{url}/updateReports?agent={agent}", REPORT_SECONDS)
    return result


class BlockingClient:
    """As :class:`Client`, blocking."""

    def __init__(self, client: httpx2.Client, *, in_parts: bool) -> None:
        self._open = partial(httpx2_trio_ws.sync.open_websocket, client)
        self._in_parts = in_parts

    def ask(self, url: str, seconds: float) -> str:
        """As :meth:`Client.ask`."""
        with self._open(url) as ws:
            said = ""
            with contextlib.suppress(WebSocketDisconnect):
                while True:
                    said += ws.receive_text(timeout=seconds)
            return said

    def run_case(self, url: str, seconds: float) -> str | None:
        """As :meth:`Client.run_case`."""
        end = time.monotonic() + seconds
        try:
            with self._open(url, **(IN_PARTS if self._in_parts else WHOLE)) as ws:
                while True:
                    left = max(0.0, end - time.monotonic())
                    if not self._in_parts:
                        ws.send(ws.receive(timeout=left))
                        continue
                    with ws.receive_stream(timeout=left) as message, ws.send_stream(message.kind) as answer:
                        for part in message:
                            answer.send(part)
        except ENDS:
            return None
        except TimeoutError:
            return f"not over after {seconds:g} s"
        except Exception as exc:  # noqa: BLE001 (it is reported, and the run fails by it)
            return repr(exc)


def _drive_blocking(url: str, agent: str, seconds: float, *, in_parts: bool) -> Drive:
    result = Drive({}, {})
    with httpx2.Client(trust_env=False) as http:
        client = BlockingClient(http, in_parts=in_parts)
        count = int(client.ask(f"{url}/getCaseCount", seconds))
        for number in range(1, count + 1):
            case = json.loads(client.ask(f"{url}/getCaseInfo?case={number}", seconds))["id"]
            began = time.perf_counter()
            error = client.run_case(f"{url}/runCase?case={number}&agent={agent}", seconds)
            result.seconds[case] = time.perf_counter() - began
            if error is not None:
                result.errors[case] = error
        client.ask(f"{url}/updateReports?agent={agent}", REPORT_SECONDS)
    return result


def _drive_on(
    backend: str, options: dict[str, Any], url: str, agent: str, seconds: float, *, in_parts: bool, http2: bool = False
) -> Drive:
    face = httpx2_trio_ws if backend == "trio" else httpx2_trio_ws.anyio
    drive = partial(_drive, face.open_websocket, url, agent, seconds, in_parts=in_parts, http2=http2)
    driven: Drive = anyio.run(drive, backend=backend, backend_options=options)
    return driven


class Driver(Protocol):
    """Goes through all cases."""

    def __call__(self, url: str, agent: str, seconds: float, *, in_parts: bool) -> Drive:
        """Give each case ``seconds``; messages are echoed whole, or in parts.

        On event loops, ``http2=True``: over HTTP/2, which the server is known to speak in plain text.
        """


DRIVERS: dict[str, Driver] = {
    "trio": partial(_drive_on, "trio", {}),
    "asyncio": partial(_drive_on, "asyncio", {"loop_factory": asyncio.SelectorEventLoop}),
    "uvloop": partial(_drive_on, "asyncio", {"use_uvloop": True}),
    "threads": _drive_blocking,
}
