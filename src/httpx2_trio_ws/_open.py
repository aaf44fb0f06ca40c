"""Opening a session: who owns its nursery, and what happens when the block is left."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, TypeVar

from ._engine import Engine
from ._protocol import Connection
from ._request import Opening, shake_hands
from ._session import Session
from ._transport import transport_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx2

    from ._handshake import Agreement
    from ._runtime import Nursery

logger = logging.getLogger("httpx2_trio_ws")

S = TypeVar("S", bound=Session)


def _start(opening: Opening, nursery: Nursery, made: tuple[httpx2.Response, Agreement], session_type: type[S]) -> S:
    response, agreement = made
    connection = Connection(
        max_message_size=opening.session.max_message_size_bytes, deflate=agreement.deflate, logger=logger
    )
    engine = Engine(opening.runtime, transport_for(response, opening.runtime), connection, opening.session)
    session = session_type(engine, response, agreement.subprotocol)
    nursery.start_soon(engine.run)
    return session


@contextlib.asynccontextmanager
async def open_session(opening: Opening, session_type: type[S]) -> AsyncGenerator[S]:
    """A session in a nursery of its own, around the block."""
    made = await shake_hands(opening)
    async with opening.runtime.open_nursery() as nursery:
        session = _start(opening, nursery, made, session_type)
        try:
            yield session
        except BaseException as exc:
            await session._leave(exc)
            raise
        else:
            await session._leave(None)


async def connect_session(opening: Opening, nursery: Nursery, session_type: type[S]) -> S:
    """A session in the caller's nursery."""
    made = await shake_hands(opening)
    try:
        return _start(opening, nursery, made, session_type)
    except BaseException:  # the nursery was closed
        with opening.runtime.cancel_scope(shield=True):
            await made[0].aclose()
        raise
