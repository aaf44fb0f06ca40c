"""The block of a multiplexer: its nursery, following the source's sessions, and leaving."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from httpx2_trio_ws._options import _check_seconds
from httpx2_trio_ws._reconnecting._attempts import leaves
from httpx2_trio_ws._reconnecting._loop import _split
from httpx2_trio_ws._session._session import Session

if TYPE_CHECKING:
    from types import TracebackType

    from httpx2_trio_ws._runtime import Event, Runtime

    from ._multiplexer import MultiplexerCore

M = TypeVar("M", bound="MultiplexerCore[Any, Any, Any]")


def sole(error: Exception) -> Exception:
    """The exception in a group of one, in groups of one; else the group."""
    found = list(leaves(error))
    return found[0] if len(found) == 1 else error


async def ended(runtime: Runtime, *events: Event) -> BaseException | None:
    """Wait until tasks have ended, before their nursery is left. What has interrupted that: ``Task.cancel()`` of asyncio does.

    The nursery would cancel them, and wait. But an exception with which a task ends in a nursery that is cancelled is held by
    cycles in trio and anyio, and it refers to the sessions: only the garbage collector would free those. So each task runs in
    a shielded scope of its own, which is cancelled first.
    """
    try:
        with runtime.cancel_scope(shield=True):
            for event in events:
                await event.wait()
    except BaseException as exc:  # noqa: BLE001 (it is raised by the nursery)
        return exc
    return None


async def leave(manager: AbstractAsyncContextManager[object, bool | None], exc: BaseException | None) -> bool | None:
    """Leave a nursery with an exception, or without."""
    try:
        return await manager.__aexit__(type(exc) if exc else None, exc, exc.__traceback__ if exc else None)
    finally:
        del exc


class Multiplexing(AbstractAsyncContextManager[M, "bool | None"]):
    """See the faces' ``multiplex``."""

    def __init__(self, multiplexer: M, source: object, failure_grace_seconds: float) -> None:
        if not isinstance(source, (Session, Iterable, AbstractAsyncContextManager)) or isinstance(source, (str, bytes)):
            raise TypeError(
                f"the source must be an open session, or what open_websocket() or reconnect() returns, not {source!r}"
            )
        _check_seconds("failure_grace_seconds", failure_grace_seconds, none=False, zero=True)
        self._multiplexer = multiplexer
        self._runtime = multiplexer._runtime
        self._source: Any = source
        self._grace = failure_grace_seconds
        self._begun = self._runtime.event()
        self._subscribed = self._runtime.event()  # the task that subscribes has ended
        self._not_opened: Exception | None = None
        self._entered = False

    async def __aenter__(self) -> M:
        if self._entered:
            raise RuntimeError("each multiplexer is entered once; call multiplex() again")
        self._entered = True
        self._manager = self._runtime.open_nursery()
        nursery = await self._manager.__aenter__()
        interrupted: BaseException | None = None
        try:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._subscribe)
            await self._begun.wait()
        except BaseException as exc:  # noqa: BLE001 (it is raised by the nursery)
            interrupted = exc
        if interrupted is not None or self._not_opened is not None:
            try:
                await self._leave(interrupted)
                assert self._not_opened is not None
                raise self._not_opened
            finally:
                self._not_opened = interrupted = None
        return self._multiplexer

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        try:
            return await self._leave(exc)
        finally:
            del exc, tb

    async def _leave(self, exc: BaseException | None) -> bool | None:
        mux, manager = self._multiplexer, self._manager
        del self._manager
        mux._begin_stop()
        try:
            try:
                if exc is None:
                    await mux._gone.wait()
            except BaseException as raised:  # noqa: BLE001 (it is raised by the nursery)
                exc = raised
            if exc is not None:
                mux._following.cancel()
            exc = await ended(self._runtime, mux._gone, self._subscribed) or exc
            return await leave(manager, exc)
        finally:
            del exc

    async def _subscribe(self) -> None:
        try:
            with self._multiplexer._controlling:
                await self._multiplexer._subscribe_all()
        finally:
            self._subscribed.set()

    async def _follow(self) -> None:
        mux = self._multiplexer
        try:
            with mux._following:
                await self._follow_to_the_end()
        finally:
            mux._gone.set()
            self._begun.set()

    async def _follow_to_the_end(self) -> None:
        try:
            await self._follow_source()
        except BaseException as exc:  # noqa: BLE001 (it is raised there, or has been told)
            await self._failed(exc)
        else:
            self._multiplexer._finish(None)

    async def _failed(self, error: BaseException) -> None:
        """Raise ``error``, unless a call does so in time."""
        mux = self._multiplexer
        failed = cancelled = None
        try:
            # A session that fails while it is being cancelled raises both in one group.
            failed, cancelled = _split(error)
            if failed is None:
                raise error
            mux._finish(sole(failed))
            if mux.sessions == 0:
                self._not_opened = sole(failed)
                mux._told.set()
            try:
                await self._wait_told(cancelled)
            finally:
                if not mux._told.is_set():
                    raise error
        finally:
            del error, failed, cancelled  # their tracebacks refer to this frame

    async def _wait_told(self, cancelled: BaseException | None) -> None:
        """Give calls the time to tell of the failure."""
        mux = self._multiplexer
        self._begun.set()
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled  # its traceback refers to this frame
        if not mux._stopping:
            with self._runtime.cancel_scope(deadline=self._runtime.now() + self._grace):
                await mux._told.wait()

    async def _follow_source(self) -> None:
        mux, source = self._multiplexer, self._source
        if isinstance(source, Session):
            await self._dispatch(source)
        elif isinstance(source, Iterable):
            for connection in cast("Iterable[AbstractAsyncContextManager[Session]]", source):
                mux._next_session()
                async with connection as session:
                    await self._dispatch(session)
                if mux._stopping:
                    break
        else:
            async with source as session:
                await self._dispatch(session)

    async def _dispatch(self, session: Session) -> None:
        self._begun.set()
        await self._multiplexer._dispatch(session)
