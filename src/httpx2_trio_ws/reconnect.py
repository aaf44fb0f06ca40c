"""Sessions that are opened again when they end: one after another, with backoff between them.

for connection in reconnect(client, "wss://example.com/feed"):
    async with connection as ws:
        async for message in ws:
            print(message)

On asyncio, :func:`httpx2_trio_ws.anyio.reconnect` is the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Unpack

import trio

from ._options import OpenOptions, with_options
from ._reconnecting._loop import Connecting, Reconnect
from ._reconnecting._policy import Backoff, RetryPolicy
from ._trio import WebSocketSession, _prepare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

__all__ = ["Backoff", "Connecting", "Reconnect", "RetryPolicy", "reconnect"]


def __dir__() -> list[str]:
    return list(__all__)


@with_options
def reconnect(
    client: httpx2.AsyncClient,
    url: httpx2.URL | str,
    *,
    policy: RetryPolicy | None = None,
    backoff: Backoff | None = None,
    max_attempts: int | None = None,
    on_connect: Callable[[WebSocketSession], Awaitable[object]] | None = None,
    **options: Unpack[OpenOptions],
) -> Reconnect[WebSocketSession]:
    """Open sessions one after another, as long as it is worth it.

    For a ``for`` statement, with an ``async with`` statement in it. That opens a session, in as many attempts as it
    takes, waiting between them, and then runs its block, as :func:`httpx2_trio_ws.open_websocket` does. Cancelling
    works at once, while it waits, too, and leaves nothing behind.

    When the block is left:

    * by exceptions that are all worth retrying: they are swallowed, and the loop goes on;
    * by any other exception: it comes out, as it is. Caught inside the loop, it does not end it;
    * normally, while the session is open or after your own ``close()``: the loop ends;
    * normally, after the session had ended otherwise: the loop goes on if that is worth retrying, and ends if not. So
      ``async for`` over the session, which ends on 1000, 1001 and a close without a code, does not end the loop on 1001.

    ``break`` and ``return`` end the loop in any case.

    Args:
        client: an open client. Each attempt is a new request of it, so authentication and event hooks run each time.
        url: as for ``open_websocket``.
        policy: what is worth retrying; ``None`` is ``RetryPolicy()``.
        backoff: how long to wait; ``None`` is ``Backoff()``. The first attempt is made at once.
        max_attempts: how many attempts in a row may fail, the first one included, until a session lasts for the
            backoff's ``stable_seconds``. The last one's error comes out, as it is. ``None`` is no limit.
        on_connect: an async function, called with each new session before the block runs, to log in or subscribe.
            What it raises is taken as if the block had raised it.
        **options: see :class:`httpx2_trio_ws.OpenOptions`.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is wrong; nothing has been sent.
    """
    return Reconnect(
        partial(_prepare, client, url, options),
        WebSocketSession,
        policy=policy,
        backoff=backoff,
        max_attempts=max_attempts,
        on_connect=on_connect,
        watch=lambda: _meet_cancellation,
    )


async def _meet_cancellation(_: BaseException | None) -> None:
    await trio.lowlevel.checkpoint()
