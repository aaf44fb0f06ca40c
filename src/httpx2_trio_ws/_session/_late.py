"""An event that is made when it is first waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from httpx2_trio_ws._runtime import Event, Runtime


class LateEvent:
    """An event of the loop's, for what is hardly ever waited for: until somebody does, there is none."""

    __slots__ = ("_event", "_is_set", "_runtime")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._event: Event | None = None
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        if self._event is None:
            self._event = self._runtime.event()
            if self._is_set:
                self._event.set()
        await self._event.wait()
