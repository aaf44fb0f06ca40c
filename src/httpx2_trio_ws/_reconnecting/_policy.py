"""What is worth another attempt, and how long to wait for it. No I/O here."""

from __future__ import annotations

import math
import random
import re
import ssl
import time
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, cast

import httpcore2
import httpx2

from httpx2_trio_ws._exceptions import (
    WebSocketDisconnect,
    WebSocketException,
    WebSocketHandshakeTimeout,
    WebSocketNetworkError,
    WebSocketUpgradeError,
)
from httpx2_trio_ws._options import _check_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

# 408 and 429 say so; of 5xx, those are left out that say what the server is not made for, rather than how it is now:
# not implemented, HTTP version, variant, loop, extension, and a network that wants a login (RFC 9110 §15.6, RFC 6585).
_STATUSES = frozenset({408, 429, *range(500, 600)}) - {501, 505, 506, 508, 510, 511}
_CLOSE_CODES = frozenset({1001, 1006, 1011, 1012, 1013, 1014})
_TRANSIENT = (
    httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError,
    httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.RemoteProtocolError,
    WebSocketHandshakeTimeout,
)  # fmt: skip
_PROXY_ERRORS = (httpx2.ProxyError, httpcore2.ProxyError)
# httpx2 has one exception for all that a proxy may say: it begins with the status of an HTTP proxy; the other text is
# that of a SOCKS proxy that cannot reach the server.
_PROXY_SAID = re.compile(r"(\d{3}) |Proxy Server could not connect")


