"""Above one session: one connection for many tasks, and many sessions as one stream.

async with multiplex(reconnect(client, "wss://example.com/rpc"), key=lambda message: message.get("id")) as rpc:
    answer = await rpc.request(1, {"id": 1, "method": "time"})

async with merge({"a": reconnect(client, "wss://a.example/"), "b": reconnect(client, "wss://b.example/")}) as feeds:
    async for name, message in feeds:
        print(name, message)

On asyncio, :mod:`httpx2_trio_ws.anyio` has the same names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import trio

from ._multiplexing._block import Multiplexing
from ._multiplexing._merge import MergedCore, Merging, SourceEnded
from ._multiplexing._multiplexer import MultiplexerCore
from ._multiplexing._queue import SubscriptionOverflow
from ._multiplexing._subscription import SubscriptionCore
from ._runtime._trio import TRIO
from ._trio import WebSocketSession, _check_trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Hashable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

    from ._multiplexing._queue import WhenFull

    Source = (
        WebSocketSession
        | AbstractAsyncContextManager[WebSocketSession]
        | Iterable[AbstractAsyncContextManager[WebSocketSession, Any]]
    )

__all__ = [
    "Merged",
    "Multiplexer",
    "SourceEnded",
    "Subscription",
    "SubscriptionOverflow",
    "merge",
    "multiplex",
]

T = TypeVar("T")
K = TypeVar("K")
X = TypeVar("X")


def __dir__() -> list[str]:
    return list(__all__)


class Subscription(SubscriptionCore[T], trio.abc.ReceiveChannel[T]):
    """The messages of one key, in order; from :meth:`Multiplexer.subscribe`. A :class:`trio.abc.ReceiveChannel`."""


class Multiplexer(MultiplexerCore[T, WebSocketSession, Subscription[T]], trio.abc.Channel[T]):
    """One connection for many tasks; from :func:`multiplex`. A :class:`trio.abc.Channel`.

    Any number of tasks may call its methods. Every one is a cancellation point, and cancelling it does no harm. Once the
    connection has ended for good, each call raises what ended it.
    """

    _subscription_type = Subscription


class Merged(MergedCore[K, X], trio.abc.ReceiveChannel[tuple[K, X]]):
    """Many sources as one stream; from :func:`merge`. A :class:`trio.abc.ReceiveChannel` of ``(name, message)``."""


@overload
def multiplex(
    source: Source,
    *,
    key: Callable[[Any], Hashable | None] | None = None,
    send: Callable[[WebSocketSession, Any], Awaitable[object]] | None = None,
    capacity: int = 512,
    when_full: WhenFull = "fail",
    failure_grace_seconds: float = 5,
) -> AbstractAsyncContextManager[Multiplexer[Any]]: ...
@overload
def multiplex(
    source: Source,
    *,
    key: Callable[[T], Hashable | None] | None = None,
    receive: Callable[[WebSocketSession], Awaitable[T]],
    send: Callable[[WebSocketSession, Any], Awaitable[object]] | None = None,
    capacity: int = 512,
    when_full: WhenFull = "fail",
    failure_grace_seconds: float = 5,
) -> AbstractAsyncContextManager[Multiplexer[T]]: ...
def multiplex(
    source: Source,
    *,
    key: Callable[[Any], Hashable | None] | None = None,
    receive: Callable[[WebSocketSession], Awaitable[Any]] | None = None,
    send: Callable[[WebSocketSession, Any], Awaitable[object]] | None = None,
    capacity: int = 512,
    when_full: WhenFull = "fail",
    failure_grace_seconds: float = 5,
) -> AbstractAsyncContextManager[Multiplexer[Any]]:
    """Share one connection among tasks, for a block, in a nursery of its own.

    The block begins when the first session is open; what fails before that is raised bare. If the block is left normally,
    the open session is flushed and closed with 1000. If it is left by an error or a cancellation, the session is dropped.

    Args:
        source: an open session, from which nothing else should receive, and which stays open afterwards; or what
            ``open_websocket(...)`` or ``reconnect(...)`` returns, which is opened here. ``reconnect`` decides what is worth
            another session, and its ``on_connect`` may log in before anything else is sent.
        key: a function that says what a message belongs to: it returns the id of an answer, say, or the name of a channel.
            Messages for which it returns ``None`` go to ``receive()`` of the multiplexer; without ``key``, all of them do.
        receive: a function that receives one message; ``None`` is ``receive_json()``. It also deals with what the protocol
            adds: pings of its own, or attachments that are messages of their own.
        send: a function that sends one message; ``None`` is ``send_json()``.
        capacity: how many messages of each subscription, and of those that belong to nobody, may wait to be received.
        when_full: what happens to more: see :meth:`Multiplexer.subscribe`.
        failure_grace_seconds: how long what has ended it for good waits for a call to raise it, before the nursery does.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is wrong; nothing has been sent.
        ExceptionGroup: with what left the block, and with a failure that no call has raised.
    """
    _check_trio()
    multiplexer: Multiplexer[Any] = Multiplexer(
        TRIO, key=key, receive=receive, send=send, capacity=capacity, when_full=when_full
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
    """Receive from many sources in one stream, for a block, in a nursery of its own.

    Args:
        sources: by name; more with :meth:`Merged.add`. Each is an open session; or what ``open_websocket(...)`` or
            ``reconnect(...)`` returns, which is opened here; or any async iterable, such as a :class:`Subscription`.
        capacity: how many messages of each source may wait here. More wait in its session, and then at its peer.
        failures: with ``"raise"``, ``receive()`` raises a source's error after the source's messages, with a note that names
            it; if you catch it, the other sources go on. With ``"tell"``, it returns ``(name, SourceEnded(error))``, also
            when a source has ended normally.
        stay_open: if true, iteration does not end when no source is left, as more may be added.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is wrong; nothing has been opened.
        ExceptionGroup: with what left the block, and with errors of sources that no call has raised.
    """
    _check_trio()
    merged: Merged[Any, Any] = Merged(TRIO, capacity=capacity, failures=failures, stay_open=stay_open)
    return Merging(merged, sources)
