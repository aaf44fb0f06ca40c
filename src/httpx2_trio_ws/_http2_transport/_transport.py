"""The transport."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import httpx2

from httpx2_trio_ws._handshake._versions import HTTP1, HTTP2

from ._dial import httpx2_errors, make_pool
from ._options import check_options
from ._pool import Pool
from ._statistics import ConnectionStatistics, TransportStatistics
from ._stream import UnprocessedError
from ._translating import response_to

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    import httpcore2
    from httpx2._types import CertTypes, ProxyTypes

    from httpx2_trio_ws._runtime import Runtime

    from ._connection import Connection

# A request that servers have not processed is sent so often.
_ATTEMPTS = 3
_LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=20)


class HTTP2Transport(httpx2.AsyncBaseTransport):
    """A transport that carries WebSockets over HTTP/2 (RFC 8441): many sessions on one connection.

    Pass it as ``transport=`` of an :class:`httpx2.AsyncClient`, or in its ``mounts=``. Sessions of one origin share a
    connection. Where a server does not take WebSockets over HTTP/2, they go over HTTP/1.1, each on a connection of its
    own. Ordinary requests go through a pool of httpx2's, over HTTP/2 or HTTP/1.1. It belongs to the event loop on
    which it was first used, trio or asyncio.

    As with any ``transport=``, httpx2 does not use the client's own ``verify``, ``cert``, ``proxy`` and the like: pass
    them here.

    Args:
        verify: as of :class:`httpx2.AsyncHTTPTransport`, like all that follow up to ``socket_options``.
        cert: a client's certificate.
        trust_env: take certificate files from the environment.
        http1: HTTP/1.1 will do where the server has nothing else, and always for ``ws://``. If false, it is HTTP/2 or an
            error, and HTTP/2 by prior knowledge for ``ws://`` (RFC 9113 §3.3).
        limits: of connections, not of sessions. Ordinary requests have as many of their own.
        proxy: a URL, or an :class:`httpx2.Proxy`.
        uds: path of a Unix socket.
        local_address: to connect from.
        retries: of failed attempts to connect.
        socket_options: of the TCP connection.
        max_sessions_per_connection: open another connection beyond so many; ``None`` for as many as the server allows.
        stream_window_bytes: how much the server may send to a session that does not take it; what such a session costs
            in memory, beside its own queue. At least 16,384. A session that has a connection to itself, and takes what it
            is sent, may be sent 1 MiB.
        keepalive_ping_interval_seconds: PING a connection after so many seconds of silence; ``None`` for never. Sessions
            have pings of their own, see ``keepalive_ping_interval_seconds`` of ``open_websocket()``.
        keepalive_ping_timeout_seconds: a connection that is silent for so many seconds after a PING is lost; ``None``
            for never.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    def __init__(  # noqa: PLR0917 (as of httpx2's transport)
        self,
        verify: ssl.SSLContext | str | bool = True,
        cert: CertTypes | None = None,
        trust_env: bool = True,
        http1: bool = True,
        limits: httpx2.Limits = _LIMITS,
        proxy: ProxyTypes | None = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: Iterable[Any] | None = None,
        *,
        max_sessions_per_connection: int | None = None,
        stream_window_bytes: int = 65536,
        keepalive_ping_interval_seconds: float | None = 20,
        keepalive_ping_timeout_seconds: float | None = 20,
    ) -> None:
        self._options = check_options(
            max_sessions_per_connection,
            stream_window_bytes,
            keepalive_ping_interval_seconds,
            keepalive_ping_timeout_seconds,
            limits.keepalive_expiry,
        )
        context = httpx2.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)
        self._proxy = httpx2.Proxy(proxy) if isinstance(proxy, (str, httpx2.URL)) else proxy
        self._http1 = http1
        self._limits = limits
        own: dict[str, Any] = {"uds": uds, "local_address": local_address, "retries": retries}
        own["socket_options"] = socket_options
        self._make_core: Callable[[httpcore2.AsyncNetworkBackend], httpcore2.AsyncConnectionPool] = lambda backend: (
            make_pool(context, backend, limits, self._proxy, **own)
        )
        self._requests = httpx2.AsyncHTTPTransport(
            verify=context, http1=http1, http2=True, limits=limits, proxy=self._proxy, **own
        )
        self._pool: Pool | None = None
        self._loop: object = None

    def _loop_of_caller(self) -> tuple[object, Runtime, httpcore2.AsyncNetworkBackend]:
        """The running event loop, its runtime, and httpcore2's backend for it."""
        raise NotImplementedError

    def _own_pool(self) -> Pool:
        loop, runtime, backend = self._loop_of_caller()
        if self._pool is None:
            self._loop = loop
            core = self._make_core(backend)
            self._pool = Pool(runtime, core, self._options, http1=self._http1, limits=self._limits)
        elif loop is not self._loop:
            raise RuntimeError(
                "this HTTP2Transport belongs to another event loop, on which it was first used; make one for each"
            )
        return self._pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. httpx2 calls this.

        Raises:
            httpx2.TransportError: as from any transport.
            RuntimeError: it is used on a second event loop.
        """
        if HTTP1.lacks(request):
            return await self._requests.handle_async_request(request)
        pool = self._own_pool()
        if request.url.scheme not in ("https", "wss"):
            if self._http1:
                return await pool.over_http1(request)
            if self._proxy is not None and self._proxy.url.scheme in ("http", "https"):
                raise httpx2.UnsupportedProtocol(
                    "HTTP/2 by prior knowledge does not go through an HTTP proxy: use wss://, a SOCKS proxy or http1=True",
                    request=request,
                )
        headers = HTTP2.section(request)
        for _ in range(_ATTEMPTS):
            got = await pool.reserve(request)
            if isinstance(got, httpx2.Response):
                return got
            try:
                return await self._ask(got, headers, request)
            except UnprocessedError:
                continue
        raise httpx2.RemoteProtocolError(
            f"the server refused a stream for the request {_ATTEMPTS} times in a row (REFUSED_STREAM or GOAWAY)",
            request=request,
        )

    async def _ask(
        self, connection: Connection, headers: list[tuple[bytes, bytes]], request: httpx2.Request
    ) -> httpx2.Response:
        stream = connection.open_stream(headers)
        try:
            with httpx2_errors(request):
                answer = await stream.wait_answer(request.extensions.get("timeout", {}).get("read"))
        except BaseException:
            stream.reset()
            raise
        return response_to(request, stream, answer)

    def statistics(self) -> TransportStatistics:
        """The HTTP/2 connections as they are now. No I/O."""
        connections = [] if self._pool is None else self._pool.connections
        shown = tuple(
            ConnectionStatistics(
                number=connection.number,
                origin=connection.origin,
                sessions=connection.sessions,
                max_sessions=None if math.isinf(limit := connection.max_sessions) or limit >= 2**31 else int(limit),
                draining=connection.draining,
                round_trip_seconds=connection.round_trip,
            )
            for connection in connections
        )
        return TransportStatistics(shown, sum(connection.sessions for connection in shown))

    async def aclose(self) -> None:
        """Close all connections, within some seconds at most; sessions on them fail. httpx2 calls this."""
        pool, self._pool = self._pool, None
        try:
            if pool is not None:
                await pool.aclose()
        finally:
            await self._requests.aclose()
