"""Large messages are read straight into the shared buffer, on every event loop and in threads, and whole whatever happens."""

from __future__ import annotations

import gc
import random
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
import trio

import httpx2_trio_ws
import httpx2_trio_ws.anyio
from httpx2_trio_ws._protocol import _straight
from tests.handshake_support import server_context
from tests.memory import text
from tests.on_asyncio.support import REAL_LOOPS, run_real
from tests.sync.support import LONG, Task, eventually, listening, played, upgrade

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2_trio_ws._protocol import Connection
    from tests.sync.support import Peer

MESSAGE = "".join(random.Random(3).choices("abé€\U0001f600", k=300_000))
FRAME = text(MESSAGE)
FIRST = 62_000  # in one segment, so that one read takes it; and more than is worth the buffer


def run(loop: str, function: Callable[[], Awaitable[None]]) -> None:
    if loop == "trio":
        trio.run(function)
    else:
        run_real(loop, function)


def holds_a_part(connection: Connection) -> bool:
    return connection._buffer is not None


@pytest.mark.parametrize("loop", ["trio", *REAL_LOOPS])
def test_a_call_that_is_cancelled_in_the_middle_of_one(loop: str) -> None:
    """The next call receives it whole."""
    open_websocket: Any = (httpx2_trio_ws if loop == "trio" else httpx2_trio_ws.anyio).open_websocket

    async def main() -> None:
        with listening() as (address, accept):
            accepting = Task(lambda: upgrade(accept()))
            async with (
                httpx2.AsyncClient(trust_env=False) as client,
                open_websocket(client, f"ws://{address}/", compression=None, max_message_size_bytes=None) as ws,
            ):
                peer: Peer = accepting.result()
                for number in range(3):
                    peer.send(FRAME[:FIRST])
                    with anyio.move_on_after(LONG) as scope:
                        async with anyio.create_task_group() as group:
                            group.start_soon(ws.receive)
                            while not holds_a_part(ws._engine.connection):  # noqa: ASYNC110 (it has no event)
                                await anyio.sleep(0.001)
                            group.cancel_scope.cancel()
                    assert not scope.cancelled_caught
                    peer.send(FRAME[FIRST:], text(str(number)))
                    assert await ws.receive() == MESSAGE
                    assert await ws.receive() == str(number)
                closing = Task(peer.answer_close)
            closing.result()
        assert len(_straight._free) == 1

    run(loop, main)


def test_a_blocking_call_that_gives_up_in_the_middle_of_one() -> None:
    with played(compression=None, max_message_size_bytes=None) as (ws, peer):
        for number in range(3):
            peer.send(FRAME[:FIRST])
            eventually(lambda: holds_a_part(ws._engine.connection))
            with pytest.raises(TimeoutError):
                ws.receive(timeout=0)
            peer.send(FRAME[FIRST:], text(str(number)))
            assert ws.receive(timeout=LONG) == MESSAGE
            assert ws.receive(timeout=LONG) == str(number)
        peer.begin(peer.answer_close)


def test_a_session_that_ends_in_the_middle_of_one() -> None:
    """The buffer is free again."""
    with played(compression=None, max_message_size_bytes=None) as (ws, peer):
        peer.send(FRAME[:FIRST])
        connection = ws._engine.connection
        eventually(partial(holds_a_part, connection))
        peer.socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(httpx2_trio_ws.WebSocketNetworkError):
            ws.receive(timeout=LONG)
    assert not _straight._free
    del ws, connection
    gc.collect()
    assert len(_straight._free) == 1


def test_over_tls_nothing_is_read_straight() -> None:
    """What comes are records."""
    with played(context=server_context(), compression=None, max_message_size_bytes=None) as (ws, peer):
        assert not ws._engine.connection.reads_straight
        peer.send(FRAME)
        assert ws.receive(timeout=LONG) == MESSAGE
        peer.begin(peer.answer_close)
