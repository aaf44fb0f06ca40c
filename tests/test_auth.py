"""Authentication of the handshake: httpx2's flows, round trips included."""

from __future__ import annotations

import hashlib
import urllib.request
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from httpx2_trio_ws import OpenOptions, WebSocketUpgradeError, open_websocket, sync

from .handshake_support import Request, new_client, one_connection, response, site, switch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def digest(user: str, password: str, *headers: str, body: bytes = b"who?") -> Callable[[Request], bytes]:
    """A server that wants Digest authentication (RFC 7616, MD5 with ``qop=auth``), and checks it."""

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    def answer(request: Request) -> bytes:
        method, _, rest = request.headers.get("authorization", "").partition(" ")
        if method == "Digest":
            given = urllib.request.parse_keqv_list(urllib.request.parse_http_list(rest))
            first, second = md5(user, "here", password), md5(request.method, request.target)
            assert given["nonce"] == NONCE
            if given["response"] == md5(first, NONCE, given["nc"], given["cnonce"], "auth", second):
                return switch(request)
        challenge = f'WWW-Authenticate: Digest realm="here", nonce="{NONCE}", qop="auth", algorithm=MD5'
        return response("401 Unauthorized", challenge, *headers, body=body)

    return answer


def with_token(request: httpx2.Request) -> httpx2.Request:
    request.headers["Authorization"] = "Bearer token"
    return request


@pytest.mark.parametrize(
    ("on_client", "userinfo", "options", "expected"),
    [
        (None, "", {}, None),
        (None, "", {"auth": ("u", "p")}, basic("u", "p")),
        (("u", "p"), "", {}, basic("u", "p")),
        (("u", "p"), "", {"auth": ("other", "p")}, basic("other", "p")),
        (("u", "p"), "", {"auth": None}, None),
        (None, "me:s%3Acret@", {}, basic("me", "s:cret")),
        (None, ":p@", {}, basic("", "p")),
        (None, "me:secret@", {"auth": ("u", "p")}, basic("u", "p")),
        (None, "", {"auth": httpx2.BasicAuth("u", "p")}, basic("u", "p")),
        (None, "", {"auth": with_token}, "Bearer token"),
        (with_token, "", {}, "Bearer token"),
        (None, "", {"headers": {"Authorization": "Mine"}}, "Mine"),
    ],
)
async def test_one_round_trip(on_client: Any, userinfo: str, options: OpenOptions, expected: str | None) -> None:
    async with (
        site() as server,
        new_client(auth=on_client) as client,
        open_websocket(client, f"ws://{userinfo}{server.host}/", **options),
    ):
        pass
    (request,) = server.requests
    assert request.headers.get("authorization") == expected
    assert request.target == "/"


@pytest.mark.parametrize("headers", [(), ("Connection: close",)])
async def test_digest(headers: tuple[str, ...]) -> None:
    async with (
        site(digest("u", "p", *headers)) as server,
        one_connection(auth=httpx2.DigestAuth("u", "p")) as client,
        open_websocket(client, server.url) as ws,
    ):
        assert [earlier.status_code for earlier in ws.response.history] == [401]
        await ws.send("x")
        assert await ws.receive() == "x"
        first, second = server.requests
        assert first.headers["sec-websocket-key"] != second.headers["sec-websocket-key"]
        assert "authorization" not in first.headers
        assert server.accepted == (2 if headers else 1)


async def test_digest_with_a_wrong_password() -> None:
    async with site(digest("u", "p", body=b"go away")) as server, one_connection() as client:
        for _ in range(2):
            with pytest.raises(WebSocketUpgradeError, match="401 Unauthorized; pass auth=") as caught:
                async with open_websocket(client, server.url, auth=httpx2.DigestAuth("u", "wrong")):
                    raise AssertionError
            assert caught.value.response is not None
            assert caught.value.response.text == "go away"
        assert len(server.requests) == 4


async def test_cookies_of_a_challenge_come_back() -> None:
    async with (
        site(digest("u", "p", "Set-Cookie: seen=1")) as server,
        new_client() as client,
        open_websocket(client, server.url, auth=httpx2.DigestAuth("u", "p")),
    ):
        assert [request.headers.get("cookie") for request in server.requests] == [None, "seen=1"]


