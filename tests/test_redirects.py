"""Redirects of the handshake: where they lead, what goes along, and where they are not followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from httpx2_trio_ws import WebSocketUpgradeError, open_websocket

from .handshake_support import (
    Request,
    client_context,
    new_client,
    one_connection,
    redirect,
    response,
    server_context,
    site,
    switch,
)
from .test_auth import digest

if TYPE_CHECKING:
    from collections.abc import Callable


def to(location: str, *lines: str) -> Callable[[Request], bytes]:
    """Redirects /from to ``location``, and accepts all else."""

    def answer(request: Request) -> bytes:
        return redirect(location, *lines) if request.target == "/from" else switch(request)

    return answer


async def opens(client: httpx2.AsyncClient, url: str) -> httpx2.Response:
    """Open, exchange a message, leave; the response is the last one's."""
    async with open_websocket(client, url, follow_redirects=True) as ws:
        await ws.send("x")
        assert await ws.receive() == "x"
    return ws.response


async def refused(client: httpx2.AsyncClient, url: str, match: str) -> httpx2.Response:
    with pytest.raises(WebSocketUpgradeError, match=match) as caught:
        async with open_websocket(client, url, follow_redirects=True):
            raise AssertionError
    assert caught.value.response is not None
    return caught.value.response


@pytest.mark.parametrize("location", ["/to?x=1", "to?x=1", "//HOST/to?x=1", "http://HOST/to?x=1", "ws://HOST/to?x=1"])
async def test_a_redirect_on_the_same_host(location: str) -> None:
    async with site() as server, one_connection(auth=("u", "p")) as client:
        server.answer = to(location.replace("HOST", server.host))
        last = await opens(client, f"{server.url}/from")
    first, second = server.requests
    assert second.target == "/to?x=1"
    assert first.headers["sec-websocket-key"] != second.headers["sec-websocket-key"]
    for name in ("upgrade", "connection", "sec-websocket-version", "sec-websocket-extensions", "host", "authorization"):
        assert first.headers[name] == second.headers[name]
    assert [earlier.status_code for earlier in last.history] == [302]
    assert last.request.url == httpx2.URL(f"http://{server.host}/to?x=1")


async def test_the_client_setting_applies() -> None:
    async with site(to("/to")) as server, new_client(follow_redirects=True) as client:
        async with open_websocket(client, f"{server.url}/from"):
            pass
        with pytest.raises(WebSocketUpgradeError, match="pass follow_redirects=True"):
            async with open_websocket(client, f"{server.url}/from", follow_redirects=False):
                raise AssertionError


async def test_a_redirect_that_is_not_followed_says_how_to_follow_it(client: httpx2.AsyncClient) -> None:
    async with site(to("/to")) as server:
        with pytest.raises(WebSocketUpgradeError, match=r"302 Found, a redirect to '/to'; pass follow_redirects=True"):
            async with open_websocket(client, f"{server.url}/from"):
                raise AssertionError
    assert len(server.requests) == 1


@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_from_tls_to_tls_on_the_same_origin(scheme: str) -> None:
    async with (
        site(ssl_context=server_context()) as server,
        new_client(verify=client_context(), auth=("u", "p")) as client,
    ):
        server.answer = to(f"{scheme}://{server.host}/to", "Set-Cookie: session=1; Secure")
        await opens(client, f"{server.url}/from")
    first, second = server.requests
    assert second.target == "/to"
    assert second.headers["authorization"] == first.headers["authorization"]
    assert second.headers["cookie"] == "session=1"
    assert second.headers["host"] == server.host


@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_from_plain_text_to_tls(scheme: str) -> None:
    async with (
        site() as plain,
        site(ssl_context=server_context()) as safe,
        new_client(verify=client_context(), auth=("u", "p")) as client,
    ):
        plain.answer = to(f"{scheme}://{safe.host}/to")
        await opens(client, f"{plain.url}/from")
    assert "authorization" in plain.requests[0].headers
    assert "authorization" not in safe.requests[0].headers  # another port is another origin
    assert safe.requests[0].headers["host"] == safe.host


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_credentials_do_not_go_to_another_origin(scheme: str) -> None:
    async with site() as first, site() as other, new_client() as client:
        first.answer = to(f"{scheme}://{other.host.replace('127.0.0.1', 'localhost')}/to", "Set-Cookie: session=1")
        url = f"ws://u:p@{first.host}/from"
        async with open_websocket(client, url, cookies={"mine": "1"}, follow_redirects=True):
            pass
    assert "authorization" in first.requests[0].headers
    assert first.requests[0].headers["cookie"] == "mine=1"
    assert "authorization" not in other.requests[0].headers
    assert "cookie" not in other.requests[0].headers
    assert other.requests[0].headers["host"] == other.host.replace("127.0.0.1", "localhost")


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_tls_is_never_left(scheme: str) -> None:
    async with (
        site() as plain,
        site(ssl_context=server_context()) as safe,
        one_connection(verify=client_context(), auth=("u", "p")) as client,
    ):
        location = f"{scheme}://{plain.host}/to"
        safe.answer = lambda request: (
            response("307 Temporary Redirect", f"Location: {location}", body=b"moved")
            if request.target == "/from"
            else switch(request)
        )
        answer = await refused(client, f"{safe.url}/from", r"from TLS to plain text .*; this is never followed")
        assert (answer.status_code, answer.text) == (307, "moved")
        assert (plain.accepted, plain.requests) == (0, [])
        await opens(client, safe.url)  # the pool's slot is free


