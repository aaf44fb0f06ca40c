"""Transports for an HTTP proxy that open a tunnel for ``ws://``, too.

client = httpx2.AsyncClient(mounts={"http://": AsyncTunnelTransport("http://proxy.example:8080")})

RFC 6455 §4.1 asks a client to open a WebSocket through a proxy by ``CONNECT``. httpx2's own transports do so for
``wss://``; a request for ``ws://`` they hand to the proxy to be forwarded, and most proxies refuse that or leave out
the ``Upgrade`` header.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

import httpcore2
import httpx2

from ._tunnel import AsyncBackend, Backend, Tunnels, as_httpx2, from_httpcore2, pool_options, to_httpcore2

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Generator
    from types import TracebackType

    from httpx2._types import CertTypes

__all__ = ["AsyncTunnelTransport", "TunnelTransport"]

_LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=20)  # httpx2's own


def __dir__() -> list[str]:
    return list(__all__)


class AsyncTunnelTransport(httpx2.AsyncBaseTransport):
    """A transport for an :class:`httpx2.AsyncClient`, on trio and on asyncio: through an HTTP proxy by ``CONNECT``.

    For all schemes: ``ws``, ``wss``, ``http`` and ``https``. It speaks HTTP/1.1.

    Making the tunnel is a part of connecting. It takes as long as httpx2's connect timeout at most, and a proxy that
    cannot be reached, refuses or hangs up is an :exc:`httpx2.ProxyError`.

    Args:
        proxy: its URL, ``http://`` or ``https://``, in which there may be a user and a password; or an
            :class:`httpx2.Proxy`, for headers and a TLS context of its own.
        verify: how servers' certificates are checked: an ``ssl.SSLContext``, or as for httpx2's transports.
        cert: a client certificate, as for httpx2's transports.
        trust_env: take authorities' certificates from ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``.
        limits: of its pool of connections. Default: httpx2's, 100 connections.

    Raises:
        ValueError: the proxy's URL has another scheme, or no host.
    """

    def __init__(
        self,
        proxy: httpx2.Proxy | httpx2.URL | str,
        *,
        verify: ssl.SSLContext | str | bool = True,
        cert: CertTypes | None = None,
        trust_env: bool = True,
        limits: httpx2.Limits = _LIMITS,
    ) -> None:
        backend, options = AsyncBackend(Tunnels(proxy)), pool_options(verify, cert, trust_env, limits)
        self._pool = httpcore2.AsyncConnectionPool(network_backend=backend, **options)

    async def __aenter__(self) -> Self:
        """Enter; :meth:`aclose` is called when the block is left."""
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        with as_httpx2():
            await self._pool.__aexit__(exc_type, exc_value, traceback)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, as the client does.

        Raises:
            httpx2.TransportError: ``ProxyError``, ``ConnectTimeout`` … as from httpx2's transports.
        """
        with as_httpx2():
            response = await self._pool.handle_async_request(to_httpcore2(request))
        return from_httpcore2(response, _AsyncBody(response))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _AsyncBody(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        with as_httpx2():
            async with contextlib.aclosing(self._response.aiter_stream()) as parts:
                async for part in parts:
                    yield part

    async def aclose(self) -> None:
        await self._response.aclose()


class TunnelTransport(httpx2.BaseTransport):
    """The same for an :class:`httpx2.Client`, in threads. See :class:`AsyncTunnelTransport`."""

    def __init__(
        self,
        proxy: httpx2.Proxy | httpx2.URL | str,
        *,
        verify: ssl.SSLContext | str | bool = True,
        cert: CertTypes | None = None,
        trust_env: bool = True,
        limits: httpx2.Limits = _LIMITS,
    ) -> None:
        backend, options = Backend(Tunnels(proxy)), pool_options(verify, cert, trust_env, limits)
        self._pool = httpcore2.ConnectionPool(network_backend=backend, **options)

    def __enter__(self) -> Self:
        """Enter; :meth:`close` is called when the block is left."""
        self._pool.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        with as_httpx2():
            self._pool.__exit__(exc_type, exc_value, traceback)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, as the client does.

        Raises:
            httpx2.TransportError: ``ProxyError``, ``ConnectTimeout`` … as from httpx2's transports.
        """
        with as_httpx2():
            response = self._pool.handle_request(to_httpcore2(request))
        return from_httpcore2(response, _Body(response))

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    def __iter__(self) -> Generator[bytes]:
        with as_httpx2():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()
