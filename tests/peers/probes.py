"""What the feature matrix says of each library, as programs that find it out.

A probe's body returns whether the row's title is true of the library. It runs on the library's own event loop, against a
server that plays the probe's script.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio

from .libraries import (
    AIOHTTP,
    HTTPX_WS,
    NATIVE,
    ON_ASYNCIO,
    OURS,
    PICOWS,
    TRIO_WEBSOCKET,
    WEBSOCKETS,
    WEBSOCKETS_ASYNCIO,
    Library,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .server import Wire

ALL = (OURS, ON_ASYNCIO, NATIVE, HTTPX_WS, TRIO_WEBSOCKET, WEBSOCKETS, AIOHTTP, PICOWS)
#: Those with calls that wait; picows calls back.
CALLED = ALL[:-1]


@dataclass(frozen=True)
class Probe:
    """A row of the matrix.

    Args:
        title: the row's first cell.
        script: what the server does with a connection. It may note things in the list.
        body: a program of the library's; returns whether the title is true of it. It has the same list.
        yes, no: the libraries of which it is, or is not.
    """

    title: str
    script: Callable[..., None]
    body: Callable[[Library, str, list[Any]], Awaitable[bool]]
    yes: Sequence[Library]
    no: Sequence[Library] = field(default=())


LARGE = bytes(5_000_000)  # more than both systems' buffers take


Body = Callable[[Library, str, list[Any]], Awaitable[bool]]


class Adder:
    """Makes probes of functions.

    Args:
        probes: where they go.
    """

    def __init__(self, probes: list[Probe]) -> None:
        self.probes = probes

    def __call__(
        self, title: str, script: Callable[..., None], yes: Sequence[Library], no: Sequence[Library]
    ) -> Callable[[Body], None]:
        """As the probe's arguments; the function is the body."""
        return lambda body: self.probes.append(Probe(title, script, body, yes, no))


def keepalive(library: Library, interval: float, timeout: float) -> dict[str, Any]:
    """The library's options for keepalive."""
    if library in (WEBSOCKETS, WEBSOCKETS_ASYNCIO):
        return {"ping_interval": interval, "ping_timeout": timeout}
    if library is AIOHTTP:
        return {"heartbeat": interval}  # its timeout is half of that
    if library is PICOWS:
        return {"enable_auto_ping": True, "auto_ping_idle_timeout": interval, "auto_ping_reply_timeout": timeout}
    return {"keepalive_ping_interval_seconds": interval, "keepalive_ping_timeout_seconds": timeout}


def close_timeout(library: Library, seconds: float) -> dict[str, Any]:
    """The library's option for it, if it has one."""
    if library in (OURS, ON_ASYNCIO):
        return {"close_timeout_seconds": seconds}
    if library in (WEBSOCKETS, WEBSOCKETS_ASYNCIO):
        return {"close_timeout": seconds}
    if library is AIOHTTP:
        return {"timeout": aiohttp.ClientWSTimeout(ws_close=seconds)}
    if library is TRIO_WEBSOCKET:
        return {"disconnect_timeout": seconds}
    return {}


def note_code(wire: Wire, notes: list[Any]) -> None:
    """Read a close frame, note its code, and answer it; ``None`` if none comes."""
    try:
        _, payload = wire.frame()
    except (EOFError, OSError):
        notes.append(None)
    else:
        notes.append(int.from_bytes(payload[:2]))
        wire.send(8, payload)


async def noted(notes: list[Any]) -> int | None:
    """What the script has noted first, when it has."""
    with anyio.fail_after(5):
        while not notes:  # noqa: ASYNC110 (a thread notes it)
            await anyio.sleep(0.01)
    code: int | None = notes[0]
    return code


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


async def timed_out(library: Library, url: str, seconds: float, **options: Any) -> bool:
    """Whether receiving tells of nothing within so many seconds; an error of any kind tells."""
    told = False
    with anyio.CancelScope() as outer:
        async with library.open(url, **options) as ws:
            with anyio.move_on_after(seconds):
                try:
                    await library.receive(ws)
                except Exception:
                    told = True
            outer.deadline = anyio.current_time() + 0.3  # leaving the block is not what this is about
    return not told
