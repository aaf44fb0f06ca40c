"""What a multiplexer has to do for a session: answers that are waited for, and messages that end something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from httpx2_trio_ws._runtime import Event

T = TypeVar("T")


class Answer(Generic[T]):
    """What a request waits for."""

    __slots__ = ("done", "error", "session", "values")

    def __init__(self) -> None:
        self.session: object = None  # on which the request goes out
        self.done: Event | None = None
        self.values: list[T] = []
        self.error: Exception | None = None

    def begin(self, session: object, done: Event) -> None:
        """The request goes out on this session."""
        self.session, self.done, self.error = session, done, None

    def fail(self, error: Exception) -> None:
        """There will be no answer."""
        if self.done is not None and not self.done.is_set():
            self.error = error
            self.done.set()


class LastMessage:
    """A message that unsubscribes."""

    def __init__(self, message: object) -> None:
        self.message = message
