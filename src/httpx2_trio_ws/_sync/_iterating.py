"""Receiving JSON, and iterating: what is built on the receiving calls of a blocking session."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from httpx2_trio_ws._core._json import check_loads
from httpx2_trio_ws._exceptions import QUIET_ENDS, WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._inbox import Inbox

T = TypeVar("T")


class Iterating:
    """This part of a session."""

    __slots__ = ()

    if TYPE_CHECKING:
        _inbox: Inbox

        def receive(self, timeout: float | None = None) -> str | bytes: ...
        def receive_text(self, timeout: float | None = None) -> str: ...
        def receive_bytes(self, timeout: float | None = None) -> bytes: ...

    @overload
    def receive_json(self, *, timeout: float | None = None) -> Any: ...
    @overload
    def receive_json(self, loads: Callable[[str | bytes], T], *, timeout: float | None = None) -> T: ...
    def receive_json(self, loads: Callable[[str | bytes], Any] = json.loads, *, timeout: float | None = None) -> Any:
        """Receive the next message, text or binary, and parse it. As :meth:`httpx2_trio_ws.WebSocketSession.receive_json`.

        Raises:
            TimeoutError: no message came in time; ``timeout`` is as for :meth:`receive`.
        """
        check_loads(loads)
        message = self.receive(timeout)
        try:
            return loads(message)
        except Exception:
            raise
        except BaseException:  # Ctrl-C
            self._inbox.put_back(message)
            raise

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str | bytes:
        """The next message. Iteration ends when the peer closes with 1000, 1001 or no code; else as :meth:`receive`."""
        try:
            return self.receive()
        except WebSocketDisconnect as exc:
            if exc.code in QUIET_ENDS:
                raise StopIteration from None
            raise

    def iter_text(self, timeout: float | None = None) -> Iterator[str]:
        """Iterate over messages, each as from :meth:`receive_text`, with ``timeout`` seconds for each.

        Iteration ends when the peer closes with 1000, 1001 or no code. What it raises else does not end it:
        ``next()`` goes on.
        """
        return _Messages(lambda: self.receive_text(timeout))

    def iter_bytes(self, timeout: float | None = None) -> Iterator[bytes]:
        """Iterate over messages, each as from :meth:`receive_bytes`; else as :meth:`iter_text`."""
        return _Messages(lambda: self.receive_bytes(timeout))

    @overload
    def iter_json(self, *, timeout: float | None = None) -> Iterator[Any]: ...
    @overload
    def iter_json(self, loads: Callable[[str | bytes], T], *, timeout: float | None = None) -> Iterator[T]: ...
    def iter_json(
        self, loads: Callable[[str | bytes], Any] = json.loads, *, timeout: float | None = None
    ) -> Iterator[Any]:
        """Iterate over messages, each as from :meth:`receive_json`; else as :meth:`iter_text`."""
        check_loads(loads)
        return _Messages(lambda: self.receive_json(loads, timeout=timeout))


class _Messages(Generic[T]):
    """Iterates over what a receiving call returns. A generator would end with its first error.

    The call is written in Python, after which no Ctrl-C comes that would lose what it returned.
    """

    __slots__ = ("_receive",)

    def __init__(self, receive: Callable[[], T]) -> None:
        self._receive = receive

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._receive()
        except WebSocketDisconnect as exc:
            if exc.code in QUIET_ENDS:
                raise StopIteration from None
            raise
