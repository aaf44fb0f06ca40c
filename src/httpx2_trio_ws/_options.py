"""The options of opening a session: what they are, their defaults, and their checks."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

import httpx2

from ._instruments import Instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from httpx2._client import UseClientDefault
    from httpx2._types import AuthTypes, CookieTypes, HeaderTypes, QueryParamTypes, TimeoutTypes

F = TypeVar("F", bound="Callable[..., Any]")


class OpenOptions(TypedDict, total=False):
    """The keyword arguments of every function that opens a session.

    The first seven are httpx2's own and mean what they mean in :meth:`httpx2.AsyncClient.request`.
    """

    params: QueryParamTypes | None
    """Query parameters, merged with the client's. If there are any, the URL's own query is dropped, as httpx2 does."""
    headers: HeaderTypes | None
    """Request headers, merged with the client's. Those of the handshake itself are refused."""
    cookies: CookieTypes | None
    """Cookies of this request, beside the client's."""
    auth: AuthTypes | UseClientDefault | None
    """Authentication: a tuple, a callable or an :class:`httpx2.Auth`. ``None`` switches the client's off."""
    follow_redirects: bool | UseClientDefault
    """Follow redirects of the handshake; default as the client is set. ``wss`` is never left for ``ws``."""
    timeout: TimeoutTypes | UseClientDefault
    """httpx2's timeouts, in seconds and per operation, for the handshake alone."""
    extensions: Mapping[str, Any] | None
    """httpx2's request extensions, such as ``{"trace": ...}`` or ``{"sni_hostname": ...}``."""
    subprotocols: Sequence[str] | None
    """Subprotocols to offer, the preferred first (RFC 6455 §1.9). ``None`` offers none."""
    compression: Literal["deflate", "deflate-no-context-takeover"] | None
    """``"deflate"`` offers permessage-deflate (RFC 7692); ``None`` does not. Default ``"deflate"``.

    ``"deflate-no-context-takeover"`` compresses each message for itself (§7.1.1), so that no length tells of what an
    earlier one said; a server that does not agree to it is not spoken with.
    """
    max_message_size_bytes: int | None
    """The largest message to receive, in bytes after inflation. Default 1 MiB; ``None`` is no limit.

    A peer that sends more is told 1009, and :exc:`WebSocketProtocolError` is raised. The limit does not apply to a message
    that :meth:`WebSocketSession.receive_stream` waits for.
    """
    stream_large_messages: bool
    """What becomes of a message over ``max_message_size_bytes`` that nobody waits for. Default false: it is refused.

    If true, it waits, little of it held and the rest not read, until :meth:`WebSocketSession.receive_stream` takes it in
    parts; a call that wants it whole refuses it, with 1009.
    """
    queue_size: int
    """How many received messages to hold for the application before reading stops. Default 512."""
    handshake_timeout_seconds: float | None
    """Seconds for the whole opening, redirects and authentication included. Default 30; ``None`` is no limit."""
    keepalive_ping_interval_seconds: float | None
    """Seconds of silence after which to ping. Default 20; ``None`` sends no pings."""
    keepalive_ping_timeout_seconds: float | None
    """Seconds for a sign of life after a ping. Default 20; ``None`` waits for ever."""
    close_timeout_seconds: float
    """Seconds for flushing, the close frame and the peer's answer together. Default 5."""
    failure_grace_seconds: float
    """Seconds for a call to tell of a failure before it is raised in the nursery. Default 5.

    0 raises it at once; ``math.inf`` only where the block is left.
    """
    instruments: Sequence[Instrument]
    """Who is told what happens in the session; see :class:`Instrument`. Default none."""


