"""Apps of the frameworks' current releases, on each loop that they run on."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from httpx2_trio_ws import WebSocketDisconnect, WebSocketUpgradeError
from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.testing import ASGIWebSocketTransport

from .apps import on_fastapi, on_litestar, on_quart, on_starlette
from .support import on_virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FRAMEWORKS: dict[str, tuple[Callable[[], Any], str]] = {
    "starlette on trio": (on_starlette.make, "trio"),
    "starlette on asyncio": (on_starlette.make, "asyncio"),
    "fastapi on trio": (on_fastapi.make, "trio"),
    "fastapi on asyncio": (on_fastapi.make, "asyncio"),
    "litestar on trio": (on_litestar.make, "trio"),
    "litestar on asyncio": (on_litestar.make, "asyncio"),
    "quart on asyncio": (on_quart.make, "asyncio"),
    "quart-trio on trio": (on_quart.make_trio, "trio"),
}


def each_framework(test: Callable[[httpx2.AsyncClient], Awaitable[None]]) -> Callable[..., None]:
    """Run the test with a client of each app."""

    async def with_client(make: Callable[[], Any]) -> None:
        transport = ASGIWebSocketTransport(make())
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            await test(client)

    def run(make: Callable[[], Any], loop: str) -> None:
        on_virtual_time(loop, with_client, make)

    run.__name__ = getattr(test, "__name__", "test")
    parametrized: Callable[..., None] = pytest.mark.parametrize(
        ("make", "loop"), FRAMEWORKS.values(), ids=FRAMEWORKS.keys()
    )(run)
    return parametrized


@each_framework
async def test_echo(client: httpx2.AsyncClient) -> None:
    for _ in range(2):
        async with open_websocket(client, "/echo") as ws:
            for message in ("text", "", b"bytes", "\u20ac" * 100_000):
                await ws.send(message)
                assert await ws.receive() == message


@each_framework
async def test_auth(client: httpx2.AsyncClient) -> None:
    with pytest.raises(WebSocketUpgradeError, match="403 Forbidden"):
        async with open_websocket(client, "/auth"):
            pass
    headers = {"Authorization": "Bearer secret", "Cookie": "theme=dark"}
    async with open_websocket(client, "/auth", headers=headers) as ws:
        assert ws.response.headers["x-user"] == "somebody"
        assert await ws.receive_json() == {"user": "somebody", "cookie": "dark"}
        with pytest.raises(WebSocketDisconnect) as caught:
            await ws.receive()
    assert (caught.value.code, caught.value.reason) == (4000, "that is all")


@each_framework
async def test_subprotocol(client: httpx2.AsyncClient) -> None:
    for offered, chosen in [(["v1", "v2"], "v2"), (["v1"], None), ([], None)]:
        async with open_websocket(client, "/subprotocol", subprotocols=offered) as ws:
            assert ws.subprotocol == chosen
            assert await ws.receive_json() == offered
            assert [message async for message in ws] == []
            assert ws.close_code == 1000


@each_framework
async def test_denial(client: httpx2.AsyncClient) -> None:
    with pytest.raises(WebSocketUpgradeError) as caught:
        async with open_websocket(client, "/denied"):
            pass
    response = caught.value.response
    assert response is not None
    assert (response.status_code, response.text, response.headers["retry-after"]) == (429, "no room", "60")


@each_framework
async def test_broadcast(client: httpx2.AsyncClient) -> None:
    async with contextlib.AsyncExitStack() as stack:
        members = []
        for number in range(1, 4):
            members.append(await stack.enter_async_context(open_websocket(client, "/room")))
            for member in members:
                assert await member.receive() == f"{number} here"
        await members[0].send("hello")
        assert (await client.post("/announce", content="closing time")).status_code == 202
        for member in members:
            assert [await member.receive(), await member.receive()] == ["hello", "closing time"]
        await members.pop().close()
        for member in members:
            assert await member.receive() == "2 here"


# Litestar does not close the generator of a stream whose client has gone, and trio complains of that.
@pytest.mark.filterwarnings("ignore:Async generator 'tests.asgi.apps.on_litestar.stream:ResourceWarning")
@each_framework
async def test_http(client: httpx2.AsyncClient) -> None:
    async with client.stream("GET", "/stream") as response:
        lines = [line async for line in response.aiter_lines()]
    assert lines == [str(number) for number in range(1000)]
    assert (await client.get("/nowhere")).status_code == 404
    async with (
        client.stream("GET", "/stream") as response,
        contextlib.aclosing(response.aiter_raw()) as chunks,
    ):
        assert (await anext(chunks)).startswith(b"0\n")  # and leave


#: What becomes of an exception in a handler. Litestar answers it itself; Quart does so unless it is told otherwise.
OUTCOMES = {on_litestar.make: 4500, on_quart.make: 1000, on_quart.make_trio: 1000}


async def fail(make: Callable[[], Any], *, propagate: bool) -> None:
    app = make()
    if propagate:
        app.config["PROPAGATE_EXCEPTIONS"] = True
    async with (
        httpx2.AsyncClient(transport=ASGIWebSocketTransport(app), base_url="http://test") as client,
        open_websocket(client, "/boom") as ws,
    ):
        await ws.send("x")
        await ws.receive()


@pytest.mark.parametrize(("make", "loop"), FRAMEWORKS.values(), ids=FRAMEWORKS.keys())
def test_an_exception_in_a_handler(make: Callable[[], Any], loop: str) -> None:
    outcome = OUTCOMES.get(make)
    with pytest.raises(ExceptionGroup) as caught:
        on_virtual_time(loop, functools.partial(fail, make, propagate=False))
    if outcome is None:
        assert caught.value.subgroup(ZeroDivisionError) is not None
    else:
        [closed] = caught.value.exceptions
        assert isinstance(closed, WebSocketDisconnect)
        assert closed.code == outcome


@pytest.mark.parametrize(("make", "loop"), [(on_quart.make, "asyncio"), (on_quart.make_trio, "trio")])
def test_quart_lets_exceptions_out_if_it_is_told_to(make: Callable[[], Any], loop: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        on_virtual_time(loop, functools.partial(fail, make, propagate=True))
    assert caught.value.subgroup(ZeroDivisionError) is not None
