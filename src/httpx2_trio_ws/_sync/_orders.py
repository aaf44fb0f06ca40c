"""What other threads want the reader to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class CloseOrder(NamedTuple):
    """Close from our side."""

    code: int
    reason: str


class ControlOrder(NamedTuple):
    """Send a ping or a pong."""

    make: Callable[[bytes], bytes]
    payload: bytes
