"""The messages of one key: what tells the server to send them, to whom they go, and what happens when that is over."""

from __future__ import annotations

import copy
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from httpx2_trio_ws._exceptions import QUIET_ENDS, EndOfMessages, WebSocketClosedError, WebSocketDisconnect

from ._queue import Ended, Queue, check_capacity, check_when_full

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from httpx2_trio_ws._runtime import Runtime

    from ._queue import WhenFull

T = TypeVar("T")


class Hub(Protocol):
    """What a subscription asks of its multiplexer."""

    _runtime: Runtime
    _capacity: int
    _when_full: WhenFull

    @property
    def session(self) -> object: ...
    def _check_open(self) -> None: ...
    def _add(self, subscription: SubscriptionCore[Any]) -> None: ...
    def _move(self, subscription: SubscriptionCore[Any], key: Hashable) -> bool: ...
    def _remove(self, subscription: SubscriptionCore[Any]) -> None: ...
    def _ask(self, subscription: SubscriptionCore[Any]) -> None: ...
    def _ask_last(self, message: object) -> None: ...
    def _why_ended(self) -> Exception: ...


def again(error: Exception) -> Exception:
    """A copy to raise in one more task, so that tracebacks do not pile up on one object."""
    try:
        copied: object = copy.copy(error)
    except Exception:  # noqa: BLE001 (it is made in a way that copying does not know)
        return error.with_traceback(None)
    if not isinstance(copied, type(error)):
        return error.with_traceback(None)
    copied.__cause__ = error.__cause__
    return copied


def is_quiet_end(error: BaseException | None) -> bool:
    """The peer has closed the session in good order."""
    return isinstance(error, WebSocketDisconnect) and error.code in QUIET_ENDS


class SubscriptionCore(Generic[T]):
    """See the faces' class."""

    def __init__(
        self,
        hub: Hub,
        key: Hashable,
        capacity: int | None,
        when_full: WhenFull | None,
        *,
        subscribe: object,
        unsubscribe: object,
        confirm: Callable[[T], Hashable | None] | None,
        is_last: Callable[[T], bool] | None,
    ) -> None:
        if key is None:
            raise ValueError("None is the key of what belongs to nobody: receive from the multiplexer itself")
        hash(key)
        if confirm is not None and subscribe is None:
            raise ValueError("confirm looks at the answer to a subscribe message, and there is none")
        capacity = hub._capacity if capacity is None else capacity
        when_full = hub._when_full if when_full is None else when_full
        check_capacity(capacity)
        check_when_full(when_full)
        self._hub = hub
        self._queue: Queue[T] = Queue(hub._runtime, capacity, when_full, f"the subscription {key!r}", is_read=True)
        self._key = self._given_key = key
        self._message, self._last_message = subscribe, unsubscribe
        self._confirm, self._is_last = confirm, is_last
        self._began_on: object = None  # the session on which it was subscribed
        self._unconfirmed = self._subscribed = self._complete = self._left = False
        self._refusal: Exception | None = None
        self._ready = hub._runtime.event()

    def __repr__(self) -> str:
        state = "left" if self._left else "complete" if self._complete else "open"
        return f"<{type(self).__name__} {self._key!r} ({state})>"

    @property
    def key(self) -> Hashable:
        """What the messages have in common: the key given, or the one that ``confirm`` has returned."""
        return self._key

    @property
    def gap(self) -> bool:
        """Messages may be missing between the one received last and the one before it.

        True for the first, the first of each new session, and the first after dropped ones.
        """
        return self._queue.gap

    @property
    def dropped(self) -> int:
        """How many messages have been dropped because they were not received in time."""
        return self._queue.dropped

    async def receive(self) -> T:
        """The next message. Cancelling loses none; with several tasks receiving, each message goes to one of them.

        Raises:
            SubscriptionOverflow: messages were dropped here (``when_full="fail"``). The next call goes on.
            trio.EndOfChannel, anyio.EndOfStream: the last message has been received.
            WebSocketClosedError: its block, or the multiplexer's, has been left.
            WebSocketException: what has ended the connection for good, as from a session.
        """
        try:
            return await self._queue.take()
        except Ended:
            raise self._why_ended() from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """As :meth:`receive`. Iteration ends after the last message, and on code 1000, on 1001, or without a code."""
        try:
            return await self.receive()
        except EndOfMessages:
            raise StopAsyncIteration from None
        except WebSocketDisconnect as exc:
            if is_quiet_end(exc):
                raise StopAsyncIteration from None
            raise

    async def aclose(self) -> None:
        """As leaving its block."""
        self._leave()
        await self._hub._runtime.checkpoint()

    def _why_ended(self) -> Exception:
        if self._left:
            return WebSocketClosedError("the subscription's block has been left")
        if self._refusal is not None:
            return again(self._refusal)
        return EndOfMessages() if self._complete else self._hub._why_ended()

    # -- for the multiplexer -----------------------------------------------------------------------

    def _new_session(self) -> Hashable:
        """There is a new session, on which it is not subscribed. The key that it has there."""
        self._queue.gap_next = True
        self._unconfirmed = False
        self._key = self._given_key
        return self._key

    def _begin(self) -> None:
        """Its message is about to be sent on the open session."""
        self._began_on = self._hub.session
        self._unconfirmed = self._confirm is not None

    def _sent(self) -> None:
        """Its message has been sent."""
        if self._confirm is None:
            self._is_subscribed()

    def _is_subscribed(self) -> None:
        self._subscribed = True
        self._ready.set()

    def _put(self, message: T) -> bool:
        """Take a message; false if there must be room first."""
        if self._unconfirmed:
            self._confirmed(message)
            return True
        if not self._queue.put(message):
            return False
        self._look_for_the_end(message)
        return True

    async def _put_later(self, message: T) -> None:
        """As :meth:`_put`, when there is room."""
        await self._queue._put_later(message)
        self._look_for_the_end(message)

    def _look_for_the_end(self, message: T) -> None:
        if self._is_last is not None and not self._left and self._is_last(message):
            self._complete = True
            self._hub._remove(self)
            self._queue.end()

    def _confirmed(self, reply: T) -> None:
        self._unconfirmed = False
        assert self._confirm is not None
        try:
            key = self._confirm(reply)
        except Exception as exc:  # noqa: BLE001 (it comes out of entering the block)
            self._refuse(exc)
            return
        if self._left:  # before this came; so what it began is ended now
            self._hub._remove(self)
            self._key = self._key if key is None else key
            self._end_there()
        elif key is None or self._hub._move(self, key):
            self._key = self._key if key is None else key
            self._is_subscribed()

    def _refuse(self, error: Exception) -> None:
        """It cannot be subscribed."""
        self._refusal = again(error)
        self._hub._remove(self)
        self._queue.end()
        self._ready.set()

    def _over(self) -> None:
        """There will be no other session."""
        self._queue.end()
        self._ready.set()

    async def _enter(self) -> None:
        """Subscribe, and wait until that is done."""
        self._hub._check_open()
        self._hub._add(self)
        try:
            if self._message is None:
                await self._hub._runtime.checkpoint()
                return
            self._hub._ask(self)
            await self._ready.wait()
            self._check_subscribed()
        except BaseException:
            self._leave()
            raise

    def _check_subscribed(self) -> None:
        if self._refusal is not None:
            raise self._why_ended()
        if not self._subscribed:  # the multiplexer is over
            raise self._hub._why_ended()

    def _leave(self) -> None:
        """No message is wanted any more."""
        if self._left:
            return
        self._left = True
        self._queue.close()
        if self._unconfirmed and self._began_on is self._hub.session is not None:
            return  # the answer is yet to come: see _confirmed()
        self._hub._remove(self)
        self._end_there()

    def _end_there(self) -> None:
        """Have the server told, if there is something to end on this session."""
        last, session = self._last_message, self._hub.session
        began = session is not None and (self._message is None or self._began_on is session)
        if last is not None and began and not self._complete and self._refusal is None:
            self._hub._ask_last(last(self._key) if callable(last) else last)


