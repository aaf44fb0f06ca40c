"""The runtime that is trio itself: every name is trio's own, at no cost. And the carrier for trio's sockets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import current_task

from httpx2_trio_ws._transport import READ_SIZE, CarrierError, StreamTransport, write_now

from ._base import Runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    import httpx2

    from httpx2_trio_ws._transport import Transport

    from ._base import CancelScope, Event, Nursery


class SocketTransport(StreamTransport):
    """Through the plain socket under the network stream."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(response)
        # The first read goes through the stream: it may hold bytes that came together with the 101.
        # It hands those out whole, as they are part of one read of 64 KiB.
        self._first = True

    async def read(self) -> bytes:
        try:
            if self._first:
                data = bytes(await self._stream.read(2 * READ_SIZE))
                self._first = False
                return data
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                try:
                    # A closed socket's descriptor is -1: never one that the system gave out again.
                    return os.read(self._socket.fileno(), READ_SIZE)
                except BlockingIOError:
                    continue
        except Exception as exc:
            raise CarrierError("reading from the connection failed") from exc

    @property
    def writes_now(self) -> bool:
        return True

    def write_now(self, data: bytes | memoryview) -> int:
        return write_now(self._socket, data)

    async def write(self, data: memoryview) -> int:
        written = write_now(self._socket, data)
        if not written:
            try:
                await trio.lowlevel.wait_writable(self._socket)
            except Exception as exc:
                raise CarrierError("writing to the connection failed") from exc
        return written


def _is_cancelled() -> bool:
    # trio tells this in public by a coroutine only, which costs three times as much.
    return current_task()._cancel_status.effectively_cancelled


def _may_be_cancelled() -> bool:
    return True


class TrioRuntime(Runtime):
    """See :class:`Runtime`."""

    cancelled = trio.Cancelled
    event: Callable[[], Event] = staticmethod(trio.Event)
    cancel_scope: Callable[..., CancelScope] = staticmethod(trio.CancelScope)
    now: Callable[[], float] = staticmethod(trio.current_time)
    checkpoint: Callable[[], Awaitable[object]] = staticmethod(trio.lowlevel.checkpoint)
    checkpoint_if_cancelled: Callable[[], Awaitable[object]] = staticmethod(trio.lowlevel.checkpoint_if_cancelled)
    is_cancelled: Callable[[], bool] = staticmethod(
        _is_cancelled if hasattr(trio.lowlevel.Task, "_cancel_status") else _may_be_cancelled
    )
    shielded_checkpoint: Callable[[], Awaitable[object]] = staticmethod(trio.lowlevel.cancel_shielded_checkpoint)
    sleep_until: Callable[[float], Awaitable[object]] = staticmethod(trio.sleep_until)
    open_nursery: Callable[[], AbstractAsyncContextManager[Nursery]] = staticmethod(trio.open_nursery)

    def socket_transport(self, response: httpx2.Response, socket: Any) -> Transport:
        return SocketTransport(response) if isinstance(socket, trio.socket.SocketType) else StreamTransport(response)


TRIO = TrioRuntime()
