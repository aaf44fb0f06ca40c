"""The handshake as a request of the client: through its pipeline, with everything that is set on it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import httpx2

from httpx2_trio_ws._exceptions import WebSocketHandshakeTimeout, WebSocketUpgradeError
from httpx2_trio_ws._options import HandshakeOptions, OpenOptions, SessionOptions, parse_options

from ._proxies import ProxySteps
from ._refusal import read_refusal
from ._rules import Agreement, check_headers, check_response, http_url, redirected, renew_key, request_headers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from httpx2._client import UseClientDefault
    from httpx2._types import AuthTypes

    from httpx2_trio_ws._runtime import Runtime

AnyClient: TypeAlias = httpx2.AsyncClient | httpx2.Client


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
        target = httpx2.URL(url)
    except httpx2.InvalidURL as exc:
        raise ValueError(f"{url!r} is no URL: {exc}") from exc
    if not target.scheme and client.base_url.scheme:
        target = client.build_request("GET", target).url  # joined to the client's base_url
    # httpx2 itself puts a Connection header into each client.
    check_headers([(name, value) for name, value in client.headers.multi_items() if name != "connection"])
    return client.build_request(
        "GET",
        http_url(target),
        params=handshake.params,
        headers=headers,
        cookies=handshake.cookies,
        timeout=handshake.timeout,
        extensions=extensions,
    )


def check_client(client: object, wanted: type[AnyClient]) -> None:
    """Refuse what is no open client of the kind that is wanted.

    Raises:
        TypeError, RuntimeError: saying what to do instead.
    """
    name = f"httpx2.{wanted.__name__}"
    if isinstance(client, wanted):
        if client.is_closed:
            block = "with" if wanted is httpx2.Client else "async with"
            raise RuntimeError(f"the client is closed; open the WebSocket inside its `{block}` block")
        return
    if isinstance(client, httpx2.Client):
        raise TypeError(f"an httpx2.Client is for blocking code; pass an {name}")
    if isinstance(client, httpx2.AsyncClient):
        raise TypeError(
            f"an httpx2.AsyncClient is for async code, such as httpx2_trio_ws.open_websocket; here, pass an {name}"
        )
    if isinstance(client, type):
        raise TypeError(f"pass an instance, {client.__name__}(), not the class")
    kind = f"{type(client).__module__}.{type(client).__qualname__}"
    if kind.startswith("httpx."):
        raise TypeError(f"this library works with httpx2, not with httpx: pass an {name}, not {kind}")
    raise TypeError(f"the client must be an {name}, not {kind}")


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


class HandshakeAuth(httpx2.Auth):
    """The client's authentication, with redirects that know about ``ws`` and ``wss`` inside of it.

    An auth flow may send any number of requests, each through the client's hooks and cookies; so redirects
    are followed here, in the place where httpx2 would follow them itself.

    Args:
        auth: what the flow is.
        client: whose cookies redirects are sent.
        follow: follow redirects.
        ready: called with each request before it is sent.

    Attributes:
        refusal: why a redirect was not followed; the redirect is then the answer to the whole request.
    """

    requires_response_body = False

    def __init__(
        self,
        auth: httpx2.Auth,
        client: AnyClient,
        *,
        follow: bool,
        ready: Callable[[httpx2.Request], None],
    ) -> None:
        self._auth = auth
        self._client = client
        self._follow = follow
        self._ready = ready
        self.refusal: WebSocketUpgradeError | None = None

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        async with contextlib.aclosing(self._auth.async_auth_flow(request)) as flow:
            request = await anext(flow)
            while True:
                trip = self._round_trip(request)
                sending: httpx2.Request | None = next(trip)
                response: httpx2.Response | None = None
                while sending is not None:
                    received = yield sending
                    try:
                        sending = trip.send(received)
                    except StopIteration as end:
                        sending, response = None, end.value
                if response is None:
                    return
                try:
                    request = await flow.asend(response)
                except StopAsyncIteration:
                    return

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        with contextlib.closing(self._auth.sync_auth_flow(request)) as flow:
            request = next(flow)
            while True:
                response = yield from self._round_trip(request)
                if response is None:
                    return
                try:
                    request = flow.send(response)
                except StopIteration:
                    return

    def _round_trip(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, httpx2.Response | None]:
        """One request of the flow and the redirects after it; gives the answer, ``None`` where the flow ends."""
        self._ready(request)
        response = yield request
        while self._follow and response.has_redirect_location:
            try:
                following = redirected(response.request, response, self._client.cookies)
            except WebSocketUpgradeError as exc:
                self.refusal = exc  # raised here, it would close the response before its body is read
                return None
            self._ready(following)
            response = yield following
        if response.status_code == 101 and self._auth.requires_response_body:
            return None  # there is no body to read, and trying to would close the connection
        return response


def auth_for(
    client: AnyClient,
    request: httpx2.Request,
    handshake: HandshakeOptions,
    ready: Callable[[httpx2.Request], None],
) -> HandshakeAuth:
    """What to send the request with."""
    follow = handshake.follow_redirects
    return HandshakeAuth(
        _auth_of(client, request, handshake.auth),
        client,
        follow=follow if isinstance(follow, bool) else client.follow_redirects,
        ready=ready,
    )


def _auth_of(client: AnyClient, request: httpx2.Request, auth: AuthTypes | UseClientDefault | None) -> httpx2.Auth:
    """The authentication that httpx2 would use for the request."""
    if auth is httpx2.USE_CLIENT_DEFAULT:
        auth = client.auth
    if isinstance(auth, tuple):
        return httpx2.BasicAuth(*auth)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(auth, httpx2.Auth):
        return auth
    if callable(auth):
        return httpx2.FunctionAuth(auth)
    if auth is not None:
        raise TypeError(f"auth is a (user, password) tuple, a callable or an httpx2.Auth, not {auth!r}")
    url = request.url
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
    auth = auth_for(opening.client, opening.request, opening.handshake, opening.ready)
    response = None
    with scope:
        response = await _send(opening, auth)
    if response is None:
        raise WebSocketHandshakeTimeout(too_slow(opening.client, opening.request, opening.handshake))
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


async def _send(opening: Opening, auth: HandshakeAuth) -> httpx2.Response:
    try:
        return await opening.client.send(opening.request, stream=True, auth=auth, follow_redirects=False)
    except httpx2.PoolTimeout as exc:
        raise full_pool(opening.client, opening.request) from exc
    except Exception as exc:
        error = opening.steps.error(exc)
        if error is exc:
            raise
        raise error from exc


#: A transport may put into this extension of the request what it waited for in vain.
UNANSWERED = "httpx2_trio_ws.unanswered"


def full_pool(client: AnyClient, request: httpx2.Request) -> httpx2.PoolTimeout:
    """httpx2's error, with what to do about it."""
    return httpx2.PoolTimeout(f"the client's pool has no connection left: {_pool_advice(client)}", request=request)


def too_slow(client: AnyClient, request: httpx2.Request, handshake: HandshakeOptions) -> str:
    """What a :exc:`WebSocketHandshakeTimeout` says; ``request`` has the timeouts of its own."""
    seconds = handshake.handshake_timeout_seconds
    text = f"the handshake with {request.url.host} took longer than {seconds} s (handshake_timeout_seconds)"
    if UNANSWERED in request.extensions:
        return f"{text}: {request.extensions[UNANSWERED]}"
    pool = request.extensions.get("timeout", {}).get("pool")
    if pool is None or (seconds is not None and pool >= seconds):
        # The pool's own timeout could not tell, so this may be what it was.
        text += f"; if it waited for the client's pool: {_pool_advice(client)}"
    return text


def _pool_advice(client: AnyClient) -> str:
    kind = "Client" if isinstance(client, httpx2.Client) else "AsyncClient"
    return (
        "every open session keeps one connection. Allow more with "
        f"httpx2.{kind}(limits=httpx2.Limits(max_connections=None)), the default being 100, or leave sessions "
        "that are no longer used"
    )
