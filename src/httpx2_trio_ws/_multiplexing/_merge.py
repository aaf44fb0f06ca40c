"""Many sources, one stream of ``(name, message)``: bounded, fair, and open to sources that come and go."""

from __future__ import annotations

import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeVar, cast

from httpx2_trio_ws._exceptions import EndOfMessages, WebSocketClosedError

from ._block import ended, leave, sole
from ._multiplexer import MultiplexerCore
from ._queue import CALLS_PER_TURN, check_capacity
from ._subscription import SubscriptionCore

if TYPE_CHECKING:
    from types import TracebackType

    from httpx2_trio_ws._runtime import Event, Nursery, Runtime

K = TypeVar("K")
X = TypeVar("X")
M = TypeVar("M", bound="MergedCore[Any, Any]")


@dataclass(frozen=True)
class SourceEnded:
    """In place of a message: its source has ended.

    Attributes:
        error: what it has failed with; ``None`` if it has ended normally.
    """

    error: Exception | None


class _Source:
    """One of the sources, and what waits of it."""

    __slots__ = ("gap_next", "has_ended", "items", "name", "queued", "removed", "room", "scope")

    def __init__(self, runtime: Runtime, name: Any) -> None:
        self.name = name
        self.scope = runtime.cancel_scope(shield=True)  # the block cancels it, however it is left
        self.items: deque[tuple[Any, bool]] = deque()
        self.queued = self.removed = self.has_ended = False
        self.gap_next = True
        self.room: Event | None = None


def check_source(source: object) -> None:
    """Raise TypeError if nothing can be iterated over in it."""
    if not isinstance(source, (AsyncIterable, AbstractAsyncContextManager, Iterable)) or isinstance(
        source, (str, bytes, Mapping)
    ):
        raise TypeError(
            "a source is an open session, what open_websocket() or reconnect() returns, or an async iterable, not "
            f"{source!r}"
        )


