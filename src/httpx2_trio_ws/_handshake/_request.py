"""The handshake as a request of the client: through its pipeline, with everything that is set on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx2

from httpx2_trio_ws._exceptions import WebSocketHandshakeTimeout
from httpx2_trio_ws._options import HandshakeOptions, OpenOptions, parse_options
from httpx2_trio_ws._texts import printable, shown, shown_text

from ._agreement import Agreement, check_response
from ._auth import HandshakeAuth
from ._client import AnyClient, check_client
from ._failures import failure, too_slow
from ._rules import check_fields, check_headers, http_url, request_headers, with_http
from ._steps import Steps
from ._versions import HTTP1

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2_trio_ws._runtime import Runtime

C = TypeVar("C", httpx2.AsyncClient, httpx2.Client)


class Opening(Generic[C]):
    """A checked call: nothing has been sent yet.

    All that is said on the way, and what comes of the answer, is here; who sends it and waits, a task or a thread, is around it.

    Args:
        client: of the kind ``wanted``.
        wanted: a client's class.
        url: where to.
        options: the caller's.

    Raises:
        TypeError, ValueError, RuntimeError: saying what to do instead.
    """

    def __init__(self, client: C, wanted: type[C], url: httpx2.URL | str, options: OpenOptions) -> None:
        check_client(client, wanted)
        self.client: C = client
        self.handshake, self.session = parse_options(options)
        #: The user's own trace extension.
        self.trace: Callable[[str, Any], Any] | None = dict(self.handshake.extensions or {}).get("trace")
        self.steps = Steps()
        self.request = _request(client, url, self.handshake)

    def auth(self, ready: Callable[[httpx2.Request], None], runtime: Runtime | None) -> HandshakeAuth:
        """What to send the request with; see :class:`HandshakeAuth`."""
        return HandshakeAuth(self.client, self.request, self.handshake, ready=ready, runtime=runtime)

    def send_again(self, exc: Exception, late: Exception | None = None) -> None:
        """Sending has raised ``exc``: return if it is worth sending once more, or raise what there is to say.

        Args:
            exc: of httpx2, or of a hook.
            late: there is no more time, and that is to be said.

        Raises:
            httpx2.TransportError, WebSocketUpgradeError, WebSocketHandshakeTimeout: or what a hook has raised.
        """
        error = failure(self.client, self.request, self.steps, exc)
        if late is not None and isinstance(error, httpx2.TransportError):
            error = late
        elif self.steps.connection_was_stale(exc):
            return
        if error is not exc:
            error.__cause__ = exc
        try:
            raise error
        finally:
            del error, exc, late  # the error's traceback refers to this frame

    def too_slow(self) -> WebSocketHandshakeTimeout:
        """What to raise where it took too long."""
        return WebSocketHandshakeTimeout(too_slow(self.client, self.request, self.handshake))

    def agreement(self, response: httpx2.Response, auth: HandshakeAuth) -> Agreement:
        """What comes of an answer.

        Raises:
            WebSocketUpgradeError: it is a refusal, or invalid.
        """
        if auth.refusal is not None:
            raise auth.refusal
        agreement = check_response(response, self.handshake)
        self._forget_steps(response)
        return agreement

    def _forget_steps(self, response: httpx2.Response) -> None:
        """From here on, only the user's own trace is told of steps, and nothing that was noted is kept."""
        extensions = response.request.extensions
        if self.trace is None:
            extensions.pop("trace", None)
        else:
            extensions["trace"] = self.trace


def _request(client: AnyClient, url: httpx2.URL | str, handshake: HandshakeOptions) -> httpx2.Request:
    headers = request_headers(handshake)
    try:
        target = httpx2.URL(with_http(url) if isinstance(url, str) else url)
        if not target.scheme and client.base_url.scheme:
            target = client.build_request(HTTP1.method, target).url  # joined to the client's base_url
        target = http_url(target)
    except httpx2.InvalidURL as exc:
        raise ValueError(f"{shown_text(str(url))!r} is no URL: {printable(str(exc))}") from exc
    if target.fragment:
        raise ValueError(f"the URL {shown(target)!r} has a fragment, which a WebSocket URL may not (RFC 6455 §3)")
    # httpx2 itself puts a Connection header into each client.
    check_headers(client.headers, besides=b"connection")
    request = client.build_request(
        HTTP1.method,
        target,
        params=handshake.params or None,
        headers=headers,
        cookies=handshake.cookies,
        timeout=handshake.timeout,
        extensions=dict(handshake.extensions or {}),
    )
    check_fields(request)
    if _is_patient(client, handshake):
        request.extensions["timeout"]["read"] = None
    return request


def _is_patient(client: AnyClient, handshake: HandshakeOptions) -> bool:
    """``handshake_timeout_seconds`` alone says how long to wait for the answer.

    httpx2's own default for reads, 5 s, is for servers that answer at once; one that accepts a session may have a kernel
    or a container to start first. A timeout that somebody has set applies.
    """
    unset = handshake.timeout is httpx2.USE_CLIENT_DEFAULT and "timeout" not in (handshake.extensions or {})
    return unset and client.timeout == httpx2.Timeout(5.0) and handshake.handshake_timeout_seconds is not None
