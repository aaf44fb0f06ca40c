"""The library on trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import trio

from ._core._watch import Watch
from ._handshake._asking import AsyncOpening
from ._options import OpenOptions, with_options
from ._runtime._trio import TRIO
from ._session._byte_stream import ByteTunnel, check_max_bytes
from ._session._engine import Engine
from ._session._opening import OpenSession, OpenSessionWithClient, connect_session
from ._session._outbox import Outbox
from ._session._pings import Pings
from ._session._session import Session

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import httpx2

# In the midst of these, Ctrl-C would leave half a frame unnoted, or lose a message. While they run, trio keeps it for the
# next checkpoint of the main task. That costs nothing: trio looks for it when Ctrl-C comes. What instruments do can be
# interrupted all the same.
for _protected in (
    *(Engine.run, Engine._send_loop, Engine.begin_close),
    *(Outbox.deposit, Outbox.begin, Outbox.add, Outbox.complete, Outbox.withdraw),
    *(Session.receive, Session.receive_text, Session.receive_bytes, Session._receive, Session._send),
    *(Pings.send, Session.pong, Session._leave, vars(OpenSession)["__aexit__"]),
):
    trio.lowlevel.enable_ki_protection(_protected)
trio.lowlevel.disable_ki_protection(Watch.call)


class WebSocketSession(Session, trio.abc.Channel[str | bytes]):
    """A session on trio; it is a :class:`trio.abc.Channel` of ``str | bytes``."""

    __slots__ = ()


class WebSocketStream(trio.abc.Stream):
    """A session as a stream of bytes, to carry TLS, SSH, VNC or a database's protocol through a WebSocket.

    Bytes are sent in binary messages of up to 64 KiB; those that arrive are joined, whatever their boundaries and sizes.
    The end of the stream is the peer's close frame with code 1000, 1001 or none. A text message closes the session with 1003.

    Args:
        session: an open session. Nothing else should send to it or receive from it. The stream does not outlive its
            block; leaving that or :meth:`aclose` ends both.
    """

    def __init__(self, session: WebSocketSession) -> None:
        self._tunnel = ByteTunnel(session, trio.BusyResourceError)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._tunnel.session!r}>"

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive at least one byte, and at most ``max_bytes``; ``b""`` at the end. Cancelling loses nothing.

        Raises:
            TypeError, ValueError: ``max_bytes`` is not a positive int or ``None``, which is no limit.
            trio.BrokenResourceError: the session failed, or the peer closed it with another code.
            trio.ClosedResourceError: it was closed on our side.
            trio.BusyResourceError: another task is receiving.
        """
        return await self._tunnel.receive(check_max_bytes(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``. If cancelled, a part of it may have been sent. Exceptions as from :meth:`receive_some`."""
        await self._tunnel.send(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until less than 64 KiB wait to be sent. Exceptions as from :meth:`receive_some`."""
        await self._tunnel.wait_room()

    async def aclose(self) -> None:
        """Close the session with 1000; if cancelled, drop its connection."""
        await self._tunnel.aclose()


@with_options
def open_websocket(
    client: httpx2.AsyncClient, url: httpx2.URL | str, **options: Unpack[OpenOptions]
) -> AbstractAsyncContextManager[WebSocketSession]:
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
    return OpenSession(_prepare, WebSocketSession, client, url, options)


@with_options
def open_websocket_url(
    url: httpx2.URL | str, **options: Unpack[OpenOptions]
) -> AbstractAsyncContextManager[WebSocketSession]:
    """As :func:`open_websocket`, with a client of its own that lives as long as the session.

    For many sessions share one client instead: making one loads the certificates anew.
    """
    return OpenSessionWithClient(_check_trio, lambda client: _prepare(client, url, options), WebSocketSession)


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


def _prepare(client: httpx2.AsyncClient, url: httpx2.URL | str, options: OpenOptions) -> AsyncOpening:
    _check_trio()
    return AsyncOpening(TRIO, client, url, options)


def _check_trio() -> None:
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "this needs trio: run it inside trio.run(), or import the same names from httpx2_trio_ws.anyio, which "
            "run on asyncio, too"
        )
