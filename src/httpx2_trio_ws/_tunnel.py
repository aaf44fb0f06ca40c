"""A tunnel through an HTTP proxy by ``CONNECT`` (RFC 9110 §9.3.6), for httpcore2's pools.

httpcore2 makes one for ``https`` only. A network backend that connects through the proxy makes one for whatever a pool
connects to: the pool itself knows of no proxy. What is said on the way is without I/O, and the same for both backends.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpcore2
import httpx2
import trio

from ._handshake._steps import NO_TUNNEL, UNREACHABLE, failure, reason

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Iterable

    from httpx2._types import CertTypes

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_ANSWER = 65536
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)(?: ([^\r\n]*))?\r?\n")
_END = re.compile(rb"\r?\n\r?\n")


class Tunnels:
    """A proxy, and what is said to it.

    Raises:
        TypeError, ValueError: saying what to pass instead.
    """

    def __init__(self, proxy: httpx2.Proxy | httpx2.URL | str) -> None:
        if isinstance(proxy, (str, httpx2.URL)):
            proxy = httpx2.Proxy(proxy)
        if not isinstance(proxy, httpx2.Proxy):
            raise TypeError(f"the proxy is a URL or an httpx2.Proxy, not {type(proxy).__name__}")
        url = proxy.url
        if url.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"a SOCKS proxy needs no transport of its own: pass proxy={str(url)!r} to the client")
        if not url.host:
            raise ValueError(f"the proxy's URL {str(url)!r} has no host, such as http://proxy.example:8080 has")
        self.host = url.raw_host.decode("ascii")
        self.port = url.port or _DEFAULT_PORTS[url.scheme]
        self.name = _authority(self.host, self.port)
        self.ssl_context = None
        if url.scheme == "https":
            self.ssl_context = proxy.ssl_context or httpcore2.default_ssl_context()
            self.ssl_context.set_alpn_protocols(["http/1.1"])
        headers = list(proxy.headers.raw)
        if proxy.raw_auth is not None:
            headers.insert(0, (b"Proxy-Authorization", b"Basic " + b64encode(b":".join(proxy.raw_auth))))
        if any(re.search(rb"[\r\n\0]", name + value) for name, value in headers):
            raise ValueError("a header for the proxy has a line break in it")
        self._headers = b"".join(b"%b: %b\r\n" % header for header in headers)

    def request(self, host: str, port: int) -> bytes:
        """What asks for a tunnel."""
        target = _authority(host, port).encode("ascii")
        return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (target, target, self._headers)

    @contextlib.contextmanager
    def failing(self, trouble: str) -> Generator[None]:
        """Tell what fails as the proxy's failure."""
        try:
            yield
        except (httpcore2.TimeoutException, TimeoutError) as exc:
            raise httpcore2.ConnectTimeout(failure(self.name, trouble, "it took too long")) from exc
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError) as exc:
            raise httpcore2.ProxyError(failure(self.name, trouble, reason(exc))) from exc


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Answer:
    """The proxy's answer, as it comes in."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> bool:
        """Whether the tunnel is open; false: there is more to read.

        Raises:
            httpcore2.ProxyError: beginning with the status; the proxy refuses.
            httpcore2.RemoteProtocolError: it hung up, or does not speak HTTP.
        """
        if not data:
            raise httpcore2.RemoteProtocolError("it hung up")
        self._data += data
        while (end := _END.search(self._data)) is not None:
            status = _STATUS.match(self._data)
            if status is None:
                raise httpcore2.RemoteProtocolError("its answer is not HTTP/1.1")
            self._data = self._data[end.end() :]
            if status[1].startswith(b"2"):
                if self._data:  # whoever is behind it does not speak first
                    raise httpcore2.RemoteProtocolError("more came than its answer")
                return True
            if not status[1].startswith(b"1"):
                text = b"%b %b" % (status[1], status[2] or b"")
                raise httpcore2.ProxyError("".join(filter(str.isprintable, text.decode("ascii", "ignore"))))
        if len(self._data) > _MAX_ANSWER:
            raise httpcore2.RemoteProtocolError(f"its answer is longer than {_MAX_ANSWER} bytes")
        return False


class AsyncBackend(httpcore2.AsyncNetworkBackend):
    """Connects through a proxy, on whatever event loop it is."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore2's signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A stream to the other end of the tunnel; ``timeout`` is for all of it."""
        tunnels = self._tunnels
        backend: Any = httpcore2.TrioBackend() if trio.lowlevel.in_trio_run() else httpcore2.AnyIOBackend()
        stream: httpcore2.AsyncNetworkStream
        until = anyio.current_time() + (math.inf if timeout is None else timeout)
        with tunnels.failing(UNREACHABLE):
            stream = await backend.connect_tcp(tunnels.host, tunnels.port, timeout, local_address, socket_options)
        try:
            if tunnels.ssl_context is not None:
                with tunnels.failing(UNREACHABLE):
                    left = None if timeout is None else until - anyio.current_time()
                    stream = await stream.start_tls(tunnels.ssl_context, tunnels.host, left)
            with tunnels.failing(NO_TUNNEL), anyio.fail_after(until - anyio.current_time()):
                await stream.write(tunnels.request(host, port))
                answer = Answer()
                while not answer.feed(await stream.read(4096)):
                    pass
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            raise
        return stream

    async def sleep(self, seconds: float) -> None:  # pragma: no cover
        """httpcore2 waits here between the attempts of ``retries=``, which the transports do not have."""
        await anyio.sleep(seconds)


