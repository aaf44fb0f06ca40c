"""What is raised for a handshake that got no answer, or none that httpx2 makes sense of."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import httpx2

from ._refusal import copy_of
from ._rules import leads_nowhere
from ._steps import reason

if TYPE_CHECKING:
    from httpx2_trio_ws._options import HandshakeOptions

    from ._client import AnyClient
    from ._steps import Steps

# Builds the request that follows a redirect, before anybody sees the answer, and raises whatever its URL raises.
_FOLLOWING = getattr(getattr(httpx2.AsyncClient, "_build_redirect_request", None), "__code__", None)


def failure(client: AnyClient, request: httpx2.Request, steps: Steps, exc: Exception) -> Exception:
    """What to raise where sending a request has raised ``exc``; that itself, if there is nothing to say better."""
    if isinstance(exc, httpx2.PoolTimeout):
        return exc if str(exc) else full_pool(client, request)  # the transport may know better
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        if frame.f_code is _FOLLOWING:
            response: httpx2.Response = frame.f_locals["response"]
            return leads_nowhere(response, copy_of(response))
    error = steps.error(exc)
    if error is exc and isinstance(exc, httpx2.TransportError) and not str(exc):
        return type(exc)(_without_text(request, exc), request=request)
    return error


_OPERATIONS: dict[type[httpx2.TransportError], str] = {
    httpx2.ConnectTimeout: "connect",
    httpx2.ReadTimeout: "read",
    httpx2.WriteTimeout: "write",
}


def _without_text(request: httpx2.Request, exc: httpx2.TransportError) -> str:
    """httpx2 has errors that say nothing; what they stem from does, and the timeouts are the request's."""
    host = request.url.host
    operation = _OPERATIONS.get(type(exc))
    if operation is None:
        return f"the handshake with {host} failed: {reason(exc)}"
    what = {
        "connect": f"connecting to {host}",
        "read": f"waiting for the answer of {host}",
        "write": f"writing to {host}",
    }
    seconds = request.extensions.get("timeout", {}).get(operation)
    return f"{what[operation]} took longer than {seconds} s (the {operation} timeout: timeout= here or of the client)"


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
