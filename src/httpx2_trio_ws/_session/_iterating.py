"""Receiving JSON, and iterating: what is built on the receiving calls of a session."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from httpx2_trio_ws._core._json import check_loads
from httpx2_trio_ws._exceptions import QUIET_ENDS, WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ._inbox import Inbox

T = TypeVar("T")


class Iterating:
    """This part of a session."""

    __slots__ = ()

    if TYPE_CHECKING:
        _inbox: Inbox
        _is_cancelled: Callable[[], bool]

        async def _receive(self) -> str | bytes: ...
        async def receive(self) -> str | bytes: ...
        async def receive_text(self) -> str: ...
        async def receive_bytes(self) -> bytes: ...

    @overload
    async def receive_json(self) -> Any: ...
    @overload
    async def receive_json(self, loads: Callable[[str | bytes], T]) -> T: ...
    async def receive_json(self, loads: Callable[[str | bytes], Any] = json.loads) -> Any:
        """Receive the next message, text or binary, and parse it.

        What cannot be parsed has been received all the same, and the next call gets the next message.

        Args:
            loads: called with the message; what it returns is returned, what it raises is raised.

        Raises:
            json.JSONDecodeError: it is not JSON; the text is in the exception's ``doc``.
            UnicodeDecodeError: it is binary, and neither UTF-8 nor UTF-16 nor UTF-32; the bytes are in the
                exception's ``object``. As the one before, it is a :exc:`ValueError`.
            ValueError: it has an integer of more digits than :func:`sys.get_int_max_str_digits` says.
            RecursionError: it is nested too deep.
            TypeError: ``loads`` cannot be called; nothing has been received. Else as :meth:`receive`.
        """
        check_loads(loads)
        return loads(await self.receive())

    async def __anext__(self) -> str | bytes:
        """The next message. Iteration ends when the peer closes with 1000, 1001 or no code; else as :meth:`receive`."""
        # As receive(), once more: a coroutine within a coroutine would cost a quarter of a call.
        inbox = self._inbox
        if inbox.credit and not self._is_cancelled():
            inbox.credit -= 1
            return inbox.messages.popleft()
        try:
            return await self._receive()
        except WebSocketDisconnect as exc:
            if exc.code in QUIET_ENDS:
                raise StopAsyncIteration from None
            raise

    def iter_text(self) -> AsyncIterator[str]:
        """Iterate over messages, each as from :meth:`receive_text`.

        Iteration ends when the peer closes with 1000, 1001 or no code. What it raises else does not end it: the next turn
        of a loop goes on. Nothing needs to be closed when a loop is left early.
        """
        return _Messages(self.receive_text)

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """Iterate over messages, each as from :meth:`receive_bytes`; else as :meth:`iter_text`."""
        return _Messages(self.receive_bytes)

    @overload
    def iter_json(self) -> AsyncIterator[Any]: ...
    @overload
    def iter_json(self, loads: Callable[[str | bytes], T]) -> AsyncIterator[T]: ...
    def iter_json(self, loads: Callable[[str | bytes], Any] = json.loads) -> AsyncIterator[Any]:
        """Iterate over messages, each as from :meth:`receive_json`; else as :meth:`iter_text`."""
        check_loads(loads)
        return _Messages(partial(self.receive_json, loads))


class _Messages(Generic[T]):
    """Iterates over what a receiving call returns. A generator would have to be closed, and ends with its first error."""

    __slots__ = ("_receive",)

    def __init__(self, receive: Callable[[], Awaitable[T]]) -> None:
        self._receive = receive

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self._receive()
        except WebSocketDisconnect as exc:
            if exc.code in QUIET_ENDS:
                raise StopAsyncIteration from None
            raise
