"""How streams and connections end, and what their sessions say of it."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio
import trio.testing

from httpx2_trio_ws import (
    Instrument,
    WebSocketDisconnect,
    WebSocketNetworkError,
    open_websocket,
)
from httpx2_trio_ws._core import _life
from httpx2_trio_ws._http2_transport import _leaving

from .scripted import WITH_WEBSOCKETS, Peer, client_of, close_frame, echo, scripted, text
from .test_transport import transport_of
from .wire import DATA, GOAWAY, PING, RST, answer, data, frame, goaway, rst, settings, window

if TYPE_CHECKING:
    from collections.abc import Callable

    from .scripted import Contexts


def fails(said: str) -> Any:
    return pytest.RaisesGroup(pytest.RaisesExc(WebSocketNetworkError, match=said))


# -- closing ---------------------------------------------------------------------------------------


async def test_both_close_frames_and_soon_a_reset(tls: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session does not wait for it. The server has time to pass on what was said, or to end."""
    monkeypatch.setattr(_life, "LINGER", 60)
    seen: list[tuple[int, bytes]] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream = await peer.accept()
        seen.append((DATA, await peer.until(DATA)))
        await peer.send(data(stream, close_frame(1000)))
        seen.append((RST, await peer.until(RST, stream)))
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        async with open_websocket(client, server.url, close_timeout_seconds=60) as ws:
            began = trio.current_time()
        assert trio.current_time() - began < 15, "no lingering"
        assert ws.close_code == 1000
        assert transport_of(client).statistics().sessions == 0
        await client.aclose()
        assert seen[0][1][0] == 0x88
        assert seen[1:] == [(RST, (8).to_bytes(4, "big"))]


