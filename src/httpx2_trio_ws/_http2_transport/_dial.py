"""Dialling with what httpcore2 has: proxies, SOCKS, unix sockets, TLS, retries, limits and their time-outs.

The pool is httpcore2's own, with a network backend that wraps its streams. When TLS is up and the server has chosen
HTTP/2, the stream is kept, and what the pool goes on with is a stand-in: that takes the request, which goes nowhere, and
answers 101. So to the pool it is an HTTP/1.1 connection that was upgraded. It counts among the pool's connections until
the answer is closed, and nothing has failed, so nothing is retried or closed. A server that chose HTTP/1.1 gets the
request, and upgrades for good.

All names are public; what is relied on beyond their documentation, tests/http2/test_sharing.py holds.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

import httpcore2
import httpx2

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable

_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2\r\n\r\n"


class Dial:
    """One attempt to get a connection for a request.

    Args:
        http1: the server may choose HTTP/1.1.
        prior_knowledge: the request goes to plain text, and the server is known to speak HTTP/2 there (RFC 9113 §3.3).
        on_http1: called as soon as the server has chosen HTTP/1.1.

    Attributes:
        stream: the network stream on which to speak HTTP/2; ``None`` while there is none.
    """

    def __init__(self, *, http1: bool, prior_knowledge: bool, on_http1: Callable[[], None]) -> None:
        self.http1 = http1
        self.prior_knowledge = prior_knowledge
        self.on_http1 = on_http1
        self.stream: Any = None

    def traced(self, trace: Callable[[str, Any], Awaitable[None]]) -> Callable[[str, Any], Awaitable[None]]:
        """A ``trace`` extension that does not tell of the exchange with the stand-in."""

        async def traced(name: str, info: Any) -> None:
            if self.stream is None or not name.startswith("http11."):
                await trace(name, info)

        return traced


# httpcore2 dials in the task that asks for a connection.
_dialling: ContextVar[Dial | None] = ContextVar("dialling", default=None)


@contextlib.contextmanager
def dialling(dial: Dial) -> Generator[None]:
    """Connections that this task opens are the dial's."""
    token = _dialling.set(dial)
    try:
        yield
    finally:
        _dialling.reset(token)


class Backend(httpcore2.AsyncNetworkBackend):
    """httpcore2's own, whose streams may be kept.

    Args:
        backend: of the running event loop.
        layers: of TLS on the way to a server: 2 through a proxy that speaks TLS itself.
    """

    def __init__(self, backend: httpcore2.AsyncNetworkBackend, layers: int) -> None:
        self._backend = backend
        self._layers = layers

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return self._wrapped(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return self._wrapped(await self._backend.connect_unix_socket(path, timeout, socket_options))

    def _wrapped(self, stream: httpcore2.AsyncNetworkStream) -> httpcore2.AsyncNetworkStream:
        dial = _dialling.get()
        return stream if dial is None else _Dialled(stream, dial, self._layers)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Dialled(httpcore2.AsyncNetworkStream):
    """A stream on its way to a server."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, dial: Dial, layers: int) -> None:
        self._stream = stream
        self._dial = dial
        self._layers = layers

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return _UPGRADED if self._dial.stream is not None else await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # What a SOCKS proxy is sent begins with its version, 5, or that of its authentication, 1.
        if self._dial.prior_knowledge and buffer.startswith(b"GET "):
            self._dial.stream = self._stream
        if self._dial.stream is None:
            await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        dial = self._dial
        if self._layers > 1:
            return _Dialled(await self._stream.start_tls(ssl_context, server_hostname, timeout), dial, self._layers - 1)
        # At the last moment, as the context may be shared with who sets something else; it is read in the next step.
        ssl_context.set_alpn_protocols(["h2", "http/1.1"] if dial.http1 else ["h2"])
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        tls = stream.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            dial.stream = stream
            return _Dialled(stream, dial, 0)
        if not dial.http1:
            await stream.aclose()
            raise httpcore2.UnsupportedProtocol("the server does not speak HTTP/2, and http1=False rules out the rest")
        dial.on_http1()
        return stream

    def get_extra_info(self, info: str) -> Any:
        # The pool would speak HTTP/2 on its own if it knew.
        if info == "ssl_object" and self._dial.stream is not None:
            return None
        return self._stream.get_extra_info(info)


# -- between httpx2 and httpcore2 ------------------------------------------------------------------


def make_pool(
    ssl_context: ssl.SSLContext,
    backend: httpcore2.AsyncNetworkBackend,
    limits: httpx2.Limits,
    proxy: httpx2.Proxy | None,
    *,
    uds: str | None,
    local_address: str | None,
    retries: int,
    socket_options: Iterable[Any] | None,
) -> httpcore2.AsyncConnectionPool:
    """A pool as httpx2 makes one, but with a backend. What a proxy has no use for, httpx2 does not hand on either."""
    options: dict[str, Any] = {
        "ssl_context": ssl_context,
        "max_connections": limits.max_connections,
        "max_keepalive_connections": limits.max_keepalive_connections,
        "keepalive_expiry": limits.keepalive_expiry,
        "network_backend": Backend(backend, 2 if proxy is not None and proxy.url.scheme == "https" else 1),
    }
    own: dict[str, Any]
    if proxy is None:
        own = {"uds": uds, "local_address": local_address, "retries": retries, "socket_options": socket_options}
        return httpcore2.AsyncConnectionPool(**options, **own)
    url = proxy.url
    options["proxy_url"] = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    options["proxy_auth"] = proxy.raw_auth
    if url.scheme in ("http", "https"):
        own = {"proxy_headers": proxy.headers.raw, "proxy_ssl_context": proxy.ssl_context}
        return httpcore2.AsyncHTTPProxy(**options, **own, socket_options=socket_options)
    return httpcore2.AsyncSOCKSProxy(**options)


def core_request(request: httpx2.Request, extensions: dict[str, Any]) -> httpcore2.Request:
    """The request for a pool."""
    url = request.url
    return httpcore2.Request(
        method=request.method,
        url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=cast("httpx2.AsyncByteStream", request.stream),
        extensions=extensions,
    )


def response_of(response: httpcore2.Response) -> httpx2.Response:
    """A pool's answer for httpx2."""
    return httpx2.Response(
        response.status,
        headers=response.headers,
        stream=_Body(response),
        extensions=cast("dict[str, Any]", response.extensions),  # pyright: ignore[reportUnknownMemberType]
    )


class _Body(httpx2.AsyncByteStream):
    """The body of a pool's answer, with httpx2's errors."""

    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with httpx2_errors():
            async for part in self._response.aiter_stream():
                yield part

    async def aclose(self) -> None:
        with httpx2_errors():
            await self._response.aclose()


_ERRORS: dict[type[Exception], type[Exception]] = {
    error: getattr(httpx2, name)
    for name, error in vars(httpcore2).items()
    if isinstance(error, type) and issubclass(error, Exception) and hasattr(httpx2, name)
}


@contextlib.contextmanager
def httpx2_errors(request: httpx2.Request | None = None) -> Generator[None]:
    """Raise httpx2's errors instead of httpcore2's of the same name."""
    try:
        yield
    except Exception as exc:
        name = next((kind for kind in type(exc).__mro__ if kind in _ERRORS), None)
        if name is None:
            raise
        error = _ERRORS[name](str(exc))
        if request is not None and isinstance(error, httpx2.RequestError):
            error.request = request
        raise error from exc
