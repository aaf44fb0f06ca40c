"""Where hooks are called: in a task of the session, on every event loop, so that they may ask it what they like."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx2
import pytest

from httpx2_trio_ws import Instrument
from httpx2_trio_ws._session._engine import Engine
from httpx2_trio_ws.anyio import open_websocket

from .handshake_support import client_context, server_context
from .memory import PING, PONG, frame, text
from .sync.support import LONG, Task, listening, upgrade
from .test_closed_clients import each_transport, url
from .test_tls_carriers import each_loop, run

if TYPE_CHECKING:
    from collections.abc import Callable


class Asking(Instrument):
    """Notes in which tasks the hooks are called."""

    def __init__(self) -> None:
        self.tasks: dict[str, int] = {}

    def _called(self, hook: str) -> None:
        anyio.current_time()
        self.tasks[hook] = anyio.get_current_task().id

    def session_opened(self, session: Any) -> None:
        self._called("session_opened")

    def session_closed(self, session: Any, code: int, reason: str, failure: Any) -> None:
        self._called("session_closed")

    def frame_received(self, session: Any, frame: Any) -> None:
        self._called("frame_received")

    def frame_sent(self, session: Any, frame: Any) -> None:
        self._called("frame_sent")

    def ping_answered(self, session: Any, round_trip: float) -> None:
        self._called("ping_answered")

    def reading_paused(self, session: Any) -> None:
        self._called("reading_paused")

    def reading_resumed(self, session: Any) -> None:
        self._called("reading_resumed")


class Stop(BaseException):
    """As :func:`pytest.fail` raises, for one."""


class Stopping(Instrument):
    """Raises at the second frame."""

    def __init__(self) -> None:
        self.frames = 0

    def frame_received(self, session: Any, frame: Any) -> None:
        self.frames += 1
        if self.frames == 2:
            raise Stop


async def session(instrument: Instrument | None, play: Callable[[Any, Any], Any], *, tls: bool) -> None:
    """A session, played with its peer."""
    options: dict[str, Any] = {
        "instruments": [instrument] if instrument else [],
        "queue_size": 1,
        "close_timeout_seconds": 60,
    }
    with listening(server_context() if tls else None) as (address, accept):
        accepting = Task(lambda: upgrade(accept()))
        verify = client_context() if tls else False
        async with (
            httpx2.AsyncClient(verify=verify) as client,
            open_websocket(client, url(address, tls=tls), compression=None, **options) as ws,
        ):
            peer = accepting.result()
            await play(ws, peer)
            Task(peer.answer_close)


@each_loop
@each_transport
def test_hooks_are_called_in_tasks(loop: str, tls: bool) -> None:
    asking = Asking()

    async def play(ws: Any, peer: Any) -> None:
        waiter = await ws.ping(b"x")
        assert (await anyio.to_thread.run_sync(peer.receive)).opcode == PING
        peer.send(frame(PONG, b"x"), text("a"), text("b"), text("c"))
        await waiter
        await anyio.sleep(0.05)
        assert [await ws.receive() for _ in range(3)] == ["a", "b", "c"]
        await anyio.sleep(0.05)
        assert set(asking.tasks) == {name for name in vars(Instrument) if not name.startswith("_")} - {"session_closed"}

    run(loop, lambda: session(asking, play, tls=tls))
    assert "session_closed" in asking.tasks, "no hook was switched off"


@each_loop
@each_transport
def test_what_no_hook_should_raise_comes_out_of_the_block(loop: str, tls: bool) -> None:
    """At once: the loop does not keep it to itself."""

    async def play(ws: Any, peer: Any) -> None:
        peer.send(text("a"))
        assert await ws.receive() == "a"
        peer.send(text("b"))
        await anyio.sleep(LONG)

    began = time.monotonic()
    with pytest.raises(BaseExceptionGroup) as caught:
        run(loop, lambda: session(Stopping(), play, tls=tls))
    assert time.monotonic() - began < LONG / 2
    assert caught.group_contains(Stop)


@each_loop
@each_transport
def test_what_strikes_in_the_loops_own_callback_comes_out_of_the_block(
    loop: str, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-C does. Without hooks, asyncio's loop itself reads and acts."""

    def act(engine: Engine, data: bytes) -> bool:
        raise Stop

    async def play(ws: Any, peer: Any) -> None:
        peer.send(text("a"))
        await anyio.sleep(LONG)

    monkeypatch.setattr(Engine, "_act", act)
    began = time.monotonic()
    with pytest.raises(BaseExceptionGroup) as caught:
        run(loop, lambda: session(None, play, tls=tls))
    assert time.monotonic() - began < LONG / 2
    assert caught.group_contains(Stop)


class Cancelling(Instrument):
    """Raises asyncio's cancellation, which no task group takes for an error."""

    def session_opened(self, session: Any) -> None:
        raise asyncio.CancelledError


def test_a_cancellation_raised_by_a_hook_comes_out_of_the_opening() -> None:
    async def main() -> None:
        with listening() as (address, accept):
            Task(lambda: upgrade(accept()))
            async with httpx2.AsyncClient() as client:
                with pytest.raises(asyncio.CancelledError):
                    async with open_websocket(client, f"ws://{address}/", instruments=[Cancelling()]):
                        raise AssertionError("it is not entered")

    asyncio.run(main())
