"""Opening a session: the request through the client's pipeline, and the nursery around the session."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import httpx2

from ._engine import Engine
from ._exceptions import WebSocketHandshakeTimeout, WebSocketUpgradeError
from ._handshake import Agreement, check_headers, check_response, http_url, redirected, renew_key, request_headers
from ._options import HandshakeOptions, OpenOptions, SessionOptions, parse_options
from ._protocol import Connection
from ._session import Session
from ._transport import transport_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from ._runtime import CancelScope, Nursery, Runtime

logger = logging.getLogger("httpx2_trio_ws")

# So much of a refusal's body is read, and no more.
MAX_BODY = 65536
_POOL_ADVICE = (
    "every open session keeps one connection. Allow more with "
    "httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None)), the default being 100, or leave sessions "
    "that are no longer used"
)

S = TypeVar("S", bound=Session)


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
            body = bytearray()
            if response.status_code != 101:
                with runtime.cancel_scope(deadline=scope.deadline) as reading:
                    await _read_bounded(response, body, reading)
            exc.response = _with_body(response, bytes(body))
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


async def _read_bounded(response: httpx2.Response, body: bytearray, reading: CancelScope) -> None:
    """Add the beginning of a refusal's body, as it came over the network, to ``body``; as far as it comes.

    httpx2 stacks async generators here, and those inside are left to the garbage collector, with a warning,
    if iteration just stops. An exception from within unwinds them all, so ``reading`` is cancelled instead.
    What has been buffered still comes then, and is not much.
    """
    # A StreamError: an event hook or the authentication has read or closed it already.
    with contextlib.suppress(httpx2.TransportError, httpx2.StreamError):
        async with contextlib.aclosing(response.aiter_raw()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) >= MAX_BODY:
                    reading.cancel()
                if len(body) >= 4 * MAX_BODY:
                    break  # this one is not from a network, as it has never waited


def _with_body(response: httpx2.Response, body: bytes) -> httpx2.Response:
    """A copy of a refusal that has been read, with ``body`` as what came over the network."""
    try:
        content = response.content  # already read, see above
    except httpx2.ResponseNotRead:
        content = _decoded(response, body)
    read = httpx2.Response(response.status_code, content=content[:MAX_BODY])
    read.headers = response.headers
    read.request = response.request
    read.extensions = response.extensions
    read.history = response.history
    read.next_request = response.next_request
    read.default_encoding = response.default_encoding
    return read


def _decoded(response: httpx2.Response, body: bytes) -> bytes:
    """``body`` without its content encoding, as far as it goes. A small body may inflate to a huge one."""
    undecoded = httpx2.Response(response.status_code, headers=response.headers, stream=httpx2.ByteStream(body))
    content = bytearray()
    try:
        for chunk in undecoded.iter_bytes():
            content += chunk
            if len(content) >= MAX_BODY:
                break
    except httpx2.DecodingError:  # cut off, or not encoded as its header says
        return bytes(content) or body
    return bytes(content)


def _start(opening: Opening, nursery: Nursery, made: tuple[httpx2.Response, Agreement], session_type: type[S]) -> S:
    response, agreement = made
    connection = Connection(
        max_message_size=opening.session.max_message_size_bytes, deflate=agreement.deflate, logger=logger
    )
    engine = Engine(opening.runtime, transport_for(response, opening.runtime), connection, opening.session)
    session = session_type(engine, response, agreement.subprotocol)
    nursery.start_soon(engine.run)
    return session


@contextlib.asynccontextmanager
async def open_session(opening: Opening, session_type: type[S]) -> AsyncGenerator[S]:
    """A session in a nursery of its own, around the block."""
    made = await shake_hands(opening)
    async with opening.runtime.open_nursery() as nursery:
        session = _start(opening, nursery, made, session_type)
        try:
            yield session
        except BaseException as exc:
            await session._leave(exc)
            raise
        else:
            await session._leave(None)


async def connect_session(opening: Opening, nursery: Nursery, session_type: type[S]) -> S:
    """A session in the caller's nursery."""
    made = await shake_hands(opening)
    try:
        return _start(opening, nursery, made, session_type)
    except BaseException:  # the nursery was closed
        with opening.runtime.cancel_scope(shield=True):
            await made[0].aclose()
        raise
