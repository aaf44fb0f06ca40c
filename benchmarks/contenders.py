"""The contenders: each opens sessions as its own documentation shows, with its defaults.

Compression is off unless the job is about it. Limits on the number of connections are lifted. Nothing else is set.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import ssl
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .driving import Ends, SyncEnds

if TYPE_CHECKING:
    from .jobs import Job

Context = ssl.SSLContext | None
Opener = Callable[[str], AbstractAsyncContextManager[Ends]]
SyncOpener = Callable[[str], AbstractContextManager[SyncEnds]]
WINDOW_BITS = 15  # aiohttp wants to be told; it is what the others use


@asynccontextmanager
async def pair(session: AbstractAsyncContextManager[Any], send: str, receive: str) -> AsyncGenerator[Ends]:
    """The two calls of a session, by their names."""
    async with session as ws:
        yield Ends(getattr(ws, send), getattr(ws, receive))


@contextmanager
def sync_pair(session: AbstractContextManager[Any], send: str, receive: str) -> Iterator[SyncEnds]:
    with session as ws:
        yield SyncEnds(getattr(ws, send), getattr(ws, receive))


def named(job: Job) -> tuple[str, str]:
    """The calls as most libraries call them. The answer to a burst is text."""
    kind = "text" if job.text else "bytes"
    return f"send_{kind}", "receive_text" if job.kind == "burst" else f"receive_{kind}"


def options(job: Job) -> dict[str, Any]:
    """Options of our sessions."""
    given: dict[str, Any] = {"compression": "deflate" if job.deflate else None}
    if job.queue_size:
        given["queue_size"] = job.queue_size
    if job.size > 1 << 20:
        given["max_message_size_bytes"] = None
    return given


def client(job: Job, context: Context) -> dict[str, Any]:
    """Options of an httpx2 client."""
    import httpx2

    given: dict[str, Any] = {"limits": httpx2.Limits(max_connections=None, max_keepalive_connections=None)}
    return given | ({"verify": context} if job.tls else {})


@asynccontextmanager
async def ours(job: Job, context: Context) -> AsyncGenerator[Opener]:
    import httpx2

    from httpx2_trio_ws import open_websocket

    async with contextlib.AsyncExitStack() as stack:
        given = client(job, context)
        if job.per_client:
            given["verify"] = httpx2.create_ssl_context()  # one is enough for all
        numbers = range(-(-job.count // job.per_client) if job.per_client else 1)
        clients = [await stack.enter_async_context(httpx2.AsyncClient(**given)) for _ in numbers]
        turns = itertools.cycle(clients)
        yield lambda url: pair(open_websocket(next(turns), url, **options(job)), *named(job))


@asynccontextmanager
async def ours_anyio(job: Job, context: Context) -> AsyncGenerator[Opener]:
    import httpx2

    from httpx2_trio_ws.anyio import open_websocket

    async with httpx2.AsyncClient(**client(job, context)) as made:
        yield lambda url: pair(open_websocket(made, url, **options(job)), *named(job))


@contextmanager
def ours_blocking(job: Job, context: Context) -> Generator[SyncOpener]:
    import httpx2

    from httpx2_trio_ws.sync import open_websocket

    with httpx2.Client(**client(job, context)) as made:
        yield lambda url: sync_pair(open_websocket(made, url, **options(job)), *named(job))


def large(job: Job) -> dict[str, Any]:
    """httpx2's default limit is 64 KiB; larger messages need a higher one."""
    return {"max_message_size_bytes": 2 * job.size} if job.size > 1 << 15 else {}


@asynccontextmanager
async def native(job: Job, context: Context) -> AsyncGenerator[Opener]:
    import httpx2

    async with httpx2.AsyncClient(**client(job, context)) as made:
        yield lambda url: pair(made.websocket(url, **large(job)), *named(job))


@contextmanager
def native_blocking(job: Job, context: Context) -> Generator[SyncOpener]:
    import httpx2

    with httpx2.Client(**client(job, context)) as made:
        yield lambda url: sync_pair(made.websocket(url, **large(job)), *named(job))


@asynccontextmanager
async def httpx_ws(job: Job, context: Context) -> AsyncGenerator[Opener]:
    import httpx
    from httpx_ws import aconnect_ws

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, verify=context or True) as made:
        yield lambda url: pair(aconnect_ws(url, made), *named(job))


@asynccontextmanager
async def trio_websocket(_job: Job, context: Context) -> AsyncGenerator[Opener]:
    from trio_websocket import open_websocket_url

    yield lambda url: pair(open_websocket_url(url, ssl_context=context), "send_message", "get_message")


def connecting(job: Job, context: Context) -> dict[str, Any]:
    """Options of websockets."""
    return {"compression": "deflate" if job.deflate else None} | ({"ssl": context} if job.tls else {})


@asynccontextmanager
async def websockets_trio(job: Job, context: Context) -> AsyncGenerator[Opener]:
    from websockets.trio.client import connect

    yield lambda url: pair(connect(url, **connecting(job, context)), "send", "recv")


@asynccontextmanager
async def websockets_asyncio(job: Job, context: Context) -> AsyncGenerator[Opener]:
    from websockets.asyncio.client import connect

    yield lambda url: pair(connect(url, **connecting(job, context)), "send", "recv")


