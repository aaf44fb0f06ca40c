"""Probes of how sessions open, send and receive."""

from __future__ import annotations

import functools
import threading
import zlib
from typing import TYPE_CHECKING, Any

import anyio

from httpx2_trio_ws.testing import encode_frame

from .libraries import (
    AIOHTTP,
    HTTPX_WS,
    NATIVE,
    NATIVE_ASYNCIO,
    ON_ASYNCIO,
    OURS,
    PICOWS,
    TRIO_WEBSOCKET,
    WEBSOCKETS,
    WEBSOCKETS_ASYNCIO,
    Library,
)
from .probes import ALL, CALLED, LARGE, Adder, Probe, close_timeout, timed_out

if TYPE_CHECKING:
    from .server import Wire

PROBES: list[Probe] = []
add = Adder(PROBES)

# -- the handshake ---------------------------------------------------------------------------------


def _wrong_key(wire: Wire, notes: list[Any]) -> None:
    wire.accept(key="AAAAAAAAAAAAAAAAAAAAAA==")
    wire.text("hello")
    wire.frame()


@add(
    "a wrong `Sec-WebSocket-Accept` is refused",
    _wrong_key,
    yes=(OURS, ON_ASYNCIO, TRIO_WEBSOCKET, WEBSOCKETS, AIOHTTP, PICOWS),
    no=(NATIVE, HTTPX_WS),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    try:
        async with library.open(url) as ws:
            await library.receive(ws)
    except Exception:
        return True
    return False


def _refuse(wire: Wire, notes: list[Any]) -> None:
    wire.sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno, sorry")


@add(
    "the body of a refusal can be read",
    _refuse,
    yes=(OURS, ON_ASYNCIO, TRIO_WEBSOCKET, WEBSOCKETS, PICOWS),
    no=(NATIVE, HTTPX_WS, AIOHTTP),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    try:
        async with library.open(url):
            raise AssertionError("it was refused")
    except Exception as exc:
        try:
            for holder in (exc, getattr(exc, "response", None)):
                for name in ("text", "body", "raw_body"):
                    if getattr(holder, name, None) in ("no, sorry", b"no, sorry"):
                        return True
        except RuntimeError:  # httpx's ResponseNotRead
            pass
        return False


def _glue(wire: Wire, notes: list[Any]) -> None:
    wire.accept(glued=encode_frame(1, b"hello"))
    wire.frame()


@add("a message in the same packet as the 101 arrives", _glue, yes=ALL, no=())
async def _(library: Library, url: str, _: list[Any]) -> bool:
    async with library.open(url) as ws:
        with anyio.fail_after(2):
            return await library.receive(ws) == "hello"


def _note_offer(wire: Wire, notes: list[Any]) -> None:
    notes.append(wire.headers.get("sec-websocket-extensions", ""))
    wire.accept()
    wire.text("hello")
    wire.frame()


@add(
    "permessage-deflate is offered by default",
    _note_offer,
    yes=(OURS, ON_ASYNCIO, WEBSOCKETS),
    no=(NATIVE, HTTPX_WS, TRIO_WEBSOCKET, AIOHTTP, PICOWS),
)
async def _(library: Library, url: str, notes: list[Any]) -> bool:
    async with library.open(url, **close_timeout(library, 0.1)) as ws:
        await library.receive(ws)
    return "permessage-deflate" in notes[0]


# -- limits ----------------------------------------------------------------------------------------


def _large(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    wire.send(2, bytes(20 * 2**20))
    wire.frame()


@add(
    "20 MiB are refused by default",
    _large,
    yes=(OURS, ON_ASYNCIO, NATIVE, TRIO_WEBSOCKET, WEBSOCKETS, AIOHTTP, PICOWS),
    no=(HTTPX_WS,),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    try:
        async with library.open(url, **close_timeout(library, 0.1)) as ws:
            return len(await library.receive(ws)) != 20 * 2**20
    except Exception:
        return True


def _declare(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    wire.sock.sendall(b"\x82\x7f" + (2**40).to_bytes(8) + b"x")
    wire.frame()


@add(
    "too large a length fails before the data has come",
    _declare,
    yes=(OURS, ON_ASYNCIO, WEBSOCKETS, AIOHTTP, PICOWS),
    no=(NATIVE, HTTPX_WS, TRIO_WEBSOCKET),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    return not await timed_out(library, url, 0.3, **close_timeout(library, 0.1))


BOMB_SIZE = 16 * 2**20


@functools.cache
def _make_bomb() -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflate.compress(bytes(BOMB_SIZE)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _bomb(wire: Wire, notes: list[Any]) -> None:
    wire.accept(extra="Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n")
    wire.send(2, _make_bomb(), rsv1=True)
    wire.frame()


@add("a deflate bomb is refused", _bomb, yes=(OURS, ON_ASYNCIO, WEBSOCKETS, AIOHTTP), no=())
async def _(library: Library, url: str, _: list[Any]) -> bool:
    options = {"compress": 15} if library is AIOHTTP else {}
    return not await timed_out(library, url, 10, **options, **close_timeout(library, 0.1))


# -- receiving and sending -------------------------------------------------------------------------

COUNT = 60


def _drip_fragments(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    pause = threading.Event()  # nothing sets it
    for number in range(COUNT):
        wire.send(1, b"message ", fin=False)
        pause.wait(0.002)
        wire.send(0, str(number).encode())
    wire.frame()


@add("a cancelled `receive` loses no message", _drip_fragments, yes=CALLED, no=())
async def _(library: Library, url: str, _: list[Any]) -> bool:
    received: list[str | bytes] = []
    cancelled = 0
    async with library.open(url) as ws:
        with anyio.fail_after(5):
            while len(received) < COUNT:
                with anyio.move_on_after(0.001) as scope:
                    received.append(await library.receive(ws))
                cancelled += scope.cancelled_caught
    return cancelled > 0 and received == [f"message {number}" for number in range(COUNT)]


def _stall(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    go, judged = notes
    go.wait(5)
    try:
        opcode, payload = wire.frame()
        if (opcode, payload) == (2, LARGE):
            notes.append("whole")
        elif (opcode, payload) == (1, b"after"):
            notes.append("absent")
        wire.text("read")
        wire.frame()
    finally:
        judged.set()


@add(
    "a cancelled `send` leaves no half frame",
    _stall,
    yes=(OURS, ON_ASYNCIO, NATIVE_ASYNCIO, WEBSOCKETS_ASYNCIO, AIOHTTP),
    no=(NATIVE, HTTPX_WS, TRIO_WEBSOCKET, WEBSOCKETS),
)
async def _(library: Library, url: str, notes: list[Any]) -> bool:
    go, judged = threading.Event(), threading.Event()
    notes += go, judged
    cancelled = False
    try:
        async with library.open(url, **close_timeout(library, 0.1)) as ws:
            with anyio.move_on_after(1) as scope:  # masking takes some of it
                await library.send(ws, LARGE)
            cancelled = scope.cancelled_caught
            go.set()
            with anyio.move_on_after(1.5):
                await library.send(ws, "after")
                await library.receive(ws)
    except Exception:
        pass  # closing a session with half a frame is an error for some
    finally:
        go.set()
    assert cancelled, "the buffers took it all"
    await anyio.to_thread.run_sync(judged.wait)
    return len(notes) == 3


def _two(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    threading.Event().wait(0.05)
    wire.text("1")
    wire.text("2")
    wire.frame()


@add(
    "several tasks may receive",
    _two,
    yes=(OURS, ON_ASYNCIO, NATIVE, HTTPX_WS, TRIO_WEBSOCKET),
    no=(WEBSOCKETS, AIOHTTP),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    received = []

    async def receive() -> None:
        try:
            received.append(await library.receive(ws))
        except RuntimeError:  # for one call too many
            received.append("refused")

    async with library.open(url) as ws:
        with anyio.fail_after(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                tasks.start_soon(receive)
    return sorted(received) == ["1", "2"]


def _collect(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    threading.Event().wait(0.05)
    for _ in range(4):
        _, payload = wire.frame()
        notes.append(len(payload) == 2_000_000 and payload.count(payload[:1]) == 2_000_000)
    wire.text("read")
    wire.frame()


@add("several tasks may send", _collect, yes=ALL, no=())
async def _(library: Library, url: str, notes: list[Any]) -> bool:
    async with library.open(url) as ws:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for letter in b"abcd":
                    tasks.start_soon(library.send, ws, bytes([letter]) * 2_000_000)
            await library.receive(ws)
    return notes == [True] * 4


@add(
    "`async for` over the messages",
    _glue,
    yes=(OURS, ON_ASYNCIO, WEBSOCKETS, AIOHTTP),
    no=(NATIVE, HTTPX_WS, TRIO_WEBSOCKET),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    async with library.open(url) as ws:
        return hasattr(ws, "__aiter__")
