"""Ctrl-C on trio, as the operating system sends it, right after a step that has to be noted."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from httpx2_trio_ws import open_websocket
from httpx2_trio_ws._session._inbox import Inbox

from .handshake_support import client_context, server_context
from .memory import text
from .sync.support import LONG, Task, listening, upgrade
from .test_closed_clients import SMALL, each_transport, url

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Callable

    from httpx2_trio_ws import WebSocketSession

    from .sync.support import Peer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")


@contextlib.asynccontextmanager
async def session(play: Callable[[Peer], object], *, tls: bool) -> AsyncGenerator[WebSocketSession]:
    with listening(server_context() if tls else None) as (address, accept):
        playing = Task(lambda: play(upgrade(accept())))
        transport = httpx2.AsyncHTTPTransport(verify=client_context() if tls else False, socket_options=SMALL)
        try:
            async with (
                httpx2.AsyncClient(transport=transport) as client,
                open_websocket(client, url(address, tls=tls), compression=None, close_timeout_seconds=LONG) as ws,
            ):
                yield ws
        finally:
            playing.result()  # whatever comes out, the peer has read all that came


def strike_after(function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, owner: Any) -> list[str]:
    """Ctrl-C comes right after the next call of it, once the list that is given is not empty."""
    armed: list[str] = []

    def struck(*args: Any) -> Any:
        result = function(*args)
        if armed:
            armed.clear()
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(owner, function.__name__, struck)
    return armed


def read(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or all until the end; then close."""
    data = bytearray()
    with contextlib.suppress(OSError):
        while len(data) < size and (part := sock.recv(65536)):
            data += part
    sock.close()
    return bytes(data)


@each_transport
def test_after_a_write_that_took_a_part_nothing_comes_into_the_frame(
    tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, raw = 3_000_000, [b""]
    armed = strike_after(os.write, monkeypatch, os)

    def play(peer: Peer) -> None:
        raw[0] = read(peer.socket, 14 + size + 2)

    async def main() -> None:
        async with session(play, tls=tls) as ws:
            armed.append("now")
            await ws.send(b"x" * size)

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.group_contains(KeyboardInterrupt)
    first, length, key, payload = raw[0][:2], raw[0][2:10], raw[0][10:14], raw[0][14:]
    assert (first, int.from_bytes(length)) == (b"\x82\xff", size)
    message = payload[:size]
    masked = int.from_bytes((key * (len(message) // 4 + 1))[: len(message)])
    assert (int.from_bytes(message) ^ masked).to_bytes(len(message)).strip(b"x") == b""
    assert payload[size : size + 1] == b"\x88", "and the message is whole, as there was time"


def test_in_a_receive_no_message_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    armed = strike_after(Inbox.grant, monkeypatch, Inbox)

    def play(peer: Peer) -> None:
        peer.send(*(text(str(number)) for number in range(200)))
        peer.answer_close()

    async def main() -> None:
        async with session(play, tls=False) as ws:
            await trio.sleep(0.05)
            received: list[str | bytes] = []
            armed.append("now")
            struck = 0
            with trio.fail_after(LONG):
                while len(received) < 200:
                    try:
                        received.append(await ws.receive())
                    except KeyboardInterrupt:
                        struck += 1
            assert received == [str(number) for number in range(200)]
            assert struck == 1

    trio.run(main)
