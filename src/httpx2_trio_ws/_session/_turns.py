"""Taking turns: which calls of a session wait, so that other tasks get theirs, and which need not.

A call that finds what it wants would never let others run. So each counts; with the last of its budget, it waits. And most
need not even count: a call that has seen to everything *grants* as many of those that follow as it can. These are the
``credit`` of the inbox or of the outbox: so many calls may be made there with nothing else to be seen to. Whatever changes
that (the queue runs full, somebody waits, the session ends) sets it to 0.

So a call begins in one of three ways: it takes one off the credit; or it asks :meth:`Turns._turn_is_due`, and if not, goes
on without waiting; or it waits, after :meth:`Turns._new_turn`. The last two are made on the session's own event loop only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from httpx2_trio_ws._core._state import SessionState

if TYPE_CHECKING:
    import httpx2

    from ._engine import Engine
    from ._inbox import Inbox
    from ._outbox import Outbox

# A call that need not wait is a schedule point only this often: a trip through the scheduler costs more
# than some messages do.
_CALLS_PER_TURN = 64
_ELSEWHERE = (
    "this session lives on another event loop, or in another thread: its calls are made there, for example by "
    "trio.from_thread.run(), or asyncio.run_coroutine_threadsafe(); only what tells of its state can be asked here"
)


class Turns(SessionState["Engine"]):
    """This part of a session."""

    __slots__ = ("_budget", "_here", "_home", "_inbox", "_is_cancelled", "_outbox", "_runtime")

    def __init__(self, engine: Engine, response: httpx2.Response, subprotocol: str | None) -> None:
        super().__init__(engine, response, subprotocol)
        self._inbox = engine.inbox
        self._outbox = engine.outbox
        self._runtime = engine.runtime
        self._is_cancelled = engine.runtime.is_cancelled
        self._here = engine.runtime.here
        self._home = self._here()
        # Calls that do not wait, until others must have their turn: these, and those that are granted.
        self._budget = _CALLS_PER_TURN

    def _turn_is_due(self) -> bool:
        """Count this call, and take back what was granted; true if it must not be done before others had their turn.

        A task that is being cancelled has no call without waiting: where it waits, it is told.
        """
        if self._here() != self._home:
            raise RuntimeError(_ELSEWHERE)
        inbox, outbox = self._inbox, self._outbox
        self._budget += inbox.credit + outbox.credit - 1
        inbox.credit = outbox.credit = 0
        return self._budget <= 0 or self._runtime.will_raise()

    def _new_turn(self) -> None:
        """This call is about to wait: others have their turn."""
        if self._here() != self._home:
            raise RuntimeError(_ELSEWHERE)
        outbox = self._outbox
        self._inbox.credit = outbox.credit = 0
        outbox.last_lone = None
        self._budget = _CALLS_PER_TURN

    def _grant(self, box: Inbox | Outbox) -> None:
        """Allow as many of the calls that are left as can be, but for one, to be made at once."""
        self._budget -= box.grant(self._budget - 1)
