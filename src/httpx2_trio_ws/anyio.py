"""The library on whatever event loop anyio runs: asyncio, uvloop or trio.

The names are those of :mod:`httpx2_trio_ws`, and so is the session's code. On trio it is the same session; on
asyncio its loops are children of an :mod:`anyio` task group, and both kinds of cancellation, anyio's scopes and
asyncio's own ``Task.cancel()``, leave it sound.

async with httpx2.AsyncClient() as client:
    async with open_websocket(client, "wss://example.com/feed") as ws:
        await ws.send_text("hello")
        async for message in ws:
            print(message)
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, Unpack, overload

import anyio.abc
import anyio.lowlevel
import trio

from . import (
    Backoff,
    CloseCode,
    FrameInfo,
    Instrument,
    MessageReader,
    MessageWriter,
    OpenOptions,
    PongWaiter,
    RetryPolicy,
    SourceEnded,
    Statistics,
    SubscriptionOverflow,
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
from ._anyio_channels import Merged, Multiplexer, Subscription
from ._handshake._asking import AsyncOpening
from ._multiplexing._block import Multiplexing
from ._multiplexing._merge import Merging
from ._options import with_options
from ._reconnecting._loop import Reconnect
from ._runtime._asyncio import running
from ._runtime._trio import TRIO
from ._session._byte_stream import ByteTunnel, check_max_bytes
from ._session._opening import OpenSession, OpenSessionWithClient, connect_session
from ._session._session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Hashable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

    import httpx2

    from ._multiplexing._queue import WhenFull
    from ._runtime import Runtime

    _Source = (
        Session
        | AbstractAsyncContextManager["WebSocketSession"]
        | Iterable[AbstractAsyncContextManager["WebSocketSession", Any]]
    )

__all__ = [
    "Backoff",
    "CloseCode",
    "FrameInfo",
    "Instrument",
    "Merged",
    "MessageReader",
    "MessageWriter",
    "Multiplexer",
    "OpenOptions",
    "PongWaiter",
    "RetryPolicy",
    "SourceEnded",
    "Statistics",
    "Subscription",
    "SubscriptionOverflow",
    "WebSocketClosedError",
    "WebSocketDisconnect",
    "WebSocketException",
    "WebSocketHandshakeTimeout",
    "WebSocketInvalidTypeReceived",
    "WebSocketKeepaliveTimeout",
    "WebSocketNetworkError",
    "WebSocketProtocolError",
    "WebSocketSession",
    "WebSocketStream",
    "WebSocketUpgradeError",
    "connect_websocket",
    "merge",
    "multiplex",
    "open_websocket",
    "open_websocket_url",
    "reconnect",
]

T = TypeVar("T")
K = TypeVar("K")
X = TypeVar("X")


def __dir__() -> list[str]:
    return list(__all__)


_NO_HALF_CLOSE = "a WebSocket cannot be closed in one direction only; use close() or aclose()"


class WebSocketSession(Session, anyio.abc.ObjectStream[str | bytes]):
    """A session on any loop; it is an :class:`anyio.abc.ObjectStream` of ``str | bytes``."""

    # anyio's generic code passes the message by this name, trio's by another.
    async def send(self, item: str | bytes) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As ``send()`` of the trio session."""
        await super().send(item)

    async def send_eof(self) -> NoReturn:
        """A WebSocket has no half-close: a close frame ends both directions (RFC 6455 §1.4).

        Raises:
            NotImplementedError: always, as from anyio's TLS streams. Use ``close()``.
        """
        raise NotImplementedError(_NO_HALF_CLOSE)


