"""Answers that open no session, one after another: connections that end unsaid, and bodies that mean harm.

On trio, asyncio, uvloop and in threads, over TCP and TLS; the server is in a thread of its own.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
import trio

from httpx2_trio_ws import WebSocketUpgradeError
from httpx2_trio_ws import anyio as on_anyio
from httpx2_trio_ws import sync as in_threads
from httpx2_trio_ws._reconnecting._attempts import leaves

from .handshake_support import client_context, server_context
from .memory import accept_key
from .on_asyncio.support import REAL_LOOPS, run_real

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Generator

FACES = ["trio", *REAL_LOOPS, "threads"]


class Server:
    """Answers each request with what ``answer(head, number on its connection)`` gives; ``None`` closes the connection.

    After an answer that ends in ``CLOSES`` it closes at once, without having said so.
    """

    CLOSES = b"\0closes"

    def __init__(self, answer: Callable[[bytes, int], bytes | None], context: ssl.SSLContext | None) -> None:
        self._answer = answer
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'ws' if context is None else 'wss'}://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.heads: list[bytes] = []
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(accepted)
            stream: Any = accepted
            if self._context is not None:
                stream = stack.enter_context(self._context.wrap_socket(accepted, server_side=True))
            number = 0
            while (head := read_head(stream)) is not None:
                self.heads.append(head)
                number += 1
                answer = self._answer(head, number)
                if answer is None:
                    return
                stream.sendall(answer.removesuffix(self.CLOSES))
                if answer.startswith(b"HTTP/1.1 101 "):
                    stream.recv(1024)  # the answer to the close frame; now it is the server's to end the connection
                    return
                if answer.endswith(self.CLOSES):
                    if self._context is not None:
                        with contextlib.suppress(OSError):
                            stream.unwrap()
                    return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def read_head(connection: socket.socket) -> bytes | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return None
        head += byte
    return head


@contextlib.contextmanager
def serving(answer: Callable[[bytes, int], bytes | None], tls: bool = False) -> Generator[Server]:
    server = Server(answer, server_context() if tls else None)
    try:
        yield server
    finally:
        server.close()


def accepted(head: bytes) -> bytes:
    """A proper 101, and a close frame behind it."""
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    lines = (
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key.split(b':')[1].strip().decode())}",
    )
    return "\r\n".join((*lines, "", "")).encode() + b"\x88\x02\x03\xe8"


def answer_of(status: str, *lines: str, body: bytes = b"no") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", "")).encode() + body


class Opener:
    """Opens sessions with one client, and leaves them at once; gives the response, or what was raised."""

    def __init__(self, open_one: Callable[..., Any], client: Any) -> None:
        self._open_one = open_one
        self.client = client

    async def __call__(self, url: str, **options: Any) -> Any:
        try:
            return await self._open_one(self.client, url, options)
        except Exception as exc:
            return next(leaves(exc))


async def _open_async(client: httpx2.AsyncClient, url: str, options: Any) -> httpx2.Response:
    async with on_anyio.open_websocket(client, url, close_timeout_seconds=1, **options) as ws:
        return ws.response


async def _open_blocking(client: httpx2.Client, url: str, options: Any) -> httpx2.Response:
    with in_threads.open_websocket(client, url, close_timeout_seconds=1, **options) as ws:
        return ws.response


def run(face: str, function: Callable[[Opener], Awaitable[None]], **client_options: Any) -> None:
    """Run it on a face, with a client whose pool has one slot."""
    options: dict[str, Any] = {
        "verify": client_context(),
        "trust_env": False,
        "limits": httpx2.Limits(max_connections=1),
        "timeout": httpx2.Timeout(10, pool=1),
        **client_options,
    }

    async def on_loop() -> None:
        async with httpx2.AsyncClient(**options) as client:
            await function(Opener(_open_async, client))

    async def in_thread() -> None:
        with httpx2.Client(**options) as client:
            await function(Opener(_open_blocking, client))

    if face == "trio":
        trio.run(on_loop)
    elif face == "threads":
        anyio.run(in_thread)
    else:
        run_real(face, on_loop)


class Token(httpx2.Auth):
    """Answers a 401 with a token."""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = "Bearer token"
            yield request


def refuses_and_closes(head: bytes, number: int) -> bytes | None:
    if number > 1:
        return None  # closed by now: there is no second request
    if b"authorization" in head.lower():
        return accepted(head)
    return answer_of("401 Unauthorized") + Server.CLOSES


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("face", FACES)
def test_openings_after_refusals_whose_connections_end_unsaid(face: str, tls: bool) -> None:
    async def main(opened: Opener) -> None:
        for _ in range(5):
            refusal = await opened(server.url)
            assert isinstance(refusal, WebSocketUpgradeError), refusal
            assert refusal.response.text == "no"
            response = await opened(server.url, headers={"Authorization": "Bearer token"})
            assert isinstance(response, httpx2.Response), response

    with serving(refuses_and_closes, tls) as server:
        run(face, main)
        assert server.connections == 10, "no more attempts than openings"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("face", FACES)
def test_a_login_whose_connection_ends_unsaid(face: str, tls: bool) -> None:
    async def main(opened: Opener) -> None:
        for _ in range(5):
            response = await opened(server.url, auth=Token())
            assert isinstance(response, httpx2.Response), response
            assert [earlier.status_code for earlier in response.history] == [401]

    with serving(refuses_and_closes, tls) as server:
        run(face, main)


@pytest.mark.parametrize("face", FACES)
def test_a_connection_that_is_kept_is_used_for_the_login(face: str) -> None:
    """As authentication that belongs to the connection needs it (RFC 4559 §6)."""

    def answer(head: bytes, number: int) -> bytes:
        return answer_of("401 Unauthorized") if number == 1 else accepted(head)

    async def main(opened: Opener) -> None:
        assert isinstance(await opened(server.url, auth=Token()), httpx2.Response)

    with serving(answer) as server:
        run(face, main)
        assert server.connections == 1


@pytest.mark.parametrize("face", FACES)
def test_a_pooled_connection_that_ends_at_the_next_request(face: str) -> None:
    """It is tried once more, on a new one; and there no further."""

    def answer(head: bytes, number: int) -> bytes | None:
        if head.startswith(b"GET /plain"):
            return answer_of("200 OK")
        return None if number > 1 or head.startswith(b"GET /dead") else accepted(head)

    async def main(opened: Opener) -> None:
        for path, kind in ("live", httpx2.Response), ("dead", httpx2.RemoteProtocolError):
            plain = opened.client.get(f"http{server.url[2:]}plain")
            assert (plain if isinstance(plain, httpx2.Response) else await plain).text == "no"
            result = await opened(server.url + path)
            assert isinstance(result, kind), result

    with serving(answer) as server:
        run(face, main)
        sent = [head.split()[1] for head in server.heads]
        assert sent == [b"/plain", b"/live", b"/live", b"/plain", b"/dead", b"/dead"]


@pytest.mark.parametrize("face", FACES)
def test_redirects_between_connections_that_end_unsaid_are_counted(face: str) -> None:
    def answer(head: bytes, number: int) -> bytes | None:
        return answer_of("302 Found", "Location: /again") if number == 1 else None

    async def main(opened: Opener) -> None:
        result = await opened(server.url, follow_redirects=True)
        assert isinstance(result, httpx2.TooManyRedirects), result

    with serving(answer) as server:
        run(face, main, max_redirects=3)
        assert server.connections == 4


BOMB = gzip.compress(bytes(2**24))
BOMB_IN_TWO = gzip.compress(gzip.compress(bytes(2**28)))


@pytest.mark.parametrize("status", ["302 Found", "401 Unauthorized"])
@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", BOMB), ("gzip, gzip", BOMB_IN_TWO), ("identity", bytes(2**22))],
    ids=["one", "two", "none"],
)
@pytest.mark.parametrize("face", FACES)
def test_a_body_that_nobody_wants_is_not_kept(face: str, coding: str, body: bytes, status: str) -> None:
    def answer(head: bytes, number: int) -> bytes:
        if b"authorization" in head.lower() or head.startswith(b"GET /to"):
            return accepted(head)
        return answer_of(status, "Location: /to", f"Content-Encoding: {coding}", body=body)

    async def main(opened: Opener) -> None:
        response = await opened(server.url, auth=Token(), follow_redirects=True)
        assert isinstance(response, httpx2.Response), response
        assert [(earlier.status_code, earlier.content) for earlier in response.history] == [(int(status[:3]), b"")]

    with serving(answer) as server:
        run(face, main)


class Reading(httpx2.Auth):
    """Wants the body of each answer."""

    requires_response_body = True

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        response = yield request
        request.headers["Authorization"] = f"Bearer {len(response.content)}"
        yield request


@pytest.mark.parametrize(
    ("coding", "body", "error"),
    [
        ("gzip", gzip.compress(bytes(2**20)), None),
        ("gzip", BOMB, "over 1048576 bytes"),
        ("gzip, gzip", BOMB_IN_TWO, "several content codings"),
        ("identity", bytes(2**20 + 1), "over 1048576 bytes"),
    ],
)
@pytest.mark.parametrize("face", FACES)
def test_what_an_authentication_reads_is_bounded(face: str, coding: str, body: bytes, error: str | None) -> None:
    def answer(head: bytes, number: int) -> bytes:
        if b"authorization: bearer 1048576" in head.lower():
            return accepted(head)
        return answer_of("401 Unauthorized", f"Content-Encoding: {coding}", body=body)

    async def main(opened: Opener) -> None:
        result = await opened(server.url, auth=Reading())
        if error is None:
            assert isinstance(result, httpx2.Response), result
        else:
            assert isinstance(result, httpx2.RemoteProtocolError), result
            assert error in str(result)

    with serving(answer) as server:
        run(face, main)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("location", ["ws://$xn--0", "//:0", "ws://h:port/"])
@pytest.mark.parametrize("face", FACES)
def test_a_redirect_to_what_is_no_url(face: str, location: str, follow: bool) -> None:
    def answer(head: bytes, number: int) -> bytes:
        return answer_of("302 Found", f"Location: {location}")

    async def main(opened: Opener) -> None:
        for _ in range(2):  # and the pool's slot is free
            result = await opened(server.url, follow_redirects=follow)
            assert isinstance(result, WebSocketUpgradeError), result
            assert "invalid URL" in str(result) or "a redirect to" in str(result)
            assert result.response.headers["location"] == location

    with serving(answer) as server:
        run(face, main)


@pytest.mark.parametrize(
    "challenge", ["Digest", 'Digest realm="r"', 'Digest realm="r", nonce="n", algorithm=X', "Digest a"]
)
@pytest.mark.parametrize("face", FACES)
def test_a_challenge_that_makes_no_sense(face: str, challenge: str) -> None:
    def answer(head: bytes, number: int) -> bytes:
        return answer_of("401 Unauthorized", f"WWW-Authenticate: {challenge}")

    async def main(opened: Opener) -> None:
        result = await opened(server.url, auth=httpx2.DigestAuth("u", "p"))
        assert isinstance(result, WebSocketUpgradeError), result
        assert "401" in str(result)
        assert result.response.text == "no"

    with serving(answer) as server:
        run(face, main)
