"""What sessions share: windows, turns, connections and dials."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio
import trio.testing

from httpx2_trio_ws import WebSocketException, WebSocketHandshakeTimeout, open_websocket
from httpx2_trio_ws.http2 import HTTP2Transport

from .scripted import Peer, client_of, echo, scripted, text
from .server import CODES, PLAIN, serving
from .test_transport import transport_of
from .wire import DATA, HEADERS, PING, RST, answer, data, frame, rst, settings, window

if TYPE_CHECKING:
    from .scripted import Contexts
    from .server import ServerStream


async def talk(stream: ServerStream) -> None:
    """Echo, or read nothing, or send without end, as the path says."""
    peer = await stream.accept()
    path = stream.request.url.path
    if path == "/stalls":
        await trio.sleep_forever()
    if path == "/floods":
        with contextlib.suppress(WebSocketException):
            while True:
                await peer.send("x" * 10_000)
    async for message in peer:
        await peer.send(message)


async def echo_times(ws: Any, count: int) -> float:
    """The median time of an echo, in seconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await ws.send("x")
        assert await ws.receive() == "x"
        times.append(time.perf_counter() - began)
    return sorted(times)[count // 2]


# -- one stalled session stalls nobody -------------------------------------------------------------


async def test_beside_a_session_that_does_not_receive(tls: Contexts) -> None:
    async with serving(talk, tls[0]) as server, client_of(tls[1]) as client:
        async with open_websocket(client, f"{server.url}/floods", queue_size=2, close_timeout_seconds=0.2) as stalled:
            async with open_websocket(client, f"{server.url}/") as ws:
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert await echo_times(ws, 20) < 0.5
                assert stalled.statistics().queued_messages == 2
                stream = stalled._engine.carrier._stream  # type: ignore[attr-defined]
                kept = len(stream._buffer) + stream._owed
                assert kept <= 65536
                assert stream.http2.receivable == 65536 - stream.http2.consumed - kept
            for _ in range(100):
                assert len(await stalled.receive()) == 10_000
        assert len(server.connections) == 1


async def test_what_a_session_has_taken_and_not_used_is_not_handed_back(tls: Contexts) -> None:
    """Its queue is full, and what came with the last message lies there."""
    sent = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream = await peer.accept()
        await peer.accept()
        await peer.send(*[data(stream, text("x" * 100) * 100)] * 5)
        await peer.send(frame(PING, 0, 0, bytes(8)))
        sent.set()
        await peer.wait_end()

    options: Any = {"close_timeout_seconds": 0.1}
    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url, queue_size=1, **options) as ws,
        open_websocket(client, server.url, **options),
    ):
        stream = ws._engine.carrier._stream  # type: ignore[attr-defined]
        await sent.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert stream.http2.receivable == 65_536 - 51_000
        assert stream._owed + len(stream._buffer) > 50_000
        for _ in range(500):
            await ws.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert stream.http2.receivable > 32_768


