"""Where the contract is run: event loops, carriers, and the ways to open a session there."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import trio
import uvloop

import httpx2_trio_ws
import httpx2_trio_ws.anyio
from httpx2_trio_ws.testing import Check, session_checks
from tests.http2.carrier import http2
from tests.virtual_time import VIRTUAL

from . import carriers
from .blocking import WITHOUT, blocking_maker

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Collection

    from httpx2_trio_ws.testing import SessionMaker

    from .carriers import Carrier, Handler

    Contexts = tuple[ssl.SSLContext, ssl.SSLContext]

Run = Callable[[Callable[[], Awaitable[Any]]], Any]

REAL: dict[str, Run] = {
    "trio": trio.run,
    "asyncio": partial(anyio.run, backend="asyncio"),
    "uvloop": partial(anyio.run, backend="asyncio", backend_options={"loop_factory": uvloop.new_event_loop}),
}
# Over TLS, what differs is how bytes are written and how connections end.
TLS_CHAPTERS = {"sending", "failures", "closing", "nothing_left"}


class Runtime(NamedTuple):
    """One row of the table."""

    maker: Callable[[Contexts], SessionMaker]
    on_loop: Run
    without: Collection[str] = ()
    chapters: Collection[str] = ()

    def checks(self) -> list[Check]:
        return [
            check for check in session_checks(without=self.without) if not self.chapters or check.group in self.chapters
        ]


def maker_of(open_websocket: Callable[..., Any], carrier: Carrier = carriers.memory) -> SessionMaker:
    """What the contract calls for each session."""

    @contextlib.asynccontextmanager
    async def maker(handler: Handler, /, **options: Any) -> AsyncGenerator[Any]:
        async with carrier(handler) as (client, url), open_websocket(client, url, **options) as session:
            yield session

    return maker


def in_memory(open_websocket: Callable[..., Any], on_loop: Run) -> Runtime:
    return Runtime(lambda _: maker_of(open_websocket), on_loop)


def over_tcp(open_websocket: Callable[..., Any], on_loop: Run) -> Runtime:
    return Runtime(lambda _: maker_of(open_websocket, carriers.tcp), on_loop)


def over_http2(open_websocket: Callable[..., Any], on_loop: Run) -> Runtime:
    return Runtime(lambda contexts: maker_of(open_websocket, partial(http2, contexts=contexts)), on_loop)


def over_tls(open_websocket: Callable[..., Any], on_loop: Run) -> Runtime:
    def maker(contexts: Contexts) -> SessionMaker:
        return maker_of(open_websocket, partial(carriers.tcp, contexts=contexts))

    return Runtime(maker, on_loop, chapters=TLS_CHAPTERS)


ON_TRIO, ON_ANYIO = httpx2_trio_ws.open_websocket, httpx2_trio_ws.anyio.open_websocket

RUNTIMES = {
    "trio": in_memory(ON_TRIO, VIRTUAL["trio"]),
    "trio, TCP": over_tcp(ON_TRIO, REAL["trio"]),
    "trio, TLS": over_tls(ON_TRIO, REAL["trio"]),
    "trio, HTTP/2": over_http2(ON_TRIO, REAL["trio"]),
    "anyio on trio": in_memory(ON_ANYIO, VIRTUAL["trio"]),
    "asyncio": in_memory(ON_ANYIO, VIRTUAL["asyncio"]),
    "asyncio, TCP": over_tcp(ON_ANYIO, REAL["asyncio"]),
    "asyncio, TLS": over_tls(ON_ANYIO, REAL["asyncio"]),
    "asyncio, HTTP/2": over_http2(ON_ANYIO, REAL["asyncio"]),
    "uvloop": in_memory(ON_ANYIO, REAL["uvloop"]),
    "uvloop, TCP": over_tcp(ON_ANYIO, REAL["uvloop"]),
    "uvloop, HTTP/2": over_http2(ON_ANYIO, REAL["uvloop"]),
    "blocking, TCP": Runtime(lambda _: blocking_maker(), REAL["trio"], without=WITHOUT),
    "blocking, TLS": Runtime(blocking_maker, REAL["trio"], without=WITHOUT, chapters=TLS_CHAPTERS),
}
