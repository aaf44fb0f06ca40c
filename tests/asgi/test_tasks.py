"""Whose tasks the app's calls are: sessions in each other and at once, fixtures, nurseries and task groups."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
import trio

import httpx2_trio_ws
from httpx2_trio_ws import WebSocketNetworkError
from httpx2_trio_ws.anyio import connect_websocket, open_websocket
from httpx2_trio_ws.testing import ASGIWebSocketTransport

from .support import accept, asgi_client, both_loops, echo, idle, without_lifespan

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from .support import Receive, Scope, Send


class AppError(Exception):
    """What the apps here raise."""


# -- sessions in each other and at once ------------------------------------------------------------


@both_loops
async def test_sessions_in_each_other_left_in_any_order() -> None:
    async with asgi_client(echo) as client:
        with anyio.CancelScope():
            async with open_websocket(client, "/1") as one:
                async with open_websocket(client, "/2") as two, open_websocket(client, "/3") as three:
                    await two.close()
                    for ws in (three, one):
                        await ws.send("x")
                        assert await ws.receive() == "x"
                await one.send("y")
                assert await one.receive() == "y"
        async with anyio.create_task_group() as tasks:
            first = await connect_websocket(tasks, client, "/4")
            second = await connect_websocket(tasks, client, "/5")
            await first.aclose()
            await second.send("z")
            assert await second.receive() == "z"
            await second.aclose()


@both_loops
async def test_many_sessions_at_once() -> None:
    together = 0
    all_here = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal together
        together += 1
        if together == 50:
            all_here.set()
        await echo(scope, receive, send)

    async with asgi_client(app) as client:

        async def talk(number: int) -> None:
            async with open_websocket(client, "/") as ws:
                await all_here.wait()
                for _ in range(10):
                    await ws.send(str(number))
                    assert await ws.receive() == str(number)

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(talk, number)


@both_loops
async def test_an_app_may_be_a_client_of_itself() -> None:
    """A session is opened by the app, inside the call for another session."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/inner":
            await echo(scope, receive, send)
            return
        await accept(receive, send)
        async with open_websocket(client, "/inner") as inner:
            await inner.send("through both")
            await send({"type": "websocket.send", "text": await inner.receive()})

    async with asgi_client(app) as client, open_websocket(client, "/outer") as ws:
        assert await ws.receive() == "through both"


@both_loops
async def test_context_variables_of_the_test_reach_the_app() -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(user.get())
        await echo(scope, receive, send)

    async with asgi_client(app) as client:
        user.set("somebody")
        async with open_websocket(client, "/"):
            pass
    assert seen == ["somebody"]


# -- fixtures --------------------------------------------------------------------------------------


def test_a_fixture_may_be_entered_used_and_left_in_three_tasks() -> None:
    """As in frameworks for tests on asyncio, which run each part of a fixture as a task."""
    client = httpx2.AsyncClient(transport=ASGIWebSocketTransport(without_lifespan(echo)))

    async def use() -> None:
        with anyio.CancelScope():
            async with open_websocket(client, "ws://test/") as ws:
                await ws.send("x")
                assert await ws.receive() == "x"

    async def leave() -> None:
        await client.__aexit__(None, None, None)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner() as runner:
        runner.run(client.__aenter__())
        for _ in range(2):
            runner.run(use())
        runner.run(leave())


@pytest.fixture
async def fixture_client() -> AsyncGenerator[httpx2.AsyncClient]:
    async with asgi_client(echo) as client:
        yield client


@pytest.fixture
async def fixture_session(
    fixture_client: httpx2.AsyncClient,
) -> AsyncGenerator[httpx2_trio_ws.WebSocketSession]:
    async with httpx2_trio_ws.open_websocket(fixture_client, "/") as ws:
        yield ws


async def test_fixtures_of_pytest_trio(
    fixture_client: httpx2.AsyncClient, fixture_session: httpx2_trio_ws.WebSocketSession, nursery: trio.Nursery
) -> None:
    await fixture_session.send("x")
    assert await fixture_session.receive() == "x"
    ws = await httpx2_trio_ws.connect_websocket(nursery, fixture_client, "/")
    await ws.send("y")
    assert await ws.receive() == "y"
    await ws.aclose()