C = TypeVar("C", bound="SubscriptionCore[Any]")


class Subscribing(AbstractAsyncContextManager[C, None]):
    """The block of a subscription."""

    def __init__(self, subscription: C) -> None:
        self._subscription = subscription
        self._entered = False

    async def __aenter__(self) -> C:
        if self._entered:
            raise RuntimeError("each subscription is entered once; call subscribe() again")
        self._entered = True
        await self._subscription._enter()
        return self._subscription

    async def __aexit__(self, *_: object) -> None:
        self._subscription._leave()


class Subscribable(Generic[T, C]):
    """The call of a multiplexer that subscribes, for the subscriptions of either face."""

    _subscription_type: type[Any]  # that of C, which a class variable may not name

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
    ) -> AbstractAsyncContextManager[C]:
        """Receive the messages with this key, for a block.

        The key is registered before anything is sent, so no message is missed. On each new session, it subscribes again.

        Args:
            key: what the multiplexer's ``key`` function returns for these messages.
            subscribe: a message, sent at the start and on each new session. ``None`` sends nothing.
            unsubscribe: a message, or a function that makes it from the current key. It is sent when the block is left,
                without waiting, unless the session that it was subscribed on has ended or the last message has come.
            confirm: a function that is called with the first message after each ``subscribe``: the server's answer. It
                returns the key of the messages that follow, or ``None`` if that stays the same. If it raises, entering the
                block raises that, or later ``receive()``. It runs before the next message is looked at, so if the server
                assigns the key, no message is missed. Entering the block waits for it. If the block is left before the
                answer has come, ``unsubscribe`` is sent as soon as it has.
            is_last: a function that is called with each message as it arrives. When it returns true, the key is free
                again, iteration ends after that message, and nothing is subscribed again or unsubscribed.
            capacity: how many messages may wait; ``None`` is the multiplexer's ``capacity``.
            when_full: what happens to more; ``None`` is the multiplexer's ``when_full``. ``"fail"``: they are dropped, and
                :exc:`SubscriptionOverflow` is raised in their place. ``"drop_oldest"``: the oldest are dropped and counted
                in ``dropped``, and ``gap`` is true for the next one. ``"wait"``: none is dropped, and everything behind them
                waits, answers too; so do not wait for an answer in the loop of such a subscription.

        Raises:
            ValueError: the key is in use, or ``None``, or an argument is wrong; nothing has been sent.
            TypeError: the multiplexer was given no ``key``, or an argument is wrong.
            WebSocketException: what has ended the multiplexer for good.
        """
        subscription: C = self._subscription_type(
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
