"""A refusal carries the response, with so much of its body as is good to have."""

from __future__ import annotations

import copy
import gzip
import json
import os
import pickle
from typing import TYPE_CHECKING

import httpx2
import pytest
import trio

from httpx2_trio_ws import WebSocketUpgradeError, open_websocket

from .handshake_support import Chunks, FunctionTransport, Request, new_client, one_connection, response, site, switch
from .servers import read_request, tcp_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOUND = 65536


async def refusal(client: httpx2.AsyncClient, url: str, seconds: float = 30) -> httpx2.Response:
    """The response of a refusal."""
    with pytest.raises(WebSocketUpgradeError, match="the server refused the WebSocket with") as caught:
        async with open_websocket(client, url, handshake_timeout_seconds=seconds):
            raise AssertionError
    assert caught.value.response is not None
    assert caught.value.args == (caught.value.reason, caught.value.response)
    return caught.value.response


async def answered(*lines: str, body: bytes) -> httpx2.Response:
    """What a client makes of a 404 with such a body; its connection is gone afterwards."""

    def answer(request: Request) -> bytes:
        return switch(request) if request.target == "/good" else response("404 Not Found", *lines, body=body)

    async with site(answer) as server, one_connection() as client:
        refused = await refusal(client, f"{server.url}/chat")
        async with open_websocket(client, f"{server.url}/good"):
            pass
    assert refused.request.url.path == "/chat"
    assert refused.is_closed
    return refused


async def test_a_body_of_json() -> None:
    refused = await answered("Content-Type: application/json", "X-Why: this", body=b'{"error": "no such room"}')
    assert refused.status_code == 404
    assert refused.reason_phrase == "Not Found"
    assert refused.http_version == "HTTP/1.1"
    assert refused.headers["x-why"] == "this"
    assert refused.json() == {"error": "no such room"}
    assert await refused.aread() == refused.content


async def test_the_encoding_of_a_body() -> None:
    refused = await answered("Content-Type: text/plain; charset=latin-1", body="nö".encode("latin-1"))
    assert refused.text == "nö"


async def test_the_default_encoding_of_the_client() -> None:
    async with (
        site(lambda _: response("404 Not Found", body="nö".encode("cp1252"))) as server,
        new_client(default_encoding="cp1252") as client,
    ):
        assert (await refusal(client, server.url)).text == "nö"


async def test_no_body() -> None:
    assert (await answered(body=b"")).content == b""