class WebSocketStream(anyio.abc.ByteStream):
    """A session as a stream of bytes; see :class:`httpx2_trio_ws.WebSocketStream`."""

    def __init__(self, session: WebSocketSession) -> None:
        self._tunnel = ByteTunnel(session, anyio.BusyResourceError)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._tunnel.session!r}>"

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive at least one byte, and at most ``max_bytes``. Cancelling loses nothing.

        Raises:
            TypeError, ValueError: ``max_bytes`` is not a positive int.
            anyio.EndOfStream: the peer closed the session with 1000, 1001 or no code.
            anyio.BrokenResourceError: the session failed, or the peer closed it with another code.
            anyio.ClosedResourceError: it was closed on our side.
            anyio.BusyResourceError: another task is receiving.
        """
        data = await self._tunnel.receive(check_max_bytes(max_bytes))
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        """Send ``item``. If cancelled, a part of it may have been sent. Exceptions as from :meth:`receive`."""
        await self._tunnel.send(item)

    async def send_eof(self) -> NoReturn:
        """As :meth:`WebSocketSession.send_eof`."""
        raise NotImplementedError(_NO_HALF_CLOSE)

    async def aclose(self) -> None:
        """Close the session with 1000; if cancelled, drop its connection."""
        await self._tunnel.aclose()


@with_options
def open_websocket(
    client: httpx2.AsyncClient, url: httpx2.URL | str, **options: Unpack[OpenOptions]
) -> AbstractAsyncContextManager[WebSocketSession]:
    """As :func:`httpx2_trio_ws.open_websocket`, in a task group of its own.

    On asyncio, cancelling the task that is in the block, once or more often, ends the session as cancelling its
    scope does.
    """
    return OpenSession(_prepare, WebSocketSession, client, url, options)


@with_options
def open_websocket_url(
    url: httpx2.URL | str, **options: Unpack[OpenOptions]
) -> AbstractAsyncContextManager[WebSocketSession]:
    """As :func:`open_websocket`, with a client of its own that lives as long as the session.

    For many sessions share one client instead: making one loads the certificates anew.
    """
    return OpenSessionWithClient(_runtime, lambda client: _prepare(client, url, options), WebSocketSession)


@with_options
async def connect_websocket(
    task_group: anyio.abc.TaskGroup,
    client: httpx2.AsyncClient,
    url: httpx2.URL | str,
    **options: Unpack[OpenOptions],
) -> WebSocketSession:
    """As :func:`httpx2_trio_ws.connect_websocket`: open a session that lives in ``task_group``, beside other tasks."""
    if not isinstance(task_group, anyio.abc.TaskGroup):
        raise TypeError(
            "the first argument is the task group that the session is to live in, from "
            f"anyio.create_task_group(), not {task_group!r}"
        )
    return await connect_session(_prepare(client, url, options), task_group, WebSocketSession)


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
    """As :func:`httpx2_trio_ws.reconnect.reconnect`."""
    return Reconnect(
        partial(_prepare, client, url, options),
        WebSocketSession,
        policy=policy,
        backoff=backoff,
        max_attempts=max_attempts,
        on_connect=on_connect,
        watch=_watch_cancellation,
    )


@overload
def multiplex(
    source: _Source,
    *,
    key: Callable[[Any], Hashable | None] | None = None,
    send: Callable[[WebSocketSession, Any], Awaitable[object]] | None = None,
    capacity: int = 512,
    when_full: WhenFull = "fail",
    failure_grace_seconds: float = 5,
) -> AbstractAsyncContextManager[Multiplexer[Any]]: ...
@overload
def multiplex(
    source: _Source,
    *,
    key: Callable[[T], Hashable | None] | None = None,
    receive: Callable[[WebSocketSession], Awaitable[T]],
    send: Callable[[WebSocketSession, Any], Awaitable[object]] | None = None,
    capacity: int = 512,
    when_full: WhenFull = "fail",
    failure_grace_seconds: float = 5,
) -> AbstractAsyncContextManager[Multiplexer[T]]: ...
def multiplex(
    source: _Source,
    *,
    key: Callable[[Any], Hashable | None] | None = None,
    receive: Callable[[WebSocketSession], Awaitable[Any]] | None = None,
    send: Callable[[WebSocketSession, Any], Awaitable[object]] | None = None,
    capacity: int = 512,
    when_full: WhenFull = "fail",
    failure_grace_seconds: float = 5,
) -> AbstractAsyncContextManager[Multiplexer[Any]]:
    """As :func:`httpx2_trio_ws.multiplex.multiplex`, in a task group of its own."""
    multiplexer: Multiplexer[Any] = Multiplexer(
        _runtime(), key=key, receive=receive, send=send, capacity=capacity, when_full=when_full
    )
    return Multiplexing(multiplexer, source, failure_grace_seconds)


@overload
def merge(
    sources: Mapping[K, AsyncIterable[X]]
    | Mapping[K, AbstractAsyncContextManager[AsyncIterable[X]]]
    | Mapping[K, Iterable[AbstractAsyncContextManager[AsyncIterable[X], Any]]],
    *,
    capacity: int = 16,
    failures: Literal["raise"] = "raise",
    stay_open: bool = False,
) -> AbstractAsyncContextManager[Merged[K, X]]: ...
@overload
def merge(
    sources: Mapping[K, AsyncIterable[X]]
    | Mapping[K, AbstractAsyncContextManager[AsyncIterable[X]]]
    | Mapping[K, Iterable[AbstractAsyncContextManager[AsyncIterable[X], Any]]],
    *,
    capacity: int = 16,
    failures: Literal["tell"],
    stay_open: bool = False,
) -> AbstractAsyncContextManager[Merged[K, X | SourceEnded]]: ...
@overload
def merge(
    sources: None = None,
    *,
    capacity: int = 16,
    failures: Literal["raise", "tell"] = "raise",
    stay_open: bool = False,
) -> AbstractAsyncContextManager[Merged[Any, Any]]: ...
@overload
def merge(
    sources: Mapping[K, Any],
    *,
    capacity: int = 16,
    failures: Literal["raise", "tell"] = "raise",
    stay_open: bool = False,
) -> AbstractAsyncContextManager[Merged[K, Any]]: ...
def merge(
    sources: Mapping[Any, Any] | None = None,
    *,
    capacity: int = 16,
    failures: Literal["raise", "tell"] = "raise",
    stay_open: bool = False,
) -> AbstractAsyncContextManager[Merged[Any, Any]]:
    """As :func:`httpx2_trio_ws.multiplex.merge`, in a task group of its own."""
    merged: Merged[Any, Any] = Merged(_runtime(), capacity=capacity, failures=failures, stay_open=stay_open)
    return Merging(merged, sources)


def _watch_cancellation() -> Callable[[BaseException | None], Awaitable[object]]:
    """For :class:`Reconnect`: asyncio delivers ``Task.cancel()`` once, and anyio's task groups may lose it to an error."""
    task = None if trio.lowlevel.in_trio_task() else asyncio.current_task()
    before = 0 if task is None else task.cancelling()

    async def meet(exc: BaseException | None) -> None:
        if task is None:
            await trio.lowlevel.checkpoint()
            return
        await anyio.lowlevel.checkpoint_if_cancelled()  # a scope's, which is counted, and says so in its message
        delivered = isinstance(exc, asyncio.CancelledError) and "cancel scope" not in str(exc)
        if delivered or task.cancelling() > before:
            raise asyncio.CancelledError

    return meet


def _prepare(client: httpx2.AsyncClient, url: httpx2.URL | str, options: OpenOptions) -> AsyncOpening:
    return AsyncOpening(_runtime(), client, url, options)


def _runtime() -> Runtime:
    """The runtime for the loop that runs here."""
    if trio.lowlevel.in_trio_task():
        return TRIO
    try:
        return running()
    except RuntimeError:
        raise RuntimeError(
            "this needs an event loop: run it inside anyio.run(), asyncio.run() or trio.run(), or use "
            "httpx2_trio_ws.sync in blocking code"
        ) from None
