"""What client and server agree on: what the request offers, and the checks of what the answer has chosen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.headers import build_extension
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI
from websockets.utils import accept_key

from httpx2_trio_ws._exceptions import WebSocketUpgradeError

from ._versions import ACCEPTING, KEY, is_accepted, over

if TYPE_CHECKING:
    import httpx2

    from httpx2_trio_ws._options import HandshakeOptions

    from ._versions import Fields

# Memory level 5 instead of 8: some 140 KB instead of 260 for the compressor, and hardly less compression.
_MEMORY = {"memLevel": 5}
_OFFERS = {
    "deflate": ClientPerMessageDeflateFactory(compress_settings=_MEMORY),
    "deflate-no-context-takeover": ClientPerMessageDeflateFactory(
        server_no_context_takeover=True, client_no_context_takeover=True, compress_settings=_MEMORY
    ),
}
_OFFERED = {
    name: build_extension([(factory.name, list(factory.get_request_params()))]).encode()
    for name, factory in _OFFERS.items()
}
# Legal (RFC 7692 §7.1.2.2), but zlib has no such window to compress with.
_TOO_SMALL = re.compile(r'(client_max_window_bits[ \t]*=[ \t]*)(?:8|"8")(?=[ \t]*(?:[;,]|$))')
_ACCEPTED = (b"connection", b"sec-websocket-accept", b"upgrade")


class Agreement(NamedTuple):
    """What client and server agreed on."""

    subprotocol: str | None
    deflate: PerMessageDeflate | None


def offer(options: HandshakeOptions) -> Fields:
    """The header fields that say what may be agreed on."""
    fields: Fields = []
    if options.compression is not None:
        fields.append((b"Sec-WebSocket-Extensions", _OFFERED[options.compression]))
    if options.subprotocols:
        fields.append((b"Sec-WebSocket-Protocol", ", ".join(options.subprotocols).encode()))
    return fields


def check_response(response: httpx2.Response, options: HandshakeOptions) -> Agreement:
    """Check the server's answer (RFC 6455 §4.1, second list) and find what was agreed on.

    Raises:
        WebSocketUpgradeError: it is a refusal, or breaks a rule.
    """
    version = over(response)
    if not is_accepted(response):
        raise WebSocketUpgradeError(version.refusal(response), response)
    agreement = Agreement(None, None) if _says_no_more(response) else _parsed(response, options)
    if response.is_closed and not _made_closed(response):
        raise WebSocketUpgradeError(
            "the connection was closed as soon as it was upgraded: an event hook or the authentication must not read "
            f"or close a response of status {response.status_code}",
            response,
        )
    if "network_stream" not in response.extensions:
        raise WebSocketUpgradeError(
            f"the client's transport answered {response.status_code} without a network_stream: it cannot carry a WebSocket",
            response,
        )
    return agreement


def _says_no_more(response: httpx2.Response) -> bool:
    """The server accepts, in the words that most use, and chooses nothing: there is nothing to parse."""
    said = sorted((name.lower(), value) for name, value in response.headers.raw if name.lower() in ACCEPTING)
    if len(said) != len(_ACCEPTED):
        return False
    (connection, how), (accept, key), (upgrade, to) = said
    return (
        (connection, accept, upgrade) == _ACCEPTED
        and (how.lower(), to.lower()) == (b"upgrade", b"websocket")
        and key.decode("latin-1") == accept_key(response.request.headers[KEY])
    )


def _parsed(response: httpx2.Response, options: HandshakeOptions) -> Agreement:
    """What the server has chosen, found by what ``websockets`` has for it.

    Raises:
        WebSocketUpgradeError: it breaks a rule.
    """
    checker = ClientProtocol(
        WebSocketURI(secure=False, host="", port=80, path="/", query="", username=None, password=None),
        extensions=None if options.compression is None else [_OFFERS[options.compression]],
        subprotocols=[Subprotocol(name) for name in options.subprotocols or ()] or None,
    )
    checker.key = response.request.headers[KEY]
    headers = Headers()
    uncompressed = False
    try:
        for name, value in response.headers.raw:
            if name.lower() in ACCEPTING:  # others may hold any bytes
                text = value.decode("latin-1").strip(" \t")
                if name.lower() == b"sec-websocket-extensions":
                    text, found = _TOO_SMALL.subn(r"\g<1>9", text)
                    uncompressed |= bool(found)
                headers[name.decode("ascii")] = text
        _check_subprotocol(response, options)
        checker.process_response(Response(response.status_code, response.reason_phrase, headers))
    except InvalidHandshake as exc:
        text = f"the server answered {over(response).answered(response)}, but its handshake is invalid: {exc}"
        raise WebSocketUpgradeError(text, response) from exc
    deflate = next((e for e in checker.extensions if isinstance(e, PerMessageDeflate)), None)
    if deflate is not None and uncompressed:
        # Level 0 makes blocks that refer to nothing before them, whatever the window.
        deflate = PerMessageDeflate(
            deflate.remote_no_context_takeover,
            deflate.local_no_context_takeover,
            deflate.remote_max_window_bits,
            deflate.local_max_window_bits,
            {**_MEMORY, "level": 0},
        )
    return Agreement(checker.subprotocol, deflate)


def _made_closed(response: httpx2.Response) -> bool:
    """It was closed before it came to the client, which measures the time until then: a mock's answer."""
    try:
        _ = response.elapsed
    except RuntimeError:
        return True
    return False


def _check_subprotocol(response: httpx2.Response, options: HandshakeOptions) -> None:
    chosen = response.headers.get_list("sec-websocket-protocol", split_commas=True)
    if len(chosen) == 1 and chosen[0] not in (options.subprotocols or ()):
        offered = "which was not among those offered" if options.subprotocols else "and none was offered"
        raise InvalidHandshake(f"it chose the subprotocol {chosen[0]!r}, {offered} (subprotocols=)")
