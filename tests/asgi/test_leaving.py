"""Leaving the client's block: which apps may finish, which are cancelled, and what is raised."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

from httpx2_trio_ws import WebSocketNetworkError
from httpx2_trio_ws.anyio import connect_websocket, open_websocket
from httpx2_trio_ws.testing import ASGIWebSocketTransport

from .support import (
    accept,
    asgi_client,
    both_loops,
    disconnected,
    echo,
    idle,
    on_virtual_time,
    raw_connection,
    without_lifespan,
)

if TYPE_CHECKING:
    from .support import Event, Receive, Scope, Send


class AppError(Exception):
    """What the apps here raise."""


@both_loops
async def test_one_transport_under_several_clients_is_closed_by_the_last() -> None:
    transport = ASGIWebSocketTransport(without_lifespan(echo))
    async with transport:
        async with httpx2.AsyncClient(transport=transport, mounts={"all://two": transport}) as client:
            for host in ("one", "two"):
                async with open_websocket(client, f"ws://{host}/"):
                    pass
        async with httpx2.AsyncClient(transport=transport) as client, open_websocket(client, "ws://three/") as ws:
            await ws.send("still open")
            assert await ws.receive() == "still open"


@both_loops
async def test_an_app_that_hears_of_the_end_may_finish() -> None:
    steps: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await echo(scope, receive, send)
        await anyio.sleep(1000)
        steps.append("cleaned up")

    async with asgi_client(app) as client:
        async with open_websocket(client, "/"):
            pass
        assert steps == []
    assert steps == ["cleaned up"]


async def waits_for_something(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await anyio.sleep_forever()


@both_loops
async def test_an_app_that_does_not_hear_of_the_end_is_cancelled() -> None:
    async with asgi_client(waits_for_something) as client, open_websocket(client, "/"):
        pass


@both_loops
async def test_an_app_that_waits_for_the_client_to_read_hears_of_the_end() -> None:
    steps: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(1000)})
        except OSError:
            await anyio.sleep(1)
            steps.append("heard")

    async with asgi_client(app) as client, raw_connection(client):
        await anyio.sleep(1)
    assert steps == ["heard"]


@both_loops
async def test_wait_idle_waits_for_the_app_to_return() -> None:
    steps: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        event = await receive()
        await anyio.sleep(1000)
        steps.append(event)

    async with asgi_client(app) as client:
        await idle(client)
        for _ in range(2):
            async with open_websocket(client, "/"):
                pass
        await idle(client)
        assert steps == [disconnected(1000)] * 2


@both_loops
async def test_sessions_that_are_open_when_the_client_is_left_are_lost() -> None:
    async with anyio.create_task_group() as tasks:
        async with asgi_client(echo) as client:
            ws = await connect_websocket(tasks, client, "/")
        with pytest.raises(WebSocketNetworkError):
            await ws.receive()
        await ws.aclose()


@both_loops
async def test_an_error_of_the_test_leaves_as_it_is_and_cancels_the_apps() -> None:
    steps: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await echo(scope, receive, send)
            await anyio.sleep_forever()
        finally:
            steps.append("cancelled")

    with pytest.raises(LookupError):
        async with asgi_client(app) as client, raw_connection(client):
            raise LookupError
    assert steps == ["cancelled"]


@both_loops
async def test_closing_a_client_that_was_not_entered() -> None:
    events: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        events.append(await receive())

    async with anyio.create_task_group() as tasks:
        client = httpx2.AsyncClient(transport=ASGIWebSocketTransport(app, task_group=tasks, lifespan=False))
        ws = await connect_websocket(tasks, client, "ws://test/")
        await client.aclose()
        assert events == [disconnected(1006)]
        await client.aclose()
        with pytest.raises(WebSocketNetworkError):
            await ws.receive()
        await ws.aclose()


@both_loops
async def test_closing_twice_shuts_the_app_down_once() -> None:
    events: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for stage in ("startup", "shutdown"):
            events.append(await receive())
            await send({"type": f"lifespan.{stage}.complete"})

    async with ASGIWebSocketTransport(app) as transport:
        await transport.aclose()
        await transport.aclose()
    assert events == [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]


@both_loops
async def test_cancelling_the_block_cancels_the_apps() -> None:
    with anyio.move_on_after(5) as scope:
        async with asgi_client(waits_for_something) as client, open_websocket(client, "/"):
            await anyio.sleep_forever()
    assert scope.cancelled_caught


@both_loops
async def test_cancelling_while_an_app_finishes_cancels_it_and_says_which(caplog: pytest.LogCaptureFixture) -> None:
    steps: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await echo(scope, receive, send)
        try:
            await anyio.sleep_forever()
        finally:
            steps.append("cancelled")

    with anyio.move_on_after(5) as scope:
        async with asgi_client(app) as client, open_websocket(client, "/"):
            pass
    assert scope.cancelled_caught
    assert steps == ["cancelled"]
    assert "cancelled: the app has not returned from websocket /" in caplog.text


@both_loops
async def test_an_exception_of_the_app_is_told_also_if_the_block_is_cancelled() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        raise AppError

    with anyio.CancelScope() as scope, pytest.raises(BaseExceptionGroup) as caught:
        async with asgi_client(app) as client:
            async with open_websocket(client, "/"):
                pass
            await idle(client)
            scope.cancel()
            await anyio.sleep_forever()
    assert caught.value.subgroup(AppError) is not None


def test_asyncios_own_cancellation_has_no_place_in_the_group() -> None:
    """There, nobody would take it out again: a task group or a time-out around the block looks at what leaves it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        raise AppError

    async def leave() -> None:
        async with asgi_client(app) as client:
            async with open_websocket(client, "/"):
                pass
            await idle(client)
            is_idle.set()
            await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(leave())
        await is_idle.wait()
        task.cancel()
        with pytest.raises(BaseExceptionGroup) as caught:
            await task
        assert caught.group_contains(AppError)
        assert not caught.group_contains(asyncio.CancelledError)

    is_idle = asyncio.Event()
    on_virtual_time("asyncio", main)
