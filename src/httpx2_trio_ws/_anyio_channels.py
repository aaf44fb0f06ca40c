"""What :mod:`httpx2_trio_ws.multiplex` gives, as anyio's streams: for :mod:`httpx2_trio_ws.anyio`."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

import anyio.abc

from ._multiplexing._merge import MergedCore
from ._multiplexing._multiplexer import MultiplexerCore
from ._multiplexing._subscription import SubscriptionCore
from ._session._session import Session

T = TypeVar("T")
K = TypeVar("K")
X = TypeVar("X")


class Subscription(SubscriptionCore[T], anyio.abc.ObjectReceiveStream[T]):
    """As :class:`httpx2_trio_ws.multiplex.Subscription`; an :class:`anyio.abc.ObjectReceiveStream`."""


class Multiplexer(MultiplexerCore[T, Session, Subscription[T]], anyio.abc.ObjectStream[T]):
    """As :class:`httpx2_trio_ws.multiplex.Multiplexer`; an :class:`anyio.abc.ObjectStream`."""

    _subscription_type = Subscription

    # anyio's generic code passes the message by this name, trio's by another.
    async def send(self, item: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As ``send()`` of the multiplexer on trio."""
        await super().send(item)

    async def send_eof(self) -> NoReturn:
        """A WebSocket has no half-close: a close frame ends both directions (RFC 6455 §1.4).

        Raises:
            NotImplementedError: always, as from anyio's TLS streams.
        """
        raise NotImplementedError("a WebSocket cannot be closed in one direction only; use aclose()")


class Merged(MergedCore[K, X], anyio.abc.ObjectReceiveStream[tuple[K, X]]):
    """As :class:`httpx2_trio_ws.multiplex.Merged`; an :class:`anyio.abc.ObjectReceiveStream` of ``(name, message)``."""