class _Login(httpx2.Auth):
    """Logs in at another path, and goes on with what it got there."""

    def __init__(self, *, reads: bool) -> None:
        self.requires_response_body = reads
        self.finished = False

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        login = yield httpx2.Request("GET", request.url.copy_with(path="/login"))
        token = login.text if self.requires_response_body else login.headers["X-Token"]
        request.headers["Authorization"] = token
        yield request
        self.finished = True


class _AsyncLogin(httpx2.Auth):
    """The same, as an async flow that reads for itself."""

    finished = False

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        login = yield httpx2.Request("GET", request.url.copy_with(path="/login"))
        await login.aread()
        request.headers["Authorization"] = login.text
        last = yield request
        self.finished = last.status_code == 101


@pytest.mark.parametrize("auth", [_Login(reads=True), _Login(reads=False), _AsyncLogin()])
async def test_a_flow_of_several_requests(auth: _Login | _AsyncLogin) -> None:
    def answer(request: Request) -> bytes:
        if request.target == "/login":
            return response("200 OK", "X-Token: token", body=b"token")
        assert request.headers["authorization"] == "token"
        return switch(request)

    async with (
        site(answer) as server,
        new_client() as client,
        open_websocket(client, f"{server.url}/chat", auth=auth) as ws,
    ):
        await ws.send("x")
        assert await ws.receive() == "x"
    assert [request.target for request in server.requests] == ["/login", "/chat"]
    # One that wants the body of each response does not get to see a 101, which has none.
    assert auth.finished != auth.requires_response_body


async def test_a_flow_that_reads_a_refusal() -> None:
    """The body has been read by the time that it is put into the exception."""

    def answer(request: Request) -> bytes:
        if request.target == "/login":
            return response("200 OK", body=b"token")
        return response("403 Forbidden", body=b"go away " * 20000)

    async with site(answer) as server, new_client() as client:
        with pytest.raises(WebSocketUpgradeError, match="403 Forbidden") as caught:
            async with open_websocket(client, server.url, auth=_Login(reads=True)):
                raise AssertionError
        assert caught.value.response is not None
        assert caught.value.response.content == (b"go away " * 20000)[:65536]


class _Reading(httpx2.Auth):
    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        answer = yield request
        await answer.aread()


async def test_a_flow_that_reads_the_101() -> None:
    async with site() as server, new_client() as client:
        with pytest.raises(WebSocketUpgradeError, match="the authentication must not read"):
            async with open_websocket(client, server.url, auth=_Reading()):
                raise AssertionError
        await server.idle()


class _Failing(httpx2.Auth):
    def __init__(self, log: list[str]) -> None:
        self._log = log

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        try:
            yield request
            raise RuntimeError("from the flow")
        finally:
            self._log.append("closed")


async def test_a_flow_that_fails() -> None:
    log: list[str] = []
    async with site() as server, one_connection() as client:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="from the flow"):
                async with open_websocket(client, server.url, auth=_Failing(log)):
                    raise AssertionError
        await server.idle()
    assert log == ["closed", "closed"]


async def test_event_hooks_see_each_round_trip() -> None:
    seen: list[int] = []

    async def on_response(answer: httpx2.Response) -> None:
        seen.append(answer.status_code)

    async with (
        site(digest("u", "p")) as server,
        new_client(event_hooks={"response": [on_response]}) as client,
        open_websocket(client, server.url, auth=httpx2.DigestAuth("u", "p")),
    ):
        assert seen == [401, 101]


def test_a_client_that_sends_nothing() -> None:
    """It is a subclass's right. No flow has been begun then."""

    class Closed(httpx2.AsyncClient):
        async def send(self, *args: Any, **kwargs: Any) -> httpx2.Response:
            raise RuntimeError("not on Sundays")

    class SyncClosed(httpx2.Client):
        def send(self, *args: Any, **kwargs: Any) -> httpx2.Response:
            raise RuntimeError("not on Sundays")

    async def main() -> None:
        async with Closed() as client:
            with pytest.raises(RuntimeError, match="not on Sundays"):
                async with open_websocket(client, "ws://127.0.0.1:1"):
                    pass

    trio.run(main)
    with (
        SyncClosed() as client,
        pytest.raises(RuntimeError, match="not on Sundays"),
        sync.open_websocket(client, "ws://127.0.0.1:1"),
    ):
        pass
