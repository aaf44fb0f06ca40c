"""Handshakes with right and wrong headers. The runner replaces ``{accept}`` and its like; all is played on a socket."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2

from .scenario import (
    REFUSED,
    Outcome,
    Scenario,
    delivers,
    response,
    switch,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

HELLO = text("hello")
_EXTENSIONS, _PROTOCOL = "Sec-WebSocket-Extensions: ", "Sec-WebSocket-Protocol: "
_CHAT = {"subprotocols": ["chat", "superchat"]}
scenario = partial(Scenario, tcp=True, handshake=True, code=None, seconds=2)


def opens(name: str, source: str, server: str, *answers: bytes | dict[str, bytes], **more: Any) -> Scenario:
    """An answer that is valid: the message after it is delivered."""
    script = _scripts(answers, HELLO)
    values: dict[str, Any] = {"code": 1000} | more
    return scenario(name=name, source=source, server=server, script=script, outcome=delivers("hello"), **values)


def refused(name: str, source: str, server: str, *answers: bytes | dict[str, bytes], **more: Any) -> Scenario:
    """An answer that must not be accepted, and that is none of httpx2's errors."""
    values: dict[str, Any] = {"outcome": REFUSED} | more
    return scenario(name=name, source=source, server=server, script=_scripts(answers, b""), **values)


def _scripts(answers: tuple[bytes | dict[str, bytes], ...], then: bytes) -> Any:
    [answer] = answers
    if isinstance(answer, dict):
        return {label: (data + then,) for label, data in answer.items()}
    return (answer + then,)


def _lines(header: str, values: Mapping[str, str]) -> dict[str, bytes]:
    return {label: switch(header + value) for label, value in values.items()}


_FIELDS = (
    opens(
        "header names in any case",
        "RFC 9110 §5.1",
        "writes header names in lower or upper case",
        {
            "lower": switch()
            .replace(b"Sec-WebSocket-Accept", b"sec-websocket-accept")
            .replace(b"Upgrade:", b"upgrade:"),
            "upper": switch()
            .replace(b"Sec-WebSocket-Accept", b"SEC-WEBSOCKET-ACCEPT")
            .replace(b"Upgrade:", b"UPGRADE:"),
        },
    ),
    opens(
        "Upgrade in any case",
        "RFC 6455 §4.1",
        "sends `Upgrade: WebSocket` or `WEBSOCKET`",
        {"mixed": switch(Upgrade="WebSocket"), "upper": switch(Upgrade="WEBSOCKET")},
    ),
    opens(
        "header values that are not ASCII",
        "RFC 9110 §5.5",
        "sends a header of no concern with bytes beyond ASCII, or continued on a second line",
        {
            "Latin-1": switch("X-City: M\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen"),
            "noise": switch("X-City: {noise}"),
            "folded": switch("X-City: a\r\n b"),
        },
    ),
    opens(
        "header values beyond Latin-1",
        "RFC 9110 §5.5",
        "sends a header of no concern with UTF-8 in it",
        switch("X-City: \N{LATIN CAPITAL LETTER L WITH STROKE}\N{LATIN SMALL LETTER O WITH ACUTE}d"),
    ),
    refused(
        "Upgrade with a letter that only looks right",
        "RFC 6455 §4.1",
        "sends `Upgrade: websocket` with the sign for Kelvin as its `k`",
        switch(Upgrade="websoc\N{KELVIN SIGN}et"),
    ),
    refused(
        "Upgrade missing or wrong",
        "RFC 6455 §4.1",
        "sends no `Upgrade` header, an empty one, another protocol, or a list with others in it",
        {
            "missing": switch(Upgrade=None),
            "empty": switch(Upgrade=""),
            "other": switch(Upgrade="h2c"),
            "list": switch(Upgrade="websocket, h2c"),
            "prefix": switch(Upgrade="websocketx"),
            "twice": switch("Upgrade: h2c"),
        },
        says="Upgrade",
    ),
    opens(
        "Connection as a list, in any case",
        "RFC 6455 §4.1",
        "sends `upgrade` among other tokens, in any case, or in a second `Connection` header",
        {
            "lower": switch(Connection="upgrade"),
            "list": switch(Connection="keep-alive, UPGRADE"),
            "empty elements": switch(Connection=", keep-alive ,, Upgrade ,"),
            "two headers": switch("Connection: Upgrade", Connection="keep-alive"),
        },
    ),
    refused(
        "Connection missing or wrong",
        "RFC 6455 §4.1",
        "sends no `Connection` header, or one without the token `upgrade`",
        {
            "missing": switch(Connection=None),
            "close": switch(Connection="close"),
            "no token": switch(Connection="no-upgrade"),
        },
        says="Connection",
    ),
    opens(
        "accept key between spaces",
        "RFC 6455 §4.1",
        "puts spaces and tabs around the right accept key",
        switch(Sec_WebSocket_Accept=" \t{accept} \t"),
    ),
    refused(
        "accept key missing or wrong",
        "RFC 6455 §4.1",
        "sends no accept key, none in the header, the key itself, one in another case, that of another key, or two",
        {
            "missing": switch(Sec_WebSocket_Accept=None),
            "empty": switch(Sec_WebSocket_Accept=""),
            "the key itself": switch(Sec_WebSocket_Accept="{key}"),
            "other case": switch(Sec_WebSocket_Accept="{swapcase}"),
            "other key": switch(Sec_WebSocket_Accept="{other}"),
            "longer": switch(Sec_WebSocket_Accept="{accept}="),
            "twice": switch("Sec-WebSocket-Accept: {accept}"),
        },
        says="Sec-WebSocket-Accept",
    ),
    opens(
        "a subprotocol that was offered",
        "RFC 6455 §4.1",
        "chooses one of the subprotocols, or none of them",
        {"second": switch(_PROTOCOL + "superchat"), "none": switch()},
        options=_CHAT,
    ),
    refused(
        "a subprotocol that was not offered",
        "RFC 6455 §4.1",
        "chooses another subprotocol, one in another case, or two",
        _lines(
            _PROTOCOL,
            {"other": "soap", "case": "Chat", "list": "chat, superchat", "two headers": f"chat\r\n{_PROTOCOL}chat"},
        ),
        options=_CHAT,
    ),
    refused(
        "a subprotocol where none was offered",
        "RFC 6455 §4.1",
        "chooses a subprotocol, though the client offers none",
        switch(_PROTOCOL + "chat"),
    ),
    refused(
        "an empty subprotocol", "RFC 6455 §4.1", "sends the header without a value", switch(_PROTOCOL), options=_CHAT
    ),
)

