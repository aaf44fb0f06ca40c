"""The steps from nothing to an answer, as httpx2 tells of them through its ``trace`` extension.

A connection on which HTTP has not begun httpx2 forgets when it is cancelled or fails; somebody must close it.

A proxy that fails is told as one: :exc:`httpx2.ProxyError`, with the proxy's address. httpx2 raises what the step raised at which it failed: a ``ConnectError`` like any other where the proxy is not there, a
``RemoteProtocolError`` where it hangs up on ``CONNECT``, and from a SOCKS proxy that hangs up socksio's own exception,
which is no ``httpx2.TransportError``. Which step it was, and whether that was on the way to a proxy, the steps tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2

from ._rules import check_fields
from ._versions import HTTP1

if TYPE_CHECKING:
    from collections.abc import Iterator

UNREACHABLE = "cannot be reached"
NO_TUNNEL = "has not opened a tunnel"
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Between nothing and a connection on which HTTP is spoken.
_CONNECTING = ("connect_tcp", "connect_unix_socket", "setup_socks5_connection", "start_tls")


class Steps:
    """How far a request has come.

    Attributes:
        step: the last one noted.
        stage: of it: ``started``, ``complete`` or ``failed``.
        connecting: it is a step of connecting.
        connected: there is a new connection, made for this request.
        half_open: the stream of a new connection; who interrupts connecting closes it.
    """

    def __init__(self) -> None:
        self._request: httpx2.Request | None = None
        self._target: tuple[str, int | None] = ("", None)
        self._proxy = ""
        self._trouble = ""
        self._failed: BaseException | None = None
        self._waiting = False
        self.step = self.stage = ""
        self.connecting = self.connected = False
        self.half_open: Any = None

    def ready(self, request: httpx2.Request) -> None:
        """A request is about to be sent: it is checked, and gets a key.

        Raises:
            ValueError: it cannot be sent.
        """
        check_fields(request)
        HTTP1.renew_key(request)
        self._request, url = request, request.url
        self._target = (url.raw_host.decode("ascii"), url.port or _DEFAULT_PORTS.get(url.scheme))
        self._proxy = self._trouble = ""
        self._waiting = self.connected = False
        self.half_open = None  # an earlier request's is the pool's

    def note(self, name: str, info: dict[str, Any]) -> None:
        """httpx2 has begun, done or failed a step."""
        source, _, rest = name.partition(".")
        self.step, _, self.stage = rest.partition(".")
        self.connecting = self.step in _CONNECTING
        started = self.stage == "started"
        if self.stage == "failed":
            self._failed = info["exception"]
        elif self.connecting:
            self._note_connecting(source, info, started=started)
        elif self.step == "send_request_headers" and started:
            self._waiting = True
            self._trouble = NO_TUNNEL if info["request"].method == b"CONNECT" else ""
        elif self.step == "receive_response_headers" and not started:
            self._waiting = False

    def _note_connecting(self, source: str, info: dict[str, Any], *, started: bool) -> None:
        if not started:
            self.half_open = info["return_value"]
        elif self.step.startswith("connect_"):
            self.connected, self.half_open = True, None
        if self.step == "connect_tcp" and started:
            address = (info["host"], info["port"])
            self._proxy = "" if address == self._target else f"{address[0]}:{address[1]}"
        if self.step == "setup_socks5_connection":
            self._trouble = NO_TUNNEL if started else ""
        elif self.step != "connect_unix_socket":
            # Inside a tunnel, TLS is spoken with the server: "proxy" and "socks" have one by then.
            theirs = self.step == "connect_tcp" or source == "connection"
            self._trouble = UNREACHABLE if self._proxy and started and theirs else ""

    def connection_was_stale(self, exc: Exception) -> bool:
        """The request was sent on a connection that was there before, and no answer came: the peer had closed it.

        So it is worth sending once more; what comes next is another such connection, or a new one.
        """
        broken = isinstance(exc, (httpx2.NetworkError, httpx2.RemoteProtocolError))
        return broken and self._waiting and not self.connected

    def error(self, exc: Exception) -> Exception:
        """What to raise for a request that has failed: ``exc`` itself, unless that was a proxy's doing."""
        ours = isinstance(exc, httpx2.TransportError)
        # Anything else may be a hook's own, unless it is what the step has failed with.
        if not self._trouble or not (ours or exc is self._failed):
            return exc
        why = reason(exc) if ours else f"it hung up, or does not speak SOCKS5 ({reason(exc)})"
        kind = type(exc) if isinstance(exc, httpx2.TimeoutException) else httpx2.ProxyError
        return kind(failure(self._proxy, self._trouble, why), request=self._request)


def failure(proxy: str, trouble: str, why: str) -> str:
    """What an error of a proxy says."""
    return f"the proxy {proxy} {trouble}: {why}"


def reason(exc: BaseException) -> str:
    """The first text in the chain of an exception's causes; many of the outer ones have none."""
    return next((str(error) for error in _chain(exc) if str(error)), type(exc).__name__)


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or exc.__context__