@contextmanager
def websockets_sync(job: Job, context: Context) -> Generator[SyncOpener]:
    from websockets.sync.client import connect

    yield lambda url: sync_pair(connect(url, **connecting(job, context)), "send", "recv")


@asynccontextmanager
async def aiohttp(job: Job, context: Context) -> AsyncGenerator[Opener]:
    from aiohttp import ClientSession, TCPConnector

    kind = "str" if job.text else "bytes"
    calls = f"send_{kind}", "receive_str" if job.kind == "burst" else f"receive_{kind}"
    given: dict[str, Any] = {"compress": WINDOW_BITS} if job.deflate else {}
    if job.tls:
        given["ssl"] = context
    async with ClientSession(connector=TCPConnector(limit=0)) as made:
        yield lambda url: pair(made.ws_connect(url, **given), *calls)


@asynccontextmanager
async def by_callback(name: str, job: Job, context: Context) -> AsyncGenerator[Opener]:
    """picows and the floors have ways of their own to do the workloads."""
    if name == "picows":
        from .on_picows import connect
    elif name == "bare trio":
        from .on_bare_trio import connect
    else:
        from .on_bare_asyncio import connect
    yield lambda url: connect(url, job, context)


@dataclass(frozen=True)
class Contender:
    """A library on an event loop, or in threads."""

    library: str
    loop: str
    """``trio``, ``asyncio``, ``uvloop`` or ``threads``."""
    enter: Callable[[Job, Context], Any]
    imports: str
    """What a program imports, as the text of a statement."""
    deflate: bool = False
    """It can compress."""
    slow: bool = True
    """It has a buffer between the network and who receives. With callbacks there is none."""

    @property
    def needs(self) -> list[str]:
        """Modules without which it is left out."""
        loop = {"trio": ["trio"], "uvloop": ["uvloop"]}.get(self.loop, [])
        return [name.strip() for name in self.imports.removeprefix("import ").split(",")] + loop

    def missing(self) -> list[str]:
        return [name for name in self.needs if not _found(name)]

    def does(self, kind: str, *, deflate: bool) -> bool:
        """Whether a workload makes sense for it."""
        if kind == "import":
            return self.loop != "uvloop"
        return (self.deflate or not deflate) and (self.slow or kind != "slow")


def _found(name: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(name) is not None
    return False


_OURS_ANYIO = Contender("httpx2-trio-ws", "asyncio", ours_anyio, "import httpx2, httpx2_trio_ws.anyio", deflate=True)
_NATIVE = partial(Contender, "httpx2")
_WEBSOCKETS = partial(Contender, "websockets", deflate=True)
_AIOHTTP = partial(Contender, "aiohttp", enter=aiohttp, imports="import aiohttp", deflate=True)
_PICOWS = partial(Contender, "picows", enter=partial(by_callback, "picows"), imports="import picows", slow=False)

CONTENDERS: dict[str, Contender] = {
    "ours-trio": Contender("httpx2-trio-ws", "trio", ours, "import httpx2, httpx2_trio_ws", deflate=True),
    "ours-asyncio": _OURS_ANYIO,
    "ours-uvloop": Contender("httpx2-trio-ws", "uvloop", ours_anyio, _OURS_ANYIO.imports, deflate=True),
    "ours-threads": Contender(
        "httpx2-trio-ws", "threads", ours_blocking, "import httpx2, httpx2_trio_ws.sync", deflate=True
    ),
    "httpx2-trio": _NATIVE("trio", native, "import httpx2.websockets, trio"),
    "httpx2-asyncio": _NATIVE("asyncio", native, "import httpx2.websockets"),
    "httpx2-threads": _NATIVE("threads", native_blocking, "import httpx2.websockets"),
    "httpx-ws-trio": Contender("httpx-ws", "trio", httpx_ws, "import httpx, httpx_ws, trio"),
    "trio-websocket": Contender("trio-websocket", "trio", trio_websocket, "import trio_websocket"),
    "websockets-trio": _WEBSOCKETS("trio", websockets_trio, "import websockets.trio.client"),
    "websockets-asyncio": _WEBSOCKETS("asyncio", websockets_asyncio, "import websockets.asyncio.client"),
    "websockets-uvloop": _WEBSOCKETS("uvloop", websockets_asyncio, "import websockets.asyncio.client"),
    "websockets-threads": _WEBSOCKETS("threads", websockets_sync, "import websockets.sync.client"),
    "aiohttp-asyncio": _AIOHTTP(loop="asyncio"),
    "aiohttp-uvloop": _AIOHTTP(loop="uvloop"),
    "picows-asyncio": _PICOWS(loop="asyncio"),
    "picows-uvloop": _PICOWS(loop="uvloop"),
    "bare-trio": Contender("bare TCP", "trio", partial(by_callback, "bare trio"), "import trio", slow=False),
    "bare-asyncio": Contender("bare TCP", "asyncio", partial(by_callback, "bare"), "import asyncio", slow=False),
}
REFERENCES = {"trio": "ours-trio", "asyncio": "ours-asyncio", "uvloop": "ours-uvloop", "threads": "ours-threads"}
