"""The runtime that is trio itself: every name is trio's own, at no cost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import trio

from ._base import Runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from ._base import CancelScope, Event, Nursery


class TrioRuntime(Runtime):
    """See :class:`Runtime`."""

    event: Callable[[], Event] = staticmethod(trio.Event)
    cancel_scope: Callable[..., CancelScope] = staticmethod(trio.CancelScope)
    now: Callable[[], float] = staticmethod(trio.current_time)
    checkpoint: Callable[[], Awaitable[object]] = staticmethod(trio.lowlevel.checkpoint)
    checkpoint_if_cancelled: Callable[[], Awaitable[object]] = staticmethod(trio.lowlevel.checkpoint_if_cancelled)
    shielded_checkpoint: Callable[[], Awaitable[object]] = staticmethod(trio.lowlevel.cancel_shielded_checkpoint)
    sleep_until: Callable[[float], Awaitable[object]] = staticmethod(trio.sleep_until)
    open_nursery: Callable[[], AbstractAsyncContextManager[Nursery]] = staticmethod(trio.open_nursery)
    wait_readable: Callable[[Any], Awaitable[object]] = staticmethod(trio.lowlevel.wait_readable)
    wait_writable: Callable[[Any], Awaitable[object]] = staticmethod(trio.lowlevel.wait_writable)

    def is_cancellation(self, exc: BaseException) -> bool:
        if isinstance(exc, BaseExceptionGroup):
            return any(map(self.is_cancellation, cast("BaseExceptionGroup[BaseException]", exc).exceptions))
        return isinstance(exc, trio.Cancelled)

    def socket_of(self, network_stream: Any) -> Any | None:
        # Reading and writing a file descriptor with os.read and os.write is for POSIX. A TLS stream's
        # socket carries ciphertext, so it must not be touched.
        if os.name != "posix" or network_stream.get_extra_info("ssl_object") is not None:
            return None
        socket = network_stream.get_extra_info("socket")
        return socket if isinstance(socket, trio.socket.SocketType) else None


TRIO = TrioRuntime()
