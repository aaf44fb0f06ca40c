"""Trio-first WebSocket sessions for httpx2.

async with httpx2.AsyncClient() as client:
    async with open_websocket(client, "wss://example.com/feed") as ws:
        await ws.send_text("hello")
        async for message in ws:
            print(message)
"""

# First: it says what is missing, where another import would only fail.
from . import _relied_on  # noqa: F401, I001  # pyright: ignore[reportUnusedImport]

from websockets.frames import CloseCode

from ._core._statistics import Statistics
from ._exceptions import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketHandshakeTimeout,
    WebSocketInvalidTypeReceived,
    WebSocketKeepaliveTimeout,
    WebSocketNetworkError,
    WebSocketProtocolError,
    WebSocketUpgradeError,
)
from ._instruments import Instrument
from ._options import OpenOptions
from ._protocol import FrameInfo
from ._session._pings import PongWaiter
from ._session._streaming import MessageReader, MessageWriter
from ._trio import WebSocketSession, WebSocketStream, connect_websocket, open_websocket, open_websocket_url
from .multiplex import Merged, Multiplexer, SourceEnded, Subscription, SubscriptionOverflow, merge, multiplex
from .reconnect import Backoff, RetryPolicy, reconnect

__version__ = "0.1.0"

__all__ = [
    "Backoff",
    "CloseCode",
    "FrameInfo",
    "Instrument",
    "Merged",
    "MessageReader",
    "MessageWriter",
    "Multiplexer",
    "OpenOptions",
    "PongWaiter",
    "RetryPolicy",
    "SourceEnded",
    "Statistics",
    "Subscription",
    "SubscriptionOverflow",
    "WebSocketClosedError",
    "WebSocketDisconnect",
    "WebSocketException",
    "WebSocketHandshakeTimeout",
    "WebSocketInvalidTypeReceived",
    "WebSocketKeepaliveTimeout",
    "WebSocketNetworkError",
    "WebSocketProtocolError",
    "WebSocketSession",
    "WebSocketStream",
    "WebSocketUpgradeError",
    "connect_websocket",
    "merge",
    "multiplex",
    "open_websocket",
    "open_websocket_url",
    "reconnect",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
