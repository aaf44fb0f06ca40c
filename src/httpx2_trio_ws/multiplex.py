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
from ._multiplexing._subscription import Subscribing, SubscriptionCore
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


class Multiplexer(MultiplexerCore[T, WebSocketSession], trio.abc.Channel[T]):
    """One connection for many tasks; from :func:`multiplex`. A :class:`trio.abc.Channel`.

    All methods may be called from any number of tasks, every one is a cancellation point, and cancelling it leaves all
    sound. Once it is over for good, each call raises what has ended it.
    """

    def subscribe(
        self,
        key: Hashable,
        *,
        subscribe: Any = None,
        unsubscribe: Any = None,
        confirm: Callable[[T], Hashable | None] | None = None,
        is_last: Callable[[T], bool] | None = None,
        capacity: int | None = None,
        when_full: WhenFull | None = None,
    ) -> AbstractAsyncContextManager[Subscription[T]]:
        """Receive the messages with this key, for a block.

        The key is registered before anything is sent, so none is missed. On each new session, it is subscribed again.

        Args:
            key: what ``key`` returns for them.
            subscribe: a message, sent at the start and on each new session. ``None`` sends nothing.
            unsubscribe: a message, or a function that makes it of the current key; sent when the block is left, without
                waiting, if the session on which it was subscribed is still open and the last message has not come.
            confirm: called with the first message after each ``subscribe``: the server's answer. It returns the key of those
                that follow, ``None`` if that is the same; what it raises comes out of entering the block, or later out of
                ``receive()``. It runs before the next message is looked at, so none of a key that the server assigns is
                missed. Entering the block waits for it. If the block is left before the answer has come, ``unsubscribe`` is
                sent when it has.
            is_last: asked of each message as it arrives; with the one for which it is true, the key is free, iteration ends
                after it, and it is neither subscribed again nor unsubscribed.
            capacity: messages that wait, at most; ``None`` is the multiplexer's.
            when_full: what becomes of more; ``None`` is the multiplexer's. ``"fail"``: they are dropped, and
                :exc:`SubscriptionOverflow` is raised in their place. ``"drop_oldest"``: the oldest are dropped, counted in
                ``dropped``, and ``gap`` is true for the one after. ``"wait"``: none is dropped, and everything behind it
                waits, answers too, so do not wait for an answer in the loop of such a subscription.

        Raises:
            ValueError: the key is in use, or ``None``, or an argument is wrong; nothing has been sent.
            TypeError: the multiplexer was given no ``key``, or an argument is wrong.
            WebSocketException: what has ended the multiplexer for good.
        """
        subscription: Subscription[T] = Subscription(
            self,
            key,
            capacity,
            when_full,
            subscribe=subscribe,
            unsubscribe=unsubscribe,
            confirm=confirm,
            is_last=is_last,
        )
        return Subscribing(subscription)


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

    The block runs when the first session is open; what fails until then is raised bare. Left normally, it leaves the open
    session normally, too: flushed, and closed with 1000. Left by an error or a cancellation, it drops it at once.

    Args:
        source: an open session, from which nothing else should receive, and which is not closed; or what
            ``open_websocket(...)`` or ``reconnect(...)`` returns, which is opened here. ``reconnect`` decides what is worth
            another session, and its ``on_connect`` logs in, before anything else is sent.
        key: what a message belongs to: the id of an answer, the name of a channel. ``None`` belongs to nobody, and comes
            to ``receive()`` of the multiplexer. Without ``key``, all messages do.
        receive: how one message is received; ``None`` is ``receive_json()``. What a protocol puts around or between messages
            is dealt with here: pings of its own, attachments of several messages.
        send: how one is sent; ``None`` is ``send_json()``.
        capacity: how many messages of each subscription, and of what belongs to nobody, wait to be received.
        when_full: what becomes of more: see :meth:`Multiplexer.subscribe`.
        failure_grace_seconds: for a call to tell of what has ended it for good, before the nursery does.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is wrong; nothing has been sent.
        ExceptionGroup: with what left the block, and a failure that no call has raised.
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
        capacity: how many messages of each source wait here. More wait in its session, and then at its peer.
        failures: ``"raise"``: ``receive()`` raises a source's error in its turn, after its messages, with a note that names
            the source; caught, the others go on. ``"tell"``: it returns ``(name, SourceEnded(error))``, for normal ends, too.
        stay_open: iteration does not end when no source is left, as more may come.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is wrong; nothing has been opened.
        ExceptionGroup: with what left the block, and the sources' errors that nobody has received.
    """
    _check_trio()
    merged: Merged[Any, Any] = Merged(TRIO, capacity=capacity, failures=failures, stay_open=stay_open)
    return Merging(merged, sources)
