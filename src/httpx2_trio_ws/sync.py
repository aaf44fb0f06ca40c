"""Blocking sessions, for :class:`httpx2.Client` and threads. No event loop is involved.

with httpx2.Client() as client:
    with open_websocket(client, "wss://example.com/feed") as ws:
        ws.send_text("hello")
        for message in ws:
            print(message)
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Unpack

from . import (
    Backoff,
    CloseCode,
    FrameInfo,
    Instrument,
    OpenOptions,
    RetryPolicy,
    Statistics,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketHandshakeTimeout,
    WebSocketInvalidTypeReceived,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
    WebSocketUpgradeError,
)
from ._options import with_options
from ._reconnecting._blocking import Reconnect
from ._sync._opening import GRACE, OpenSession, OpenSessionWithClient
from ._sync._session import SyncPongWaiter, SyncWebSocketSession
from ._sync._streaming import SyncMessageReader, SyncMessageWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import httpx2

__all__ = [
    "Backoff",
    "CloseCode",
    "FrameInfo",
    "Instrument",
    "OpenOptions",
    "RetryPolicy",
    "Statistics",
    "SyncMessageReader",
    "SyncMessageWriter",
    "SyncPongWaiter",
    "SyncWebSocketSession",
    "WebSocketClosedError",
    "WebSocketDisconnect",
    "WebSocketException",
    "WebSocketHandshakeTimeout",
    "WebSocketInvalidTypeReceived",
    "WebSocketKeepaliveTimeout",
    "WebSocketNetworkError",
    "WebSocketProtocolError",
    "WebSocketUpgradeError",
    "open_websocket",
    "open_websocket_url",
    "reconnect",
]


def __dir__() -> list[str]:
    return list(__all__)


@partial(with_options, without=GRACE)
def open_websocket(
    client: httpx2.Client, url: httpx2.URL | str, **options: Unpack[OpenOptions]
) -> AbstractContextManager[SyncWebSocketSession]:
    """Open a session for a ``with`` block.

    The handshake is a request of ``client``: its authentication, cookies, redirects, event hooks, proxies, mounts, TLS
    settings and timeouts apply. When the block has been left, nothing of the session is left: no thread, no socket.
    Everything is raised as it is, nothing in a group: a failure of the session by the next call, or, if no call comes,
    when the block is left.

    Args:
        client: an open client.
        url: ``ws://…`` or ``wss://…``, or relative to the client's ``base_url``.
        **options: see :class:`OpenOptions`; all but ``failure_grace_seconds``.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is wrong; nothing has been sent.
        WebSocketUpgradeError: the server refused, or its answer is invalid.
        WebSocketHandshakeTimeout: the opening took longer than ``handshake_timeout_seconds``.
        httpx2.TransportError: as from any request: ``ConnectError``, ``ConnectTimeout``, ``PoolTimeout`` …
        WebSocketNetworkError, WebSocketProtocolError: the session failed, and no call has raised it.
    """
    return OpenSession(client, url, options)


@partial(with_options, without=GRACE)
def open_websocket_url(
    url: httpx2.URL | str, **options: Unpack[OpenOptions]
) -> AbstractContextManager[SyncWebSocketSession]:
    """As :func:`open_websocket`, with a client of its own that lives as long as the session.

    For many sessions share one client instead: making one loads the certificates anew.
    """
    return OpenSessionWithClient(url, options)


@partial(with_options, without=GRACE)
def reconnect(
    client: httpx2.Client,
    url: httpx2.URL | str,
    *,
    policy: RetryPolicy | None = None,
    backoff: Backoff | None = None,
    max_attempts: int | None = None,
    on_connect: Callable[[SyncWebSocketSession], object] | None = None,
    **options: Unpack[OpenOptions],
) -> Reconnect:
    """Open sessions one after another, as long as it is worth it; see :func:`httpx2_trio_ws.reconnect.reconnect`.

    For a ``for`` statement, with a ``with`` statement in it. Everything is raised as it is, nothing in a group. Ctrl-C works
    at once, while it waits, too; ``stop()`` ends the loop from any other thread.

    Args:
        client: an open client. Each attempt is a new request of it, so authentication and event hooks run each time.
        url: as for ``open_websocket``.
        policy: what is worth retrying; ``None`` is ``RetryPolicy()``.
        backoff: how long to wait; ``None`` is ``Backoff()``. The first attempt is made at once.
        max_attempts: how many attempts in a row may fail, until a session lasts for the backoff's ``stable_seconds``. The last
            one's error comes out. ``None`` is no limit.
        on_connect: called with each new session before the block runs, to log in or subscribe. What it raises is taken as if
            the block had raised it.
        **options: see :class:`OpenOptions`; all but ``failure_grace_seconds``.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is wrong; nothing has been sent.
    """
    return Reconnect(
        partial(OpenSession, client, url, options),
        policy=policy,
        backoff=backoff,
        max_attempts=max_attempts,
        on_connect=on_connect,
    )
