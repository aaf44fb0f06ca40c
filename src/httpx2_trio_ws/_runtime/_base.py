"""The runtime interface. The session knows this and nothing else of the loop that it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    import httpx2

    from httpx2_trio_ws._carriers import Carrier, Event


class CancelScope(Protocol):
    """As :class:`trio.CancelScope`."""

    @property
    def deadline(self) -> float: ...
    @deadline.setter
    def deadline(self, value: float, /) -> None: ...

    def cancel(self) -> object: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
        /,
    ) -> bool: ...
    @property
    def cancelled_caught(self) -> bool: ...


class Nursery(Protocol):
    """As :class:`trio.Nursery`, as far as it is used here."""

    @property
    def cancel_scope(self) -> Any: ...
    def start_soon(
        self, async_fn: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, name: object = None
    ) -> object: ...


class MakesCarrier(Protocol):
    """Makes the fastest carrier for an upgraded response.

    Args:
        response: the 101.
        in_task: what was read must be acted on in the task that reads, as hooks of users are called there.
    """

    def __call__(self, response: httpx2.Response, *, in_task: bool = False) -> Carrier: ...


class Runtime(Protocol):
    """One event loop's own versions of the few things that a session needs."""

    #: What the loop raises in a task that is cancelled.
    cancelled: type[BaseException]
    #: Makes an :class:`Event`.
    event: Callable[[], Event]
    #: Makes a :class:`CancelScope`; takes ``deadline`` and ``shield`` by name.
    cancel_scope: Callable[..., CancelScope]
    #: What tells this event loop from all others that may run at the same time.
    here: Callable[[], object]
    #: The time in seconds on the clock that deadlines are on.
    now: Callable[[], float]
    #: Returns what tells that, too, for a session's lifetime, and costs less.
    clock: Callable[[], Callable[[], float]]
    #: Lets other tasks run, and raises if the caller is cancelled.
    checkpoint: Callable[[], Awaitable[object]]
    #: Raises if the caller is cancelled, and costs little if not. It may let other tasks run.
    checkpoint_if_cancelled: Callable[[], Awaitable[object]]
    #: Whether the caller's next wait raises, as it is cancelled.
    will_raise: Callable[[], bool]
    #: Likewise, at less cost: asyncio's does not see what a scope has not delivered yet.
    is_cancelled: Callable[[], bool]
    #: The running task, to be compared with another.
    current_task: Callable[[], object]
    sleep_until: Callable[[float], Awaitable[object]]
    open_nursery: Callable[[], AbstractAsyncContextManager[Nursery]]
    #: Starts a task that belongs to no nursery: it outlives its caller, and catches what may be raised in it.
    spawn_system_task: Callable[[Callable[[], Coroutine[Any, Any, None]]], object]
    carrier: MakesCarrier

    def reading_scope(self, carrier: Carrier, deadline: float) -> CancelScope:  # noqa: ARG002 (it depends on it elsewhere)
        """Makes the scope that a session's task reads in, for as long as there is nothing to do."""
        return self.cancel_scope(deadline=deadline)

    def is_cancellation(self, exc: BaseException) -> bool:
        """``exc`` is a cancellation, or a group that has one in it."""
        if isinstance(exc, BaseExceptionGroup):
            return any(map(self.is_cancellation, cast("BaseExceptionGroup[BaseException]", exc).exceptions))
        return isinstance(exc, self.cancelled)