class Backend(httpcore2.SyncBackend):
    """Connects through a proxy, in a thread."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """A stream to the other end of the tunnel; ``timeout`` is for all of it."""
        tunnels = self._tunnels
        until = time.monotonic() + (math.inf if timeout is None else timeout)

        def left() -> float | None:
            seconds = until - time.monotonic()
            if seconds <= 0:  # to a socket, 0 would mean not to wait at all
                raise TimeoutError
            return None if timeout is None else seconds

        with tunnels.failing(UNREACHABLE):
            stream = super().connect_tcp(tunnels.host, tunnels.port, timeout, local_address, socket_options)
        try:
            if tunnels.ssl_context is not None:
                with tunnels.failing(UNREACHABLE):
                    stream = stream.start_tls(tunnels.ssl_context, tunnels.host, left())
            with tunnels.failing(NO_TUNNEL):
                stream.write(tunnels.request(host, port), left())
                answer = Answer()
                while not answer.feed(stream.read(4096, left())):
                    pass
        except BaseException:
            stream.close()
            raise
        return stream


def pool_options(
    verify: ssl.SSLContext | str | bool, cert: CertTypes | None, trust_env: bool, limits: httpx2.Limits
) -> dict[str, Any]:
    """What a pool of httpcore2's is made with, as httpx2 makes one."""
    return {
        "ssl_context": httpx2.create_ssl_context(verify, cert, trust_env),
        "max_connections": limits.max_connections,
        "max_keepalive_connections": limits.max_keepalive_connections,
        "keepalive_expiry": limits.keepalive_expiry,
    }


def to_httpcore2(request: httpx2.Request) -> httpcore2.Request:
    """A request as the pools take it."""
    url = request.url
    stream: Any = request.stream
    return httpcore2.Request(
        method=request.method,
        url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=stream,
        extensions=request.extensions,
    )


def from_httpcore2(
    response: httpcore2.Response, stream: httpx2.AsyncByteStream | httpx2.SyncByteStream
) -> httpx2.Response:
    """What a pool has answered."""
    extensions = cast("Any", response).extensions
    return httpx2.Response(response.status, headers=response.headers, stream=stream, extensions=extensions)


@contextlib.contextmanager
def as_httpx2() -> Generator[None]:
    """Raise httpx2's exceptions instead of httpcore2's, which have the same names."""
    try:
        yield
    except Exception as exc:
        kind = getattr(httpx2, type(exc).__name__, None)
        if type(exc).__module__.partition(".")[0] != "httpcore2" or kind is None:
            raise
        raise kind(str(exc)) from exc
