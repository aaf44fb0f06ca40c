"""The client's authentication, and the redirects, of a handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2

from httpx2_trio_ws._exceptions import WebSocketUpgradeError

from ._body import AsyncBody, BlockingBody, Body
from ._rules import redirected
from ._versions import is_accepted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from httpx2._client import UseClientDefault
    from httpx2._types import AuthTypes

    from httpx2_trio_ws._options import HandshakeOptions
    from httpx2_trio_ws._runtime import Runtime

    from ._client import AnyClient


class HandshakeAuth(httpx2.Auth):
    """The client's authentication, with redirects that know about ``ws`` and ``wss`` inside of it.

    An auth flow may send any number of requests, each through the client's hooks and cookies; so redirects
    are followed here, in the place where httpx2 would follow them itself. Where sending one fails, all may be sent
    with this once more: it goes on with that one.

    Args:
        client: whose authentication it is, unless the handshake has one, and whose cookies redirects are sent.
        request: which is to be sent.
        handshake: its options.
        ready: called with each request before it is sent.
        runtime: of the event loop; ``None`` in blocking code.

    Attributes:
        refusal: why a redirect was not followed, or a challenge not answered; that is then the answer to the whole request.
        history: the answers before the last.
    """

    requires_response_body = False

    def __init__(
        self,
        client: AnyClient,
        request: httpx2.Request,
        handshake: HandshakeOptions,
        *,
        ready: Callable[[httpx2.Request], None],
        runtime: Runtime | None,
    ) -> None:
        self._auth = _auth_of(client, request, handshake.auth)
        self._client = client
        follow = handshake.follow_redirects
        self._follow = follow if isinstance(follow, bool) else client.follow_redirects
        self._ready = ready
        self._runtime = runtime
        self._flow: Any = None
        self._next: httpx2.Request | None = None
        self.refusal: WebSocketUpgradeError | None = None
        self.history: list[httpx2.Response] = []

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        if self._flow is None:
            self._flow = self._auth.async_auth_flow(request)
            self._next = await anext(self._flow)
        while self._next is not None:
            response = self._bounded((yield self._sending(self._next)))
            self._next = self._redirected(response)
            if self._next is None and not self._is_last(response):
                try:
                    self._next = await self._flow.asend(response)
                except StopAsyncIteration:
                    return
                except Exception as exc:
                    if self._cannot_answer(response, exc):
                        return
                    raise
            self._goes_on(response)

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        if self._flow is None:
            self._flow = self._auth.sync_auth_flow(request)
            self._next = next(self._flow)
        while self._next is not None:
            response = self._bounded((yield self._sending(self._next)))
            self._next = self._redirected(response)
            if self._next is None and not self._is_last(response):
                try:
                    self._next = self._flow.send(response)
                except StopIteration:
                    return
                except Exception as exc:
                    if self._cannot_answer(response, exc):
                        return
                    raise
            self._goes_on(response)

    async def aclose(self) -> None:
        """Close the flow; after the request that was made with it, however often that was sent."""
        if self._flow is not None:
            await self._flow.aclose()

    def close(self) -> None:
        """As :meth:`aclose`."""
        if self._flow is not None:
            self._flow.close()

    def _sending(self, request: httpx2.Request) -> httpx2.Request:
        if len(self.history) > self._client.max_redirects:  # httpx2 counts from where it was begun again
            raise httpx2.TooManyRedirects("Exceeded maximum allowed redirects.", request=request)
        self._ready(request)
        return request

    def _bounded(self, response: httpx2.Response) -> httpx2.Response:
        if not is_accepted(response) and not response.is_closed:
            runtime = self._runtime
            response.stream = BlockingBody(response) if runtime is None else AsyncBody(response, runtime)
        return response

    def _redirected(self, response: httpx2.Response) -> httpx2.Request | None:
        """The request that follows a redirect; ``None`` if the response is none that is followed."""
        if not (self._follow and response.has_redirect_location):
            return None
        try:
            return redirected(response.request, response, self._client.cookies)
        except WebSocketUpgradeError as exc:
            self.refusal = exc  # raised here, it would close the response before its body is read
            return None

    def _is_last(self, response: httpx2.Response) -> bool:
        """Nobody wants to go on from it, or may."""
        unreadable = is_accepted(response) and self._auth.requires_response_body
        return self.refusal is not None or unreadable

    def _cannot_answer(self, response: httpx2.Response, exc: Exception) -> bool:
        """httpx2's own authentication raises whatever comes of a challenge that makes no sense. A user's is left alone."""
        if not isinstance(self._auth, httpx2.DigestAuth):
            return False
        reason = f"the server's challenge cannot be answered ({response.status_code}): {type(exc).__name__}: {exc}"
        self.refusal = WebSocketUpgradeError(reason, response)
        self._next = None
        return True

    def _goes_on(self, response: httpx2.Response) -> None:
        """Take note of an answer that a request follows. httpx2 reads what is left of its body, which nobody wants."""
        if self._next is not None:
            self.history.append(response)
            if isinstance(response.stream, Body):
                response.stream.wanted = False


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
        raise TypeError(
            f"auth is a (user, password) tuple, a callable or an httpx2.Auth, not of type {type(auth).__name__}"
        )
    url = request.url
    if url.username or url.password:
        return httpx2.BasicAuth(url.username, url.password)
    return httpx2.Auth()