@pytest.mark.parametrize("size", [BOUND - 1, BOUND, BOUND + 1, 10**6])
async def test_a_body_is_bounded(size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    assert (await answered(body=body[:size])).content == body[: min(size, BOUND)]


async def test_a_body_that_is_compressed() -> None:
    packed = gzip.compress(json.dumps({"error": "no such room"}).encode())
    refused = await answered("Content-Encoding: gzip", body=packed)
    assert refused.json() == {"error": "no such room"}


async def test_a_body_that_inflates_to_more_than_the_bound() -> None:
    refused = await answered("Content-Encoding: gzip", body=gzip.compress(b"a" * 2**24))
    assert refused.content == b"a" * BOUND


@pytest.mark.parametrize("lines", [["Content-Encoding: gzip, gzip"], ["Content-Encoding: gzip"] * 2])
async def test_a_body_that_is_compressed_twice_is_left_as_it_is(lines: list[str]) -> None:
    """Else a kilobyte of it could cost seconds, and give nothing: deflate has blocks that hold nothing."""
    twice = gzip.compress(gzip.compress(b"no such room"))
    assert (await answered(*lines, body=twice)).content == twice


async def test_a_compressed_body_that_is_cut_by_the_bound() -> None:
    body = os.urandom(10**6)  # hardly smaller when compressed
    refused = await answered("Content-Encoding: gzip", body=gzip.compress(body, 1))
    assert refused.content == body[:BOUND]


async def test_a_body_that_is_not_compressed_as_it_says() -> None:
    assert (await answered("Content-Encoding: gzip", body=b"plain")).text == "plain"


async def test_a_compressed_body_that_is_cut_off_by_the_server() -> None:
    packed = gzip.compress(b"a" * 1000)
    assert (await answered("Content-Encoding: gzip", body=packed[:-8])).content == b"a" * 1000


async def never_waits() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 1000


async def test_a_body_that_never_waits() -> None:
    body = Chunks(never_waits())
    transport = FunctionTransport(lambda _: httpx2.Response(404, stream=body))
    async with httpx2.AsyncClient(transport=transport) as client:
        assert (await refusal(client, "ws://h")).content == b"x" * BOUND
    assert body.closed


async def test_a_body_that_breaks_off(client: httpx2.AsyncClient) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\ncome back later")

    async with tcp_server(handler) as host:
        assert (await refusal(client, f"ws://{host}")).text == "come back later"


async def test_a_body_that_never_ends(client: httpx2.AsyncClient) -> None:
    closed = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                await stream.send_all(b"x" * 1000)
        except trio.BrokenResourceError:
            closed.set()

    async with tcp_server(handler) as host:
        assert (await refusal(client, f"ws://{host}")).content == b"x" * BOUND
        await closed.wait()


async def test_a_body_that_stops_coming(client: httpx2.AsyncClient) -> None:
    """httpx2's read timeout ends the waiting; what came is kept."""
    closed = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\nhalf")
        assert await stream.receive_some() == b""
        closed.set()

    client.timeout = httpx2.Timeout(0.05)
    async with tcp_server(handler) as host:
        assert (await refusal(client, f"ws://{host}")).text == "half"
        await closed.wait()


async def drip(*, first: bytes = b"drip ") -> AsyncIterator[bytes]:
    yield first
    while True:
        await trio.sleep(1)
        yield b"drip "


async def test_a_body_that_drips_beyond_the_handshake_timeout(autojump_clock: object) -> None:
    body = Chunks(drip())
    transport = FunctionTransport(lambda _: httpx2.Response(404, stream=body))
    async with httpx2.AsyncClient(transport=transport) as client:
        start = trio.current_time()
        assert (await refusal(client, "ws://h", seconds=3.5)).text == "drip drip drip drip "
        assert trio.current_time() - start == pytest.approx(3.5)
    assert body.closed


async def test_cancelling_while_a_refusal_is_read(autojump_clock: object) -> None:
    body = Chunks(drip())
    transport = FunctionTransport(lambda _: httpx2.Response(404, stream=body))
    async with httpx2.AsyncClient(transport=transport) as client:
        with trio.move_on_after(2) as scope:
            async with open_websocket(client, "ws://h"):
                raise AssertionError
    assert scope.cancelled_caught
    assert body.closed


@pytest.mark.parametrize("close", [False, True])
async def test_an_event_hook_that_reads_or_closes_a_refusal(close: bool) -> None:
    async def on_response(answer: httpx2.Response) -> None:
        await (answer.aclose() if close else answer.aread())

    packed = gzip.compress(b"why not")
    async with (
        site(lambda _: response("404 Not Found", "Content-Encoding: gzip", body=packed)) as server,
        new_client(event_hooks={"response": [on_response]}) as client,
    ):
        assert (await refusal(client, server.url)).text == ("" if close else "why not")


async def test_a_refusal_can_be_copied_and_pickled() -> None:
    async with site(lambda _: response("404 Not Found", body=b"why")) as server, new_client() as client:
        with pytest.raises(WebSocketUpgradeError) as caught:
            async with open_websocket(client, server.url):
                raise AssertionError
    for again in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert type(again) is WebSocketUpgradeError
        assert str(again) == str(caught.value) == 'the server refused the WebSocket with 404 Not Found: it says "why"'
        assert again.response is not None
        assert (again.response.status_code, again.response.text) == (404, "why")
        assert again.response.request.url == httpx2.URL(server.url.replace("ws:", "http:"))


@pytest.mark.parametrize(
    ("lines", "body", "said"),
    [
        (["Content-Type: text/plain"], b"missing subprotocol\n", ': it says "missing subprotocol"'),
        (["Content-Type: application/problem+json"], b'{\n "detail": "no"}', ': it says "{ "detail": "no"}"'),
        (
            ["Content-Type: text/html; charset=utf-8"],
            b"<head><TITLE>400 The plain HTTP request was sent to HTTPS port</TITLE></head>",
            ': it says "400 The plain HTTP request was sent to HTTPS port"',
        ),
        (["Content-Type: text/html"], b"<title>404 Not Found</title>", "404 Not Found"),
        (["Content-Type: text/html"], b"<p>", "404 Not Found"),
        (["Content-Type: image/png"], b"png", "404 Not Found"),
        ([], b"\xff\xfe", "404 Not Found"),
        ([], b"a" * 201, f': it says "{"a" * 200}…"'),
        ([], "\x1b]52;c;eA==\x07 \u202e".encode(), r': it says "\x1b]52;c;eA==\x07 \u202e"'),
    ],
)
async def test_what_the_body_says_is_told(lines: list[str], body: bytes, said: str) -> None:
    async with site(lambda _: response("404 Not Found", *lines, body=body)) as server, new_client() as client:
        with pytest.raises(WebSocketUpgradeError) as caught:
            async with open_websocket(client, server.url):
                raise AssertionError
    assert str(caught.value).endswith(said)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("charset", ["utf-16", "zlib", "idna", "punycode", "undefined", "no-such", "rot13", "hex"])
async def test_a_charset_that_is_none(charset: str) -> None:
    refused = await answered(f"Content-Type: text/plain; charset={charset}", body=b"not so")
    assert isinstance(refused.text, str)
    assert refused.content == b"not so"


@pytest.mark.parametrize("status", ["403 Forbidden", "400 Bad Request"])
@pytest.mark.parametrize(("headers", "hint"), [(None, True), ({"Origin": "https://a"}, False)])
async def test_an_origin_may_be_missing(status: str, headers: dict[str, str] | None, hint: bool) -> None:
    async with site(lambda _: response(status, body=b"")) as server, new_client() as client:
        with pytest.raises(WebSocketUpgradeError) as caught:
            async with open_websocket(client, server.url, headers=headers):
                raise AssertionError
    assert ("Origin" in str(caught.value)) is hint


async def test_a_reason_phrase_that_a_terminal_would_act_on() -> None:
    async with site(lambda _: response("404 \x1b[31mred", body=b"")) as server, new_client() as client:
        with pytest.raises(WebSocketUpgradeError) as caught:
            async with open_websocket(client, server.url):
                raise AssertionError
    assert str(caught.value).isprintable()
