"""The handshake's pure functions: what goes out, and what is accepted of what comes back."""

from __future__ import annotations

import base64
import datetime as dt
import zlib
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from httpx2_trio_ws import WebSocketUpgradeError
from httpx2_trio_ws._handshake import _agreement
from httpx2_trio_ws._handshake._agreement import check_response
from httpx2_trio_ws._handshake._rules import check_headers, check_subprotocols, http_url, redirected, request_headers
from httpx2_trio_ws._handshake._versions import HTTP1
from httpx2_trio_ws._options import HandshakeOptions

from .memory import accept_key

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3, with its answer:
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class _NoBody(httpx2.AsyncByteStream):
    """A body that has not been read."""


def answer(
    status: int = 101, *more: tuple[str, str], http_version: bytes = b"HTTP/1.1", **replaced: str | None
) -> httpx2.Response:
    """A response to a handshake with KEY, with all headers as they should be apart from those replaced."""
    headers: dict[str, str | None] = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}
    headers |= {name.replace("_", "-"): value for name, value in replaced.items()}
    return httpx2.Response(
        status,
        headers=[*((name, value) for name, value in headers.items() if value is not None), *more],
        request=httpx2.Request("GET", "http://user:secret@h/path", headers={"Sec-WebSocket-Key": KEY}),
        stream=_NoBody(),
        extensions={"network_stream": object(), "http_version": http_version},
    )


def refused(response: httpx2.Response, **options: Any) -> str:
    """Check a response that must be refused, and say why it was."""
    with pytest.raises(WebSocketUpgradeError) as caught:
        check_response(response, HandshakeOptions(**options))
    assert caught.value.response is response
    return str(caught.value)


def test_the_sample_of_the_rfc() -> None:
    assert accept_key(KEY) == ACCEPT


def test_request_headers() -> None:
    headers = request_headers(HandshakeOptions(headers={"X-Mine": "1"}, subprotocols=["chat", "superchat"]))
    assert dict(headers) == {
        "x-mine": "1",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-extensions": "permessage-deflate; client_max_window_bits",
        "sec-websocket-protocol": "chat, superchat",
    }


@pytest.mark.parametrize("subprotocols", [None, []])
def test_nothing_is_offered_that_was_not_asked_for(subprotocols: list[str] | None) -> None:
    headers = request_headers(HandshakeOptions(compression=None, subprotocols=subprotocols))
    assert dict(headers) == {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13"}


def test_keys_are_sixteen_random_bytes() -> None:
    request = httpx2.Request("GET", "http://h/")
    keys = set()
    for _ in range(50):
        HTTP1.renew_key(request)
        keys.add(request.headers["Sec-WebSocket-Key"])
        assert request.headers.get_list("Sec-WebSocket-Key") == [request.headers["Sec-WebSocket-Key"]]
    assert len(keys) == 50
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h/p?q=1", "http://h/p?q=1"),
        ("wss://h:8443", "https://h:8443"),
        ("WSS://h", "https://h"),
        ("http://h", "http://h"),
        ("https://h", "https://h"),
        ("ws://u:p@[::1]:81/", "http://u:p@[::1]:81/"),
        ("ws://h:443/", "http://h:443/"),
        ("wss://h:80/", "https://h:80/"),
        ("ws://h:80/", "http://h/"),
    ],
)
def test_http_url(url: str, expected: str) -> None:
    assert http_url(httpx2.URL(url)) == httpx2.URL(expected)


@pytest.mark.parametrize("url", ["ftp://u:secret@h/", "h/path", "/path", "", "file:///x", "ws://", "wss:///path"])
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"begins with ws:// or wss://|has no host") as caught:
        http_url(httpx2.URL(url))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Connection", "itself$"),
        ("UPGRADE", "itself$"),
        ("Sec-WebSocket-Key", "itself$"),
        ("sec-websocket-version", "itself$"),
        ("Sec-WebSocket-Accept", "itself$"),
        ("Sec-WebSocket-Extensions", "use compression="),
        ("Sec-WebSocket-Protocol", "use subprotocols="),
    ],
)
def test_reserved_headers(name: str, hint: str) -> None:
    for headers in ({name: "x"}, [(name, "x")], [(name.encode(), b"x")]):
        with pytest.raises(ValueError, match=f"(?i){name}.*{hint}"):
            check_headers(httpx2.Headers(headers))