async def test_what_a_session_takes_is_handed_back_though_nobody_receives(tls: Contexts) -> None:
    """Its queue has room."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream = await peer.accept()
        await peer.accept()
        for _ in range(5):
            await peer.send(data(stream, text("x" * 10_000)))
        await peer.wait_end()

    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url, close_timeout_seconds=0.1) as ws,
        open_websocket(client, server.url, close_timeout_seconds=0.1),
    ):
        stream = ws._engine.carrier._stream  # type: ignore[attr-defined]
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert ws.statistics().queued_messages == 5
        assert stream.http2.receivable > 65_536 - 50_000


@pytest.mark.parametrize("of_a_stream", [65535, 2**20])
async def test_beside_a_session_whose_peer_does_not_receive(tls: Contexts, of_a_stream: int) -> None:
    """With a connection's window that is no larger than a stream's, too."""
    wide = {**PLAIN, CODES.INITIAL_WINDOW_SIZE: of_a_stream}
    async with (
        serving(talk, tls[0], wide) as server,
        client_of(tls[1]) as client,
        trio.open_nursery() as nursery,
        open_websocket(client, f"{server.url}/stalls", close_timeout_seconds=0.2) as stalled,
    ):

        async def fill() -> None:
            while True:
                await stalled.send("y" * 50_000)

        async with open_websocket(client, f"{server.url}/") as ws:
            nursery.start_soon(fill)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert await echo_times(ws, 20) < 0.5
            assert stalled.statistics().unsent_bytes > 0
        nursery.cancel_scope.cancel()


async def test_a_server_that_hands_back_when_half_is_used(tls: Contexts) -> None:
    """Which half of it that is, some round up; another session is open, and leaves this one that much."""
    got = 0

    async def script(peer: Peer) -> None:
        nonlocal got
        await peer.greet()
        await peer.accept()
        stream = await peer.accept()
        unacknowledged = 0
        while got < 200_000:
            count = len(await peer.until(DATA, stream))
            got, unacknowledged = got + count, unacknowledged + count
            if unacknowledged > 65535 / 2:
                await peer.send(window(0, unacknowledged), window(stream, unacknowledged))
                unacknowledged = 0
        await peer.send(data(stream, text("all")))
        await peer.wait_end()

    options: Any = {"close_timeout_seconds": 0.1}
    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url, **options),
        open_websocket(client, server.url, **options) as ws,
    ):
        await ws.send(b"z" * 200_000)
        assert await ws.receive() == "all"


async def test_a_herd_of_writers(tls: Contexts) -> None:
    """Each gets its turn, in some order; nobody starves, and one that is cancelled passes its turn on."""
    async with serving(talk, tls[0]) as server, client_of(tls[1]) as client, trio.open_nursery() as nursery:
        done = 0

        async def one(number: int) -> None:
            nonlocal done
            async with open_websocket(client, f"{server.url}/", close_timeout_seconds=5) as ws:
                message = f"{number}".ljust(100_000)
                with trio.move_on_after(0.05 if number % 5 == 0 else 30) as scope:
                    await ws.send(message)
                    assert await ws.receive() == message
                done += 1
                if not scope.cancelled_caught:
                    await ws.send("x")
                    assert await ws.receive() == "x"

        for number in range(30):
            nursery.start_soon(one, number)
    assert done == 30
    assert len(server.connections) == 1


# -- full ------------------------------------------------------------------------------------------


async def test_another_connection_where_the_server_takes_no_more(tls: Contexts) -> None:
    few = {**PLAIN, CODES.MAX_CONCURRENT_STREAMS: 2}
    async with serving(talk, tls[0], few) as server, client_of(tls[1]) as client:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(5):
                ws = await stack.enter_async_context(open_websocket(client, f"{server.url}/"))
                await ws.send("x")
                assert await ws.receive() == "x"
            shown = transport_of(client).statistics()
            assert [connection.sessions for connection in shown.connections] == [2, 2, 1]
            assert {connection.max_sessions for connection in shown.connections} == {2}
        assert len(server.connections) == 3


async def test_or_where_we_want_no_more(tls: Contexts) -> None:
    async with (
        serving(talk, tls[0]) as server,
        client_of(tls[1], max_sessions_per_connection=1) as client,
        open_websocket(client, f"{server.url}/"),
        open_websocket(client, f"{server.url}/"),
    ):
        assert len(server.connections) == 2


async def test_no_more_connections_either(tls: Contexts) -> None:
    limits = httpx2.Limits(max_connections=1)
    async with (
        serving(talk, tls[0]) as server,
        client_of(tls[1], max_sessions_per_connection=1, limits=limits) as client,
    ):
        async with open_websocket(client, f"{server.url}/"):
            with pytest.raises(httpx2.PoolTimeout, match=r"1 are open on 1 HTTP/2 connections"):
                async with open_websocket(client, f"{server.url}/", timeout=httpx2.Timeout(5, pool=0.05)):
                    raise AssertionError
            with pytest.raises(WebSocketHandshakeTimeout):
                async with open_websocket(client, f"{server.url}/", handshake_timeout_seconds=0.05):
                    raise AssertionError

        async def wait_in_line(order: list[int], number: int) -> None:
            async with open_websocket(client, f"{server.url}/"):
                order.append(number)

        order: list[int] = []
        async with (
            trio.open_nursery() as nursery,
            open_websocket(client, f"{server.url}/"),
        ):
            for number in range(3):
                nursery.start_soon(wait_in_line, order, number)
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert order == []
        assert order == [0, 1, 2]
        assert len(server.connections) == 1


async def test_an_idle_connection_makes_room_for_another_origin(tls: Contexts) -> None:
    limits = httpx2.Limits(max_connections=1, keepalive_expiry=None)
    async with (
        serving(talk, tls[0]) as one,
        serving(talk, tls[0]) as two,
        client_of(tls[1], limits=limits) as client,
    ):
        for url in (one.url, two.url, one.url):
            with trio.fail_after(5):
                async with open_websocket(client, f"{url}/"):
                    assert len(transport_of(client).statistics().connections) == 1


async def test_a_server_that_allows_no_stream(tls: Contexts) -> None:
    async with scripted(refuse_all, tls[0]) as server, client_of(tls[1]) as client:
        with pytest.raises(httpx2.PoolTimeout, match="0 are open on 1"):
            async with open_websocket(client, server.url, timeout=httpx2.Timeout(5, pool=0.05)):
                raise AssertionError
    assert server.connections == 1


async def refuse_all(peer: Peer) -> None:
    await peer.greet(settings((8, 1), (3, 0)))
    await peer.wait_end()


async def test_refused_until_one_ends(tls: Contexts) -> None:
    """REFUSED_STREAM says that the server takes no more, whatever its settings do."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        limit = 1
        streams: set[int] = set()
        while True:
            kind, _, stream, payload = await peer.frame()
            if kind == HEADERS:
                peer.decoder.decode(payload)
                await peer.send(rst(stream, 7) if len(streams) >= limit else answer(stream))
                streams.add(stream)
            elif kind == RST:
                streams.discard(stream)

    options: Any = {"close_timeout_seconds": 0.05}
    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        async with (
            open_websocket(client, server.url, **options),
            open_websocket(client, server.url, **options),
        ):
            shown = transport_of(client).statistics().connections
            assert [(connection.sessions, connection.max_sessions) for connection in shown] == [(1, 1), (1, 100)]
        shown = transport_of(client).statistics().connections
        assert [connection.max_sessions for connection in shown] == [100, 100]


