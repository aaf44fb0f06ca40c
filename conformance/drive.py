"""Our side of the suite: go through the fuzzing server's cases with sessions of one kind or another.

For each case a session is opened that echoes what it receives, with nothing but the library's public names, and with
its options at their defaults apart from the size limit: the suite sends up to 16 MiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import httpx2

import httpx2_trio_ws.anyio
import httpx2_trio_ws.sync
from httpx2_trio_ws import WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST = 16 * 2**20  # bytes; cases 9.1.6 and 9.2.6
REPORT_SECONDS = 300.0  # for writing the report, a page for each case
# Many cases close with a code, break the protocol or drop the connection, and mean to.
ENDS = (WebSocketDisconnect, WebSocketProtocolError, WebSocketNetworkError)


class Drive(NamedTuple):
    """What our side of the connections saw."""

    seconds: dict[str, float]  # per case
    errors: dict[str, str]  # cases in which the library, or the time limit, raised what no case should


class Client:
    """Asks the server for one thing after the other, with sessions of one event loop."""

    def __init__(self, open_websocket: Any, client: httpx2.AsyncClient) -> None:
        self._open = partial(open_websocket, client)

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
                async with self._open(url, max_message_size_bytes=LARGEST) as ws:
                    async for message in ws:
                        await ws.send(message)
        except* ENDS:
            pass
        except* TimeoutError:
            error = f"not over after {seconds:g} s"
        except* Exception as group:  # noqa: BLE001 (it is reported, and the run fails by it)
            error = repr(group)
        return error


async def _drive(open_websocket: Any, url: str, agent: str, seconds: float) -> Drive:
    """Go through all cases, and have the report written."""
    result = Drive({}, {})
    # No proxy from the environment: it could not reach this machine's loopback.
    async with httpx2.AsyncClient(trust_env=False) as http:
        client = Client(open_websocket, http)
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

    def __init__(self, client: httpx2.Client) -> None:
        self._open = partial(httpx2_trio_ws.sync.open_websocket, client)

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
            with self._open(url, max_message_size_bytes=LARGEST) as ws:
                while True:
                    ws.send(ws.receive(timeout=max(0.0, end - time.monotonic())))
        except ENDS:
            return None
        except TimeoutError:
            return f"not over after {seconds:g} s"
        except Exception as exc:  # noqa: BLE001 (it is reported, and the run fails by it)
            return repr(exc)


def _drive_blocking(url: str, agent: str, seconds: float) -> Drive:
    result = Drive({}, {})
    with httpx2.Client(trust_env=False) as http:
        client = BlockingClient(http)
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


def _drive_on(backend: str, options: dict[str, Any], url: str, agent: str, seconds: float) -> Drive:
    face = httpx2_trio_ws if backend == "trio" else httpx2_trio_ws.anyio
    driven: Drive = anyio.run(
        _drive, face.open_websocket, url, agent, seconds, backend=backend, backend_options=options
    )
    return driven


DRIVERS: dict[str, Callable[[str, str, float], Drive]] = {
    "trio": partial(_drive_on, "trio", {}),
    "asyncio": partial(_drive_on, "asyncio", {"loop_factory": asyncio.SelectorEventLoop}),
    "uvloop": partial(_drive_on, "asyncio", {"use_uvloop": True}),
    "threads": _drive_blocking,
}
