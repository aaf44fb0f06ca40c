"""The runtime that is trio itself: every name is trio's own, at no cost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import current_task

from httpx2_trio_ws._carriers._trio import carrier_for

from ._base import Runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from httpx2_trio_ws._carriers import Event

    from ._base import CancelScope, MakesCarrier, Nursery


def _is_cancelled() -> bool:
    # trio tells this in public by a coroutine only, which costs three times as much.
    return current_task()._cancel_status.effectively_cancelled


def _may_be_cancelled() -> bool:
    return True


_WILL_RAISE = _is_cancelled if hasattr(trio.lowlevel.Task, "_cancel_status") else _may_be_cancelled


def _clock() -> Callable[[], float]:
    # trio.current_time() finds it anew at each call.
    return trio.lowlevel.current_clock().current_time


class TrioRuntime(Runtime):
    """See :class:`Runtime`."""

    cancelled = trio.Cancelled
    event: Callable[[], Event] = staticmethod(trio.Event)
    cancel_scope: Callable[..., CancelScope] = staticmethod(trio.CancelScope)
    here: Callable[[], object] = staticmethod(threading.get_ident)  # a thread runs one at a time
    now: Callable[[], float] = staticmethod(trio.current_time)
    clock: Callable[[], Callable[[], float]] = staticmethod(_clock)
    checkpoint: Callable[[], Awaitable[object]] = staticmethod(trio.lowlevel.checkpoint)
    checkpoint_if_cancelled: Callable[[], Awaitable[object]] = staticmethod(trio.lowlevel.checkpoint_if_cancelled)
    will_raise: Callable[[], bool] = staticmethod(_WILL_RAISE)
    is_cancelled: Callable[[], bool] = staticmethod(_WILL_RAISE)
    current_task: Callable[[], object] = staticmethod(current_task)
    sleep_until: Callable[[float], Awaitable[object]] = staticmethod(trio.sleep_until)
    open_nursery: Callable[[], AbstractAsyncContextManager[Nursery]] = staticmethod(trio.open_nursery)
    spawn_system_task: Callable[[Callable[[], Coroutine[Any, Any, None]]], object] = staticmethod(
        trio.lowlevel.spawn_system_task
    )
    carrier: MakesCarrier = staticmethod(carrier_for)


TRIO = TrioRuntime()
