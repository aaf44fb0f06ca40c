"""The answer to an extended CONNECT (RFC 8441 §5) as that of HTTP/1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from httpx2_trio_ws._handshake._versions import HTTP1, HTTP2

from ._dial import httpx2_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from httpx2_trio_ws._http2 import Headers

    from ._stream import HTTP2Stream


def response_to(request: httpx2.Request, stream: HTTP2Stream, answer: Headers) -> httpx2.Response:
    """The answer in the words of HTTP/1.1, which is what all others know.

    Its extensions have the ``network_stream``, and what HTTP/2 has that HTTP/1.1 does not: ``http2_status`` and
    ``stream_id``.
    """
    status, headers = answer.status, answer.headers
    if HTTP2.accepts(status, headers, ended=answer.ended):
        # A proxy may have passed on what its own backend computed from another key.
        status, headers = HTTP1.accept(request, headers)
    return httpx2.Response(
        status,
        headers=headers,
        stream=_Body(stream, request),
        extensions={
            "http_version": b"HTTP/2",
            "network_stream": stream,
            "http2_status": answer.status,
            "stream_id": stream.id,
        },
    )


class _Body(httpx2.AsyncByteStream):
    """The body of a refusal; closing it closes the stream, whatever it carries."""

    def __init__(self, stream: HTTP2Stream, request: httpx2.Request) -> None:
        self._stream = stream
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        timeout = self._request.extensions.get("timeout", {}).get("read")
        with httpx2_errors(self._request):
            while part := await self._stream.read(65536, timeout):
                yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
