"""Defects in what a session does by itself, and in how it is left."""

from __future__ import annotations

import contextlib
import threading
import warnings
from typing import TYPE_CHECKING, Any

import anyio
import trio

from httpx2_trio_ws import WebSocketNetworkError
from httpx2_trio_ws._carriers._stream import StreamCarrier
from httpx2_trio_ws._core import _life
from httpx2_trio_ws._protocol import Connection, Keepalive, PingBook
from httpx2_trio_ws._session import _engine, _outbox, _session
from httpx2_trio_ws._session._engine import Engine
from httpx2_trio_ws._session._inbox import Inbox
from httpx2_trio_ws._session._outbox import Outbox
from httpx2_trio_ws._session._pings import PongWaiter

from .defects import Defective

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pytest

    from .carriers import Handler


def _nothing(*args: Any) -> None:
    """In place of a method."""


# -- queues and control frames ---------------------------------------------------------------------


class HasNoHighWaterMark(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_outbox, "HIGH_WATER", 2**40)
        monkeypatch.setattr(_engine, "HIGH_WATER", 2**40)


class HasAnEndlessQueue(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Inbox, "room", 2**30)


class NeverReadsOn(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Inbox, "taken", lambda inbox: setattr(inbox, "resume_at", -1))


class ControlFramesWaitTheirTurn(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Outbox, "push_control", Outbox.push)