# -- dials are shared ------------------------------------------------------------------------------


async def test_fifty_openings_are_one_dial(tls: Contexts) -> None:
    async with serving(talk, tls[0]) as server, client_of(tls[1]) as client, trio.open_nursery() as nursery:

        async def one() -> None:
            async with open_websocket(client, f"{server.url}/") as ws:
                await ws.send("x")
                assert await ws.receive() == "x"

        for _ in range(50):
            nursery.start_soon(one)
    assert len(server.connections) == 1


async def test_and_so_are_failures(tls: Contexts) -> None:
    """A server that is silent: one dial, and fifty errors at its time-out."""
    errors: list[httpx2.ConnectTimeout] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"wss://127.0.0.1:{silent.getsockname()[1]}/"
        async with client_of(tls[1]) as client, trio.open_nursery() as nursery:

            async def one() -> None:
                with pytest.raises(httpx2.ConnectTimeout) as caught:
                    async with open_websocket(client, url, timeout=httpx2.Timeout(5, connect=0.3)):
                        raise AssertionError
                errors.append(caught.value)

            began = trio.current_time()
            for _ in range(50):
                nursery.start_soon(one)
        assert trio.current_time() - began < 7, "one after another it would be 15"
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert len(errors) == len(set(map(id, errors))) == 50
    assert all(error.request.url == url.replace("wss", "https") for error in errors)


async def test_no_settings(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        with pytest.raises(httpx2.ConnectTimeout, match=r"sent no SETTINGS within 0.1 s"):
            async with open_websocket(client, server.url, timeout=httpx2.Timeout(5, connect=0.1)):
                raise AssertionError


async def test_what_is_no_http2(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        with pytest.raises(httpx2.ConnectError, match="does not begin as HTTP/2 does"):
            async with open_websocket(client, server.url):
                raise AssertionError


async def test_a_cancelled_dial_is_taken_over(tls: Contexts) -> None:
    async with scripted(slow_to_greet, tls[0]) as server, client_of(tls[1]) as client:
        opened = trio.Event()

        async def second() -> None:
            async with open_websocket(client, server.url, close_timeout_seconds=0.1):
                opened.set()

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.1) as scope:
                nursery.start_soon(second)  # waits for the first one's dial, or is the dialler: both are fine
                async with open_websocket(client, server.url):
                    raise AssertionError
            assert scope.cancelled_caught
            with trio.fail_after(5):
                await opened.wait()


async def slow_to_greet(peer: Peer) -> None:
    await (echo(peer) if peer.number else peer.wait_end())


async def test_a_waiter_s_own_time_out(tls: Contexts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"wss://127.0.0.1:{silent.getsockname()[1]}/"
        async with client_of(tls[1]) as client, trio.open_nursery() as nursery:

            async def dial() -> None:
                with pytest.raises(httpx2.ConnectTimeout):
                    async with open_websocket(client, url, timeout=httpx2.Timeout(5, connect=0.5)):
                        raise AssertionError

            nursery.start_soon(dial)
            await trio.testing.wait_all_tasks_blocked(0.05)
            with pytest.raises(httpx2.ConnectTimeout, match=r"no connection to https://127.0.0.1:[0-9]+ within 0.1 s"):
                async with open_websocket(client, url, timeout=httpx2.Timeout(5, connect=0.1)):
                    raise AssertionError


async def test_a_context_that_is_shared(tls: Contexts) -> None:
    """Another client has set its own protocols on it meanwhile."""

    async def trace(name: str, info: Any) -> None:
        if name.endswith("start_tls.started"):
            tls[1].set_alpn_protocols(["http/1.1"])

    async with (
        scripted(echo, tls[0]) as server,
        httpx2.AsyncClient(transport=HTTP2Transport(verify=tls[1])) as client,
        open_websocket(client, server.url, extensions={"trace": trace}) as ws,
    ):
        assert ws.response.http_version == "HTTP/2"
