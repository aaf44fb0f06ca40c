"""A connection that does not come about says why: on each event loop and in threads."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

import httpx2_trio_ws.anyio
from httpx2_trio_ws import open_websocket
from httpx2_trio_ws.sync import open_websocket as blocking_session

from .handshake_support import client_context, new_client, server_context
from .on_asyncio.support import REAL_LOOPS, run_real
from .sync.support import Task, listening
from .sync.support import new_client as new_blocking_client

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator


def failure(face: str, url: str, **options: Any) -> Exception:
    """What opening raises."""
    with pytest.raises(httpx2.TransportError) as caught:
        if face == "threads":
            with new_blocking_client(**options) as blocking, blocking_session(blocking, url):
                raise AssertionError
        elif face == "trio":
            trio.run(_open, open_websocket, url, options)
        else:
            run_real(face, _open, httpx2_trio_ws.anyio.open_websocket, url, options)
    return caught.value


async def _open(open_on: Callable[..., Any], url: str, options: dict[str, Any]) -> None:
    async with new_client(**options) as client, open_on(client, url):
        raise AssertionError


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None, answer: bytes) -> Generator[str]:
    """A server that reads something, answers, and closes; its host and port."""

    def serve() -> None:
        with contextlib.suppress(OSError):  # the client wants no such TLS
            sock = accept()
            if sock.recv(65536):
                sock.sendall(answer)
            sock.close()

    with listening(context) as (address, accept):
        serving = Task(serve)
        yield address
        serving.result()


@contextlib.contextmanager
def nobody() -> Generator[str]:
    with socket.socket() as held:  # bound and not listening: connections are refused
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
CASES: dict[str, tuple[str, Callable[[], contextlib.AbstractContextManager[str]], dict[str, Any], str]] = {
    "an authority that is not trusted": (
        "wss",
        lambda: serving(server_context(), b""),
        {"verify": True},
        "certificate verify failed",
    ),
    "TLS on a port of plain HTTP": (
        "wss",
        lambda: serving(None, HTTP),
        {"verify": client_context()},
        "(?i)wrong.version.number|record layer failure",
    ),
    "a port that hangs up on TLS": (
        "wss",
        lambda: serving(None, b""),
        {"verify": client_context()},
        "(?i)eof|reset|closed",
    ),
    "a port where nobody listens": ("ws", nobody, {}, "(?i)refused|attempts (to connect )?.*failed"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("face", ["trio", *REAL_LOOPS, "threads"])
def test_a_connection_that_fails(face: str, case: str) -> None:
    scheme, server, options, reason = CASES[case]
    with server() as address:
        error = failure(face, f"{scheme}://{address}/", **options)
    assert type(error) is httpx2.ConnectError
    assert re.search(reason, str(error)), str(error)
    assert error.request.url.host == "127.0.0.1"