class MergedCore(Generic[K, X]):
    """See the faces' class."""

    def __init__(self, runtime: Runtime, *, capacity: int, failures: Literal["raise", "tell"], stay_open: bool) -> None:
        check_capacity(capacity)
        if failures not in ("raise", "tell"):
            raise ValueError(f'failures is "raise" or "tell", not {failures!r}')
        self._runtime = runtime
        self._capacity, self._tells_ends, self._stays_open = capacity, failures == "tell", stay_open
        self._nursery: Nursery | None = None
        self._sources: dict[K, _Source] = {}
        self._turns: OrderedDict[_Source, None] = OrderedDict()  # those with something to take: round robin
        self._arrived: Event | None = None
        self._closed = self._gap = False
        self._running = 0  # tasks
        self._idle = runtime.event()  # none runs, and none will
        self._budget = CALLS_PER_TURN

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} sources>"

    @property
    def gap(self) -> bool:
        """Messages may be missing between the message received last and the one before it from the same source.

        True for the first message of a source and of each of its sessions; if the source is a subscription, as its ``gap``.
        """
        return self._gap

    def __len__(self) -> int:
        """How many sources there are. One that has ended counts until its end has been received."""
        return len(self._sources)

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def add(self, name: K, source: object) -> None:
        """Begin to receive from one more source, of the kinds that ``merge`` takes.

        Raises:
            ValueError: the name is in use.
            TypeError: it is no source.
            WebSocketClosedError: the block has been left.
        """
        check_source(source)
        if self._nursery is None or self._closed:
            raise WebSocketClosedError("the block of merge() is not open")
        if name in self._sources:
            raise ValueError(f"there is a source {name!r} already; remove it first")
        entry = self._sources[name] = _Source(self._runtime, name)
        self._nursery.start_soon(self._run, entry, source)
        self._running += 1

    def remove(self, name: K) -> None:
        """Give a source up: its waiting messages are dropped, and its session is closed. The name is free at once.

        Raises:
            KeyError: there is no source of this name. One that has ended is gone once its end has been received.
        """
        entry = self._sources.pop(name)
        entry.removed = True
        entry.items.clear()
        if entry.queued:
            del self._turns[entry]
        entry.scope.cancel()
        self._wake()

    async def receive(self) -> tuple[K, X]:
        """The next message, with its source's name. Cancelling loses none; each message goes to one of the receiving tasks.

        The sources take turns, one message each.

        Raises:
            trio.EndOfChannel, anyio.EndOfStream: no source is left.
            WebSocketClosedError: the block has been left.
            Exception: an error of a source (``failures="raise"``), after its messages. The next call goes on.
        """
        if self._budget <= 0:
            self._budget = CALLS_PER_TURN
            await self._runtime.checkpoint()  # the turn of others, as in a queue
        elif self._budget == CALLS_PER_TURN or self._runtime.is_cancelled():
            await self._runtime.checkpoint_if_cancelled()
        waited = False
        while True:
            while self._turns:
                entry = next(iter(self._turns))
                message, gap = self._take(entry)
                if isinstance(message, SourceEnded):
                    del self._sources[entry.name]
                    if not self._tells_ends:
                        error = message.error
                        del message
                        if error is None:
                            continue
                        try:
                            raise error
                        finally:
                            del error  # its traceback refers to this frame
                self._gap = gap
                self._budget = CALLS_PER_TURN if waited else self._budget - 1
                return entry.name, cast("X", message)
            if self._closed or not (self._sources or self._stays_open):
                await self._no_more(waited=waited)
            if self._arrived is None:
                self._arrived = self._runtime.event()
            await self._arrived.wait()
            waited = True

    async def _no_more(self, *, waited: bool) -> NoReturn:
        if not waited:
            await self._runtime.checkpoint()
        raise WebSocketClosedError("the block of merge() has been left") if self._closed else EndOfMessages

    def _take(self, entry: _Source) -> tuple[Any, bool]:
        """Its next item; then it is the others' turn."""
        del self._turns[entry]
        item = entry.items.popleft()
        entry.queued = bool(entry.items)
        if entry.queued:
            self._turns[entry] = None
        if entry.room is not None:
            entry.room.set()
            entry.room = None
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[K, X]:
        """As :meth:`receive`. Iteration ends when no source is left."""
        try:
            return await self.receive()
        except EndOfMessages:  # no other end: a source's WebSocketDisconnect is an error here
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Give all sources up, as leaving the block does."""
        self._close()
        await self._runtime.checkpoint()

    def _close(self) -> list[Exception]:
        """Give all sources up. The failures that nobody has received."""
        untold = [] if self._tells_ends else [each.items[-1][0].error for each in self._turns if each.has_ended]
        self._closed = True
        for name in [*self._sources]:
            self.remove(name)
        self._wake()
        self._look_whether_idle()
        return [error for error in untold if error is not None]

    def _look_whether_idle(self) -> None:
        if self._closed and not self._running:
            self._idle.set()

    # -- the sources' tasks --------------------------------------------------------------------------

    async def _run(self, entry: _Source, source: Any) -> None:
        error = None
        try:
            with entry.scope:
                await self._pump_all(entry, source)
        except Exception as exc:  # noqa: BLE001 (it is received in its place)
            error = sole(exc)
            error.add_note(f"from the source {entry.name!r}")
        finally:
            self._running -= 1
            self._look_whether_idle()
        if not entry.removed:
            entry.has_ended = True
            self._offer(entry, SourceEnded(error), gap=False)
        del error  # its traceback refers to this frame

    async def _pump_all(self, entry: _Source, source: object) -> None:
        if isinstance(source, AsyncGenerator):
            generator = cast("AsyncGenerator[Any]", source)
            async with contextlib.aclosing(generator):
                await self._pump(entry, generator)
        elif isinstance(source, Iterable):  # before the next: reconnect() says there that it is for `for`
            for connection in cast("Iterable[AbstractAsyncContextManager[AsyncIterable[Any], Any]]", source):
                entry.gap_next = True
                async with connection as messages:
                    await self._pump(entry, messages)
        elif isinstance(source, AsyncIterable):
            await self._pump(entry, cast("Any", source))
        else:
            async with cast("AbstractAsyncContextManager[AsyncIterable[Any], Any]", source) as messages:
                await self._pump(entry, messages)

    async def _pump(self, entry: _Source, messages: AsyncIterable[Any]) -> None:
        tells = isinstance(messages, (SubscriptionCore, MultiplexerCore, MergedCore))
        tells_gaps = cast("SubscriptionCore[Any] | None", messages if tells else None)
        async for message in messages:
            while len(entry.items) >= self._capacity:
                entry.room = self._runtime.event()
                await entry.room.wait()
            self._offer(entry, message, gap=tells_gaps is not None and tells_gaps.gap)

    def _offer(self, entry: _Source, message: Any, *, gap: bool) -> None:
        entry.items.append((message, gap or entry.gap_next))
        entry.gap_next = False
        if not entry.queued:
            entry.queued = True
            self._turns[entry] = None
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None


class Merging(AbstractAsyncContextManager[M, "bool | None"]):
    """See the faces' ``merge``."""

    def __init__(self, merged: M, sources: Mapping[Any, object] | None) -> None:
        if sources is not None and not isinstance(sources, Mapping):
            raise TypeError(f"the sources must be a mapping of names to sources, not {sources!r}")
        self._given = dict(sources or {})
        for source in self._given.values():
            check_source(source)
        self._merged = merged

    async def __aenter__(self) -> M:
        merged = self._merged
        if merged._nursery is not None:
            raise RuntimeError("each is entered once; call merge() again")
        self._manager = merged._runtime.open_nursery()
        merged._nursery = await self._manager.__aenter__()
        for name, source in self._given.items():
            merged.add(name, source)
        self._given.clear()
        return merged

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        merged = self._merged
        nursery, merged._nursery = merged._nursery, None
        manager, untold = self._manager, merged._close()
        del self._manager
        try:
            assert nursery is not None
            exc = await ended(merged._runtime, merged._idle) or exc
            for error in untold:
                nursery.start_soon(_raise, error)
            return await leave(manager, exc)
        finally:
            del nursery, untold, exc, tb


async def _raise(error: Exception) -> None:
    try:
        raise error
    finally:
        del error