_COMPRESSION = (
    opens(
        "permessage-deflate with valid parameters",
        "RFC 7692 §7.1",
        "agrees to compression, with any valid set of parameters, in any spelling",
        _lines(
            _EXTENSIONS,
            {
                "none": "permessage-deflate",
                "no takeover": "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                "windows": "permessage-deflate; server_max_window_bits=8; client_max_window_bits=9",
                "quoted": 'permessage-deflate;server_max_window_bits="10"',
                "spaces": "permessage-deflate ;  client_max_window_bits=15",
            },
        ),
    ),
    refused(
        "permessage-deflate with invalid parameters",
        "RFC 7692 §7.1",
        "agrees to compression with an unknown, a doubled or an impossible parameter",
        _lines(
            _EXTENSIONS,
            {
                "unknown": "permessage-deflate; level=9",
                "twice": "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
                "with value": "permessage-deflate; server_no_context_takeover=1",
                "without value": "permessage-deflate; client_max_window_bits",
                "below": "permessage-deflate; server_max_window_bits=7",
                "above": "permessage-deflate; server_max_window_bits=16",
                "leading zero": "permessage-deflate; server_max_window_bits=08",
                "no number": "permessage-deflate; server_max_window_bits=x",
            },
        ),
    ),
    opens(
        "a client's window of 8 bits",
        "RFC 7692 §7.1.2.2",
        "wants `client_max_window_bits=8`, which zlib cannot do: the client sends blocks that are only stored",
        switch(_EXTENSIONS + "permessage-deflate; client_max_window_bits=8"),
    ),
    refused(
        "permessage-deflate twice",
        "RFC 7692 §5.1",
        "agrees to compression twice, in one header or in two",
        {
            "list": switch(_EXTENSIONS + "permessage-deflate, permessage-deflate"),
            "two headers": switch(*[_EXTENSIONS + "permessage-deflate"] * 2),
        },
    ),
    refused(
        "an extension that was not offered",
        "RFC 6455 §4.1",
        "agrees to an extension that the client does not know",
        switch(_EXTENSIONS + "x-webkit-deflate-frame"),
    ),
    refused(
        "compression that was not offered",
        "RFC 6455 §4.1",
        "agrees to compression, though the client offers none",
        switch(_EXTENSIONS + "permessage-deflate"),
        options={"compression": None},
    ),
    refused(
        "an extensions header that cannot be parsed",
        "RFC 6455 §9.1",
        "breaks the header's grammar",
        _lines(
            _EXTENSIONS,
            {
                "no name": "; server_max_window_bits=9",
                "open quote": 'permessage-deflate; x="',
                "equals": "=",
                "empty": "",
            },
        ),
    ),
)

_STATUS = (
    opens(
        "other 1xx responses first",
        "RFC 9110 §15.2",
        "sends 100, 102 and 103 before the 101",
        response("100 Continue") + response("102 Processing") + response("103 Early Hints", "Link: </>") + switch(),
    ),
    opens(
        "any reason phrase",
        "RFC 9112 §4",
        "gives the 101 another reason phrase, or none",
        {
            "other": switch().replace(b"Switching Protocols", b"Web Socket Protocol Handshake"),
            "none": switch().replace(b"Switching Protocols", b""),
        },
    ),
    opens("bare line feeds", "RFC 9112 §2.2", "ends lines with LF alone", switch().replace(b"\r\n", b"\n")),
    opens(
        "a 101 with a body",
        "RFC 9110 §8.6",
        "announces a body with the 101, which it cannot have; what follows is frames",
        {"length": switch("Content-Length: 7"), "chunked": switch("Transfer-Encoding: chunked")},
    ),
    refused(
        "any other status",
        "RFC 6455 §4.1",
        "answers with a status that is not 101",
        {
            status: response(
                status, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: {accept}", body=b"no"
            )
            for status in (
                "200 OK",
                "400 Bad Request",
                "401 Unauthorized",
                "403 Forbidden",
                "426 Upgrade Required",
                "503 Busy",
            )
        },
        body=2,
    ),
    refused("a status without a body", "RFC 9110 §15.3.5", "answers 204", response("204 No Content"), body=0),
    refused(
        "redirects without end",
        "RFC 9110 §15.4",
        "redirects to itself, again and again; the client follows redirects",
        response("302 Found", "Location: /", "Connection: close", body=b""),
        options={"follow_redirects": True},
        outcome=Outcome(error=httpx2.TooManyRedirects),
    ),
    refused(
        "a redirect to what is no WebSocket",
        "RFC 6455 §4.1",
        "redirects to another scheme, or to what is no URL; the client follows redirects",
        {
            "file": response("302 Found", "Location: file:///etc/passwd", body=b""),
            "no URL": response("302 Found", "Location: http://[::1", body=b""),
        },
        options={"follow_redirects": True},
    ),
)

SCENARIOS = _FIELDS + _COMPRESSION + _STATUS
