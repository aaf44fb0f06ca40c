"""Reading a refusal: as much of the response's body as says why, and no more, however it is sent."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from httpx2_trio_ws._runtime import CancelScope, Runtime

# So much of a body is read, and so much of it is kept once it is decoded.
MAX_BODY = 65536


async def read_refusal(response: httpx2.Response, runtime: Runtime, deadline: float) -> httpx2.Response:
    """A copy of the response with the beginning of its body read, as far as that comes until ``deadline``."""
    body = bytearray()
    if response.status_code != 101:  # what follows a 101 is no body
        with runtime.cancel_scope(deadline=deadline) as reading:
            await _read_bounded(response, body, reading)
    return with_body(response, bytes(body))


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


def with_body(response: httpx2.Response, body: bytes) -> httpx2.Response:
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
    """``body`` without its content encoding, as far as it goes; as it is where it has several.

    A small body may inflate to a huge one, or cost much and come to nothing: deflate has blocks that hold nothing. With
    one coding, the work is bounded by the input. With several, the outer ones would make that large again.
    """
    if len(response.headers.get_list("content-encoding", split_commas=True)) > 1:
        return body
    undecoded = httpx2.Response(
        response.status_code, headers=response.headers, stream=httpx2.ByteStream(body[: 2 * MAX_BODY])
    )
    content = bytearray()
    try:
        for chunk in undecoded.iter_bytes():
            content += chunk
            if len(content) >= MAX_BODY:
                break
    except httpx2.DecodingError:  # cut off, or not encoded as its header says
        return bytes(content) or body
    return bytes(content)