def test_other_headers_are_the_users() -> None:
    check_headers(httpx2.Headers({"Origin": "http://h", "Host": "h", "Authorization": "x", "User-Agent": "x"}))
    check_headers(httpx2.Headers({"Connection": "keep-alive"}), besides=b"connection")


@pytest.mark.parametrize("wrong", ["chat", b"chat", [b"chat"], [1]])
def test_subprotocols_of_a_wrong_type(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"subprotocols is a list, such as|a subprotocol is a str"):
        check_subprotocols(wrong)


@pytest.mark.parametrize("wrong", [[""], ["a b"], ["a,b"], ["a/b"], ["ä"], ["a\r\nX: y"], ["a", "b", "a"]])
def test_subprotocols_with_a_wrong_value(wrong: list[str]) -> None:
    with pytest.raises(ValueError, match=r"must be a token|has been there before"):
        check_subprotocols(wrong)


def test_subprotocols_that_may_be_offered() -> None:
    check_subprotocols(("graphql-transport-ws", "v1.chat", "A", "a"))


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "WEBSOCKET"])
@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade", "UPGRADE,close", ", upgrade ,"])
def test_upgrade_and_connection_in_any_case(upgrade: str, connection: str) -> None:
    agreement = check_response(answer(Upgrade=upgrade, Connection=connection), HandshakeOptions())
    assert agreement == (None, None)


_VALUES = st.sampled_from(
    ["websocket", "WebSocket", "Upgrade", "upgrade", "keep-alive, Upgrade", "h2c", "", ACCEPT, KEY]
)
_FIELDS = st.tuples(
    st.sampled_from(["Upgrade", "connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Server"]), _VALUES
)


@given(st.lists(_FIELDS, max_size=2), st.sampled_from(["Upgrade", "Connection", "Sec-WebSocket-Accept"]), _VALUES)
def test_what_is_accepted_without_being_parsed_is_so_when_it_is(
    more: list[tuple[str, str]], replaced: str, value: str
) -> None:
    others: dict[str, Any] = {replaced: value}
    response = answer(101, *more, **others)
    if _agreement._says_no_more(response):
        assert _agreement._parsed(response, HandshakeOptions()) == (None, None)


def test_an_ordinary_answer_is_not_parsed() -> None:
    assert _agreement._says_no_more(answer())
    assert _agreement._says_no_more(answer(101, ("Server", "x"), Upgrade="WebSocket", Connection="upgrade"))
    assert not _agreement._says_no_more(answer(Sec_WebSocket_Protocol="chat"))


def test_whitespace_around_values_is_no_part_of_them() -> None:
    # h11 takes it away; other carriers of httpx2 may hand out what they were given.
    response = answer(
        Upgrade=" websocket\t",
        Connection="\tUpgrade ",
        Sec_WebSocket_Accept=f" {ACCEPT} ",
        Sec_WebSocket_Protocol=" chat",
        Sec_WebSocket_Extensions=" permessage-deflate ",
    )
    agreement = check_response(response, HandshakeOptions(subprotocols=["chat"]))
    assert agreement.subprotocol == "chat"
    assert agreement.deflate is not None


def test_connection_in_several_lines() -> None:
    check_response(answer(101, ("Connection", "Upgrade"), Connection="keep-alive"), HandshakeOptions())


@pytest.mark.parametrize(
    ("replaced", "why"),
    [
        ({"Upgrade": None}, "Upgrade"),
        ({"Upgrade": "h2c"}, "Upgrade"),
        ({"Upgrade": "websocket, h2c"}, "Upgrade"),
        ({"Connection": None}, "Connection"),
        ({"Connection": "keep-alive"}, "Connection"),
        ({"Connection": "Upgradeable"}, "Connection"),
        ({"Sec_WebSocket_Accept": None}, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Accept": ""}, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Accept": KEY}, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Accept": ACCEPT.lower()}, "Sec-WebSocket-Accept"),
        ({"Sec_WebSocket_Protocol": "chat"}, "protocol"),
        ({"Sec_WebSocket_Extensions": "x-webkit-deflate-frame"}, "extension"),
        ({"Sec_WebSocket_Extensions": "permessage-deflate; ="}, "Sec-WebSocket-Extensions"),
    ],
)
def test_an_invalid_answer(replaced: dict[str, Any], why: str) -> None:
    message = refused(answer(**replaced))
    assert message.startswith("the server answered 101, but its handshake is invalid: ")
    assert why in message


def test_two_accept_headers() -> None:
    assert "Sec-WebSocket-Accept" in refused(answer(101, ("Sec-WebSocket-Accept", ACCEPT)))


