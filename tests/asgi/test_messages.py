"""Messages in both directions, backpressure, and everything about the end of a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from websockets.frames import Frame, Opcode

from httpx2_trio_ws import WebSocketDisconnect
from httpx2_trio_ws.anyio import open_websocket

from .support import accept, asgi_client, both_loops, disconnected, echo, frame, idle, raw_connection, received

if TYPE_CHECKING:
    from .support import App, Event, Receive, Scope, Send


def recording(events: list[Event]) -> App:
    """An app that accepts, and keeps what it receives."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        while not events or events[-1]["type"] != "websocket.disconnect":
            events.append(await receive())

    return app


@both_loops
async def test_messages_keep_their_type_also_when_they_are_empty() -> None:
    messages: list[str | bytes] = ["text", b"bytes", "", b"", "é\U0001f600", b"\xff", "x" * 300_000, b"y" * 300_000]
    async with asgi_client(echo) as client, open_websocket(client, "/") as ws:
        for message in messages:
            await ws.send(message)
            assert await ws.receive() == message


@both_loops
async def test_a_received_message_has_the_key_of_its_kind_only() -> None:
    events: list[Event] = []
    async with asgi_client(recording(events)) as client, open_websocket(client, "/") as ws:
        await ws.send("")
        await ws.send(b"")
        await ws.close(4321, "enough")
    assert events == [received(text=""), received(data=b""), disconnected(4321, "enough")]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"text": "a"}, "a"),
        ({"text": "", "bytes": None}, ""),
        ({"bytes": b"", "text": None}, b""),
        ({"bytes": bytearray(b"ab")}, b"ab"),
        ({"bytes": memoryview(b"ab"), "more": "ignored"}, b"ab"),
    ],
)
@both_loops
async def test_what_the_app_may_send(event: Event, message: str | bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.send", **event})

    async with asgi_client(app) as client, open_websocket(client, "/") as ws:
        assert await ws.receive() == message


@both_loops
async def test_messages_come_in_order_whoever_sends_them() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def count(name: str) -> None:
            for number in range(100):
                await send({"type": "websocket.send", "text": f"{name}{number}" + "." * 2000})

        await accept(receive, send)
        async with anyio.create_task_group() as tasks:
            for name in "ab":
                tasks.start_soon(count, name)
        await send({"type": "websocket.close"})

    async with asgi_client(app) as client, open_websocket(client, "/") as ws:
        messages = [message.rstrip(".") async for message in ws if isinstance(message, str)]
    for name in "ab":
        assert [m for m in messages if m.startswith(name)] == [f"{name}{number}" for number in range(100)]


@both_loops
async def test_fragments_pings_and_frames_in_pieces() -> None:
    events: list[Event] = []
    async with asgi_client(recording(events)) as client, raw_connection(client) as stream:
        euro = "\u20ac".encode()
        frames = [
            frame(Opcode.TEXT, b"1" + euro[:1], fin=False),
            frame(Opcode.PING, b"?"),
            frame(Opcode.CONT, euro[1:], fin=False),
            frame(Opcode.CONT, b"2"),
            frame(Opcode.BINARY, b"3", fin=False),
            frame(Opcode.CONT),
            frame(Opcode.PONG, b"!"),
        ]
        for byte in b"".join(frames):
            await stream.write(bytes([byte]))
        assert await stream.read(100) == Frame(Opcode.PONG, b"?").serialize(mask=False)
        await stream.write(frame(Opcode.CLOSE))
        assert await stream.read(100) == Frame(Opcode.CLOSE, b"").serialize(mask=False)
        assert await stream.read(100) == b""
    assert events == [received(text="1\u20ac2"), received(data=b"3"), disconnected(1005)]


@pytest.mark.parametrize(
    ("sent", "code"),
    [(frame(Opcode.TEXT, b"\xff"), 1007), (frame(Opcode.CONT, b"x"), 1002), (b"\x81\x01x", 1002)],
    ids=["not UTF-8", "continues nothing", "not masked"],
)
@both_loops
async def test_a_client_that_breaks_the_protocol(sent: bytes, code: int) -> None:
    events: list[Event] = []
    go_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await recording(events)(scope, receive, send)
        await go_on.wait()

    async with asgi_client(app) as client, raw_connection(client) as stream:
        await stream.write(frame(Opcode.TEXT, b"good") + sent + frame(Opcode.TEXT, b"late"))
        answer = await stream.read(200)
        assert (answer[0], int.from_bytes(answer[2:4])) == (0x88, code)
        assert await stream.read(200) == b""
        await stream.write(frame(Opcode.TEXT, b"later"))
        go_on.set()
    assert events == [received(text="good"), disconnected(1006)]


@pytest.mark.parametrize("glued", [b"", frame(Opcode.TEXT, b"half")[:4]], ids=["", "half a frame"])
@both_loops
async def test_a_client_that_is_lost_without_a_close_frame(glued: bytes) -> None:
    events: list[Event] = []
    async with asgi_client(recording(events)) as client, raw_connection(client) as stream:
        await stream.write(frame(Opcode.TEXT, b"good") + glued)
    assert events == [received(text="good"), disconnected(1006)]


@both_loops
async def test_messages_are_delivered_before_the_disconnect() -> None:
    events: list[Event] = []
    go_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await go_on.wait()
        events.extend([await receive(), await receive(), await receive()])

    async with asgi_client(app) as client:
        async with open_websocket(client, "/") as ws:
            await ws.send("one")
            await ws.send(b"two")
        assert ws.close_code == 1000
        go_on.set()
    assert events == [received(text="one"), received(data=b"two"), disconnected(1000)]


@pytest.mark.parametrize(
    ("close", "code", "reason"),
    [
        ({}, 1000, ""),
        ({"code": None, "reason": None}, 1000, ""),
        ({"code": 4000}, 4000, ""),
        ({"code": 3000, "reason": "r\u00e9"}, 3000, "r\u00e9"),
        ({"reason": "only"}, 1000, "only"),
    ],
)
@both_loops
async def test_a_close_by_the_app(close: dict[str, Any], code: int, reason: str) -> None:
    events: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.send", "text": "last"})
        await send({"type": "websocket.close", **close})
        events.append(await receive())

    async with asgi_client(app) as client, open_websocket(client, "/") as ws:
        assert await ws.receive() == "last"
        with pytest.raises(WebSocketDisconnect) as caught:
            await ws.receive()
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert events == [disconnected(code, reason)]


@both_loops
async def test_what_the_client_sent_before_it_saw_the_close_is_not_received() -> None:
    events: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close", "code": 4000})
        events.append(await receive())

    async with asgi_client(app) as client, raw_connection(client) as stream:
        await stream.write(frame(Opcode.TEXT, b"in flight") + frame(Opcode.CLOSE, b"\x0f\xa0"))
        assert await stream.read(100) == Frame(Opcode.CLOSE, b"\x0f\xa0").serialize(mask=False)
        assert await stream.read(100) == b""
    assert events == [disconnected(4000)]


@both_loops
async def test_all_who_wait_hear_of_the_disconnect_and_who_asks_again_is_told_again() -> None:
    heard: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def wait() -> None:
            heard.append(await receive())

        await accept(receive, send)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
        heard.append(await receive())

    async with asgi_client(app) as client, open_websocket(client, "/"):
        await anyio.wait_all_tasks_blocked()
    assert heard == [disconnected(1000)] * 4


@both_loops
async def test_sending_to_a_client_that_has_gone_is_an_os_error_and_closing_is_not() -> None:
    steps: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        assert await receive() == disconnected(1000)
        with pytest.raises(OSError, match="the client has gone"):
            await send({"type": "websocket.send", "text": "x"})
        await send({"type": "websocket.close"})
        steps.append("closed")
        await send({"type": "websocket.send", "text": "x"})  # what leaves the app is no error either

    async with asgi_client(app) as client, open_websocket(client, "/"):
        pass
    assert steps == ["closed"]


@both_loops
async def test_a_send_that_fails_does_not_take_the_disconnect_from_receive() -> None:
    events: list[Event] = []
    gone = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await gone.wait()
        with pytest.raises(OSError, match="the client has gone"):
            await send({"type": "websocket.send", "text": "x"})
        events.append(await receive())

    async with asgi_client(app) as client:
        async with raw_connection(client):
            pass
        gone.set()
    assert events == [disconnected(1006)]


@both_loops
async def test_a_write_into_a_connection_that_was_closed_a_moment_ago() -> None:
    """The app writes before its reader has had a turn."""
    failed: list[OSError] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await client_is_closing.wait()
        try:
            await send({"type": "websocket.send", "text": "x"})
        except OSError as exc:
            failed.append(exc)

    client_is_closing = anyio.Event()
    async with asgi_client(app) as client, raw_connection(client) as stream:
        client_is_closing.set()
        stream.close()
    assert len(failed) == 1


@both_loops
async def test_an_app_that_returns_without_closing_closes_with_1011() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send({"type": "websocket.send", "text": "last"})

    async with asgi_client(app) as client, open_websocket(client, "/") as ws:
        assert await ws.receive() == "last"
        with pytest.raises(WebSocketDisconnect) as caught:
            await ws.receive()
    assert (caught.value.code, caught.value.reason) == (1011, "the app returned without closing")


@both_loops
async def test_an_app_that_returns_as_the_client_goes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await closing.wait()

    closing = anyio.Event()
    async with asgi_client(app) as client, raw_connection(client) as stream:
        closing.set()
        stream.close()


@both_loops
async def test_a_client_that_does_not_read_holds_the_app_up() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await accept(receive, send)
        while sent < 1000:
            await send({"type": "websocket.send", "bytes": bytes(1000)})
            sent += 1
        await send({"type": "websocket.close"})

    async with asgi_client(app) as client, open_websocket(client, "/", queue_size=10) as ws:
        await anyio.wait_all_tasks_blocked()
        held_at = sent
        assert 10 < held_at < 250
        await anyio.sleep(3600)
        assert sent == held_at
        assert len([message async for message in ws]) == 1000


@both_loops
async def test_an_app_that_does_not_receive_holds_the_client_up() -> None:
    accepted, go_on = anyio.Event(), anyio.Event()
    taken = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal taken
        await accept(receive, send)
        accepted.set()
        await go_on.wait()
        while (await receive())["type"] == "websocket.receive":
            taken += 1

    async with asgi_client(app) as client:
        async with open_websocket(client, "/", keepalive_ping_interval_seconds=None) as ws:
            sent = 0
            with anyio.move_on_after(3600):
                while sent < 1000:
                    await ws.send(bytes(1000))
                    sent += 1
            assert 100 < sent < 300
            go_on.set()
        await idle(client)
    assert sent <= taken <= sent + 1  # the one that was cancelled went whole, or not at all


@both_loops
async def test_a_send_that_the_app_cancels_leaves_no_half_frame() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        with anyio.move_on_after(10):
            for number in range(100):
                await send({"type": "websocket.send", "bytes": bytes([number]) * 30_000})
        await receive()
        await send({"type": "websocket.send", "text": "and on"})
        await send({"type": "websocket.close"})

    async with asgi_client(app) as client, open_websocket(client, "/", queue_size=1) as ws:
        await anyio.sleep(20)
        await ws.send("go on")
        messages = [message async for message in ws]
    assert messages.pop() == "and on"
    assert messages == [bytes([number]) * 30_000 for number in range(len(messages))]
    assert 2 < len(messages) < 10


@both_loops
async def test_pings_are_answered_while_the_app_is_busy() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(100)
        await send({"type": "websocket.close"})

    async with (
        asgi_client(app) as client,
        open_websocket(client, "/", keepalive_ping_interval_seconds=1, keepalive_ping_timeout_seconds=1) as ws,
    ):
        assert [message async for message in ws] == []
        assert ws.latency is not None
