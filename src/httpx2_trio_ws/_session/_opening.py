"""Opening a session: who owns its nursery, and what happens when the block is left."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

from httpx2_trio_ws._core._watch import watched_connection
from httpx2_trio_ws._handshake._request import Opening, shake_hands

from ._engine import Engine
from ._session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import httpx2

    from httpx2_trio_ws._handshake._rules import Agreement
    from httpx2_trio_ws._runtime import Nursery

S = TypeVar("S", bound=Session)


def _make(opening: Opening, made: tuple[httpx2.Response, Agreement], session_type: type[S]) -> S:
    response, agreement = made
    connection, watch = watched_connection(opening.session, agreement.deflate)
    engine = Engine(opening.runtime, opening.runtime.carrier(response), connection, opening.session, watch)
    return session_type(engine, response, agreement.subprotocol)


class OpenSession(AbstractAsyncContextManager[S]):
    """A session in a nursery of its own, around the block.

    Not a generator under ``asynccontextmanager``: that throws the error which leaves the block into the generator. The
    error's traceback then refers to the generator's frame, that one to contextlib's, and this to the error, so that
    all that the frames refer to, the session too, would be freed by the garbage collector only.

    Args:
        prepare: checks the arguments.
        session_type: of the session.
    """

    def __init__(self, prepare: Callable[[], Opening], session_type: type[S]) -> None:
        self._prepare = prepare
        self._session_type = session_type

    async def __aenter__(self) -> S:
        opening = self._prepare()
        self._session = _make(opening, await shake_hands(opening), self._session_type)
        self._nursery = opening.runtime.open_nursery()
        loops = await self._nursery.__aenter__()
        loops.start_soon(self._session._engine.run)
        self._session._engine.watch.opened(self._session)
        return self._session

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
            del error, exc, tb  # the error's traceback may refer to this frame


async def connect_session(opening: Opening, nursery: Nursery, session_type: type[S]) -> S:
    """A session in the caller's nursery."""
    made = await shake_hands(opening)
    try:
        session = _make(opening, made, session_type)
        nursery.start_soon(session._engine.run)
    except BaseException:  # the nursery was closed
        with opening.runtime.cancel_scope(shield=True):
            await made[0].aclose()
        raise
    session._engine.watch.opened(session)
    return session