async def test_tls_is_not_left_at_the_second_redirect_either() -> None:
    async with (
        site() as plain,
        site(ssl_context=server_context()) as safe,
        new_client(verify=client_context()) as client,
    ):
        safe.answer = lambda request: redirect("/b" if request.target == "/a" else f"ws://{plain.host}/")
        await refused(client, f"{safe.url}/a", "this is never followed")
    assert [request.target for request in safe.requests] == ["/a", "/b"]
    assert plain.accepted == 0


async def test_too_many_redirects() -> None:
    async with site(lambda _: redirect("/again")) as server, one_connection(max_redirects=3) as client:
        for _ in range(2):
            server.requests.clear()
            with pytest.raises(httpx2.TooManyRedirects):
                async with open_websocket(client, server.url, follow_redirects=True):
                    raise AssertionError
            assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("ws://h:notaport/", "redirects to an invalid URL: 'ws://h:notaport/'"),
        ("ftp://127.0.0.1/x", "redirects to 'ftp://127.0.0.1/x': a WebSocket URL begins with ws://"),
        ("mailto:x@y", "redirects to an invalid URL"),
    ],
)
async def test_a_bad_location(location: str, why: str) -> None:
    def answer(request: Request) -> bytes:
        if request.target == "/from":
            return response("302 Found", f"Location: {location}", body=b'{"moved": true}')
        return switch(request)

    async with site(answer) as server, one_connection() as client:
        refusal = await refused(client, f"{server.url}/from", why)
        assert refusal.json() == {"moved": True}
        await opens(client, server.url)


async def test_a_location_that_is_no_redirect(client: httpx2.AsyncClient) -> None:
    async with site(lambda _: response("404 Not Found", "Location: /to", body=b"")) as server:
        await refused(client, server.url, "404 Not Found$")


async def test_a_login_that_ends_in_a_redirect() -> None:
    def answer(request: Request) -> bytes:
        if request.target == "/to":
            return switch(request)
        return redirect("/to") if login(request).startswith(b"HTTP/1.1 101") else login(request)

    login = digest("u", "p")
    async with site(answer) as server, new_client(auth=httpx2.DigestAuth("u", "p")) as client:
        last = await opens(client, f"{server.url}/from")
    assert [request.target for request in server.requests] == ["/from", "/from", "/to"]
    assert [earlier.status_code for earlier in last.history] == [401, 302]
    assert len({request.headers["sec-websocket-key"] for request in server.requests}) == 3


async def test_a_redirect_that_ends_in_a_login() -> None:
    """The challenge is answered where the request began, as httpx2 does it for any request."""

    def answer(request: Request) -> bytes:
        return redirect("/to") if request.target == "/from" else login(request)

    login = digest("u", "p")
    async with site(answer) as server, new_client(auth=httpx2.DigestAuth("u", "p")) as client:
        await refused(client, f"{server.url}/from", "401 Unauthorized")  # the digest is that of /from
    assert [request.target for request in server.requests] == ["/from", "/to", "/from", "/to"]
    assert len({request.headers["sec-websocket-key"] for request in server.requests}) == 4


async def test_cookies_set_by_a_redirect_are_sent() -> None:
    async with site(to("/to", "Set-Cookie: session=1; Path=/")) as server, new_client() as client:
        await opens(client, f"{server.url}/from")
        await opens(client, f"{server.url}/to")
    assert [request.headers.get("cookie") for request in server.requests] == [None, "session=1", "session=1"]


async def test_event_hooks_see_each_step() -> None:
    seen: list[str] = []

    async def on_request(request: httpx2.Request) -> None:
        seen.append(request.url.path)

    async def on_response(answer: httpx2.Response) -> None:
        seen.append(str(answer.status_code))

    hooks = {"request": [on_request], "response": [on_response]}
    async with site(to("/to")) as server, new_client(event_hooks=hooks) as client:
        await opens(client, f"{server.url}/from")
    assert seen == ["/from", "302", "/to", "101"]
