"""One connection for many tasks: what may be called, and to whom each message goes.

The states of the whole: opening; connected and between two sessions, in turn; over, for good; left. A request is bound to
the session on which it was sent, so an answer, and an end, are those of that session. Who runs it is in :mod:`._block`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from httpx2_trio_ws._exceptions import WebSocketClosedError, WebSocketDisconnect, WebSocketException
from httpx2_trio_ws._session._session import Session

from ._jobs import Answer, LastMessage
from ._queue import Ended, Queue, check_capacity, check_when_full
from ._subscription import C, Subscribable, SubscriptionCore, again, is_quiet_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from httpx2_trio_ws._runtime import CancelScope, Runtime

    from ._queue import WhenFull

T = TypeVar("T")
S = TypeVar("S", bound=Session)

_CLOSED = "the multiplexer has been closed, or its block left"


class MultiplexerCore(Subscribable[T, C], Generic[T, S, C]):
    """See the faces' class."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        key: Callable[[T], Hashable | None] | None,
        receive: Callable[[Any], Awaitable[T]] | None,
        send: Callable[[Any, Any], Awaitable[object]] | None,
        capacity: int,
        when_full: WhenFull,
    ) -> None:
        for name, function in (("key", key), ("receive", receive), ("send", send)):
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function, not {function!r}")
        check_capacity(capacity)
        check_when_full(when_full)
        self._runtime = runtime
        self._key_of = key
        self._receive_one: Callable[[Any], Awaitable[T]] = receive or Session.receive_json
        self._send_one: Callable[[Any, Any], Awaitable[object]] = send or Session.send_json
        self._capacity: int = capacity
        self._when_full: WhenFull = when_full
        self._answers: dict[Hashable, Answer[T]] = {}
        self._subscriptions: dict[Hashable, SubscriptionCore[T]] = {}
        self._others: Queue[T] = Queue(runtime, capacity, when_full, "what belongs to nobody", is_read=False)
        self._session: S | None = None
        self._sessions = self._unmatched = 0
        self._turn = runtime.event()  # a new session, or the end
        # What is to be sent on this session by the task that subscribes, each once, in order.
        self._todo: dict[object, SubscriptionCore[T] | None] = {}
        self._work = runtime.event()
        self._over: Exception | None = None  # what calls raise
        self._fatal: Exception | None = None  # what has ended it for good
        self._lost: Exception | None = None  # what has ended the last session
        self._told = runtime.event()  # some call has raised one of these two
        self._gone = runtime.event()
        self._stopping = False
        # Around all that follows the source, around receiving on a session, and around the task that subscribes. The block
        # cancels them, however it is left.
        self._following, self._controlling = runtime.cancel_scope(shield=True), runtime.cancel_scope(shield=True)
        self._receiving: CancelScope | None = None

    def __repr__(self) -> str:
        state = "over" if self._over is not None else "between two sessions" if self._session is None else "connected"
        return f"<{type(self).__name__} ({state}; {len(self._answers)} requests, {len(self._subscriptions)} subscriptions)>"

    # -- what it tells -----------------------------------------------------------------------------

    @property
    def session(self) -> S | None:
        """The open session, for ``ping()``, ``statistics()`` and ``latency``; ``None`` between two, and after the last."""
        return self._session

    @property
    def sessions(self) -> int:
        """How many sessions there have been so far."""
        return self._sessions

    @property
    def unmatched(self) -> int:
        """How many messages have been dropped because nobody was waiting for their key: late answers, mostly."""
        return self._unmatched

    @property
    def gap(self) -> bool:
        """As :attr:`Subscription.gap`, for what :meth:`receive` returns."""
        return self._others.gap

    # -- calls ---------------------------------------------------------------------------------------

    async def wait_connected(self) -> S:
        """The open session; waits until there is one. Cancelling is safe.

        Raises:
            WebSocketException: what has ended the multiplexer for good.
        """
        await self._runtime.checkpoint_if_cancelled()
        while self._session is None or self._session.closed:
            self._check_open()
            await self._turn.wait()
        return self._session

    async def send(self, value: Any) -> None:
        """Send on the open session, or on the next one.

        Waits while there is none, and goes on to the next one if this one ends before it has taken the message. Bound the
        wait with a cancel scope. When it returns, the message has been handed over once; it may still be lost with the
        session. If it is cancelled, the message has been sent whole or not at all.

        Raises:
            WebSocketException: what has ended it for good; the message has not been sent. And what ``send`` raises.
        """
        await self._hand_over(value, None)

    async def _hand_over(self, message: Any, answer: Answer[T] | None) -> None:
        while True:
            session = await self.wait_connected()
            if answer is not None:
                answer.begin(session, self._runtime.event())
            try:
                await self._send_one(session, message)
            except WebSocketException:
                if not session.closed:
                    raise  # it is an error of the function's own
            else:
                return
            while self._session is session:
                await self._turn.wait()

    async def request(self, key: Hashable, message: Any, *, resend: bool = False) -> T:
        """Send, and wait for the message with this key. Cancelling is safe; an answer that comes later is dropped.

        Args:
            key: what the multiplexer's ``key`` function returns for the answer: usually the id of the request.
            message: what to send, as with :meth:`send`.
            resend: send it again on the next session if this one ends without an answer; for requests that may be done twice.

        Raises:
            ValueError: the key is in use, or ``None``.
            TypeError: the multiplexer was given no ``key``, or the key is not hashable.
            WebSocketException: the session on which it was sent has ended without an answer, so it may or may not have been
                carried out; or the multiplexer had ended for good, and it has not been sent.
        """
        self._check_key(key)
        answer = self._answers[key] = Answer[T]()
        try:
            while True:
                await self._hand_over(message, answer)
                assert answer.done is not None
                await answer.done.wait()
                if answer.values:
                    return answer.values[0]
                if not resend or self._over is not None:
                    assert answer.error is not None
                    raise self._tell(answer.error)
        finally:
            del self._answers[key]

    async def receive(self) -> T:
        """The next message for which ``key`` returned ``None``; without ``key``, any message. Cancelling loses none.

        Before the first call, only the newest ``capacity`` of them are kept, whatever ``when_full`` says, so that a program
        that ignores them is not held up.

        Raises:
            SubscriptionOverflow: messages were dropped at this place (``when_full="fail"``). The next call goes on.
            WebSocketException: what has ended it for good, after the messages before that.
        """
        try:
            return await self._others.take()
        except Ended:
            raise self._why_ended() from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """As :meth:`receive`. Iteration ends when it has ended with code 1000, 1001 or none."""
        try:
            return await self.receive()
        except WebSocketDisconnect as exc:
            if is_quiet_end(exc):
                raise StopAsyncIteration from None
            raise

    async def aclose(self) -> None:
        """End it, as leaving its block does, but stay in the block. If cancelled, the connection is dropped at once."""
        self._begin_stop()
        try:
            await self._gone.wait()
        except BaseException:
            self._following.cancel()
            raise

    # -- for subscriptions ---------------------------------------------------------------------------

    def _check_key(self, key: Hashable) -> None:
        if self._key_of is None:
            raise TypeError("multiplex() was given no key, so no message can be told from others: pass key=")
        if key is None:
            raise ValueError("None is the key of what belongs to nobody")
        if key in self._answers or key in self._subscriptions:
            raise ValueError(f"the key {key!r} is in use")

    def _add(self, subscription: SubscriptionCore[T]) -> None:
        """From now on, the messages with its key are its own."""
        self._check_key(subscription.key)
        self._subscriptions[subscription.key] = subscription

    def _move(self, subscription: SubscriptionCore[T], key: Hashable) -> bool:
        """Its messages have another key now; false if that is in use, and then it is refused."""
        if self._subscriptions.get(key) is subscription:
            return True
        self._remove(subscription)
        if key in self._answers or key in self._subscriptions:
            subscription._refuse(ValueError(f"the key {key!r}, which confirm returned, is in use"))
            return False
        self._subscriptions[key] = subscription
        return True

    def _remove(self, subscription: SubscriptionCore[T]) -> None:
        """Its key is free."""
        if self._subscriptions.get(subscription.key) is subscription:
            del self._subscriptions[subscription.key]
        self._todo.pop(subscription, None)

    def _ask(self, subscription: SubscriptionCore[T]) -> None:
        """Have it subscribed, on this session; on the next one, it will be anyway."""
        if self._session is not None:
            self._todo[subscription] = subscription
            self._work.set()

    def _ask_last(self, message: object) -> None:
        """Have a message sent on this session, or not at all."""
        self._todo[LastMessage(message)] = None
        self._work.set()

    def _check_open(self) -> None:
        """Raise what has ended it, if anything has."""
        if self._over is not None:
            raise self._tell(self._over)

    def _why_ended(self) -> Exception:
        """To be raised by a call, now."""
        assert self._over is not None
        return self._tell(self._over)

    def _tell(self, error: Exception) -> Exception:
        if error is self._fatal or error is self._lost:
            self._told.set()
        return again(error)

    # -- for the block -------------------------------------------------------------------------------

    def _begin_stop(self) -> None:
        """No call does anything any more, and the block's tasks end.

        If a session is open, not all is cancelled: its block is left normally, flushed and closed with 1000.
        """
        if not self._stopping:
            self._stopping = True
            self._end(WebSocketClosedError(_CLOSED))
            (self._receiving or self._following).cancel()
            self._controlling.cancel()

    def _next_session(self) -> None:
        """A session is about to be opened."""
        self._lost = None
        self._told = self._runtime.event()

    def _finish(self, error: Exception | None) -> None:
        """There will be no other session: ``error`` if that is a failure, else what has ended the last one."""
        self._fatal = self._lost or (WebSocketClosedError(_CLOSED) if error is None else again(error))
        if self._over is None:
            self._end(self._fatal)
        if error is None:
            self._told.set()

    def _end(self, error: Exception) -> None:
        self._over = error
        self._others.end()
        for subscription in [*self._subscriptions.values()]:
            subscription._over()
        for answer in self._answers.values():
            answer.fail(error)
        self._next_turn()

    async def _dispatch(self, session: S) -> None:
        """Hand out the messages of a session until it ends, or :meth:`_begin_stop` is called."""
        self._connected(session)
        receive, route = self._receive_one, self._route
        self._receiving = self._runtime.cancel_scope()
        try:
            with self._receiving:
                while not self._stopping:
                    message = await receive(session)
                    full = route(message)
                    if full is not None:
                        await full._put_later(message)
        except Exception as exc:
            self._lost = again(exc)
            if not is_quiet_end(exc):
                raise
        finally:
            self._receiving = None
            self._disconnected(session)

    def _next_turn(self) -> None:
        self._turn.set()
        self._turn = self._runtime.event()

    def _connected(self, session: S) -> None:
        """A new session is open: all is subscribed anew."""
        self._session = session
        self._sessions += 1
        before, self._subscriptions = self._subscriptions, {}
        for subscription in before.values():
            if subscription._left:
                continue  # it was left before the old session's answer came, which never will
            key = subscription._new_session()
            if key in self._subscriptions or key in self._answers:
                subscription._refuse(ValueError(f"the key {key!r} is in use, on a new session"))
            else:
                self._subscriptions[key] = subscription
        self._others.gap_next = True
        # Made anew from those that live: a list kept from session to session would grow while there is none.
        self._todo = {each: each for each in self._subscriptions.values() if each._message is not None}
        self._work.set()
        self._next_turn()

    def _disconnected(self, session: Session) -> None:
        """The session has ended: so have the requests that were sent on it."""
        self._session = None
        error = self._lost or WebSocketClosedError(_CLOSED)
        for answer in self._answers.values():
            if answer.session is session and not answer.values:
                answer.fail(error)

    def _route(self, message: T) -> Queue[T] | SubscriptionCore[T] | None:
        """Hand out a message. If there must be room for it first, this returns for whom, and it is not handed out."""
        key = None if self._key_of is None else self._key_of(message)
        if key is None:
            return None if self._others.put(message) else self._others
        if (subscription := self._subscriptions.get(key)) is not None:
            return None if subscription._put(message) else subscription
        answer = self._answers.get(key)
        if (
            answer is not None
            and answer.session is self._session
            and answer.done is not None
            and not answer.done.is_set()
        ):
            answer.values.append(message)
            answer.done.set()
        else:
            self._unmatched += 1
        return None

    async def _subscribe_all(self) -> None:
        """Send what subscribes and unsubscribes, beside receiving: servers answer each, and somebody must read that."""
        while True:
            while self._todo and self._session is not None and not self._session.closed:
                job = next(iter(self._todo))
                await self._send_control(job, self._todo.pop(job))
            self._work = self._runtime.event()
            await self._work.wait()

    async def _send_control(self, job: object, subscription: SubscriptionCore[T] | None) -> None:
        session = self._session
        assert session is not None
        try:
            if subscription is None:
                assert isinstance(job, LastMessage)
                await self._send_one(session, job.message)
            else:
                subscription._begin()
                await self._send_one(session, subscription._message)
                subscription._sent()
        except Exception as exc:
            if isinstance(exc, WebSocketException) and session.closed:
                return  # it will be done anew on the next session
            if subscription is None:
                raise
            subscription._refuse(exc)
