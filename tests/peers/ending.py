"""Probes of how sessions fail and end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio

from .libraries import (
    AIOHTTP,
    HTTPX_WS,
    HTTPX_WS_ASYNCIO,
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
from .probes import ALL, LARGE, Adder, Probe, close_timeout, keepalive, leaves, note_code, noted, timed_out

if TYPE_CHECKING:
    from .server import Wire

PROBES: list[Probe] = []
add = Adder(PROBES)

# -- keepalive -------------------------------------------------------------------------------------


def _flood(wire: Wire, notes: list[Any]) -> None:
    wire.accept()

    def answer() -> None:
        try:
            while True:
                opcode, payload = wire.frame()
                if opcode == 9:
                    wire.send(10, payload)
        except (EOFError, OSError):
            pass

    answering = threading.Thread(target=answer, daemon=True)
    answering.start()
    try:
        for _number in range(60):
            wire.send(2, bytes(60_000))  # more than any of them queues, less than the systems' buffers take
        wire.text("end")
    finally:
        answering.join()


@add(
    "a slow consumer is not taken for dead",
    _flood,
    yes=(OURS, ON_ASYNCIO, PICOWS),
    no=(NATIVE, HTTPX_WS, WEBSOCKETS, AIOHTTP),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    try:
        async with library.open(url, **keepalive(library, 0.1, 0.1), **close_timeout(library, 0.1)) as ws:
            await anyio.sleep(0.6)
            with anyio.fail_after(5):
                while await library.receive(ws) != "end":
                    pass
    except Exception:
        return False
    return True


def _ping_behind(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    for number in range(10):
        wire.text(str(number))
    wire.send(9, b"are you there?")
    notes.append(wire.frame()[0])
    wire.frame()


@add(
    "pings are answered while ten messages wait",
    _ping_behind,
    yes=(OURS, ON_ASYNCIO, WEBSOCKETS, PICOWS),
    no=(NATIVE, HTTPX_WS, TRIO_WEBSOCKET, AIOHTTP),
)
async def _(library: Library, url: str, notes: list[Any]) -> bool:
    try:
        async with library.open(url, **close_timeout(library, 0.1)):
            await anyio.sleep(0.2)
            return notes == [10]
    except (Exception, anyio.get_cancelled_exc_class()):
        return False  # trio-websocket trips over a ping while it closes, and lets a Cancelled out


def _be_silent(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    while wire.sock.recv(65536):
        pass


@add(
    "a dead peer is reported when the ping timeout is over",
    _be_silent,
    yes=(OURS, ON_ASYNCIO, NATIVE, HTTPX_WS, AIOHTTP, PICOWS),
    no=(WEBSOCKETS,),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    return not await timed_out(library, url, 0.6, **keepalive(library, 0.1, 0.1), **close_timeout(library, 2))


def _hang_up_on_ping(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    assert wire.frame()[0] == 9


@add(
    "waiting for a pong ends when the connection does",
    _hang_up_on_ping,
    yes=(OURS, ON_ASYNCIO, WEBSOCKETS_ASYNCIO),
    no=(NATIVE, HTTPX_WS, TRIO_WEBSOCKET, WEBSOCKETS),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    with anyio.CancelScope() as scope:
        try:
            async with library.open(url) as ws:
                scope.deadline = anyio.current_time() + 0.5
                pong = await ws.ping()  # trio-websocket waits here
                await (pong if library is WEBSOCKETS_ASYNCIO else pong.wait())
        except Exception:
            return True
    return not scope.cancelled_caught


# -- failures --------------------------------------------------------------------------------------


def _hang_up(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    wire.text("last words")


@add("what came before a lost connection is delivered", _hang_up, yes=ALL, no=())
async def _(library: Library, url: str, _: list[Any]) -> bool:
    received = []
    try:
        async with library.open(url) as ws:
            await anyio.sleep(0.1)
            with anyio.fail_after(2):
                while True:
                    received.append(await library.receive(ws))
    except Exception as exc:
        return received == ["last words"] and not any(isinstance(leaf, TimeoutError) for leaf in leaves(exc))


@add(
    "a lost connection is reported, even if no call is made",
    _hang_up,
    yes=(OURS, ON_ASYNCIO),
    no=(NATIVE, HTTPX_WS, TRIO_WEBSOCKET, WEBSOCKETS, AIOHTTP),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    options = {"failure_grace_seconds": 0.1} if library in (OURS, ON_ASYNCIO) else {}
    try:
        async with library.open(url, **options):
            await anyio.sleep(0.4)
    except Exception:
        return True
    return False


def _close(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    wire.send(8, (4001).to_bytes(2) + b"why")
    wire.frame()


@add(
    "every call after the end returns",
    _close,
    yes=(OURS, ON_ASYNCIO, TRIO_WEBSOCKET, WEBSOCKETS, AIOHTTP),
    no=(NATIVE, HTTPX_WS),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    async with library.open(url) as ws:
        for _number in range(3):
            with anyio.move_on_after(0.4) as scope:
                try:
                    await library.receive(ws)
                except Exception:
                    continue
            if scope.cancelled_caught:
                return False
    return True


def _read_close(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    note_code(wire, notes)


@add(
    "errors leave the block in an `ExceptionGroup`",
    _read_close,
    yes=(OURS, ON_ASYNCIO, NATIVE, HTTPX_WS),
    no=(TRIO_WEBSOCKET, WEBSOCKETS, AIOHTTP, PICOWS),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    try:
        async with library.open(url):
            raise ZeroDivisionError
    except ZeroDivisionError:
        return False
    except ExceptionGroup:
        return True


@add(
    "an error in the block is 1011 for the peer",
    _read_close,
    yes=(OURS, ON_ASYNCIO, WEBSOCKETS),
    no=(NATIVE, HTTPX_WS, TRIO_WEBSOCKET, AIOHTTP, PICOWS),
)
async def _(library: Library, url: str, notes: list[Any]) -> bool:
    try:
        async with library.open(url):
            raise ZeroDivisionError
    except Exception:
        return await noted(notes) == 1011


@add(
    "a cancelled block is 1001 for the peer",
    _read_close,
    yes=(OURS, ON_ASYNCIO),
    no=(NATIVE, HTTPX_WS, TRIO_WEBSOCKET, WEBSOCKETS, AIOHTTP, PICOWS),
)
async def _(library: Library, url: str, notes: list[Any]) -> bool:
    with anyio.CancelScope() as scope:
        async with library.open(url):
            scope.cancel()
            await anyio.sleep_forever()
    return await noted(notes) == 1001


def _send_bad_text(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    wire.send(1, b"\xff")
    note_code(wire, notes)


@add(
    "invalid UTF-8 is 1007 for the peer",
    _send_bad_text,
    yes=(OURS, ON_ASYNCIO, WEBSOCKETS, AIOHTTP),
    no=(NATIVE, HTTPX_WS, TRIO_WEBSOCKET),
)
async def _(library: Library, url: str, notes: list[Any]) -> bool:
    await timed_out(library, url, 0.5, **close_timeout(library, 0.1))
    return await noted(notes) == 1007


# -- closing ---------------------------------------------------------------------------------------


def _answer_late(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    opcode, payload = wire.frame()
    threading.Event().wait(0.2)
    wire.send(opcode, payload)


@add(
    "leaving waits for the peer's close frame",
    _answer_late,
    yes=(OURS, ON_ASYNCIO, TRIO_WEBSOCKET, WEBSOCKETS, AIOHTTP),
    no=(NATIVE, HTTPX_WS, PICOWS),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    async with library.open(url):
        began = anyio.current_time()
    return anyio.current_time() - began >= 0.2


def _never_read(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    notes[0].wait(3)


@add(
    "leaving takes no longer than the close timeout",
    _never_read,
    yes=(OURS, ON_ASYNCIO, TRIO_WEBSOCKET, WEBSOCKETS, AIOHTTP),
    no=(NATIVE_ASYNCIO, HTTPX_WS_ASYNCIO, WEBSOCKETS_ASYNCIO),
)
async def _(library: Library, url: str, notes: list[Any]) -> bool:
    notes.append(over := threading.Event())
    watch = threading.Timer(1, over.set)  # no cancellation ends it where it is shielded
    try:
        async with library.open(url, **close_timeout(library, 0.2)) as ws:
            watch.start()
            with anyio.move_on_after(0.1):
                await library.send(ws, LARGE)
    except Exception:
        pass  # trio-websocket tells of its timeout
    finally:
        watch.cancel()
    in_time = not over.is_set()
    over.set()
    return in_time


@add(
    "a cancelled block is left promptly",
    _never_read,
    yes=(OURS, ON_ASYNCIO, TRIO_WEBSOCKET, WEBSOCKETS, AIOHTTP),
    no=(NATIVE_ASYNCIO, HTTPX_WS_ASYNCIO),
)
async def _(library: Library, url: str, notes: list[Any]) -> bool:
    notes.append(over := threading.Event())
    watch = threading.Timer(1, over.set)
    with anyio.CancelScope() as scope:
        async with library.open(url, **close_timeout(library, 3)) as ws:
            watch.start()
            scope.deadline = anyio.current_time() + 0.2
            await library.send(ws, LARGE)
            await library.send(ws, LARGE)
            await anyio.sleep_forever()
    watch.cancel()
    in_time = not over.is_set()
    over.set()
    return in_time


def _close_without_code(wire: Wire, notes: list[Any]) -> None:
    wire.accept()
    wire.send(8, b"")
    wire.frame()


@add(
    "`async for` ends without an error on a close without a code",
    _close_without_code,
    yes=(OURS, ON_ASYNCIO, WEBSOCKETS, AIOHTTP),
    no=(),
)
async def _(library: Library, url: str, _: list[Any]) -> bool:
    try:
        async with library.open(url) as ws:
            async for _message in ws:
                pass
    except Exception:
        return False
    return True
