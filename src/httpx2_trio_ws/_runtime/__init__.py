"""What a session asks of an event loop: a handful of names, in trio's vocabulary.

:mod:`._base` says which; :mod:`._trio` and :mod:`._asyncio` are the loops' own. A runtime more is one more module. It also
chooses what carries a session on its loop.

May import: the event loop that a module is for, and ``_carriers``. Is imported by the faces, which choose the runtime; all
others take it as an argument, and import the types of :mod:`._base` only.
"""

from httpx2_trio_ws._carriers import Event

from ._base import CancelScope, Nursery, Runtime

__all__ = ["CancelScope", "Event", "Nursery", "Runtime"]
