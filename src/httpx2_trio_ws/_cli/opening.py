"""From the command line to an open session. What goes wrong is said in the command line's own words."""

from __future__ import annotations

import contextlib
import math
import os
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import httpx2

from httpx2_trio_ws import (
    Instrument,
    WebSocketException,
    WebSocketHandshakeTimeout,
    WebSocketProtocolError,
    WebSocketUpgradeError,
    open_websocket,
)
from httpx2_trio_ws._handshake._versions import is_accepted
from httpx2_trio_ws.proxies import AsyncTunnelTransport

from . import handshake
from .printing import escape_line
from .reasons import one_line, reason_of
from .statuses import NOT_CONNECTED, REFUSED, USAGE, Stop
from .values import Wrong, ask_password

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from httpx2_trio_ws import FrameInfo, WebSocketSession

    from .arguments import Options

Note = "Callable[[str], None]"

# For flushing, the close frame and the answer.
CLOSE_SECONDS = 5

_EXPLAINED = (WebSocketException, httpx2.RequestError, ValueError, TypeError, httpx2.InvalidURL, ImportError)
_SOCKS = "for a SOCKS proxy: pip install 'httpx2-trio-ws[socks]'"
_HTTP2 = "for --http-version 2: pip install 'httpx2-trio-ws[http2]'"

# What the library calls by the names of its arguments has other names here.
_FLAGS = {
    "a transport of httpx2_trio_ws.proxies": "--proxy",
    "http1=False": "--http-version 2",
    "http1=True": "--http-version 1.1",
    "max_message_size_bytes": "--max-size",
    "handshake_timeout_seconds": "--timeout",
    "follow_redirects=True": "-L",
    "follow_redirects": "-L",
    "subprotocols": "--subprotocol",
    "compression": "--compression",
    "headers=": "-H",
    "cookies=": "--cookie",
    "auth=": "--auth",
    "verify=": "--ca or --insecure",
    "proxy=": "--proxy",
}
_ARGUMENT = re.compile("|".join(rf"(?<![\w-]){re.escape(name)}(?:(?<==)|\b)" for name in _FLAGS))


def in_flags(text: str) -> str:
    """A text of the library, with the command line's flags for its arguments, on one line."""
    return one_line(_ARGUMENT.sub(lambda match: _FLAGS[match[0]], text))


def url_of(text: str) -> str:
    """A URL that may lack its scheme, as in ``localhost:8765/echo``, and this computer's name, as in ``:8765/echo``."""
    text = f"localhost{text}" if text.startswith(":") else text
    return text if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) else f"ws://{text}"


@contextlib.asynccontextmanager
async def opened(options: Options, url: str, note: Callable[[str], None]) -> AsyncGenerator[WebSocketSession]:
    """An open session, for a block.

    Args:
        options: the command line.
        url: where to.
        note: is called with what ``--verbose`` shows.

    Raises:
        Stop: there is none.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(_http_client(options, note))
            ws = await stack.enter_async_context(
                open_websocket(
                    client,
                    url,
                    headers=_headers(options),
                    subprotocols=options.subprotocol or None,
                    compression=None if options.compression == "none" else "deflate",
                    max_message_size_bytes=options.max_size,
                    stream_large_messages=options.output == "raw",  # printed as it comes, and not held
                    handshake_timeout_seconds=options.timeout or 30,
                    # A server that answers no pings is what --ping is there to show.
                    keepalive_ping_interval_seconds=20 if options.ping is None else None,
                    close_timeout_seconds=CLOSE_SECONDS,
                    failure_grace_seconds=math.inf,  # receive() will tell it, after what is still to be printed
                    instruments=[ControlFrames(note)] if options.verbose else [],
                )
            )
        except _EXPLAINED as exc:
            _explain(exc, options)
        yield ws


def _explain(exc: Exception, options: Options) -> NoReturn:
    """Say why there is no session."""
    if isinstance(exc, WebSocketUpgradeError):
        raise _refused(exc, options) from exc
    if isinstance(exc, WebSocketHandshakeTimeout):
        raise Stop(NOT_CONNECTED, f"no connection: no answer within {options.timeout or 30:g} s (--timeout)") from exc
    if isinstance(exc, httpx2.RequestError):
        raise Stop(NOT_CONNECTED, f"no connection: {in_flags(reason_of(exc))}") from exc
    if isinstance(exc, ImportError):
        raise Stop(USAGE, _SOCKS) from exc
    raise Stop(USAGE, in_flags(str(exc))) from exc


def _headers(options: Options) -> list[tuple[str, str]]:
    return options.header if options.origin is None else [*options.header, ("Origin", options.origin)]


# -- the client ------------------------------------------------------------------------------------


def _http_client(options: Options, note: Callable[[str], None]) -> httpx2.AsyncClient:
    """The client of the handshake.

    Raises:
        Stop: a file of certificates cannot be read, or an extra is not installed.
    """
    hooks: dict[str, list[Callable[..., Any]]] = {}
    if options.verbose:
        shown = _Shown(note, options.http_version)
        hooks = {"request": [shown.request], "response": [shown.response]}
    context = _tls(options)
    transport = _transport(options, context)
    return httpx2.AsyncClient(
        auth=options.auth,
        cookies=dict(options.cookie),
        proxy=options.proxy if transport is None else None,
        verify=context,
        transport=transport,
        follow_redirects=options.location,
        timeout=None,  # that of the whole handshake is enough
        event_hooks=hooks,
    )


def _transport(options: Options, context: ssl.SSLContext) -> httpx2.AsyncBaseTransport | None:
    """What carries the connection; ``None`` for httpx2's own, with what the environment says of proxies."""
    if options.http_version == "2":
        try:
            from httpx2_trio_ws.http2 import HTTP2Transport  # noqa: PLC0415 (an extra)
        except ImportError:
            raise Stop(USAGE, _HTTP2) from None
        return HTTP2Transport(context, http1=False, proxy=options.proxy, uds=options.unix_socket)
    if options.unix_socket is not None:
        return httpx2.AsyncHTTPTransport(uds=options.unix_socket, verify=context)
    if options.proxy is not None and re.match(r"https?://", options.proxy):
        return AsyncTunnelTransport(options.proxy, verify=context)
    return None


