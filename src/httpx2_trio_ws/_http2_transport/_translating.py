"""A WebSocket's opening handshake as an extended CONNECT (RFC 8441 §5), and its answer as that of HTTP/1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
from websockets.utils import accept_key

from ._dial import httpx2_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from httpx2_trio_ws._http2 import Headers

    from ._stream import HTTP2Stream

# Of HTTP/1.1 only, or said by pseudo-headers (RFC 9113 §8.2.2, RFC 8441 §5).
_LEFT_OUT = frozenset(
    b"host connection upgrade keep-alive proxy-connection transfer-encoding content-length te http2-settings "
    b"sec-websocket-key".split()
)


def asks_for_websocket(request: httpx2.Request) -> bool:
    """The request is an opening handshake (RFC 6455 §4.1)."""
    return request.headers.get("upgrade", "").lower() == "websocket"


def connect_headers(request: httpx2.Request) -> list[tuple[bytes, bytes]]:
    """The header section of the extended CONNECT that stands for a handshake."""
    headers = request.headers
    section = [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https" if request.url.scheme in ("https", "wss") else b"http"),
        (b":authority", headers["host"].encode()),
        (b":path", request.extensions.get("target", request.url.raw_path)),
    ]
    section += [(name.lower(), value) for name, value in headers.raw if name.lower() not in _LEFT_OUT]
    return section


def is_tunnel(answer: Headers) -> bool:
    """The stream is a WebSocket from here on; otherwise the answer is one like any other, perhaps with a body."""
    # A server that has the setting and knows nothing of it answers an ordinary request: its body has a length.
    has_length = any(name == b"content-length" for name, _ in answer.headers)
    return 200 <= answer.status < 300 and not answer.ended and not has_length


def response_to(request: httpx2.Request, stream: HTTP2Stream, answer: Headers) -> httpx2.Response:
    """The answer as the handshake's other checks know it: 101 for a tunnel.

    Its extensions have the ``network_stream``, and what HTTP/2 has that HTTP/1.1 does not: ``http2_status`` and
    ``stream_id``.
    """
    status, headers = answer.status, answer.headers
    if is_tunnel(answer):
        status = 101
        # A proxy may have passed on what its own backend computed from another key.
        headers = [(name, value) for name, value in headers if name != b"sec-websocket-accept"]
        headers += [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
        key = request.headers.get("sec-websocket-key")
        if key is not None:
            headers.append((b"sec-websocket-accept", accept_key(key).encode()))
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
