"""A server that answers each handshake as the test says, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import ssl
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import trio
import trustme

from .memory import CLOSE, Peer, accept_key, frame
from .servers import read_request

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path


class Request(NamedTuple):
    """A request as it came over the wire; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]


def switch(request: Request, *lines: str, **replaced: str | None) -> bytes:
    """A proper 101; ``lines`` are more headers, ``replaced`` are changed ones (``None`` leaves one out)."""
    headers: dict[str, str | None] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(request.headers["sec-websocket-key"]),
    }
    headers |= {name.replace("_", "-"): value for name, value in replaced.items()}
    lines = (*(f"{name}: {value}" for name, value in headers.items() if value is not None), *lines)
    return response("101 Switching Protocols", *lines)


def response(status: str, *lines: str, body: bytes | None = None) -> bytes:
    """A response; with ``body``, its length is told too."""
    if body is not None:
        lines = (*lines, f"Content-Length: {len(body)}")
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "", "")).encode() + (body or b"")


def redirect(location: str, *lines: str) -> bytes:
    return response("302 Found", f"Location: {location}", *lines, body=b"")


class Site:
    """What a server was asked, and how many connections it has."""

    def __init__(self, answer: Callable[[Request], bytes]) -> None:
        self.answer = answer
        self.host = ""
        self.scheme = "ws"
        self.requests: list[Request] = []
        self.accepted = 0
        self.open = 0
        self.asked = trio.Event()
        self._closed = trio.Event()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    async def handle(self, stream: trio.abc.Stream) -> None:
        self.accepted += 1
        self.open += 1
        try:
            # Whatever way the client goes away is fine; how it leaves is other tests' matter.
            with contextlib.suppress(EOFError, trio.BrokenResourceError):
                await self._serve(stream)
        finally:
            self.open -= 1
            self._closed.set()
            self._closed = trio.Event()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        while True:
            first, headers = await read_request(stream)
            method, target, _ = first.split(" ")
            self.requests.append(Request(method, target, headers))
            self.asked.set()
            answer = self.answer(self.requests[-1])
            await stream.send_all(answer)
            if answer.startswith(b"HTTP/1.1 101"):
                await echo(Peer(stream))
            if answer == b"":  # no answer: until the client goes away
                await stream.receive_some()
            if b"\r\nContent-Length: " not in answer:
                return

    async def idle(self) -> None:
        """Wait until no connection is left."""
        while self.open:
            await self._closed.wait()


async def echo(peer: Peer) -> None:
    """Send back what comes; a close frame is the last."""
    opcode = -1
    while opcode != CLOSE:
        opcode, payload = await peer.receive()
        await peer.send(frame(opcode, payload))


@contextlib.asynccontextmanager
async def site(
    answer: Callable[[Request], bytes] = switch, ssl_context: ssl.SSLContext | None = None
) -> AsyncGenerator[Site]:
    """A server on loopback that answers every request by ``answer``; over TLS if it is given a context."""
    made = Site(answer)
    async with trio.open_nursery() as nursery:
        listeners: list[Any]
        if ssl_context is None:
            listeners = await nursery.start(partial(trio.serve_tcp, made.handle, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
        else:
            made.scheme = "wss"
            handler: Any = made.handle
            serve = partial(trio.serve_ssl_over_tcp, handler, 0, ssl_context, host="127.0.0.1", https_compatible=True)
            listeners = await nursery.start(serve)
            port = listeners[0].transport_listener.socket.getsockname()[1]
        made.host = f"127.0.0.1:{port}"
        yield made
        nursery.cancel_scope.cancel()


def new_client(**options: Any) -> httpx2.AsyncClient:
    """A client with nothing set but ``options``; certificates and the environment are left out."""
    return httpx2.AsyncClient(**{"verify": False, "trust_env": False, **options})


def one_connection(**options: Any) -> httpx2.AsyncClient:
    """A client whose pool has one slot, and which does not wait for it long."""
    limits = httpx2.Limits(max_connections=1)
    return new_client(limits=limits, timeout=httpx2.Timeout(5, pool=0.1), **options)


class FunctionTransport(httpx2.AsyncBaseTransport):
    """Answers by a function, without any I/O; ``requests`` is what it was asked."""

    def __init__(self, answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
        self._answer = answer
        self.requests: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self._answer(request)


class Chunks(httpx2.AsyncByteStream):
    """A body from an async iterator."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(*names: str) -> ssl.SSLContext:
    """A server's TLS context with a certificate for ``names``, 127.0.0.1 if none are given."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert(*names or ("127.0.0.1",)).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    """A client's TLS context that trusts :func:`authority`, and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


def certificate_files(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key, as files."""
    issued = authority().issue_cert("127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    return str(chain), str(key)


def untouched() -> httpx2.AsyncClient:
    """A client that fails the test when anything is sent."""

    def fail(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(f"a request was sent to {request.url}")

    return httpx2.AsyncClient(transport=FunctionTransport(fail))