async def test_a_reset_as_soon_as_the_server_ends(tls: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes first; and what comes in between is nobody's. The stream's place is free for the next."""
    monkeypatch.setattr(_leaving, "_PATIENCE", 3600)
    seen: list[list[int]] = []

    async def script(peer: Peer) -> None:
        await peer.greet(settings((8, 1), (3, 1)))
        for number in range(4):
            stream = await peer.accept()
            if number % 2:
                await peer.send(data(stream, close_frame(1000)))
            kinds = [(await peer.frame())[0]]
            if not number % 2:
                await peer.send(data(stream, close_frame(1000)))
            await peer.send(data(stream, text("late")), rst(stream, 0) if number == 3 else data(stream, b"", 1))
            if number < 3:
                kinds.append((await peer.frame())[0])
            seen.append(kinds)
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        for number in range(4):
            async with open_websocket(client, server.url) as ws:
                if number % 2:
                    with pytest.raises(WebSocketDisconnect):
                        await ws.receive()
            assert transport_of(client).statistics().sessions == 0
    assert server.connections == 1
    assert seen == [[DATA, RST]] * 3 + [[DATA]]


@pytest.mark.parametrize("end", ["ends", "resets", "drops"])
async def test_a_closed_client_waits_for_what_was_said_last(
    tls: Contexts, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(_leaving, "_PATIENCE", 3600)
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream = await peer.accept()
        await peer.until(DATA)
        await peer.send(data(stream, close_frame(1000)))
        with trio.move_on_after(0.1):
            seen.append((await peer.frame())[0])
        if end == "drops":
            return
        await peer.send(data(stream, b"", 1) if end == "ends" else rst(stream, 8))
        while GOAWAY not in seen:
            seen.append((await peer.frame())[0])

    async with scripted(script, tls[0]) as server:
        async with client_of(tls[1]) as client:
            async with open_websocket(client, server.url):
                pass
            began = trio.current_time()
        assert trio.current_time() - began < 15
    assert seen == {"ends": [RST, GOAWAY], "resets": [GOAWAY], "drops": []}[end]


async def test_left_by_cancellation(tls: Contexts) -> None:
    """A close frame and a reset, and no waiting, though the server answers nothing."""
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.accept()
        while RST not in seen:
            seen.append((await peer.frame())[0])

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        with trio.CancelScope() as scope:
            async with open_websocket(client, server.url, close_timeout_seconds=60):
                began = trio.current_time()
                scope.cancel()
                await trio.sleep_forever()
        assert trio.current_time() - began < 15
        await client.aclose()
    assert seen == [DATA, RST]


async def test_the_peer_closes_and_resets(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        stream = await peer.accept()
        await peer.send(data(stream, text("last") + close_frame(4001), 1), rst(stream, 0))
        await peer.wait_end()

    async with (
        scripted(script, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url) as ws,
    ):
        assert await ws.receive() == "last"
        with pytest.raises(WebSocketDisconnect) as caught:
            await ws.receive()
        assert caught.value.code == 4001


# -- ends without a close frame --------------------------------------------------------------------

ENDS: dict[str, tuple[bytes, str]] = {
    "END_STREAM": (data(1, b"", 1), "the peer ended it"),
    "RST_STREAM": (rst(1, 2), r"reset the stream with INTERNAL_ERROR \(2\)"),
    "an unknown code": (rst(1, 99), "reset the stream with code 99"),
    "GOAWAY below it": (
        goaway(0, 11, b"too many"),
        r"the server dropped the stream after GOAWAY with ENHANCE_YOUR_CALM \(11\) 'too many'",
    ),
    "a broken stream": (window(1, 2**31 - 1), r"broke HTTP/2 on the stream: a window above"),
    "a broken connection": (
        frame(PING, 0, 1, bytes(8)),
        r"the server broke HTTP/2: PING of a stream \(PROTOCOL_ERROR\)",
    ),
}


@pytest.mark.parametrize("name", ENDS)
async def test_ends(tls: Contexts, name: str) -> None:
    reply, said = ENDS[name]

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream = await peer.accept()
        await peer.send(data(stream, text("last")), reply)
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        with fails(said):
            async with open_websocket(client, server.url) as ws:
                assert await ws.receive() == "last"
                try:
                    await ws.receive()
                finally:
                    assert ws.close_code == 1006


async def test_the_loss_of_the_connection_is_told_to_every_session(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        for _ in range(3):
            await peer.accept()
        await peer.send(goaway(2**31 - 1, 2, b"bye"))

    told = 0

    async def use(client: httpx2.AsyncClient, url: str) -> None:
        nonlocal told
        with fails(r"the server closed the HTTP/2 connection after GOAWAY with INTERNAL_ERROR \(2\) 'bye'"):
            async with open_websocket(client, url) as ws:
                await ws.receive()
        told += 1

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(use, client, server.url)
    assert told == 3


async def test_a_silent_connection(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.accept()
        await trio.sleep_forever()

    options: Any = {"keepalive_ping_interval_seconds": 0.05, "keepalive_ping_timeout_seconds": 0.1}
    async with scripted(script, tls[0]) as server, client_of(tls[1], **options) as client:
        with fails("no sign of life on the HTTP/2 connection within 0.1 s of a PING"):
            async with open_websocket(client, server.url) as ws:
                await ws.receive()


async def test_a_connection_that_answers_pings(tls: Contexts) -> None:
    options: Any = {"keepalive_ping_interval_seconds": 0.02, "keepalive_ping_timeout_seconds": 5}
    async with (
        scripted(echo, tls[0]) as server,
        client_of(tls[1], **options) as client,
        open_websocket(client, server.url) as ws,
    ):
        with trio.move_on_after(0.2):
            await ws.receive()
        [connection] = transport_of(client).statistics().connections
        assert connection.round_trip_seconds is not None
        await ws.send("x")
        assert await ws.receive() == "x"


async def test_an_idle_connection_ends(tls: Contexts) -> None:
    limits = httpx2.Limits(keepalive_expiry=0.05)
    async with scripted(echo, tls[0]) as server, client_of(tls[1], limits=limits) as client:
        async with open_websocket(client, server.url):
            pass
        while transport_of(client).statistics().connections:
            await trio.testing.wait_all_tasks_blocked(0.02)
        async with open_websocket(client, server.url):
            pass
    assert server.connections == 2


# -- GOAWAY ----------------------------------------------------------------------------------------


async def test_sessions_live_on_and_new_ones_dial_anew(tls: Contexts) -> None:
    """Said twice, as servers do; the connection ends with its last session."""
    ended = trio.Event()

    async def script(peer: Peer) -> None:
        if peer.number:
            await echo(peer)
            return
        await peer.greet()
        stream = await peer.accept()
        await peer.send(goaway(2**31 - 1), goaway(1), data(stream, text("on")))
        await peer.wait_end()
        ended.set()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        async with open_websocket(client, server.url, close_timeout_seconds=0.1) as old:
            assert await old.receive() == "on"
            assert [c.draining for c in transport_of(client).statistics().connections] == [True]
            async with open_websocket(client, server.url) as new:
                await new.send("x")
                assert await new.receive() == "x"
                assert len(transport_of(client).statistics().connections) == 2
            assert not ended.is_set()
        with trio.fail_after(5):
            await ended.wait()
        assert server.connections == 2


@pytest.mark.parametrize("how", ["GOAWAY", "REFUSED_STREAM", "GOAWAY byte by byte"])
async def test_what_was_not_processed_is_sent_again(tls: Contexts, how: str) -> None:
    """Unseen by hooks, on another connection."""

    async def script(peer: Peer) -> None:
        if peer.number:
            await echo(peer)
            return
        await peer.greet()
        stream, _ = await peer.request()
        goodbye = goaway(0)
        parts = {"GOAWAY": [goodbye], "REFUSED_STREAM": [rst(stream, 7)]}
        for part in parts.get(how, [goodbye[at : at + 1] for at in range(len(goodbye))]):
            await peer.send(part)
        await peer.wait_end()

    seen: list[httpx2.Response] = []

    async def on_response(response: httpx2.Response) -> None:
        seen.append(response)

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        client.event_hooks = {"response": [on_response]}
        async with open_websocket(client, server.url) as ws:
            await ws.send("x")
            assert await ws.receive() == "x"
    assert server.connections == 2
    assert [response.status_code for response in seen] == [101]


PLACES = ["with SETTINGS", "before the answer", "with the answer", "inside a message", "after a message"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("last", [0, 2**31 - 1])
async def test_goaway_at_every_place(tls: Contexts, place: str, last: int) -> None:
    """What was not processed is sent again, what was goes on, and what was and is dropped all the same is told."""

    async def script(peer: Peer) -> None:
        if peer.number:
            await echo(peer)
            return

        def at(here: str) -> bytes:
            return goaway(last, 0, b"so long") if here == place else b""

        await peer.greet(WITH_WEBSOCKETS + at("with SETTINGS"))
        stream, _ = await peer.request()
        await peer.send(at("before the answer"), answer(stream), at("with the answer"))
        await peer.until(DATA, stream)
        message = text("x")
        await peer.send(data(stream, message[:2]), at("inside a message"), data(stream, message[2:]))
        await peer.send(at("after a message"))
        await peer.wait_end()

    dropped = not last and PLACES.index(place) >= 2
    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        with (
            fails(r"dropped the stream after GOAWAY with NO_ERROR \(0\) 'so long'")
            if dropped
            else contextlib.nullcontext()
        ):
            async with open_websocket(client, server.url, close_timeout_seconds=0.1) as ws:
                await ws.send("x")
                assert await ws.receive() == "x"
                if dropped:
                    await ws.receive()
        again = place == "with SETTINGS" or (not last and place == "before the answer")
        assert server.connections == 1 + again


async def test_not_for_ever(tls: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.request()
        await peer.send(goaway(0))
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        with pytest.raises(httpx2.RemoteProtocolError, match="3 times in a row"):
            async with open_websocket(client, server.url):
                raise AssertionError
    assert server.connections == 3


ANSWERS: dict[str, tuple[Callable[[int], bytes], str]] = {
    "calm": (lambda stream: rst(stream, 11), r"ENHANCE_YOUR_CALM \(11\)"),
    "broken": (lambda stream: data(stream, b"x"), "data before an answer"),
    "end": (lambda stream: b"", "closed the HTTP/2 connection"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_no_answer(tls: Contexts, name: str) -> None:
    """An error, and no second try."""
    reply, said = ANSWERS[name]

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _ = await peer.request()
        await peer.send(reply(stream))
        if name != "end":
            await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError), match=said):
            async with open_websocket(client, server.url):
                raise AssertionError
    assert server.connections == 1


async def test_a_server_that_does_not_answer(tls: Contexts) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _ = await peer.request()
        seen.append(await peer.until(RST, stream))
        await peer.wait_end()

    async with scripted(script, tls[0]) as server, client_of(tls[1]) as client:
        with pytest.raises(httpx2.ReadTimeout, match="did not answer the extended CONNECT"):
            async with open_websocket(client, server.url, timeout=httpx2.Timeout(5, read=0.1)):
                raise AssertionError
        await client.aclose()
    assert seen == [(8).to_bytes(4, "big")]


# -- a failure of ours -----------------------------------------------------------------------------


class Breaks(Instrument):
    """What nobody expected, in the middle of taking what was read."""

    def frame_received(self, session: Any, frame: Any) -> None:
        raise KeyboardInterrupt("not an Exception")


async def test_what_a_session_raises_is_its_own(tls: Contexts) -> None:
    """Its neighbour does not notice."""
    async with (
        scripted(echo, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url) as neighbour,
    ):
        with contextlib.suppress(BaseExceptionGroup, KeyboardInterrupt):
            async with open_websocket(client, server.url, instruments=[Breaks()]) as ws:
                await ws.send("x")
                await ws.receive()
        await neighbour.send("y")
        assert await neighbour.receive() == "y"


async def test_the_log(tls: Contexts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "httpx2_trio_ws.http2")
    async with (
        scripted(echo, tls[0]) as server,
        client_of(tls[1]) as client,
        open_websocket(client, server.url) as ws,
    ):
        await ws.send("x")
        await ws.receive()
    said = [record.getMessage() for record in caplog.records if record.name == "httpx2_trio_ws.http2"]
    assert any("stream 1 opened" in line for line in said)
    assert any("round trip of" in line for line in said)
    assert "closed" in said[-1]
    assert all(line.startswith("connection ") for line in said)
