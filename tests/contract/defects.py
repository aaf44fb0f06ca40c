"""Sessions with one defect each, for the contract to find.

A defect stands before a session that has none, on trio and in memory. What a class changes is its defect.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, Self

import httpx2_trio_ws
from httpx2_trio_ws import WebSocketDisconnect
from httpx2_trio_ws.testing import memory_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pytest

    from .carriers import Handler

DEFECTS: dict[str, type[Defective]] = {}


class Defective:
    """A session that hands everything on. What it does wrong, if anything, a subclass says."""

    options: ClassVar[dict[str, Any]] = {}  # in place of what was asked for

    def __init_subclass__(cls) -> None:
        DEFECTS[cls.__name__] = cls

    def __init__(self, ws: Any) -> None:
        self.__dict__["ws"] = ws

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ws, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.ws, name, value)

    def __repr__(self) -> str:
        return repr(self.ws)

    def __aiter__(self) -> Self:
        return self

    # What the session itself builds on these is written out here, so that a defect in them is found there, too.

    async def receive(self) -> Any:
        return await self.ws.receive()

    async def receive_text(self) -> Any:
        return await self.ws.receive_text()

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except WebSocketDisconnect as exc:
            if exc.code in (1000, 1001, 1005):
                raise StopAsyncIteration from None
            raise

    async def send(self, value: Any) -> None:
        await self.ws.send(value)

    async def close(self, code: Any = 1000, reason: Any = "") -> None:
        await self.ws.close(code, reason)

    async def aclose(self) -> None:
        await self.close()

    @staticmethod
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        """Change what no call of the session reaches."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, handler: Handler, /, **options: Any) -> AsyncGenerator[Any]:
        async with cls.opened(handler, options | cls.options) as ws:
            yield cls(ws)

    @staticmethod
    @contextlib.asynccontextmanager
    async def opened(handler: Handler, options: dict[str, Any]) -> AsyncGenerator[Any]:
        async with (
            memory_server(handler, compression="deflate") as client,
            httpx2_trio_ws.open_websocket(client, "/", **options) as ws,
        ):
            yield ws