def test_the_subprotocol_that_the_server_chose() -> None:
    agreement = check_response(answer(Sec_WebSocket_Protocol="b"), HandshakeOptions(subprotocols=["a", "b"]))
    assert agreement.subprotocol == "b"


@pytest.mark.parametrize("chosen", ["c", "A", "a, b"])
def test_a_subprotocol_that_was_not_offered(chosen: str) -> None:
    assert "rotocol" in refused(answer(Sec_WebSocket_Protocol=chosen), subprotocols=["a", "b"])


def test_a_server_may_choose_one_subprotocol_only() -> None:
    response = answer(101, ("Sec-WebSocket-Protocol", "b"), Sec_WebSocket_Protocol="a")
    assert "multiple" in refused(response, subprotocols=["a", "b"])


@pytest.mark.parametrize(
    "parameters", ["", "; server_no_context_takeover", "; client_max_window_bits=10; server_max_window_bits=9"]
)
def test_deflate_is_agreed_on(parameters: str) -> None:
    response = answer(Sec_WebSocket_Extensions=f"permessage-deflate{parameters}")
    deflate = check_response(response, HandshakeOptions()).deflate
    assert deflate is not None
    assert deflate.remote_no_context_takeover == ("no_context" in parameters)
    assert deflate.local_max_window_bits == (10 if "client_max" in parameters else 15)


@pytest.mark.parametrize(
    "chosen",
    [
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; nonsense",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate, permessage-deflate",
    ],
)
def test_deflate_with_invalid_parameters(chosen: str) -> None:
    assert "its handshake is invalid" in refused(answer(Sec_WebSocket_Extensions=chosen))


@pytest.mark.parametrize("written", ["=8", '="8"', " = 8 ; server_max_window_bits=8"])
def test_a_window_that_zlib_has_not(written: str) -> None:
    """It is legal (RFC 7692 §7.1.2.2). What is sent then refers to nothing before it."""
    response = answer(Sec_WebSocket_Extensions=f"permessage-deflate; client_max_window_bits{written}")
    deflate = check_response(response, HandshakeOptions()).deflate
    assert deflate is not None
    data = b"abc" * 10_000
    sent = bytes(deflate.encode(Frame(Opcode.BINARY, data)).data)
    assert len(sent) > len(data)
    assert zlib.decompressobj(wbits=-8).decompress(sent + b"\0\0\xff\xff") == data


def test_no_context_takeover() -> None:
    options = HandshakeOptions(compression="deflate-no-context-takeover")
    offer = request_headers(options)["Sec-WebSocket-Extensions"]
    assert offer.split("; ")[1:3] == ["server_no_context_takeover", "client_no_context_takeover"]
    chosen = "permessage-deflate; server_no_context_takeover"
    deflate = check_response(answer(Sec_WebSocket_Extensions=chosen), options).deflate
    assert deflate is not None
    assert deflate.remote_no_context_takeover
    assert deflate.local_no_context_takeover
    with pytest.raises(WebSocketUpgradeError, match="Unsupported extension"):
        check_response(answer(Sec_WebSocket_Extensions="permessage-deflate"), options)


@pytest.mark.parametrize(("offered", "why"), [(None, "none was offered"), (["a"], "not among those offered")])
def test_a_subprotocol_out_of_nowhere(offered: list[str] | None, why: str) -> None:
    assert (
        f"it chose the subprotocol 'x', {why}"
        in f"{refused(answer(Sec_WebSocket_Protocol='x'), subprotocols=offered)}".replace("and none", "none").replace(
            "which was not", "not"
        )
    )


def test_deflate_that_was_not_offered() -> None:
    assert "its handshake is invalid" in refused(
        answer(Sec_WebSocket_Extensions="permessage-deflate"), compression=None
    )


def test_a_transport_without_a_network_stream() -> None:
    response = answer()
    del response.extensions["network_stream"]
    assert "without a network_stream: it cannot carry a WebSocket" in refused(response)


