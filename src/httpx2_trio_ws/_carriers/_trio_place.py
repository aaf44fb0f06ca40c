"""Where a task waits for a socket of trio's, and how another stands in for it meanwhile.

To wake the task that reads, so that it wakes the one that waits for a message, takes two turns of the event loop and two
steps of tasks for each message that comes alone. So while the first waits for the socket (:class:`Place`) and the second for
a message (:class:`Turn`), the second stands in: the socket wakes it instead, and it does what the other would have done. The
place is the first one's again as soon as the second has its message, is cancelled, or is woken by something else. All the
while the first sleeps where it is; if it is woken or cancelled, nobody stands in for it any more. So there is always somebody
who waits for the socket, also for a ping while nobody receives, and a place changes hands without a turn of the loop. Who
comes to wait while the first is busy, or while another stands in, waits for its message only.

To stand in is to be named instead of the other in what trio keeps of a descriptor. It does not document that, and only what
it has for epoll is known here. Elsewhere, nobody stands in.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort, checkpoint, current_task, enable_ki_protection, reschedule, wait_task_rescheduled

if TYPE_CHECKING:
    from collections.abc import Callable


def _epoll() -> Any:
    """What trio waits for descriptors with, in this run; ``None`` if that is not what is known here."""
    context = getattr(sys.modules.get("trio._core._run"), "GLOBAL_RUN_CONTEXT", None)
    manager = getattr(getattr(context, "runner", None), "io_manager", None)
    entry = getattr(getattr(manager, "_registered", None), "default_factory", None)
    return manager if hasattr(entry, "read_task") and hasattr(manager, "_update_registrations") else None


def place_for(socket: trio.socket.SocketType) -> Place | None:
    """A :class:`Place`, where there can be one."""
    epoll = _epoll()
    return None if epoll is None else Place(epoll, socket)


class Place:
    """Where the task that reads waits for its socket.

    Args:
        epoll: trio's.
        socket: to be read from.
    """

    __slots__ = ("_act", "_entry", "_epoll", "_error", "_host", "_socket", "_turn")

    def __init__(self, epoll: Any, socket: trio.socket.SocketType) -> None:
        self._epoll = epoll
        self._socket = socket
        # The task whose place it is, and what is to be done for it, while it waits; who stands in for it; and trio's entry
        # with the name of one of them. When the socket wakes that, the name is taken out.
        self._host: trio.lowlevel.Task | None = None
        self._act: Callable[[], bool]
        self._turn: Turn | None = None
        self._entry: Any = None
        # What the other is to raise.
        self._error: Exception | None = None

    @enable_ki_protection
    async def wait(self, act: Callable[[], bool]) -> None:
        """Wait until the socket is readable, or another has done here what is now for this task to go on with.

        Args:
            act: called in a task that stands in, when the socket is readable, to do what this one would do. It raises
                nothing. If it returns false, this task is woken to go on.

        Raises:
            trio.BusyResourceError: another task waits for the socket, and not here.
            trio.ClosedResourceError, OSError: the socket was closed, before or meanwhile.
        """
        self._host, self._act = current_task(), act
        try:
            self._enter(self._host)
            await wait_task_rescheduled(self._abort)
        finally:
            self._host = None
            del self._act  # which leads back here: a cycle, which only the collector would free
        if self._error is not None:
            raise self._error

    def _abort(self, _: Any) -> Abort:
        turn, self._turn = self._turn, None
        if turn is not None and self._entry.read_task is not turn.task:
            turn.parked = False  # the socket has woken it, to find that it stands in no more
        else:
            self._entry.read_task = None
            self._epoll._update_registrations(self._socket.fileno())
        self._host = None
        return Abort.SUCCEEDED

    def _enter(self, task: trio.lowlevel.Task) -> None:
        """Have the socket, which wakes nobody, wake ``task``."""
        descriptor = self._socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("the socket was closed")
        self._entry = self._epoll._registered[descriptor]
        if self._entry.read_task is not None:
            raise trio.BusyResourceError("another task reads from the socket of this session")
        self._entry.read_task = task
        self._epoll._update_registrations(descriptor)

    # -- for who stands in ---------------------------------------------------------------------

    def turn(self) -> Turn:
        """An event for one task, which stands in here while it waits."""
        return Turn(self)

    def take(self, turn: Turn) -> None:
        """Stand in, if the other waits and nobody does yet."""
        host = self._host
        if host is not None and self._turn is None and self._entry.read_task is host:
            self._entry.read_task = turn.task
            self._turn = turn

    def act(self, turn: Turn) -> bool:
        """The socket has woken who stands in: do what is to be done; return whether that set ``turn``."""
        if self._turn is turn:
            goes_on = self._act()
            if not goes_on:
                self.wake_host(turn, None)
            elif not turn.is_set() and self._turn is turn:  # else what was done has cancelled the other
                self._enter_again(turn, turn.task)
        return turn.is_set()

    def has_woken(self, turn: Turn) -> bool:
        """The socket has woken who stands in. If it has not, it will not any more."""
        if self._turn is turn and self._entry.read_task is not turn.task:
            return True
        self.give_back(turn)
        return False

    def give_back(self, turn: Turn) -> None:
        """Stand in no more."""
        if self._turn is turn:
            if self._entry.read_task is turn.task:
                self._entry.read_task = self._host
            else:
                self._enter_again(turn, self._host)
            self._turn = None

    def _enter_again(self, turn: Turn, task: trio.lowlevel.Task | None) -> None:
        assert task is not None
        try:
            self._enter(task)
        except (OSError, trio.BusyResourceError, trio.ClosedResourceError) as exc:
            self.wake_host(turn, exc)

    def wake_host(self, turn: Turn, error: Exception | None) -> None:
        """If ``turn`` stands in yet, it does no more: the other has to go on, or to raise ``error``."""
        if self._turn is turn:
            assert self._host is not None
            self._turn, self._error = None, error
            reschedule(self._host)


class Turn:
    """An event for one task, which stands in at a :class:`Place` while it waits."""

    __slots__ = ("_is_set", "_place", "parked", "task")

    def __init__(self, place: Place) -> None:
        self._place = place
        self._is_set = False
        #: The task that waits, and whether it sleeps until somebody wakes it.
        self.task: trio.lowlevel.Task | None = None
        self.parked = False

    def is_set(self) -> bool:
        return self._is_set

    @enable_ki_protection
    def set(self) -> None:
        """Wake the task, now or when it comes to wait. Idempotent."""
        self._is_set = True
        if self.parked and not self._place.has_woken(self):
            self.parked = False
            assert self.task is not None
            reschedule(self.task)

    @enable_ki_protection
    async def wait(self) -> None:
        """Wait until it is set. Always a checkpoint, and cancelling it loses nothing."""
        if self._is_set:
            await checkpoint()
            return
        self.task = current_task()
        place = self._place
        while True:
            place.take(self)
            self.parked = True
            try:
                await wait_task_rescheduled(self._abort)
            except (OSError, trio.ClosedResourceError) as exc:
                place.wake_host(self, exc)  # only who is named in it is told that the socket was closed
            self.parked = False
            if self.is_set() or place.act(self):
                break
        place.give_back(self)

    def _abort(self, _: Any) -> Abort:
        self.parked = False
        self._place.give_back(self)
        return Abort.SUCCEEDED
