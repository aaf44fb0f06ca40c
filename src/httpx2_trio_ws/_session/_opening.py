"""Opening a session: who owns its nursery, and what happens when the block is left."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple

import httpx2

from httpx2_trio_ws._core._entering import OneAtATime
from httpx2_trio_ws._core._watch import watched_connection
from httpx2_trio_ws._handshake._asking import shake_hands
from httpx2_trio_ws._handshake._refusal import told_response

from ._engine import Engine
from ._session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from httpx2_trio_ws._handshake._asking import AsyncOpening
    from httpx2_trio_ws._runtime import Nursery

S = TypeVar("S", bound=Session)
Ts = TypeVarTuple("Ts")


async def _opened(opening: AsyncOpening, session_type: type[S]) -> S:
    """A session whose loops do not run yet, and whose connection somebody must see to from here."""
    response, agreement = await shake_hands(opening)
    try:
        connection, watch = watched_connection(opening.session, agreement.deflate)
        carrier = opening.runtime.carrier(response, in_task=watch.has_hooks)
        connection.reads_straight = carrier.read_straight(connection.room)
        engine = Engine(opening.runtime, carrier, connection, opening.session, watch)
        return session_type(engine, told_response(response), agreement.subprotocol)
    except BaseException:
        with opening.runtime.cancel_scope(shield=True):
            await response.aclose()
        raise


class _Guided(AbstractAsyncContextManager[S]):
    """Says what to do where ``async with`` was meant."""

    def __await__(self) -> NoReturn:
        raise TypeError(
            "open_websocket() is not awaited, it opens the session of a block: `async with open_websocket(...) as ws:`. "
            "A session without a block is opened by connect_websocket(nursery, ...)"
        )

    def __enter__(self) -> NoReturn:
        raise TypeError(
            "use `async with open_websocket(...)`, not `with`; sessions for a `with` block are in httpx2_trio_ws.sync"
        )

    __exit__: Any = __enter__  # a `with` statement asks for it first


class OpenSession(_Guided[S]):
    """A session in a nursery of its own, around the block. It may be entered again, once it has been left.

    Not a generator under ``asynccontextmanager``: that throws the error which leaves the block into the generator. The
    error's traceback then refers to the generator's frame, that one to contextlib's, and this to the error, so that
    all that the frames refer to, the session too, would be freed by the garbage collector only.

    Args:
        prepare: checks the arguments.
        session_type: of the session.
        arguments: of ``prepare``.
    """

    def __init__(self, prepare: Callable[[*Ts], AsyncOpening], session_type: type[S], *arguments: *Ts) -> None:
        self._prepare = prepare
        self._session_type = session_type
        self._arguments = arguments
        self._once = OneAtATime()

    async def __aenter__(self) -> S:
        self._once.enter()
        try:
            opening = self._prepare(*self._arguments)
            session = await _opened(opening, self._session_type)
        except BaseException:
            self._once.leave()
            raise
        self._session = session
        self._nursery = opening.runtime.open_nursery()
        loops = await self._nursery.__aenter__()
        session._engine.start(loops)
        try:
            session._engine.watch.opened(session)
        except BaseException as exc:  # noqa: BLE001 (pytest.fail() and sys.exit() are none that the watch catches)
            caught = self.__aexit__(type(exc), exc, exc.__traceback__)
            raise AssertionError("a nursery raises what it is left with", await caught)  # noqa: B904
        return session

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        session, nursery = self._session, self._nursery
        del self._session, self._nursery
        error = exc
        try:
            try:
                await session._leave(exc)
            except BaseException as other:  # noqa: BLE001 (it is the nursery's from here)
                error = other
                exc_type, tb = type(other), other.__traceback__
            caught = await nursery.__aexit__(exc_type, error, tb)
            assert error is exc, "a nursery raises what is not the block's own error"
            return caught
        finally:
            self._once.leave()
            del error, exc, tb  # the error's traceback may refer to this frame


class OpenSessionWithClient(_Guided[S]):
    """The same, with a client of its own that lives as long as the session.

    Args:
        check: whether there is an event loop to run on; before a client is made.
        prepare: checks the arguments.
        session_type: of the session.
    """

    def __init__(
        self, check: Callable[[], object], prepare: Callable[[httpx2.AsyncClient], AsyncOpening], session_type: type[S]
    ) -> None:
        self._check = check
        self._prepare = prepare
        self._session_type = session_type
        self._once = OneAtATime()

    async def __aenter__(self) -> S:
        self._check()
        self._once.enter()
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(httpx2.AsyncClient())
                session = await stack.enter_async_context(OpenSession(self._prepare, self._session_type, client))
                self._stack = stack.pop_all()
        except BaseException:
            self._once.leave()
            raise
        return session

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        stack = self._stack
        del self._stack
        try:
            return await stack.__aexit__(exc_type, exc, tb)
        finally:
            self._once.leave()
            del exc, tb


async def connect_session(opening: AsyncOpening, nursery: Nursery, session_type: type[S]) -> S:
    """A session in the caller's nursery."""
    session = await _opened(opening, session_type)
    engine = session._engine
    try:
        engine.start(nursery)
    except BaseException:  # the nursery was closed
        with opening.runtime.cancel_scope(shield=True):
            await engine.carrier.aclose()
        raise
    try:
        engine.watch.opened(session)
    except BaseException:
        engine.cancel()
        with opening.runtime.cancel_scope(shield=True):
            await engine.done.wait()
        raise
    return session
