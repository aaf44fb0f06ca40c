"""A process that forks: its sessions stay its own.

The child has copies of them, with the connections, but without the threads. Whatever is called there raises, and leaving
their blocks returns at once; nothing is written to the connections.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

FORKED = "this process is a fork of the one that opened the session, whose it stays: open one here"


class Forkable(Protocol):
    """What has to know."""

    def forked(self) -> None: ...


#: What is told of a fork, in the child, while it lives.
to_tell: WeakSet[Forkable] = WeakSet()


def _in_child() -> None:
    for one in list(to_tell):
        one.forked()


getattr(os, "register_at_fork", dict)(after_in_child=_in_child)  # Windows has no fork