@dataclass(frozen=True, slots=True)
class HandshakeOptions:
    """What the request is made of."""

    params: QueryParamTypes | None = None
    headers: HeaderTypes | None = None
    cookies: CookieTypes | None = None
    auth: AuthTypes | UseClientDefault | None = httpx2.USE_CLIENT_DEFAULT
    follow_redirects: bool | UseClientDefault = httpx2.USE_CLIENT_DEFAULT
    timeout: TimeoutTypes | UseClientDefault = httpx2.USE_CLIENT_DEFAULT
    extensions: Mapping[str, Any] | None = None
    subprotocols: Sequence[str] | None = None
    compression: Literal["deflate", "deflate-no-context-takeover"] | None = "deflate"
    handshake_timeout_seconds: float | None = 30

    def __post_init__(self) -> None:
        if self.compression not in ("deflate", "deflate-no-context-takeover", None):
            raise ValueError(
                f'compression is "deflate", "deflate-no-context-takeover" or None, not {self.compression!r}'
            )
        for name in ("params", "headers", "cookies", "subprotocols"):
            _check_no_iterator(name, getattr(self, name))
        if not isinstance(self.follow_redirects, (bool, type(httpx2.USE_CLIENT_DEFAULT))):
            raise TypeError(f"follow_redirects must be a bool, not {self.follow_redirects!r}")
        _check_seconds("handshake_timeout_seconds", self.handshake_timeout_seconds, none=True, zero=False)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How the session behaves once it is open."""

    max_message_size_bytes: int | None = 2**20
    stream_large_messages: bool = False
    queue_size: int = 512
    keepalive_ping_interval_seconds: float | None = 20
    keepalive_ping_timeout_seconds: float | None = 20
    close_timeout_seconds: float = 5
    failure_grace_seconds: float = 5
    instruments: Sequence[Instrument] = ()

    def __post_init__(self) -> None:
        if self.max_message_size_bytes is not None:
            _check_count("max_message_size_bytes", self.max_message_size_bytes)
        if not isinstance(self.stream_large_messages, bool):
            raise TypeError(f"stream_large_messages must be a bool, not {self.stream_large_messages!r}")
        _check_count("queue_size", self.queue_size)
        for name in ("keepalive_ping_interval_seconds", "keepalive_ping_timeout_seconds"):
            _check_seconds(name, getattr(self, name), none=True, zero=False)
        for name in ("close_timeout_seconds", "failure_grace_seconds"):
            _check_seconds(name, getattr(self, name), none=False, zero=True)
        _check_no_iterator("instruments", self.instruments)
        if not all(isinstance(instrument, Instrument) for instrument in self.instruments):
            raise TypeError(f"instruments must be Instrument objects, in a sequence, not {self.instruments!r}")


_HANDSHAKE = {field.name for field in fields(HandshakeOptions)}
_SESSION = {field.name for field in fields(SessionOptions)}


def parse_options(options: OpenOptions) -> tuple[HandshakeOptions, SessionOptions]:
    """Check the keyword arguments and sort them.

    Raises:
        TypeError: an option does not exist or has the wrong type.
        ValueError: an option has a value that makes no sense.
    """
    for name in options:
        if name not in _HANDSHAKE | _SESSION:
            raise TypeError(f"there is no option {name!r}{_hint(name)}")
    given: dict[str, Any] = dict(options)
    handshake = {name: given[name] for name in given if name in _HANDSHAKE}
    session = {name: given[name] for name in given if name in _SESSION}
    return HandshakeOptions(**handshake), SessionOptions(**session) if session else _DEFAULTS


# What other libraries call it.
_ELSEWHERE = {
    "open_timeout": "handshake_timeout_seconds",
    "connect_timeout": "handshake_timeout_seconds",
    "ping_interval": "keepalive_ping_interval_seconds",
    "heartbeat": "keepalive_ping_interval_seconds",
    "ping_timeout": "keepalive_ping_timeout_seconds",
    "close_timeout": "close_timeout_seconds",
    "disconnect_timeout": "close_timeout_seconds",
    "max_size": "max_message_size_bytes",
    "max_msg_size": "max_message_size_bytes",
    "max_message_size": "max_message_size_bytes",
    "max_queue": "queue_size",
    "message_queue_size": "queue_size",
    "additional_headers": "headers",
    "extra_headers": "headers",
    "protocols": "subprotocols",
    "compress": "compression",
}
_WRITTEN_OUT = {
    "origin": "write headers={'Origin': ...}",
    "user_agent_header": "write headers={'User-Agent': ...}",
    "proxy": "it is the client's: make that with proxy=...",
    "ssl": "it is the client's: make that with verify=...",
    "ssl_context": "it is the client's: make that with verify=...",
    "verify": "it is the client's: make that with verify=...",
    "receive_timeout": "put a cancel scope around receive(); in threads, write receive(timeout=...)",
}


def _hint(name: str) -> str:
    if name in _WRITTEN_OUT:
        return f"; {_WRITTEN_OUT[name]}"
    known = _ELSEWHERE.get(name)
    close = [known] if known else difflib.get_close_matches(name, _HANDSHAKE | _SESSION, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def with_options(function: F, *, without: str = "") -> F:
    """Show the options in the signature of a function that takes them, but for one, for ``help()`` and editors."""
    signature = inspect.signature(function)
    named = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_written(name))
        for kind in (HandshakeOptions, SessionOptions)
        for name, default in ((field.name, field.default) for field in fields(kind))
        if name != without
    ]
    function.__signature__ = signature.replace(parameters=[*named, *options])  # type: ignore[attr-defined]
    return function


def _written(name: str) -> object:
    """The annotation of an option as it stands above, as the other parameters' are; typing keeps a wrapper of it."""
    annotation = OpenOptions.__annotations__[name]
    return getattr(annotation, "__forward_arg__", annotation)


def _check_no_iterator(name: str, value: object) -> None:
    """An iterator can be read once only, and these are read again: by a check, by the next attempt."""
    if isinstance(value, Iterator):
        raise TypeError(f"{name} is an iterator, which can be read only once; pass a list")


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")


def _check_seconds(name: str, value: object, *, none: bool, zero: bool) -> None:
    if value is None and none:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds{' or None' if none else ''}, not {value!r}")
    _check_size(name, value)
    if math.isnan(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} must be {'0 or more' if zero else 'more than 0'}, not {value}")


def _check_size(name: str, value: float) -> None:
    """Refuse an integer that no clock can be set to."""
    try:
        float(value)
    except OverflowError:
        raise ValueError(f"{name} is an integer that is too large to be a float; math.inf waits for ever") from None


_DEFAULTS = SessionOptions()  # one for all sessions that have nothing else
