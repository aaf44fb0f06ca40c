"""Real proxies on loopback: HTTP (CONNECT, and forwarding) and SOCKS5 (RFC 1928, 1929)."""

from __future__ import annotations

import contextlib
import ipaddress
import struct
from typing import TYPE_CHECKING

import trio

from .servers import read_request, tcp_server

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

FORBIDDEN = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
HOP_BY_HOP = {"connection", "upgrade", "proxy-authorization", "proxy-connection", "keep-alive"}


class Proxy:
    """What was asked of a proxy: ``CONNECT host:port``, ``GET url``, or the ``host:port`` of SOCKS."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []


async def relay(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    """Pass bytes on, both ways, until one side has closed its end."""

    async def pump(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(65536):
                await sink.send_all(data)
        nursery.cancel_scope.cancel()

    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(pump, one, other)
        nursery.start_soon(pump, other, one)


async def connect(target: str) -> trio.SocketStream:
    host, _, port = target.rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


@contextlib.asynccontextmanager
async def http_proxy(
    *, credentials: str | None = None, strip_upgrade: bool = False, ssl_context: ssl.SSLContext | None = None
) -> AsyncGenerator[Proxy]:
    """An HTTP proxy.

    Args:
        credentials: the ``Proxy-Authorization`` that it wants.
        ssl_context: it is spoken to over TLS.
        strip_upgrade: forward as a proxy does that knows nothing of upgrades: without hop-by-hop headers.
    """

    async def handler(stream: trio.SocketStream) -> None:
        try:
            first, headers = await read_request(stream)
        except (EOFError, trio.BrokenResourceError):  # the client wants no TLS of ours
            return
        proxy.headers.append(headers)
        method, target, _ = first.split(" ")
        proxy.asked.append(f"{method} {target}")
        if credentials is not None and headers.get("proxy-authorization") != credentials:
            await stream.send_all(FORBIDDEN)
        elif method == "CONNECT":
            await tunnel(stream, target)
        else:
            await forward(stream, method, target, headers)

    async def tunnel(stream: trio.SocketStream, target: str) -> None:
        try:
            other = await connect(target)
        except OSError:
            await stream.send_all(UNREACHABLE)
            return
        async with other:
            await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await relay(stream, other)

    async def forward(stream: trio.SocketStream, method: str, target: str, headers: dict[str, str]) -> None:
        host, slash, path = target.removeprefix("http://").partition("/")
        leave_out = HOP_BY_HOP if strip_upgrade else {"proxy-authorization"}
        lines = [f"{name}: {value}" for name, value in headers.items() if name not in leave_out]
        async with await connect(host) as other:
            await other.send_all("\r\n".join((f"{method} {slash}{path} HTTP/1.1", *lines, "", "")).encode())
            await relay(stream, other)

    async with tcp_server(handler, ssl_context) as address:
        proxy = Proxy(address)
        yield proxy


class _Reader:
    """Reads fields of known sizes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = b""

    async def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self._stream.receive_some()
            assert data, "the client left in the middle of the negotiation"
            self._buffer += data
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def sized(self) -> bytes:
        """Bytes after one byte that has their count."""
        return await self.exactly((await self.exactly(1))[0])


async def _address(reader: _Reader) -> str:
    """The address of a SOCKS request (RFC 1928 §4, from ATYP on)."""
    kind = (await reader.exactly(1))[0]
    if kind == 1:
        host = str(ipaddress.ip_address(await reader.exactly(4)))
    else:
        assert kind == 3, "IPv6 is not played here"
        host = (await reader.sized()).decode()
    (port,) = struct.unpack("!H", await reader.exactly(2))
    return f"{host}:{port}"


@contextlib.asynccontextmanager
async def socks_proxy(*, user: str = "", password: str = "") -> AsyncGenerator[Proxy]:
    """A SOCKS5 proxy; with ``user``, it wants that login."""

    async def handler(stream: trio.SocketStream) -> None:
        reader = _Reader(stream)
        assert await reader.exactly(1) == b"\x05"
        method = 2 if user else 0
        if method not in await reader.sized():
            await stream.send_all(b"\x05\xff")
            return
        await stream.send_all(bytes((5, method)))
        if user and not await logged_in(stream, reader):
            return
        assert await reader.exactly(3) == b"\x05\x01\x00"  # CONNECT
        target = await _address(reader)
        proxy.asked.append(target)
        try:
            other = await connect(target)
        except OSError:
            await stream.send_all(b"\x05\x05\x00\x01" + bytes(6))  # refused
            return
        async with other:
            await stream.send_all(b"\x05\x00\x00\x01" + bytes(6))
            await relay(stream, other)

    async def logged_in(stream: trio.SocketStream, reader: _Reader) -> bool:
        assert await reader.exactly(1) == b"\x01"
        given = (await reader.sized(), await reader.sized())
        right = given == (user.encode(), password.encode())
        await stream.send_all(b"\x01\x00" if right else b"\x01\x01")
        return right

    async with tcp_server(handler) as address:
        proxy = Proxy(address)
        yield proxy
