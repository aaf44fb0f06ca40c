"""Reading a refusal: as much of the response's body as says why, and no more, however it is sent."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx2

from ._body import MAX_BODY, AsyncBody, BlockingBody, Body, decoded

if TYPE_CHECKING:
    from httpx2_trio_ws._runtime import Runtime

# The connection broke off, or did not go on for too long. A StreamError: it has been closed before.
_NO_MORE = (httpx2.TransportError, httpx2.StreamError)


async def read_refusal(response: httpx2.Response, runtime: Runtime, deadline: float) -> httpx2.Response:
    """A copy of the response with the beginning of its body read, as far as that comes until ``deadline``."""
    if isinstance(response.stream, AsyncBody):
        response.stream.refuses = True
        with runtime.cancel_scope(deadline=deadline), contextlib.suppress(*_NO_MORE):
            await response.stream.fetch(MAX_BODY)
    return copy_of(response)


def read_refusal_blocking(response: httpx2.Response) -> httpx2.Response:
    """As :func:`read_refusal`."""
    if isinstance(response.stream, BlockingBody):
        response.stream.refuses = True
        with contextlib.suppress(*_NO_MORE):
            response.stream.fetch(MAX_BODY)
    return copy_of(response)


def told_response(response: httpx2.Response) -> httpx2.Response:
    """What a session tells of its 101: read, as there is no body. Reading the response itself would end its connection."""
    told = copy_of(response)
    told.extensions = dict(response.extensions)
    return told


def copy_of(response: httpx2.Response) -> httpx2.Response:
    """What a refusal that has been read is told with."""
    read = httpx2.Response(response.status_code, content=_content(response)[:MAX_BODY])
    read.headers = response.headers
    read.request = response.request
    read.extensions = response.extensions
    read.history = response.history
    read.next_request = response.next_request
    read.default_encoding = response.default_encoding
    return read


def _content(response: httpx2.Response) -> bytes:
    try:
        return response.content  # an event hook, or the authentication, has read it
    except httpx2.ResponseNotRead:
        pass
    if not isinstance(response.stream, Body):
        return b""  # of a 101, after which there is no body; or it has been closed
    return decoded(response.headers, bytes(response.stream.received[: 2 * MAX_BODY]), MAX_BODY)
