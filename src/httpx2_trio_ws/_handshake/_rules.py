"""What a request for a session may be (RFC 6455 §4.1): its URL, its headers, and where it may be redirected."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx2

from httpx2_trio_ws._exceptions import WebSocketUpgradeError
from httpx2_trio_ws._texts import printable, shown

from ._agreement import offer
from ._versions import ACCEPTING, HTTP1, location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpx2_trio_ws._options import HandshakeOptions

_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
# Each of these is the handshake's own, and has an option where there is anything to choose.
_RESERVED: dict[bytes, str | None] = {
    **dict.fromkeys(ACCEPTING),
    b"sec-websocket-key": None,
    b"sec-websocket-version": None,
    b"sec-websocket-extensions": "compression=",
    b"sec-websocket-protocol": "subprotocols=",
    # A handshake has no body.
    b"content-length": None,
    b"transfer-encoding": None,
}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_NAME = re.compile(_TOKEN.pattern.encode())
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")  # RFC 9110 §5.5


def with_http(url: str) -> str:
    """As :func:`http_url`, of a text, where that is plain: so it is parsed once."""
    scheme, _, rest = url.partition("://")
    if scheme in ("ws", "wss") and rest[:1].isalnum():
        return f"{_SCHEMES[scheme]}://{rest}"
    return url


def http_url(url: httpx2.URL) -> httpx2.URL:
    """The URL with ``ws`` or ``wss`` turned to ``http`` or ``https``.

    That is what the client's mounts, cookies and environment proxies are keyed by.

    Raises:
        ValueError: another scheme, or no host.
    """
    scheme = _SCHEMES.get(url.scheme)
    if scheme is None:
        raise ValueError(f"a WebSocket URL begins with ws:// or wss://, not as {shown(url)!r} does")
    if not _host(url):
        raise ValueError(f"the URL {shown(url)!r} has no host, such as example.com in wss://example.com/path")
    return url if scheme == url.scheme else url.copy_with(scheme=scheme)


def _host(url: httpx2.URL) -> str:
    try:
        return url.host
    except ValueError as exc:  # of idna
        raise ValueError(f"the URL {shown(url)!r} has a host that is no name: {printable(str(exc))}") from exc


def check_headers(headers: httpx2.Headers, *, besides: bytes = b"") -> None:
    """Refuse headers that are the handshake's own, but for one.

    Raises:
        ValueError: naming the header, and the option to use instead.
    """
    for field, _ in headers.raw:
        name = field.lower()
        if name in _RESERVED and name != besides:
            option = _RESERVED[name]
            instead = f"; use {option}" if option else ""
            raise ValueError(f"the header {name.decode()!r} is set by the handshake itself{instead}")


def check_subprotocols(subprotocols: Sequence[str] | None) -> None:
    """Refuse subprotocols that may not be offered (RFC 6455 §4.1, item 10).

    Raises:
        TypeError: not a sequence of ``str``.
        ValueError: one is no token, or occurs twice.
    """
    if subprotocols is None:
        return
    if isinstance(subprotocols, (str, bytes)):
        raise TypeError(f"subprotocols is a list, such as [{subprotocols!r}], not a {type(subprotocols).__name__}")
    # Their text is not shown: some servers are sent a bearer token so.
    for number, subprotocol in enumerate(subprotocols):
        if not isinstance(subprotocol, str):
            raise TypeError(
                f"a subprotocol is a str, and subprotocols[{number}] is of type {type(subprotocol).__name__}"
            )
        if not _TOKEN.fullmatch(subprotocol):
            raise ValueError(f"subprotocols[{number}] is no subprotocol: it must be a token (RFC 9110 §5.6.2)")
        if subprotocol in subprotocols[:number]:
            raise ValueError(f"subprotocols[{number}] has been there before: each is offered once")


def request_headers(options: HandshakeOptions) -> httpx2.Headers:
    """The headers of the request, the user's included, but for the key.

    Raises:
        TypeError, ValueError: see :func:`check_headers` and :func:`check_subprotocols`.
    """
    headers = httpx2.Headers(options.headers)
    check_headers(headers)
    check_subprotocols(options.subprotocols)
    return httpx2.Headers([*headers.raw, *HTTP1.asking, *offer(options)])


def check_fields(request: httpx2.Request) -> None:
    """Refuse header fields that cannot be sent; before a connection is made, and without the value, which may be secret.

    Raises:
        ValueError: a name is no token, or a value has a control character in it, or a space around it (RFC 9110 §5.5).
    """
    for name, value in request.headers.raw:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header: it must be a token (RFC 9110 §5.6.2)")
        if not _VALUE.fullmatch(value):
            raise ValueError(
                f"the value of the header {name.decode()!r} has a control character, such as a line's end, or a space "
                "around it (RFC 9110 §5.5)"
            )


def redirected(request: httpx2.Request, response: httpx2.Response, cookies: httpx2.Cookies) -> httpx2.Request:
    """The request that follows a redirect.

    httpx2 has made it already (``response.next_request``), but takes ``wss://host`` for another origin than
    ``https://host``, and so drops credentials and cookies that belong there.

    Raises:
        WebSocketUpgradeError: the redirect leads from TLS to plain text, or to what is no WebSocket URL.
    """
    following = response.next_request
    if following is None:
        raise leads_nowhere(response, response)
    try:
        url = http_url(following.url)
    except ValueError as exc:
        raise WebSocketUpgradeError(f"the server redirects to {shown(following.url)!r}: {exc}", response) from exc
    if request.url.scheme == "https" and url.scheme == "http":
        raise WebSocketUpgradeError(
            f"the server redirects from TLS to plain text ({shown(following.url)}); this is never followed", response
        )
    same_origin = url.origin == request.url.origin
    if not same_origin:
        following.headers.pop("Proxy-Authorization", None)  # httpx2 drops the Authorization only
    if url != following.url:
        following.url = url
        if (same_origin or _is_upgrade_to_tls(request.url, url)) and "Authorization" in request.headers:
            following.headers["Authorization"] = request.headers["Authorization"]
        if same_origin:
            following.headers["Host"] = request.headers["Host"]
        following.headers.pop("Cookie", None)
        cookies.set_cookie_header(following)
    return following


def leads_nowhere(response: httpx2.Response, told: httpx2.Response) -> WebSocketUpgradeError:
    """A redirect leads to what is no URL; ``told`` is the response that the error has."""
    return WebSocketUpgradeError(f"the server redirects to an invalid URL: {location(response)!r}", told)


def _is_upgrade_to_tls(url: httpx2.URL, location: httpx2.URL) -> bool:
    """The same host with TLS, both on their default ports; httpx2 keeps credentials then."""
    return url.host == location.host and (url.origin.port, location.origin.port) == (80, 443)
