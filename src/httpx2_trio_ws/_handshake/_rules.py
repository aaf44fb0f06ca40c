"""The opening handshake (RFC 6455 §4.1) as pure functions: headers out, checks of what came back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import httpx2
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.headers import build_extension
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI
from websockets.utils import generate_key

from httpx2_trio_ws._exceptions import WebSocketUpgradeError
from httpx2_trio_ws._texts import printable, shown, shown_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from httpx2._types import HeaderTypes

    from httpx2_trio_ws._options import HandshakeOptions

_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
# Each of these is the handshake's own, and has an option where there is anything to choose.
_RESERVED = {
    "connection": None,
    "upgrade": None,
    "sec-websocket-key": None,
    "sec-websocket-version": None,
    "sec-websocket-accept": None,
    "sec-websocket-extensions": "compression=",
    "sec-websocket-protocol": "subprotocols=",
    # A handshake has no body.
    "content-length": None,
    "transfer-encoding": None,
}
_CHECKED = tuple(name.encode() for name in _RESERVED if name not in ("content-length", "transfer-encoding"))
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_NAME = re.compile(_TOKEN.pattern.encode())
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")  # RFC 9110 §5.5
_KEY = "Sec-WebSocket-Key"
_ADVICE = {401: "; pass auth= to log in", 407: ": the proxy wants credentials"}
_HTTP1_ADVICE = (
    "; if it has WebSockets over HTTP/1.1 only, open them with httpx2's own transport instead of HTTP2Transport"
)
_ORIGIN = "; some servers want an Origin header: headers={'Origin': 'https://...'}"
_TUNNEL = "wss:// goes through an HTTP proxy as a tunnel; ws:// does with a transport of httpx2_trio_ws.proxies"
# Memory level 5 instead of 8: some 140 KB instead of 260 for the compressor, and hardly less compression.
_MEMORY = {"memLevel": 5}
_OFFERS = {
    "deflate": ClientPerMessageDeflateFactory(compress_settings=_MEMORY),
    "deflate-no-context-takeover": ClientPerMessageDeflateFactory(
        server_no_context_takeover=True, client_no_context_takeover=True, compress_settings=_MEMORY
    ),
}
# Legal (RFC 7692 §7.1.2.2), but zlib has no such window to compress with.
_TOO_SMALL = re.compile(r'(client_max_window_bits[ \t]*=[ \t]*)(?:8|"8")(?=[ \t]*(?:[;,]|$))')


class Agreement(NamedTuple):
    """What client and server agreed on."""

    subprotocol: str | None
    deflate: PerMessageDeflate | None


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


def check_headers(headers: HeaderTypes | None) -> None:
    """Refuse headers that are the handshake's own.

    Raises:
        ValueError: naming the header, and the option to use instead.
    """
    for name in httpx2.Headers(headers):
        if name.lower() in _RESERVED:
            option = _RESERVED[name.lower()]
            instead = f"; use {option}" if option else ""
            raise ValueError(f"the header {name!r} is set by the handshake itself{instead}")


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
    """The headers of the request, the user's included; :func:`renew_key` adds the key.

    Raises:
        TypeError, ValueError: see :func:`check_headers` and :func:`check_subprotocols`.
    """
    check_headers(options.headers)
    check_subprotocols(options.subprotocols)
    headers = httpx2.Headers(options.headers)
    headers["Upgrade"] = "websocket"
    headers["Connection"] = "Upgrade"
    headers["Sec-WebSocket-Version"] = "13"
    if options.compression is not None:
        factory = _OFFERS[options.compression]
        offer = build_extension([(factory.name, list(factory.get_request_params()))])
        headers["Sec-WebSocket-Extensions"] = offer
    if options.subprotocols:
        headers["Sec-WebSocket-Protocol"] = ", ".join(options.subprotocols)
    return headers


def renew_key(request: httpx2.Request) -> None:
    """Give the request a new random key, as each connection needs one (RFC 6455 §4.1, item 7)."""
    request.headers[_KEY] = generate_key()


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


def check_response(response: httpx2.Response, options: HandshakeOptions) -> Agreement:
    """Check the server's answer (RFC 6455 §4.1, second list) and find what was agreed on.

    Raises:
        WebSocketUpgradeError: it is a refusal, or breaks a rule.
    """
    if response.status_code != 101:
        raise WebSocketUpgradeError(_refusal(response), response)
    checker = ClientProtocol(
        WebSocketURI(secure=False, host="", port=80, path="/", query="", username=None, password=None),
        extensions=None if options.compression is None else [_OFFERS[options.compression]],
        subprotocols=[Subprotocol(name) for name in options.subprotocols or ()] or None,
    )
    checker.key = response.request.headers[_KEY]
    headers = Headers()
    uncompressed = False
    try:
        for name, value in response.headers.raw:
            if name.lower() in _CHECKED:  # others may hold any bytes
                text = value.decode("latin-1").strip(" \t")
                if name.lower() == b"sec-websocket-extensions":
                    text, found = _TOO_SMALL.subn(r"\g<1>9", text)
                    uncompressed |= bool(found)
                headers[name.decode("ascii")] = text
        _check_subprotocol(response, options)
        checker.process_response(Response(101, "Switching Protocols", headers))
    except InvalidHandshake as exc:
        raise WebSocketUpgradeError(f"the server answered 101, but its handshake is invalid: {exc}", response) from exc
    if response.is_closed and not _made_closed(response):
        raise WebSocketUpgradeError(
            "the connection was closed as soon as it was upgraded: an event hook or the authentication must not read "
            "or close a response of status 101",
            response,
        )
    if "network_stream" not in response.extensions:
        raise WebSocketUpgradeError(
            "the client's transport answered 101 without a network_stream: it cannot carry a WebSocket", response
        )
    deflate = next((e for e in checker.extensions if isinstance(e, PerMessageDeflate)), None)
    if deflate is not None and uncompressed:
        # Level 0 makes blocks that refer to nothing before them, whatever the window.
        deflate = PerMessageDeflate(
            deflate.remote_no_context_takeover,
            deflate.local_no_context_takeover,
            deflate.remote_max_window_bits,
            deflate.local_max_window_bits,
            {**_MEMORY, "level": 0},
        )
    return Agreement(checker.subprotocol, deflate)


def _made_closed(response: httpx2.Response) -> bool:
    """It was closed before it came to the client, which measures the time until then: ``httpx2.Response(101, ...)``."""
    try:
        _ = response.elapsed
    except RuntimeError:
        return True
    return False


def _check_subprotocol(response: httpx2.Response, options: HandshakeOptions) -> None:
    chosen = response.headers.get_list("sec-websocket-protocol", split_commas=True)
    if len(chosen) == 1 and chosen[0] not in (options.subprotocols or ()):
        offered = "which was not among those offered" if options.subprotocols else "and none was offered"
        raise WebSocketUpgradeError(
            f"the server answered 101, but its handshake is invalid: it chose the subprotocol {chosen[0]!r}, {offered} "
            "(subprotocols=)",
            response,
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
        raise WebSocketUpgradeError(f"the server redirects to an invalid URL: {location(response)!r}", response)
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


def _is_upgrade_to_tls(url: httpx2.URL, location: httpx2.URL) -> bool:
    """The same host with TLS, both on their default ports; httpx2 keeps credentials then."""
    return url.host == location.host and (url.origin.port, location.origin.port) == (80, 443)


def _refusal(response: httpx2.Response) -> str:
    """Why the server did not upgrade, as far as its status tells, and what to do about it."""
    status = f"{response.status_code} {response.reason_phrase}".strip()
    if "http2_status" in response.extensions:
        return f"the server refused the extended CONNECT with {status}{_advice(response) or _HTTP1_ADVICE}"
    if response.http_version == "HTTP/2":
        host = response.url.host
        kind = "" if isinstance(response.stream, httpx2.SyncByteStream) else "Async"
        return (
            f"the server chose HTTP/2, on which this request cannot be upgraded (it answered {status}). "
            f"Open WebSockets with a client that has no http2=True, or mount a transport without it for this host: "
            f'httpx2.{kind}Client(http2=True, mounts={{"https://{host}": httpx2.{kind}HTTPTransport(http2=False)}})'
        )
    return f"the server refused the WebSocket with {status}{_advice(response)}"


def location(response: httpx2.Response) -> str:
    """Where a redirect leads, as error messages show it. It need not be a URL."""
    return shown_text(response.headers["location"])


def _advice(response: httpx2.Response) -> str:
    if response.has_redirect_location:
        return f", a redirect to {location(response)!r}; pass follow_redirects=True to follow it"
    if response.status_code == 426:
        versions = response.headers.get("sec-websocket-version")
        if versions is not None:
            return f": it wants version {versions}, and this client speaks version 13"
        return f": the Upgrade header did not reach it; a proxy on the way may have removed it ({_TUNNEL})"
    if response.is_success:
        if "http2_status" in response.extensions:
            return f": it answered as if to an ordinary request{_HTTP1_ADVICE}"
        return (
            f": it answered as if to an ordinary request; is {shown(response.url)} a WebSocket endpoint? "
            f"Or a proxy on the way removed the Upgrade header ({_TUNNEL})"
        )
    without_origin = response.status_code in (400, 403) and "origin" not in response.request.headers
    return _ORIGIN if without_origin else _ADVICE.get(response.status_code, "")
