"""What the session asks of an event loop: a handful of names, in trio's vocabulary."""

from ._base import CancelScope, Event, Nursery, Runtime

__all__ = ["CancelScope", "Event", "Nursery", "Runtime"]
