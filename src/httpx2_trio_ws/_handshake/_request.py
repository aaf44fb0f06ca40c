"""The handshake as a request of the client: through its pipeline, with everything that is set on it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2

from httpx2_trio_ws._exceptions import WebSocketHandshakeTimeout, WebSocketUpgradeError
from httpx2_trio_ws._options import HandshakeOptions, OpenOptions, SessionOptions, parse_options
from httpx2_trio_ws._texts import printable, shown, shown_text

from ._auth import HandshakeAuth, auth_for
from ._client import check_client
from ._failures import failure, too_slow
from ._proxies import ProxySteps
from ._refusal import complete, read_refusal
from ._rules import (
    Agreement,
    check_fields,
    check_headers,
    check_response,
    http_url,
    renew_key,
    request_headers,
    with_http,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2_trio_ws._runtime import Runtime

    from ._client import AnyClient


class Opening(NamedTuple):
    """A checked call: nothing has been sent yet."""

    runtime: Runtime
    client: httpx2.AsyncClient
    request: httpx2.Request
    handshake: HandshakeOptions
    session: SessionOptions
    steps: ProxySteps

    def ready(self, request: httpx2.Request) -> None:
        """Called with each request before it is sent."""
        check_fields(request)
        renew_key(request)
        self.steps.ready(request)


def prepare(runtime: Runtime, client: httpx2.AsyncClient, url: httpx2.URL | str, options: OpenOptions) -> Opening:
    """Check all arguments and build the request. No I/O.

    Raises:
        TypeError, ValueError, RuntimeError: saying what to do instead.
    """
    check_client(client, httpx2.AsyncClient)
    handshake, session = parse_options(options)
    extensions = dict(handshake.extensions or {})
    steps = ProxySteps()
    extensions["trace"] = _HalfOpen(runtime, steps, extensions.get("trace")).trace
    return Opening(runtime, client, build_request(client, url, handshake, extensions), handshake, session, steps)


def build_request(
    client: AnyClient, url: httpx2.URL | str, handshake: HandshakeOptions, extensions: dict[str, Any]
) -> httpx2.Request:
    """The client's request for a handshake.

    Raises:
        TypeError, ValueError: saying what to do instead.
    """
    headers = request_headers(handshake)
    try:
        target = httpx2.URL(with_http(url) if isinstance(url, str) else url)
        if not target.scheme and client.base_url.scheme:
            target = client.build_request("GET", target).url  # joined to the client's base_url
        target = http_url(target)
    except httpx2.InvalidURL as exc:
        raise ValueError(f"{shown_text(str(url))!r} is no URL: {printable(str(exc))}") from exc
    if target.fragment:
        raise ValueError(f"the URL {shown(target)!r} has a fragment, which a WebSocket URL may not (RFC 6455 §3)")
    # httpx2 itself puts a Connection header into each client.
    check_headers([(name, value) for name, value in client.headers.multi_items() if name != "connection"])
    request = client.build_request(
        "GET",
        target,
        params=handshake.params or None,
        headers=headers,
        cookies=handshake.cookies,
        timeout=handshake.timeout,
        extensions=extensions,
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


# httpx2's steps between nothing and a connection on which it speaks HTTP.
_CONNECTING = ("connect_tcp", "connect_unix_socket", "setup_socks5_connection", "start_tls")


class _HalfOpen:
    """Closes the connection that httpx2 forgets when it is cancelled, or fails, before HTTP has begun.

    httpx2 tells of each step through the ``trace`` extension; the user's own is called as well.
    """

    def __init__(
        self, runtime: Runtime, steps: ProxySteps, trace: Callable[[str, Any], Awaitable[None]] | None
    ) -> None:
        self._runtime = runtime
        self._steps = steps
        self._trace = trace
        self._stream: Any = None

    async def trace(self, name: str, info: Any) -> None:
        self._steps.note(name, info)
        step, _, stage = name.partition(".")[2].partition(".")
        connecting = step in _CONNECTING
        if connecting and stage == "complete":
            self._stream = info["return_value"]
        elif step.startswith("connect_"):
            self._stream = None  # an earlier request's is the pool's
        keep = not connecting
        try:
            if self._trace is not None:
                await self._trace(name, info)
            if connecting and stage == "complete":
                # httpx2's next checkpoint is where it locks the new connection for the request. Cancelled there,
                # it would keep the connection in its pool, neither used nor closed, and never free the slot.
                await self._runtime.checkpoint_if_cancelled()
            keep |= stage != "failed"
        finally:
            if not keep and self._stream is not None:
                with self._runtime.cancel_scope(shield=True):
                    await self._stream.aclose()


async def shake_hands(opening: Opening) -> tuple[httpx2.Response, Agreement]:
    """Send the request and check the answer.

    Raises:
        WebSocketUpgradeError: a refusal, its body read, or an invalid answer.
        WebSocketHandshakeTimeout: it took too long.
        httpx2.TransportError: as from any request, ``ConnectError``, ``ReadTimeout``, ``PoolTimeout`` …
    """
    runtime, seconds = opening.runtime, opening.handshake.handshake_timeout_seconds
    scope = runtime.cancel_scope()
    if seconds is not None:
        scope.deadline = runtime.now() + seconds
    answer = None
    with scope:
        answer = await _send(opening)
    if answer is None:
        raise WebSocketHandshakeTimeout(too_slow(opening.client, opening.request, opening.handshake))
    response, auth = answer
    try:
        try:
            if auth.refusal is not None:
                raise auth.refusal
            return response, check_response(response, opening.handshake)
        except WebSocketUpgradeError as exc:
            complete(exc, await read_refusal(response, runtime, scope.deadline))
            raise
    except BaseException:
        with runtime.cancel_scope(shield=True):
            await response.aclose()
        raise


async def _send(opening: Opening) -> tuple[httpx2.Response, HandshakeAuth]:
    client, request = opening.client, opening.request
    auth = auth_for(client, request, opening.handshake, opening.ready, opening.runtime)
    async with contextlib.aclosing(auth):
        while True:
            try:
                response = await client.send(request, stream=True, auth=auth, follow_redirects=False)
            except Exception as exc:
                if opening.steps.connection_was_stale(exc):
                    continue
                error = failure(client, request, opening.steps, exc)
                if error is exc:
                    raise
                raise error from exc
            response.history = auth.history
            return response, auth
