"""WebSockets over HTTP/2 (RFC 8441): many sessions on one connection. Install ``httpx2-trio-ws[http2]``.

async with httpx2.AsyncClient(transport=HTTP2Transport()) as client:
    async with open_websocket(client, "wss://example.com/a") as a, open_websocket(client, "wss://example.com/b") as b:
        ...
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import httpcore2
import trio

from ._http2_transport import _transport
from ._http2_transport._statistics import ConnectionStatistics, TransportStatistics
from ._runtime._asyncio import running
from ._runtime._trio import TRIO

if TYPE_CHECKING:
    from ._runtime import Runtime

__all__ = ["ConnectionStatistics", "HTTP2Transport", "TransportStatistics"]


def __dir__() -> list[str]:
    return list(__all__)


class HTTP2Transport(_transport.HTTP2Transport):  # noqa: D101
    __doc__ = _transport.HTTP2Transport.__doc__

    def _loop_of_caller(self) -> tuple[object, Runtime, httpcore2.AsyncNetworkBackend]:
        if trio.lowlevel.in_trio_task():
            return (
                trio.lowlevel.current_trio_token(),
                TRIO,
                cast("httpcore2.AsyncNetworkBackend", httpcore2.TrioBackend()),
            )
        backend = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())
        return asyncio.get_running_loop(), running(), backend
