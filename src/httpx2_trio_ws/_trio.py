"""The library on trio."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Unpack

import httpx2
import trio

from ._open import connect_session, open_session
from ._options import OpenOptions, with_options
from ._request import Opening, prepare
from ._runtime._trio import TRIO
from ._session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class WebSocketSession(Session, trio.abc.Channel[str | bytes]):
    """A session on trio; it is a :class:`trio.abc.Channel` of ``str | bytes``."""

    __slots__ = ()


@with_options
@contextlib.asynccontextmanager
async def open_websocket(
    client: httpx2.AsyncClient, url: httpx2.URL | str, **options: Unpack[OpenOptions]
) -> AsyncGenerator[WebSocketSession]:
    """Open a session for a block, in a nursery of its own.

    The handshake is a request of ``client``: its authentication, cookies, redirects, event hooks, proxies,
    mounts, TLS settings and timeouts apply. What fails in it is raised bare. Then the block runs in a nursery,
    beside the session's loops: what leaves the block uncaught, errors of its own or a failure of the
    connection, leaves it in an :exc:`ExceptionGroup`. When the block has been left, nothing is left running.

    Args:
        client: an open client.
        url: ``ws://…`` or ``wss://…``, or relative to the client's ``base_url``.
        **options: see :class:`OpenOptions`.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is wrong; nothing has been sent.
        WebSocketUpgradeError: the server refused, or its answer is invalid.
        WebSocketHandshakeTimeout: the opening took longer than ``handshake_timeout_seconds``.
        httpx2.TransportError: as from any request: ``ConnectError``, ``ConnectTimeout``, ``PoolTimeout`` …
        ExceptionGroup: with what left the block, and a failure of the session that no call has raised.
    """
    async with open_session(_prepare(client, url, options), WebSocketSession) as session:
        yield session


@with_options
@contextlib.asynccontextmanager
async def open_websocket_url(url: httpx2.URL | str, **options: Unpack[OpenOptions]) -> AsyncGenerator[WebSocketSession]:
    """As :func:`open_websocket`, with a client of its own that lives as long as the session.

    For many sessions share one client instead: making one loads the certificates anew.
    """
    _check_trio()  # before the client is made
    async with (
        httpx2.AsyncClient() as client,
        open_session(_prepare(client, url, options), WebSocketSession) as session,
    ):
        yield session


@with_options
async def connect_websocket(
    nursery: trio.Nursery, client: httpx2.AsyncClient, url: httpx2.URL | str, **options: Unpack[OpenOptions]
) -> WebSocketSession:
    """Open a session that lives in ``nursery``, beside other tasks.

    The session ends when it is closed (``await ws.aclose()``, or ``async with ws:``) or when the nursery is
    cancelled; until then the nursery does not end. A failure of the session that no call has raised within
    ``failure_grace_seconds`` is raised in the nursery. Arguments and exceptions are those of
    :func:`open_websocket`. Cancelling leaves nothing behind.
    """
    if not isinstance(nursery, trio.Nursery):
        raise TypeError(f"the first argument is the trio.Nursery that the session is to live in, not {nursery!r}")
    return await connect_session(_prepare(client, url, options), nursery, WebSocketSession)


def _prepare(client: httpx2.AsyncClient, url: httpx2.URL | str, options: OpenOptions) -> Opening:
    _check_trio()
    return prepare(TRIO, client, url, options)


def _check_trio() -> None:
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError("this needs trio: run it inside trio.run(), not under asyncio or another event loop")