async def test_a_response_that_was_closed_on_the_way() -> None:
    response = answer()
    await response.aclose()
    response.elapsed = dt.timedelta(1)  # as the client has it, where the response was open when it came
    assert "an event hook or the authentication must not read or close" in refused(response)


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [
        (401, {}, "401 Unauthorized; pass auth= to log in"),
        (407, {}, "407 Proxy Authentication Required: the proxy wants credentials"),
        (426, {"Sec_WebSocket_Version": "8, 7"}, "it wants version 8, 7, and this client speaks version 13"),
        (426, {}, "the Upgrade header did not reach it; a proxy on the way may have removed it"),
        (200, {}, "is http://h/path a WebSocket endpoint?"),
        (302, {"Location": "/x"}, "a redirect to '/x'; pass follow_redirects=True to follow it"),
        (302, {"Location": "//u:secret@other/x?y"}, "a redirect to '//other/x?…'; pass follow_redirects=True"),
        (302, {}, "refused the WebSocket with 302 Found"),
        (404, {}, "refused the WebSocket with 404 Not Found"),
        (599, {}, "refused the WebSocket with 599"),
    ],
)
def test_what_a_refusal_says(status: int, headers: dict[str, Any], why: str) -> None:
    message = refused(answer(status, **headers))
    assert message.startswith("the server refused the WebSocket with ")
    assert why in message
    assert message.rstrip() == message
    assert "secret" not in message


@pytest.mark.parametrize("status", [200, 401, 404])
def test_what_a_refusal_over_http2_says(status: int) -> None:
    message = refused(answer(status, http_version=b"HTTP/2"))
    assert message.startswith("the server chose HTTP/2")
    assert "no http2=True" in message
    assert 'mounts={"https://h": httpx2.AsyncHTTPTransport(http2=False)}' in message


def followed(url: str, location: str, **headers: str) -> httpx2.Request:
    """The request that follows a redirect, made as httpx2 makes it."""
    request = httpx2.Request("GET", url, headers=headers)
    client = httpx2.AsyncClient(verify=False, trust_env=False)
    response = httpx2.Response(302, headers={"Location": location}, request=request)
    response.next_request = client._build_redirect_request(request, response)
    return redirected(request, response, client.cookies)


@pytest.mark.parametrize(
    ("url", "location", "expected", "kept"),
    [
        ("http://h/a", "b", "http://h/b", True),
        ("http://h/a", "ws://h/b", "http://h/b", True),
        ("http://h/a", "ws://h:81/b", "http://h:81/b", False),
        ("http://h/a", "ws://other/b", "http://other/b", False),
        ("https://h/a", "wss://h/b", "https://h/b", True),
        ("https://h:8443/a", "wss://h:8443/b", "https://h:8443/b", True),
        ("https://h/a", "wss://other/b", "https://other/b", False),
        # httpx2 keeps credentials on the way to TLS, if both ports are the default ones.
        ("http://h/a", "https://h/b", "https://h/b", True),
        ("http://h/a", "wss://h/b", "https://h/b", True),
        ("http://h:81/a", "wss://h/b", "https://h/b", False),
        ("http://h/a", "wss://h:8443/b", "https://h:8443/b", False),
        ("http://h/a", "wss://other/b", "https://other/b", False),
    ],
)
def test_where_credentials_go(url: str, location: str, expected: str, kept: bool) -> None:
    following = followed(url, location, Authorization="Basic eDp5")
    assert following.url == httpx2.URL(expected)
    assert ("Authorization" in following.headers) == kept
    assert following.headers["Host"] == httpx2.URL(expected).netloc.decode()


def test_a_host_header_of_the_users_stays_on_its_origin() -> None:
    assert followed("http://h/a", "ws://h/b", Host="virtual").headers["Host"] == "virtual"
    assert followed("http://h/a", "ws://other/b", Host="virtual").headers["Host"] == "other"
    assert "Authorization" not in followed("http://h/a", "ws://h/b").headers


@pytest.mark.parametrize("location", ["ws://h/b", "http://h/b", "ws://u:secret@other/"])
def test_a_redirect_from_tls_to_plain_text(location: str) -> None:
    with pytest.raises(WebSocketUpgradeError, match=r"from TLS to plain text .*; this is never followed") as caught:
        followed("https://h/a", location)
    assert "secret" not in str(caught.value)


def test_a_redirect_to_another_scheme() -> None:
    with pytest.raises(WebSocketUpgradeError, match="the server redirects to 'ftp://h/b': a WebSocket URL begins with"):
        followed("http://h/a", "ftp://u:secret@h/b")


def test_a_redirect_to_what_is_no_url() -> None:
    response = httpx2.Response(302, headers={"Location": "ws://u:secret@h:notaport/"})
    with pytest.raises(WebSocketUpgradeError, match="redirects to an invalid URL: 'ws://h:notaport/'"):
        redirected(httpx2.Request("GET", "http://h/"), response, httpx2.Cookies())
