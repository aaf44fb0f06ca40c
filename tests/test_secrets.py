"""What error messages show: no secrets of ours, and nothing of the peer's that a terminal would act on."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from httpx2_trio_ws import WebSocketDisconnect, WebSocketProtocolError, WebSocketUpgradeError, open_websocket
from httpx2_trio_ws._texts import printable, shown, shown_text

from .handshake_support import Request, new_client, redirect, response, site, untouched

SECRET = "s3cret"


async def message(url: str, **options: Any) -> str:
    """What an opening says that fails before anything is sent."""
    async with untouched() as client:
        with pytest.raises((ValueError, TypeError)) as caught:
            async with open_websocket(client, url, **options):
                raise AssertionError
    assert type(caught.value) in (ValueError, TypeError)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://u:{SECRET}@h/?token={SECRET}",
        f"ws://u:{SECRET}@/?token={SECRET}",
        f"ws://u:{SECRET}@h:port/?token={SECRET}",
        f"ws://u:{SECRET}@h/?token={SECRET}#x",
        f"ws://h/?token={SECRET}#{SECRET}",
        f"ws://u:{SECRET}@$xn--0/?token={SECRET}",
        f"ws://h/\n?token={SECRET}",
    ],
)
async def test_urls(url: str) -> None:
    assert SECRET not in await message(url)


@pytest.mark.parametrize(
    "options",
    [
        {"subprotocols": [f"{SECRET} "]},
        {"subprotocols": [SECRET, SECRET]},
        {"auth": [SECRET]},
        {"headers": {"Authorization": f"Bearer {SECRET}\n"}},
        {"headers": {"X": f" {SECRET}"}},
        {"headers": {"X": f"{SECRET}\x7f"}},
        {"headers": {"Sec-WebSocket-Key": SECRET}},
    ],
)
async def test_values_of_options(options: Any) -> None:
    assert SECRET not in await message("ws://h", **options)


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "a b", "", "a:"])
async def test_headers_that_have_no_place_in_a_handshake(name: str) -> None:
    assert "header" in await message("ws://h", headers={name: "1"})


async def test_headers_that_an_authentication_makes() -> None:
    def auth(request: httpx2.Request) -> httpx2.Request:
        request.headers["Authorization"] = f"Bearer {SECRET}\n"
        return request

    assert "'authorization' has a control character" in (await message("ws://h", auth=auth)).lower()


LOCATIONS = (f"/to?code={SECRET}", f"http://u:{SECRET}@h:port/?code={SECRET}", f"ftp://u:{SECRET}@h/?code={SECRET}")


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("answer", [response("200 OK", body=b""), *map(redirect, LOCATIONS)])
async def test_refusals(answer: bytes, follow: bool) -> None:
    async with site(lambda _: answer) as server, new_client(max_redirects=0) as client:
        with pytest.raises((WebSocketUpgradeError, httpx2.TooManyRedirects)) as caught:
            async with open_websocket(client, f"{server.url}/?token={SECRET}", follow_redirects=follow):
                raise AssertionError
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("exception", [WebSocketDisconnect, WebSocketProtocolError])
def test_a_close_reason(exception: type[WebSocketDisconnect]) -> None:
    error = exception(1002, "\x1b]52;c;eA==\x07\n\u202e")
    assert str(error).isprintable()
    assert error.reason == "\x1b]52;c;eA==\x07\n\u202e", "as it came"


def test_printable() -> None:
    assert printable("a\n\x1b\u202e\ud800é€") == r"a\n\x1b\u202e\ud800é€"
    assert printable("plain") == "plain"
    assert shown(httpx2.URL("wss://u:p@h:1/a%20b?c=d#e")) == "wss://h:1/a%20b?…"
    assert shown_text("//u:p@h/?a#b") == "//h/?…"
    assert re.fullmatch("[ -~]*", shown_text("/\x07"))


async def test_credentials_for_a_proxy_stay_on_their_origin() -> None:
    async with site() as other, site() as first, new_client(follow_redirects=True) as client:
        elsewhere = f"ws://{other.host.replace('127.0.0.1', 'localhost')}/to"

        def answer(request: Request) -> bytes:
            return redirect("/on" if request.target == "/" else elsewhere)

        first.answer = answer
        async with open_websocket(client, first.url, headers={"Proxy-Authorization": SECRET}):
            pass
    assert [request.headers.get("proxy-authorization") for request in first.requests] == [SECRET] * 2
    assert "proxy-authorization" not in other.requests[0].headers