async def test_a_nursery_of_the_test_takes_the_apps_calls(nursery: trio.Nursery) -> None:
    transport = ASGIWebSocketTransport(echo, task_group=nursery, lifespan=False)
    client = httpx2.AsyncClient(transport=transport)
    async with httpx2_trio_ws.open_websocket(client, "ws://test/") as ws:
        assert len(nursery.child_tasks) == 2  # the app and its reader
        await ws.send("x")
        assert await ws.receive() == "x"


# -- task groups that are given --------------------------------------------------------------------


@both_loops
async def test_in_a_group_that_was_given_the_exception_is_raised_at_once() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        raise AppError

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tasks:
            client = httpx2.AsyncClient(transport=ASGIWebSocketTransport(app, task_group=tasks))
            async with open_websocket(client, "ws://test/") as ws:
                await ws.send("x")
                await anyio.sleep_forever()
    # The group is cancelled with it, and so is the session, which tells of what it has met.
    parts = [exc.exceptions[0] if isinstance(exc, ExceptionGroup) else exc for exc in caught.value.exceptions]
    assert {type(part) for part in parts} == {WebSocketNetworkError, AppError}


@both_loops
async def test_a_request_that_fails_is_told_where_it_was_made_whatever_the_group() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AppError

    async with anyio.create_task_group() as tasks:
        client = httpx2.AsyncClient(transport=ASGIWebSocketTransport(app, task_group=tasks))
        with pytest.raises(AppError):
            await client.get("http://test/")
        with pytest.raises(AppError):
            async with open_websocket(client, "ws://test/"):
                pass


@both_loops
async def test_a_group_that_was_given_is_cancelled_under_the_client() -> None:
    cancelled: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/ws":
            await accept(receive, send)
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(scope["path"])

    async with anyio.create_task_group() as outer:
        inner = anyio.create_task_group()
        await inner.__aenter__()
        client = httpx2.AsyncClient(transport=ASGIWebSocketTransport(app, task_group=inner))

        async def ask() -> None:
            with pytest.raises(httpx2.RemoteProtocolError, match="cancelled before it had answered"):
                await client.get("http://test/http")

        ws = await connect_websocket(outer, client, "ws://test/ws")
        outer.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        inner.cancel_scope.cancel()
        await inner.__aexit__(None, None, None)
        with pytest.raises(WebSocketNetworkError):
            await ws.receive()
        await ws.aclose()
    assert sorted(cancelled) == ["/http", "/ws"]


@both_loops
async def test_a_given_group_with_a_lifespan() -> None:
    steps: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for stage in ("startup", "shutdown"):
            steps.append((await receive())["type"])
            await send({"type": f"lifespan.{stage}.complete"})

    async with anyio.create_task_group() as tasks:
        async with httpx2.AsyncClient(transport=ASGIWebSocketTransport(app, task_group=tasks)):
            steps.append("block")
        steps.append("after")
    assert steps == ["lifespan.startup", "block", "lifespan.shutdown", "after"]


# -- nothing is left -------------------------------------------------------------------------------


def tasks_on_trio() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def tasks_on_asyncio() -> int:
    return len(asyncio.all_tasks())


@pytest.mark.parametrize(
    ("backend", "count"), [("trio", tasks_on_trio), ("asyncio", tasks_on_asyncio)], ids=["trio", "asyncio"]
)
def test_nothing_is_left_after_many_rounds(backend: str, count: Callable[[], int]) -> None:
    async def main() -> None:
        before = count()
        for _ in range(30):
            async with asgi_client(echo) as client:
                async with open_websocket(client, "/") as ws:
                    await ws.send("x")
                    await ws.receive()
                await idle(client)
                transport: Any = client._transport
                await anyio.wait_all_tasks_blocked()
                assert transport._calls == set()
            assert count() == before

    anyio.run(main, backend=backend)
