"""Reading a refusal: as much of the response's body as says why, and no more, however it is sent."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import httpx2

from httpx2_trio_ws._texts import printable

from ._body import MAX_BODY, AsyncBody, BlockingBody, Body, decoded

if TYPE_CHECKING:
    from httpx2_trio_ws._exceptions import WebSocketUpgradeError
    from httpx2_trio_ws._runtime import Runtime

# So long each part of it is waited for, where nobody has set a timeout.
_SECONDS = 5
# The connection broke off, or did not go on for too long. A StreamError: it has been closed before.
_NO_MORE = (httpx2.TransportError, httpx2.StreamError)


async def read_refusal(response: httpx2.Response, runtime: Runtime, deadline: float) -> httpx2.Response:
    """A copy of the response with the beginning of its body read, as far as that comes until ``deadline``."""
    if isinstance(response.stream, AsyncBody):
        response.stream.refuses = True
        _hurry(response)
        with runtime.cancel_scope(deadline=deadline), contextlib.suppress(*_NO_MORE):
            await response.stream.fetch(MAX_BODY)
    return copy_of(response)


def read_refusal_blocking(response: httpx2.Response) -> httpx2.Response:
    """As :func:`read_refusal`."""
    if isinstance(response.stream, BlockingBody):
        response.stream.refuses = True
        _hurry(response)
        with contextlib.suppress(*_NO_MORE):
            response.stream.fetch(MAX_BODY)
    return copy_of(response)


def _hurry(response: httpx2.Response) -> None:
    """What is left of a refusal comes at once, or is not waited for long: nothing depends on it."""
    timeouts = response.request.extensions.get("timeout", {})
    if timeouts.get("read", 0) is None:
        timeouts["read"] = _SECONDS


def told_response(response: httpx2.Response) -> httpx2.Response:
    """What a session tells of the answer that opened it: read, as there is no body. Reading that itself would end its connection."""
    told = copy_of(response) if "content-type" in response.headers else _made(response, _content(response))
    told.extensions = dict(response.extensions)
    return told


def complete(error: WebSocketUpgradeError, response: httpx2.Response) -> None:
    """Give a refusal the response that has been read, and to its text what that says, if it is short."""
    error.response = response
    said = _said(response)
    if said:
        error.reason += f': it says "{said}"'
    error.args = (error.reason, response)


def copy_of(response: httpx2.Response) -> httpx2.Response:
    """What a refusal that has been read is told with."""
    content = _content(response)[:MAX_BODY]
    read = _made(response, content)
    try:
        _ = _made(response, content).text  # of which no encoding can be set any more
    except Exception:  # noqa: BLE001 (a charset names any of Python's codecs, which raise whatever they do)
        read.encoding = "utf-8"
    return read


def _made(response: httpx2.Response, content: bytes) -> httpx2.Response:
    read = httpx2.Response(response.status_code, content=content)
    read.headers = response.headers
    read.request = response.request
    read.extensions = response.extensions
    read.history = response.history
    read.next_request = response.next_request
    read.default_encoding = response.default_encoding
    return read


_TITLE = re.compile(r"<title>([^<]*)</title>", re.IGNORECASE)
_SHOWN = 200  # characters


def _said(response: httpx2.Response) -> str:
    """What a text, a JSON document or a page's title says, in one line."""
    kind = response.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
    text = ""
    if kind == "text/html":
        title = _TITLE.search(response.text)
        text = title[1] if title else ""
    elif kind == "text/plain" or kind.endswith(("/json", "+json")):
        text = response.text
    text = " ".join(text.split())
    if "\ufffd" in text or text == f"{response.status_code} {response.reason_phrase}":
        return ""  # it is no text; or it says nothing new
    return printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _content(response: httpx2.Response) -> bytes:
    try:
        return response.content  # an event hook, or the authentication, has read it
    except httpx2.ResponseNotRead:
        pass
    if not isinstance(response.stream, Body):
        return b""  # it opened a session, and has no body; or it has been closed
    return decoded(response.headers, bytes(response.stream.received[: 2 * MAX_BODY]), MAX_BODY)
