"""How a session is asked for and accepted: once for each version of HTTP that carries one.

As long as the client has them, a request and its answer have the form of HTTP/1.1: authentication, cookies, hooks and our
own checks know that. A transport that speaks HTTP/2 says the same in its words (:data:`HTTP2`), and translates the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import httpx2
from websockets.utils import accept_key, generate_key

from httpx2_trio_ws._texts import shown, shown_text

if TYPE_CHECKING:
    from collections.abc import Iterable

Fields = list[tuple[bytes, bytes]]

KEY = "Sec-WebSocket-Key"
_ASKING = {"Upgrade": "websocket", "Connection": "Upgrade"}
_ASKING_FIELDS = tuple((name.encode(), value.encode()) for name, value in _ASKING.items())
_ACCEPTED = 101
# The fields by which a server accepts; each is the handshake's own.
ACCEPTING = frozenset(
    b"connection upgrade sec-websocket-accept sec-websocket-extensions sec-websocket-protocol".split()
)
_ADVICE = {401: "; pass auth= to log in", 407: ": the proxy wants credentials"}
_ORIGIN = "; some servers want an Origin header: headers={'Origin': 'https://...'}"
_TUNNEL = "wss:// goes through an HTTP proxy as a tunnel; ws:// does with a transport of httpx2_trio_ws.proxies"


class Version(Protocol):
    """One version of HTTP."""

    #: As at the end of a request line.
    name: str
    #: Of the request that asks.
    method: str

    def fields(self, request: httpx2.Request) -> Fields:
        """The header fields of a request that asks for a session, as they are sent."""
        ...

    def accepts(self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), *, ended: bool = False) -> bool:
        """A server's answer opens the session; ``ended``: with it, the server has ended what it sends."""
        ...

    def answered(self, response: httpx2.Response) -> str:
        """What the server has answered, in this version's words."""
        ...

    def refusal(self, response: httpx2.Response) -> str:
        """Why an answer opens no session, as far as it tells, and what to do about it."""
        ...


class _HTTP1(Version):
    """``GET`` with ``Upgrade``, and 101 (RFC 6455 §4)."""

    name = "1.1"
    method = "GET"

    def fields(self, request: httpx2.Request) -> Fields:
        return request.headers.raw

    def accepts(self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), *, ended: bool = False) -> bool:  # noqa: ARG002 (the protocol's names)
        return status == _ACCEPTED

    def answered(self, response: httpx2.Response) -> str:
        return str(response.status_code)

    def refusal(self, response: httpx2.Response) -> str:
        status = _status(response)
        if response.http_version == "HTTP/2":
            host = response.url.host
            kind = "" if isinstance(response.stream, httpx2.SyncByteStream) else "Async"
            return (
                f"the server chose HTTP/2, on which this request cannot be upgraded (it answered {status}). "
                f"Open WebSockets with a client that has no http2=True, or mount a transport without it for this host: "
                f'httpx2.{kind}Client(http2=True, mounts={{"https://{host}": httpx2.{kind}HTTPTransport(http2=False)}})'
            )
        advice = _advice(response)
        if response.is_success:
            advice = (
                f": it answered as if to an ordinary request; is {shown(response.url)} a WebSocket endpoint? "
                f"Or a proxy on the way removed the Upgrade header ({_TUNNEL})"
            )
        elif response.status_code == 426 and not advice:
            advice = f": the Upgrade header did not reach it; a proxy on the way may have removed it ({_TUNNEL})"
        return f"the server refused the WebSocket with {status}{advice}"

    # -- in the client's request, and the server's answer --------------------------------------

    #: The header fields of a request that asks; :meth:`renew_key` adds the key.
    asking = (*_ASKING_FIELDS, (b"Sec-WebSocket-Version", b"13"))

    def renew_key(self, request: httpx2.Request) -> None:
        """Give the request a new random key, as each connection needs one (RFC 6455 §4.1, item 7)."""
        request.headers[KEY] = generate_key()

    def lacks(self, request: httpx2.Request) -> str:
        """What is missing for asking at all (RFC 6455 §4.2.1); empty if nothing is. More may be wrong with it."""
        if request.method != self.method:
            return f"its method is not {self.method}"
        for name, token in _ASKING.items():
            if token.lower() not in request.headers.get(name, "").lower().replace(" ", "").split(","):
                return f"it has no header '{name}: {token}'"
        return ""

    def accept(self, request: httpx2.Request, headers: Iterable[tuple[bytes, bytes]] = ()) -> tuple[int, Fields]:
        """The status and the header fields that accept a request; ``headers`` are others, of which its own are left out."""
        own = {name.lower().encode(): value.encode() for name, value in _ASKING.items()}
        others = [(name, value) for name, value in headers if name.lower() not in {*own, b"sec-websocket-accept"}]
        if KEY in request.headers:
            own[b"sec-websocket-accept"] = accept_key(request.headers[KEY]).encode()
        return _ACCEPTED, [*own.items(), *others]