def _tls(options: Options) -> ssl.SSLContext:
    """What is trusted, and what we show."""
    if options.ca is not None and not options.insecure:
        path = options.ca
        with _readable("--ca", path):
            folder, file = (path, None) if Path(path).is_dir() else (None, path)
            context = ssl.create_default_context(cafile=file, capath=folder)
    else:
        given = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), "the certificates")
        with _readable(given, os.environ.get(given, "")):
            context = httpx2.create_ssl_context(verify=not options.insecure)
    if options.cert is not None:
        owner = options.key or options.cert
        files = options.cert if options.key is None else f"{options.cert}, --key {options.key}"
        with _readable("--cert", files):
            context.load_cert_chain(options.cert, options.key, lambda: ask_password(owner))
    return context


@contextlib.contextmanager
def _readable(flag: str, path: str) -> Any:
    """What fails in the block is the file's fault that the flag, or the environment, names."""
    try:
        yield
    except Wrong as exc:
        raise Stop(USAGE, f"{flag} {path}: {exc}") from exc
    except OSError as exc:  # ssl.SSLError is one
        raise Stop(USAGE, f"{flag} {path}: {one_line(exc.strerror or str(exc))}") from exc


# -- refusals --------------------------------------------------------------------------------------


def _refused(exc: WebSocketUpgradeError, options: Options) -> Stop:
    response = exc.response
    status, redirected = response.status_code, response.has_redirect_location
    if is_accepted(response) or status == 426 or response.is_success or (redirected and options.location):
        reason = in_flags(exc.reason)  # the library says best what is wrong with such an answer
    else:
        reason = f"the server refused the WebSocket with {handshake.status_of(response)}{_advice(response, options)}"
    body = "" if is_accepted(response) else handshake.start_of_body(response)
    return Stop(REFUSED, reason, body)


def _advice(response: httpx2.Response, options: Options) -> str:
    """What to try, by flags."""
    status = response.status_code
    if response.has_redirect_location:
        where = escape_line(handshake.elide_query(response.headers["Location"]))
        return f", a redirect to {where}; -L follows it"
    if status == 401:
        return "; --auth has other credentials" if options.auth else "; log in with --auth USER[:PASSWORD]"
    if status == 407:
        return "; the proxy wants credentials: --proxy http://USER:PASSWORD@HOST:PORT"
    names = {name.lower() for name, _ in options.header}
    if status in (400, 403) and options.origin is None and "origin" not in names:
        return "; it may want an --origin"
    return ""


# -- verbose ---------------------------------------------------------------------------------------


class _Shown:
    """Shows each request and response of the handshake."""

    def __init__(self, note: Callable[[str], None], http_version: str) -> None:
        self._note = note
        self._http_version = http_version

    async def request(self, request: httpx2.Request) -> None:
        self._note(handshake.show_request(request, self._http_version))

    async def response(self, response: httpx2.Response) -> None:
        self._note(handshake.show_response(response))


class ControlFrames(Instrument):
    """Shows pings and pongs as they come."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def frame_received(self, session: Any, frame: FrameInfo) -> None:  # noqa: ARG002
        """Called by the session."""
        if frame.opcode in (9, 10):
            self._note(f"< {'ping' if frame.opcode == 9 else 'pong'} {ascii(frame.payload)[1:]}")


def why_ended(exc: BaseException, options: Options) -> str:
    """What ended the session, in the command line's words."""
    if isinstance(exc, WebSocketProtocolError) and exc.code == 1009:
        return f"a message is over --max-size {options.max_size}: {in_flags(exc.reason)}"
    return in_flags(str(exc))
