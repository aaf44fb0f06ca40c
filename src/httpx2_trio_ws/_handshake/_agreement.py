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

from httpx2_trio_ws._exceptions import WebSocketUpgradeError

from ._versions import ACCEPTING, KEY, is_accepted, over

if TYPE_CHECKING:
    import httpx2

    from httpx2_trio_ws._options import HandshakeOptions

# Memory level 5 instead of 8: some 140 KB instead of 260 for the compressor, and hardly less compression.
_MEMORY = {"memLevel": 5}
_OFFERS = {
    "deflate": ClientPerMessageDeflateFactory(compress_settings=_MEMORY),
    "deflate-no-context-takeover": ClientPerMessageDeflateFactory(
        server_no_context_takeover=True, client_no_context_takeover=True, compress_settings=_MEMORY
    ),
}
# Legal (RFC 7692 §7.1.2.2), but zlib has no such window to compress with.
_TOO_SMALL = re.compile(r'(client_max_window_bits[ \t]*=[ \t]*)(?:8|"8")(?=[ \t]*(?:[;,]|$))')


class Agreement(NamedTuple):
    """What client and server agreed on."""

    subprotocol: str | None
    deflate: PerMessageDeflate | None


def offer(headers: httpx2.Headers, options: HandshakeOptions) -> None:
    """Say in a request's headers what may be agreed on."""
    if options.compression is not None:
        factory = _OFFERS[options.compression]
        offered = build_extension([(factory.name, list(factory.get_request_params()))])
        headers["Sec-WebSocket-Extensions"] = offered
    if options.subprotocols:
        headers["Sec-WebSocket-Protocol"] = ", ".join(options.subprotocols)


def check_response(response: httpx2.Response, options: HandshakeOptions) -> Agreement:
    """Check the server's answer (RFC 6455 §4.1, second list) and find what was agreed on.

    Raises:
        WebSocketUpgradeError: it is a refusal, or breaks a rule.
    """
    version = over(response)
    if not is_accepted(response):
        raise WebSocketUpgradeError(version.refusal(response), response)
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
        text = f"the server answered {version.answered(response)}, but its handshake is invalid: {exc}"
        raise WebSocketUpgradeError(text, response) from exc
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
