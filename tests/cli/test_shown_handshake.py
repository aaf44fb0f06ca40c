"""What is shown of a handshake, and what is not."""

from __future__ import annotations

import httpx2
import pytest

from httpx2_trio_ws._cli.handshake import elide, elide_query, show_request, show_response, start_of_body


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Host", "example.com", "example.com"),
        ("Sec-WebSocket-Key", "dGhl", "dGhl"),
        ("WWW-Authenticate", 'Basic realm="x"', 'Basic realm="x"'),
        ("Authorization", "Bearer abc", "Bearer ***"),
        ("Authorization", "abc", "***"),
        ("proxy-authorization", "Basic YTpi", "Basic ***"),
        ("Cookie", "a=b; c=d=e", "a=***; c=***"),
        ("Set-Cookie", "a=b; Path=/; HttpOnly", "a=***; Path=/; HttpOnly"),
        ("Set-Cookie", "a=b", "a=***"),
        ("X-API-Key", "abc def", "***"),
        ("X-Amz-Security-Token", "abc", "***"),
        ("Location", "wss://u:p@example.com/?token=abc&x=y", "wss://example.com/?token=***&x=y"),
    ],
)
def test_headers(name: str, value: str, shown: str) -> None:
    assert elide(name, value) == shown


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/a?x=1", "/a?x=1"),
        ("/a?x=1&access_token=abc#t", "/a?x=1&access_token=***#t"),
        ("/?apikey=a=b&y", "/?apikey=***&y"),
        ("wss://user:pass@example.com:1/a@b", "wss://example.com:1/a@b"),
        ("wss://example.com/a?to=x@y", "wss://example.com/a?to=x@y"),
    ],
)
def test_queries(target: str, shown: str) -> None:
    assert elide_query(target) == shown


def test_request() -> None:
    headers = [(b"Host", b"example.com"), (b"Authorization", b"Basic YTpi"), (b"X-Odd", b"\x9b2J")]
    request = httpx2.Request("GET", "http://example.com/a?key=b&c=d", headers=headers)
    assert show_request(request, "1.1") == (
        "> GET /a?key=***&c=d HTTP/1.1\n> Host: example.com\n> Authorization: Basic ***\n> X-Odd: \\x9b2J"
    )


def test_response() -> None:
    headers = [("Server", "a\x1bb"), ("Set-Cookie", "a=b")]
    said = {"http_version": b"HTTP/1.1", "reason_phrase": b"\x1b[2J"}
    response = httpx2.Response(401, headers=headers, extensions=said)
    assert show_response(response) == "< HTTP/1.1 401 \\x1b[2J\n< Server: a\\x1bb\n< Set-Cookie: a=***"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", ""),
        (b"\n no\x1b[2J\r\nway\n", "no\\x1b[2J\nway"),
        (b"x" * 2000, "x" * 2000),
        (b"x" * 2001, "x" * 2000 + "\n…"),
        (b"x\n" * 20, "\n".join("x" * 20)),
        (b"x\n" * 21, "\n".join("x" * 20) + "\n…"),
    ],
)
def test_start_of_body(body: bytes, shown: str) -> None:
    assert start_of_body(httpx2.Response(403, content=body)) == shown
