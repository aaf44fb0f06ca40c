"""The handshake as a request of the client: through its pipeline, with everything that is set on it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2

from ._exceptions import WebSocketHandshakeTimeout, WebSocketUpgradeError
from ._handshake import Agreement, check_headers, check_response, http_url, redirected, renew_key, request_headers
from ._options import HandshakeOptions, OpenOptions, SessionOptions, parse_options
from ._refusal import read_refusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from ._runtime import Runtime

_POOL_ADVICE = (
    "every open session keeps one connection. Allow more with "
    "httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None)), the default being 100, or leave sessions "
    "that are no longer used"
)


class Opening(NamedTuple):
    """A checked call: nothing has been sent yet."""

    runtime: Runtime
    client: httpx2.AsyncClient
    request: httpx2.Request
    handshake: HandshakeOptions
    session: SessionOptions


def prepare(runtime: Runtime, client: httpx2.AsyncClient, url: httpx2.URL | str, options: OpenOptions) -> Opening:
    """Check all arguments and build the request. No I/O.

    Raises:
        TypeError, ValueError, RuntimeError: saying what to do instead.
    """
    _check_client(client)
    handshake, session = parse_options(options)
    headers = request_headers(handshake)
    try:
        target = httpx2.URL(url)
    except httpx2.InvalidURL as exc:
        raise ValueError(f"{url!r} is no URL: {exc}") from exc
    if not target.scheme:
        target = client.build_request("GET", target).url  # joined to the client's base_url
    # httpx2 itself puts a Connection header into each client.
    check_headers([(name, value) for name, value in client.headers.multi_items() if name != "connection"])
    extensions = dict(handshake.extensions or {})
    extensions["trace"] = _HalfOpen(runtime, extensions.get("trace")).trace
    request = client.build_request(
        "GET",
        http_url(target),
        params=handshake.params,
        headers=headers,
        cookies=handshake.cookies,
        timeout=handshake.timeout,
        extensions=extensions,
    )
    return Opening(runtime, client, request, handshake, session)


def _check_client(client: object) -> None:
    if isinstance(client, httpx2.AsyncClient):
        if client.is_closed:
            raise RuntimeError("the client is closed; open the WebSocket inside its `async with` block")
        return
    if isinstance(client, httpx2.Client):
        raise TypeError("an httpx2.Client is for blocking code; pass an httpx2.AsyncClient")
    if isinstance(client, type):
        raise TypeError(f"pass an instance, {client.__name__}(), not the class")
    kind = f"{type(client).__module__}.{type(client).__qualname__}"
    if kind.startswith("httpx."):
        raise TypeError(f"this library works with httpx2, not with httpx: pass an httpx2.AsyncClient, not {kind}")
    raise TypeError(f"the client must be an httpx2.AsyncClient, not {kind}")


class _HalfOpen:
    """Closes the connection that httpx2 forgets when it is cancelled, or SOCKS fails, before HTTP has begun.

    httpx2 tells of each step through the ``trace`` extension; the user's own is called as well.
    """

    def __init__(self, runtime: Runtime, trace: Callable[[str, Any], Awaitable[None]] | None) -> None:
        self._runtime = runtime
        self._trace = trace
        self._stream: Any = None

    async def trace(self, name: str, info: Any) -> None:
        step = name.partition(".")[2]
        if step in ("connect_tcp.complete", "connect_unix_socket.complete", "start_tls.complete"):
            self._stream = info["return_value"]
        elif step in ("start_tls.failed", "setup_socks5_connection.failed"):
            with self._runtime.cancel_scope(shield=True):
                await self._stream.aclose()
        if self._trace is not None:
            await self._trace(name, info)


class _HandshakeAuth(httpx2.Auth):
    """The client's authentication, with redirects that know about ``ws`` and ``wss`` inside of it.

    An auth flow may send any number of requests, each through the client's hooks and cookies; so redirects
    are followed here, in the place where httpx2 would follow them itself.

    Attributes:
        refusal: why a redirect was not followed; the redirect is then the answer to the whole request.
    """

    requires_response_body = False

    def __init__(self, auth: httpx2.Auth, client: httpx2.AsyncClient, *, follow: bool) -> None:
        self._auth = auth
        self._client = client
        self._follow = follow
        self.refusal: WebSocketUpgradeError | None = None

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        async with contextlib.aclosing(self._auth.async_auth_flow(request)) as flow:
            request = await anext(flow)
            while True:
                renew_key(request)
                response = yield request
                while self._follow and response.has_redirect_location:
                    try:
                        following = redirected(response.request, response, self._client.cookies)
                    except WebSocketUpgradeError as exc:
                        self.refusal = exc  # raised here, it would close the response before its body is read
                        return
                    renew_key(following)
                    response = yield following
                if response.status_code == 101 and self._auth.requires_response_body:
                    return  # there is no body to read, and trying to would close the connection
                try:
                    request = await flow.asend(response)
                except StopAsyncIteration:
                    return


def _auth_of(opening: Opening) -> httpx2.Auth:
    """The authentication that httpx2 would use for the request."""
    auth = opening.handshake.auth
    if auth is httpx2.USE_CLIENT_DEFAULT:
        auth = opening.client.auth
    if isinstance(auth, tuple):
        return httpx2.BasicAuth(*auth)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(auth, httpx2.Auth):
        return auth
    if callable(auth):
        return httpx2.FunctionAuth(auth)
    if auth is not None:
        raise TypeError(f"auth is a (user, password) tuple, a callable or an httpx2.Auth, not {auth!r}")
    url = opening.request.url
    if url.username or url.password:
        return httpx2.BasicAuth(url.username, url.password)
    return httpx2.Auth()


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
    client, follow = opening.client, opening.handshake.follow_redirects
    auth = _HandshakeAuth(
        _auth_of(opening), client, follow=follow if isinstance(follow, bool) else client.follow_redirects
    )
    response = None
    with scope:
        response = await _send(opening, auth)
    if response is None:
        raise WebSocketHandshakeTimeout(_too_slow(opening))
    try:
        try:
            if auth.refusal is not None:
                raise auth.refusal
            return response, check_response(response, opening.handshake)
        except WebSocketUpgradeError as exc:
            exc.response = await read_refusal(response, runtime, scope.deadline)
            exc.args = (exc.reason, exc.response)
            raise
    except BaseException:
        with runtime.cancel_scope(shield=True):
            await response.aclose()
        raise


async def _send(opening: Opening, auth: _HandshakeAuth) -> httpx2.Response:
    try:
        return await opening.client.send(opening.request, stream=True, auth=auth, follow_redirects=False)
    except httpx2.PoolTimeout as exc:
        raise httpx2.PoolTimeout(
            f"the client's pool has no connection left: {_POOL_ADVICE}", request=opening.request
        ) from exc


def _too_slow(opening: Opening) -> str:
    seconds = opening.handshake.handshake_timeout_seconds
    text = f"the handshake with {opening.request.url.host} took longer than {seconds} s (handshake_timeout_seconds)"
    pool = opening.request.extensions.get("timeout", {}).get("pool")
    if pool is None or (seconds is not None and pool >= seconds):
        # The pool's own timeout could not tell, so this may be what it was.
        text += f"; if it waited for the client's pool: {_POOL_ADVICE}"
    return text
