"""A server's answer to the handshake, against a checker of RFC 6455 §4.1 that is written out here.

The input's first byte says what was offered, :func:`check` how. The rest is either a status and header lines as a
transport of whatever kind may hand them to httpx2, or raw bytes that go through the whole of httpx2's HTTP/1.1 stack: in
several reads, on several connections, after redirects, with frames behind the answer.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from typing import TYPE_CHECKING, Any, cast

import httpcore2
import httpx2
import trio
import trio.testing
from websockets.extensions.permessage_deflate import PerMessageDeflate

from httpx2_trio_ws import WebSocketHandshakeTimeout, WebSocketUpgradeError
from httpx2_trio_ws._handshake._agreement import Agreement, check_response
from httpx2_trio_ws._handshake._asking import AsyncOpening, shake_hands
from httpx2_trio_ws._handshake._body import MAX_BODY
from httpx2_trio_ws._options import HandshakeOptions
from httpx2_trio_ws._runtime._trio import TRIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from httpx2_trio_ws._options import OpenOptions

_SUBPROTOCOLS = (None, ["chat"], ["chat", "superchat"], ["v1.chat", "CHAT", "chat"])
_GIVEN = ("compression", "subprotocols", "follow_redirects", "handshake_timeout_seconds")
_TIMEOUT = 30.0  # seconds, on trio's mock clock
_PASSWORD = "our-password"  # noqa: S105 (to be looked for in messages)
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# In scripts: the accept value that the request's key asks for; what comes with the next read; after the next request.
_ACCEPT, _NEXT_READ, _NEXT_REQUEST = b"\x1d", b"\x1f", b"\x1e"
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, but made only once


# -- what RFC 6455 §4.1 asks for -------------------------------------------------------------------

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PARAMETER = re.compile(rf'[ \t]*({_TOKEN.pattern})[ \t]*(?:=[ \t]*(?:({_TOKEN.pattern})|"((?:[^"\\]|\\.)*)")[ \t]*)?')
_BITS = {str(bits) for bits in range(8, 16)}


def accept_for(key: str) -> str:
    """The answer to a key (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()  # noqa: S324 (as the RFC has it)


def _elements(values: Iterable[str]) -> list[str]:
    """The elements of a header that is a list, over all its lines (RFC 9110 §5.6.1); none if a line has none."""
    lines = [[element.strip(" \t") for element in value.split(",")] for value in values]
    return [element for line in lines for element in line if element] if all(map(any, lines)) else []


def _tokens(values: Iterable[str]) -> list[str]:
    """The elements of a list of tokens, in lower case; none if one is no token."""
    elements = _elements(values)
    return [element.lower() for element in elements] if all(map(_TOKEN.fullmatch, elements)) else []


def lawful(
    status: int, headers: Iterable[tuple[bytes, bytes]], key: str, subprotocols: list[str] | None, *, deflate: bool
) -> tuple[str | None, dict[str, str | None] | None] | None:
    """The subprotocol and the parameters of permessage-deflate that were agreed on; ``None`` for no handshake."""
    found: dict[bytes, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value.decode("latin-1"))
    if status != 101:
        return None
    if _tokens(found.get(b"upgrade", [])) != ["websocket"] or "upgrade" not in _tokens(found.get(b"connection", [])):
        return None
    if [value.strip(" \t") for value in found.get(b"sec-websocket-accept", [])] != [accept_for(key)]:
        return None
    chosen = None
    if b"sec-websocket-protocol" in found:
        [chosen, *more] = [*_elements(found[b"sec-websocket-protocol"]), ""]
        if more != [""] or chosen not in (subprotocols or []):
            return None
    parameters = None
    if b"sec-websocket-extensions" in found:
        parameters = _parameters(found[b"sec-websocket-extensions"])
        if parameters is None or not deflate:
            return None
    return chosen, parameters


def _parameters(values: list[str]) -> dict[str, str | None] | None:
    """The parameters of the one permessage-deflate that may be there (RFC 7692 §7.1)."""
    elements = _elements(values)
    if len(elements) != 1:
        return None
    name, *written = elements[0].split(";")
    parameters: dict[str, str | None] = {}
    for text in written:
        match = _PARAMETER.fullmatch(text)
        if match is None or match[1] in parameters:
            return None
        quoted = None if match[3] is None else re.sub(r"\\(.)", r"\1", match[3])
        parameters[match[1]] = match[2] or quoted
    for parameter, value in parameters.items():
        if parameter in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
        elif parameter not in ("server_max_window_bits", "client_max_window_bits") or value not in _BITS:
            return None
    return parameters if name.strip(" \t") == "permessage-deflate" else None


# -- the targets -----------------------------------------------------------------------------------


def check(
    data: bytes, check_response: Callable[[httpx2.Response, HandshakeOptions], Agreement] = check_response
) -> None:
    """Raise AssertionError, or whatever the handshake raises, if it accepts or refuses what it should not.

    Byte 0: deflate is offered (bit 0), which subprotocols (1-2), redirects are followed (3), raw bytes (4), silence
    after them rather than the end (5), wss:// (6). ``check_response`` is what to check, for headers alone.
    """
    setup, script = data[0] if data else 0, data[1:].replace(_PASSWORD.encode(), b"")
    options = HandshakeOptions(
        compression="deflate" if setup & 1 else None,
        subprotocols=_SUBPROTOCOLS[setup >> 1 & 3],
        follow_redirects=bool(setup & 8),
        handshake_timeout_seconds=_TIMEOUT,
    )
    if setup & 16:
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(_check_raw, script, options, bool(setup & 32), bool(setup & 64), clock=clock)
    else:
        _check_headers(script, options, check_response)


class _NoBody(httpx2.AsyncByteStream):
    pass


def _check_headers(
    script: bytes,
    options: HandshakeOptions,
    check_response: Callable[[httpx2.Response, HandshakeOptions], Agreement],
) -> None:
    first, *lines = script.replace(_ACCEPT, accept_for(_KEY).encode()).split(b"\n")
    pairs = [line.partition(b":") for line in lines]
    response = httpx2.Response(
        100 + first[0] if first else 101,
        headers=[(name, value) for name, _, value in pairs],
        request=httpx2.Request("GET", f"http://user:{_PASSWORD}@h/path", headers={"Sec-WebSocket-Key": _KEY}),
        stream=_NoBody(),
        extensions={"network_stream": object(), "reason_phrase": first[1:]},
    )
    try:
        agreement = check_response(response, options)
    except WebSocketUpgradeError as exc:
        _assert_refusal(exc, _KEY, options)
    else:
        _assert_agreed(agreement, response, _KEY, options)


def _agreed(response: httpx2.Response, key: str, options: HandshakeOptions) -> Any:
    return lawful(
        response.status_code,
        response.headers.raw,
        key,
        None if options.subprotocols is None else list(options.subprotocols),
        deflate=options.compression is not None,
    )


def _assert_agreed(agreement: Agreement, response: httpx2.Response, key: str, options: HandshakeOptions) -> None:
    agreed = _agreed(response, key, options)
    assert agreed is not None, "what breaks RFC 6455 §4.1 was accepted"
    subprotocol, parameters = agreed
    assert agreement.subprotocol == subprotocol
    if parameters is None:
        assert agreement.deflate is None
        return
    expected = PerMessageDeflate(
        "server_no_context_takeover" in parameters,
        "client_no_context_takeover" in parameters,
        int(parameters.get("server_max_window_bits") or 15),
        int(parameters.get("client_max_window_bits") or 15),
    )
    assert repr(agreement.deflate) == repr(expected)


def _assert_refusal(exc: WebSocketUpgradeError, key: str, options: HandshakeOptions, *, read: bool = False) -> None:
    _assert_discreet(exc)
    assert str(exc)
    assert exc.response is not None
    if exc.response.status_code == 101:
        assert _agreed(exc.response, key, options) is None, "a proper handshake was refused"
    if read:
        assert len(exc.response.content) <= MAX_BODY


def _assert_discreet(exc: Exception) -> None:
    assert _PASSWORD not in str(exc)


class _Server(httpcore2.AsyncNetworkBackend):
    """Answers each request with the next part of a script."""

    def __init__(self, script: bytes, *, silent: bool) -> None:
        self.answers = script.split(_NEXT_REQUEST)
        self.silent = silent
        self.streams: list[_Stream] = []
        self.key = ""
        #: The last answer, as it went over the wire.
        self.wire = b""

    async def connect_tcp(self, *_args: Any, **_kwargs: Any) -> httpcore2.AsyncNetworkStream:
        stream = _Stream(self)
        self.streams.append(stream)
        return stream


class _Stream(httpcore2.AsyncNetworkStream):
    def __init__(self, server: _Server) -> None:
        self._server = server
        self._request = b""
        self._reads: list[bytes] = []
        self.closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 (httpcore2's name)
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise httpcore2.ReadError
        if not self._reads and self._server.silent:
            with trio.move_on_after(float("inf") if timeout is None else timeout):
                await trio.sleep_forever()
            raise httpcore2.ReadTimeout
        data = self._reads.pop(0) if self._reads else b""
        if len(data) > max_bytes:
            self._reads.insert(0, data[max_bytes:])
        return data[:max_bytes]

    async def write(self, buffer: bytes, *_args: Any, **_kwargs: Any) -> None:
        await trio.lowlevel.checkpoint()
        self._request += buffer
        head, end, _ = self._request.partition(b"\r\n\r\n")
        if end:
            self._request = b""
            server = self._server
            [key] = [
                line[18:].decode().strip()
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"sec-websocket-key:")
            ]
            server.key = key
            answer = server.answers.pop(0) if server.answers else b""
            answer = answer.replace(_ACCEPT, accept_for(key).encode())
            server.wire = answer.replace(_NEXT_READ, b"")
            self._reads += [part for part in answer.split(_NEXT_READ) if part]

    async def start_tls(self, *_args: Any, **_kwargs: Any) -> httpcore2.AsyncNetworkStream:
        return self

    async def aclose(self) -> None:
        self.closed = True


async def _check_raw(script: bytes, options: HandshakeOptions, silent: bool, tls: bool) -> None:
    server = _Server(script, silent=silent)
    transport = httpx2.AsyncHTTPTransport(verify=_TLS)
    pool = transport._pool = httpcore2.AsyncConnectionPool(network_backend=server, ssl_context=_TLS)
    async with httpx2.AsyncClient(transport=transport) as client:
        given = {name: getattr(options, name) for name in _GIVEN}
        url = f"{'wss' if tls else 'ws'}://user:{_PASSWORD}@host/path"
        opening = AsyncOpening(TRIO, client, url, cast("OpenOptions", given))
        began = trio.current_time()
        try:
            response, agreement = await shake_hands(opening)
        except WebSocketUpgradeError as exc:
            _assert_refusal(exc, server.key, options, read=True)
        except (httpx2.RequestError, WebSocketHandshakeTimeout) as exc:
            _assert_discreet(exc)
        else:
            _assert_agreed(agreement, response, server.key, options)
            await _assert_nothing_lost(response, server)
            await response.aclose()
        assert trio.current_time() - began <= _TIMEOUT
        assert all(connection.is_idle() or connection.is_closed() for connection in pool.connections)
    assert all(stream.closed for stream in server.streams)


async def _assert_nothing_lost(response: httpx2.Response, server: _Server) -> None:
    """What can be read now is what followed the head of the answer."""
    stream = response.extensions["network_stream"]
    rest = b""
    while len(rest) < len(server.wire):
        try:
            data = await stream.read(65536, timeout=1)
        except httpcore2.ReadTimeout:
            break
        if not data:
            break
        rest += data
    assert server.wire.endswith(rest)
    assert re.search(rb"\n\r?\n\Z", server.wire[: len(server.wire) - len(rest)])
