"""Context managers that may be entered again, but not while they are open."""

from __future__ import annotations

import threading

_TWICE = (
    "this object has been entered already, and not left yet: each open session needs an open_websocket(...) call of its "
    "own. Keep the arguments, say in a functools.partial, and call it for each session"
)


class OneAtATime:
    """Whether somebody is inside."""

    __slots__ = ("_inside",)

    def __init__(self) -> None:
        self._inside = threading.Lock()

    def enter(self) -> None:
        """Raise :exc:`RuntimeError` if somebody is."""
        if not self._inside.acquire(blocking=False):
            raise RuntimeError(_TWICE)

    def leave(self) -> None:
        """Nobody is any more."""
        self._inside.release()