class AnswersNoPings(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        taken = Connection.control_to_send

        def without_pongs(connection: Connection) -> bytes:
            frames = taken(connection)
            return b"" if frames[:1] == b"\x8a" else frames

        monkeypatch.setattr(Connection, "control_to_send", without_pongs)


class PingsAreAllAlike(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PingBook, "payload", lambda _, wanted: wanted or b"ping")


class AnyPongAnswers(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PingBook, "answered", lambda book, _: PingBook.forget(book))


class APongAnswersOnePing(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        def answered(book: PingBook[Any], payload: bytes) -> list[Any]:
            return [book._waiting.pop(payload)] if payload in book._waiting else []

        monkeypatch.setattr(PingBook, "answered", answered)


class APongIsWaitedForOnce(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        wait = PongWaiter.wait
        seen: set[int] = set()

        async def once(waiter: PongWaiter) -> float:
            if id(waiter) in seen:
                await anyio.sleep_forever()
            seen.add(id(waiter))
            return await wait(waiter)

        monkeypatch.setattr(PongWaiter, "wait", once)


class AWaiterMissesTheEnd(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        async def wait(waiter: PongWaiter) -> float:
            while waiter._ping.round_trip is None:  # noqa: ASYNC110 (it need not be quick)
                await anyio.sleep(0.001)
            return waiter._ping.round_trip + 5

        monkeypatch.setattr(PongWaiter, "wait", wait)


class PayloadsHave100Bytes(Defective):
    async def ping(self, payload: bytes = b"") -> Any:
        return await self.ws.ping(payload[:100])

    async def pong(self, payload: bytes = b"") -> Any:
        return await self.ws.pong(payload[:100] or b"pong")


# -- keepalive -------------------------------------------------------------------------------------


class SendsNoPings(Defective):
    options = {"keepalive_ping_interval_seconds": None}  # noqa: RUF012 (read only)


class NeverGivesUp(Defective):
    options = {"keepalive_ping_timeout_seconds": None}  # noqa: RUF012 (read only)


class PingsAllTheTime(Defective):
    options = {"keepalive_ping_interval_seconds": 0.003, "keepalive_ping_timeout_seconds": None}  # noqa: RUF012


class GivesUpQuickly(Defective):
    options = {"keepalive_ping_interval_seconds": 0.003, "keepalive_ping_timeout_seconds": 0.003}  # noqa: RUF012


class OnlyPongsAreSignsOfLife(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        take = Engine._take

        def take_and_hear_pongs(engine: Engine, data: bytes) -> bool:
            keepalive, before = engine._keepalive, engine.pings.latency
            heard_at = 0.0 if keepalive is None else keepalive.heard_at
            more = take(engine, data)
            if keepalive is not None and engine.pings.latency is before:
                keepalive.heard_at = heard_at
            return more

        monkeypatch.setattr(Engine, "_take", take_and_hear_pongs)


class TakesASlowConsumerForADeadPeer(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Keepalive, "pause", _nothing)


class HasNoLatency(Defective):
    latency = None


# -- the protocol and its limits -------------------------------------------------------------------


class TakesBrokenFramesForClosed(Defective):
    """Whatever the peer does wrong, it is told 1011, and the caller as well."""

    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_life, "WebSocketProtocolError", lambda *_: WebSocketNetworkError("broken"))


class HasNoLimit(Defective):
    options = {"max_message_size_bytes": None}  # noqa: RUF012 (read only)


class HasASmallLimit(Defective):
    options = {"max_message_size_bytes": 99}  # noqa: RUF012 (read only)


class DoesNotCompress(Defective):
    options = {"compression": None}  # noqa: RUF012 (read only)


class KeepsAllItReads(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        receive_data = Connection.receive_data
        kept: list[Any] = []

        def keep(connection: Connection, data: bytes, *args: Any) -> Any:
            if len(kept) < 30:
                kept.append((data * 100, bytes(6_000_000 if len(data) > 10_000 else 0)))
            return receive_data(connection, data, *args)

        monkeypatch.setattr(Connection, "receive_data", keep)


class InflatesNothing(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        receive_data = Connection.receive_data

        def plain(connection: Connection, data: bytes, *args: Any) -> Any:
            return receive_data(connection, bytes(b & 0xBF if i == 0 else b for i, b in enumerate(data)), *args)

        monkeypatch.setattr(Connection, "receive_data", plain)


# -- leaving ---------------------------------------------------------------------------------------


class Leaving(Defective):
    """Not a defect itself: what its subclasses do when the block is left."""

    @classmethod
    async def left(cls, ws: Any) -> None:
        """After the block, and after the session."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, handler: Handler, /, **options: Any) -> AsyncGenerator[Any]:
        ws = None
        try:
            async with cls.opened(handler, options | cls.options) as ws:
                yield cls(ws)
        finally:
            await cls.left(ws)


class LeavesATask(Leaving):
    @classmethod
    async def left(cls, ws: Any) -> None:
        trio.lowlevel.spawn_system_task(trio.sleep_forever)


class LeavesSlowly(Leaving):
    @classmethod
    async def left(cls, ws: Any) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)


class LeavesAThread(Leaving):
    @classmethod
    async def left(cls, ws: Any) -> None:
        # Longer than the check may take on a loaded machine; later checks see it before and after.
        threading.Thread(target=threading.Event().wait, args=(60,), daemon=True).start()


class Complains(Leaving):
    @classmethod
    async def left(cls, ws: Any) -> None:
        warnings.warn("unclosed session", ResourceWarning, stacklevel=1)


class LeavesTheConnectionOpen(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        async def aclose(_: StreamCarrier) -> None:
            await anyio.lowlevel.checkpoint()

        monkeypatch.setattr(StreamCarrier, "aclose", aclose)


class SaysNoGoodbye(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Connection, "close", lambda *_: b"")


class WaitsForThePeerAlways(Defective):
    options = {"close_timeout_seconds": 30}  # noqa: RUF012 (read only)

    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_life, "LINGER", 30)


class ACancelledBlockIsClosedPolitely(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        async def leave(session: _session.Session, exc: BaseException | None) -> None:
            with anyio.CancelScope(shield=True):
                await session.close()
            session._engine.leave()

        monkeypatch.setattr(_session.Session, "_leave", leave)
        monkeypatch.setattr(_engine.Engine, "cancel", _nothing)


class LeavesWith1001Always(Defective):
    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        close = Connection.close
        monkeypatch.setattr(Connection, "close", lambda connection, *_: close(connection, 1001, ""))


class HidesErrors(Defective):
    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, handler: Handler, /, **options: Any) -> AsyncGenerator[Any]:
        with contextlib.suppress(Exception):
            async with cls.opened(handler, options) as ws:
                yield cls(ws)


class RaisesBareErrors(Defective):
    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, handler: Handler, /, **options: Any) -> AsyncGenerator[Any]:
        try:
            async with cls.opened(handler, options) as ws:
                yield cls(ws)
        except* Exception as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
        else:
            return
        raise error


class TellsNothing(Defective):
    """A failure that no call has raised is never raised."""

    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        async def tell(engine: Engine) -> None:
            await engine.runtime.checkpoint()

        monkeypatch.setattr(Engine, "_tell", tell)


class TellsAgain(Defective):
    """A failure, or a close by the peer, is raised where the block is left, whatever was told before."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, handler: Handler, /, **options: Any) -> AsyncGenerator[Any]:
        async with cls.opened(handler, options) as ws:
            yield cls(ws)
        if ws.close_code != 1000:
            raise WebSocketNetworkError


class ForgetsTheGrace(Defective):
    options = {"failure_grace_seconds": 3}  # noqa: RUF012 (read only)


class IgnoresTheGrace(Defective):
    options = {"failure_grace_seconds": 0}  # noqa: RUF012 (read only)