def _is_code(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """What is worth another attempt. Override a method to decide otherwise.

    What the methods raise comes out of the block.

    Attributes:
        statuses: HTTP statuses of a refused handshake. Default: 408, 429, and all of 5xx but 501, 505, 506, 508, 510
            and 511.
        close_codes: close codes of the peer; 1006 stands for a connection that was lost without one, keepalive
            timeouts included. Default: 1001, 1006, 1011, 1012, 1013 and 1014.
        retry_requests: whether errors of ordinary requests, which the block or ``on_connect`` makes, are worth another
            attempt, too: those that are in opening, and ``httpx2.HTTPStatusError`` with one of ``statuses``. For blocks that
            also speak HTTP with a server that restarts. Default ``False``.
    """

    statuses: AbstractSet[int] = _STATUSES
    close_codes: AbstractSet[int] = _CLOSE_CODES
    retry_requests: bool = False

    def __post_init__(self) -> None:
        for name in ("statuses", "close_codes"):
            value: object = getattr(self, name)
            if not isinstance(value, AbstractSet) or not all(map(_is_code, cast("AbstractSet[object]", value))):
                raise TypeError(f"{name} must be a set of int, not {value!r}")
        if not isinstance(self.retry_requests, bool):
            raise TypeError(f"retry_requests must be a bool, not {self.retry_requests!r}")

    def retry_opening(self, error: Exception) -> bool:
        """Whether to try again after ``error``, which opening the session has raised.

        By default: refusals with one of ``statuses``, :exc:`WebSocketHandshakeTimeout`, and httpx2's timeouts, network
        errors and ``RemoteProtocolError``; a proxy that cannot be reached, hangs up, says one of ``statuses``, or says
        that it cannot reach the server.
        Not: a certificate that is not trusted, and ``PoolTimeout``, as the limit is the client's own.
        """
        if isinstance(error, WebSocketUpgradeError):
            return error.response.status_code in self.statuses
        if isinstance(error, httpx2.ProxyError):
            return self._retry_proxy(error)
        if isinstance(error, httpx2.PoolTimeout):
            return False
        return self._is_transient(error)

    def _retry_proxy(self, error: httpx2.ProxyError) -> bool:
        chain = list(causes(error))
        at = max(place for place, cause in enumerate(chain) if isinstance(cause, _PROXY_ERRORS))
        said = _PROXY_SAID.match(str(chain[at]))
        if said is not None:
            return said[1] is None or int(said[1]) in self.statuses
        # It said nothing of its own: it was not there, or hung up.
        return len(chain) > at + 1 and self._is_transient(chain[at + 1])

    def _is_transient(self, error: BaseException) -> bool:
        is_socks = type(error).__module__.startswith("socksio.")  # httpx2 needs no socksio where there is no such proxy
        return (is_socks or isinstance(error, _TRANSIENT)) and not any(
            isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(error)
        )

    def retry_session(self, error: WebSocketException) -> bool:
        """Whether to try again after ``error``, which has ended the session.

        It is a :exc:`WebSocketDisconnect`, :exc:`WebSocketNetworkError` or :exc:`WebSocketProtocolError`. By default,
        ``close_codes`` decides on the first two, and the third is not retried.
        """
        if isinstance(error, WebSocketDisconnect):
            return error.code in self.close_codes
        return isinstance(error, WebSocketNetworkError) and 1006 in self.close_codes

    def retry_block(self, error: Exception) -> bool:
        """Whether to try again after ``error``, an error of the block's own or of ``on_connect``.

        By default not, unless ``retry_requests`` says so and it is one of a request.
        """
        if not self.retry_requests:
            return False
        if isinstance(error, httpx2.HTTPStatusError):
            return error.response.status_code in self.statuses
        return isinstance(error, httpx2.TransportError) and self.retry_opening(error)


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long to wait: exponential backoff with full jitter.

    Before the attempt that follows the n-th failure in a row, so many seconds::

        uniform(0, min(max_seconds, initial_seconds * factor ** (n - 1)))

    A ``Retry-After`` header of a refused handshake is added to that: the next attempt never comes before the server
    wants it, nor do all clients come together that were told the same.

    Attributes:
        initial_seconds: the longest wait after the first failure. Default 1.
        factor: how much longer it becomes with each more. Default 2.
        max_seconds: the longest it becomes. Default 60.
        stable_seconds: a session that lasted so long ends the row of failures. Default 60: more than keepalive takes,
            with its defaults, to find out that a peer never lived.
        max_retry_after_seconds: the most of a ``Retry-After`` that is waited for. Default 300.
        rng: where the randomness is from; ``None`` is that of the module ``random``.
    """

    initial_seconds: float = 1
    factor: float = 2
    max_seconds: float = 60
    stable_seconds: float = 60
    max_retry_after_seconds: float = 300
    rng: random.Random | None = None

    def __post_init__(self) -> None:
        _check_seconds("initial_seconds", self.initial_seconds, none=False, zero=False)
        for name in ("max_seconds", "stable_seconds", "max_retry_after_seconds"):
            _check_seconds(name, getattr(self, name), none=False, zero=True)
        if not isinstance(self.factor, (int, float)) or isinstance(self.factor, bool):
            raise TypeError(f"factor must be a number, not {self.factor!r}")
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"factor must be at least 1, not {self.factor}")
        if math.inf in (self.initial_seconds, self.max_seconds):
            raise ValueError("initial_seconds and max_seconds must be finite")
        if not isinstance(self.rng, (random.Random, type(None))):
            raise TypeError(f"rng must be a random.Random or None, not {self.rng!r}")

    def delay(self, failures: int, retry_after_seconds: float = 0) -> float:
        """Seconds to wait after so many failures in a row, 1 or more. Override it for another formula."""
        try:
            longest = min(self.max_seconds, self.initial_seconds * float(self.factor) ** (failures - 1))
        except OverflowError:
            longest = self.max_seconds
        uniform = random.uniform if self.rng is None else self.rng.uniform
        return min(retry_after_seconds, self.max_retry_after_seconds) + uniform(0, longest)


def retry_after(error: Exception) -> float:
    """Seconds that the response in ``error`` asks to wait (RFC 9110 §10.2.3); 0 if it does not."""
    if not isinstance(error, (WebSocketUpgradeError, httpx2.HTTPStatusError)):
        return 0
    headers = error.response.headers
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    at = _timestamp(value)
    if at is None:
        return 0
    # By the server's clock, as far as it tells: ours may be wrong.
    now = _timestamp(headers.get("Date", ""))
    return max(0, at - (time.time() if now is None else now))


def _timestamp(date: str) -> float | None:
    """Seconds since 1970 of an HTTP-date, which is in UTC; ``None`` if it is none."""
    try:
        parsed = parsedate_to_datetime(date)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):  # the latter of years that no date has room for
        return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what led to it; each once, as a chain may lead back into itself."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