class _HTTP2(Version):
    """The extended ``CONNECT``, and a 2xx (RFC 8441 §5)."""

    name = "2"
    method = "CONNECT"

    # Of HTTP/1.1 only, or said by pseudo-headers (RFC 9113 §8.2.2, RFC 8441 §5).
    _left_out = frozenset(
        b"host connection upgrade keep-alive proxy-connection transfer-encoding content-length te http2-settings "
        b"sec-websocket-key".split()
    )
    _advice = (
        "; if it has WebSockets over HTTP/1.1 only, open them with httpx2's own transport instead of HTTP2Transport"
    )

    def fields(self, request: httpx2.Request) -> Fields:
        return [(name, value) for name, value in request.headers.raw if name.lower() not in self._left_out]

    def section(self, request: httpx2.Request) -> Fields:
        """The whole header section, pseudo-headers first."""
        return [
            (b":method", self.method.encode()),
            (b":protocol", b"websocket"),
            (b":scheme", b"https" if request.url.scheme in ("https", "wss") else b"http"),
            (b":authority", request.headers["host"].encode()),
            (b":path", request.extensions.get("target", request.url.raw_path)),
            *((name.lower(), value) for name, value in self.fields(request)),
        ]

    def accepts(self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), *, ended: bool = False) -> bool:
        # A server that has the setting and knows nothing of it answers an ordinary request: its body has a length.
        return 200 <= status < 300 and not ended and not any(name == b"content-length" for name, _ in headers)

    def answered(self, response: httpx2.Response) -> str:
        return str(response.extensions["http2_status"])

    def refusal(self, response: httpx2.Response) -> str:
        advice = _advice(response) or self._advice
        if response.is_success:
            advice = f": it answered as if to an ordinary request{self._advice}"
        return f"the server refused the extended CONNECT with {_status(response)}{advice}"


HTTP1 = _HTTP1()
HTTP2 = _HTTP2()
VERSIONS: dict[str, Version] = {version.name: version for version in (HTTP1, HTTP2)}


def over(response: httpx2.Response) -> Version:
    """The version that a session was asked for in."""
    return HTTP2 if "http2_status" in response.extensions else HTTP1


def is_accepted(response: httpx2.Response) -> bool:
    """The answer opens a session, if nothing is wrong with it; it has no body then, and reading that would end the connection."""
    return HTTP1.accepts(response.status_code)  # the form in which a client has it, in any version


def location(response: httpx2.Response) -> str:
    """Where a redirect leads, as error messages show it. It need not be a URL."""
    return shown_text(response.headers["location"])


def _status(response: httpx2.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}".strip()


def _advice(response: httpx2.Response) -> str:
    """What to do about a refusal in any version."""
    status, versions = response.status_code, response.headers.get("sec-websocket-version")
    if response.has_redirect_location:
        return f", a redirect to {location(response)!r}; pass follow_redirects=True to follow it"
    if status == 426 and versions is not None:
        return f": it wants version {versions}, and this client speaks version 13"
    without_origin = status in (400, 403) and "origin" not in response.request.headers
    return _ORIGIN if without_origin else _ADVICE.get(status, "")
