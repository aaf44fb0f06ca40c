"""Requests and responses, streamed in both directions, and clients that leave early."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from .support import asgi_client, both_loops

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .support import Event, Receive, Scope, Send

START = {"type": "http.response.start", "status": 200}
DISCONNECT = {"type": "http.disconnect"}


def part(data: bytes, *, more: bool = False) -> Event:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def read_all(receive: Receive) -> bytes:
    body = b""
    while True:
        event = await receive()
        body += bytes(event.get("body", b""))
        if not event.get("more_body"):
            return body


@both_loops
async def test_a_request_and_its_response() -> None:
    events: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.append(await receive())
        await send(
            {**START, "status": 201, "headers": [(b"set-cookie", b"a=1"), (b"x", b"\xe9"), (b"set-cookie", b"b=2")]}
        )
        await send(part(b"made"))
        events.append(await receive())
        events.append(await receive())

    async with asgi_client(app) as client:
        response = await client.post("/", content=b"make it")
        assert (response.status_code, response.content, response.http_version) == (201, b"made", "HTTP/1.1")
        assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert dict(response.headers.raw)[b"x"] == b"\xe9"
        assert dict(client.cookies) == {"a": "1", "b": "2"}
    assert events == [{"type": "http.request", "body": b"make it", "more_body": False}, DISCONNECT, DISCONNECT]


@both_loops
async def test_a_request_without_a_body_is_one_event() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await send(START)
        await send({"type": "http.response.body"})

    async with asgi_client(app) as client:
        assert (await client.get("/")).content == b""


@both_loops
async def test_both_bodies_are_streamed() -> None:
    wanted, taken = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "http.request", "body": b"one", "more_body": True}
        wanted.set()
        assert await read_all(receive) == b"two"
        await send(START)
        await send(part(b"three", more=True))
        await taken.wait()
        await send(part(b"", more=True))
        await send(part(b"four"))

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await wanted.wait()
        yield b"two"

    async with asgi_client(app) as client, client.stream("POST", "/", content=body()) as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"three"
        taken.set()
        assert [chunk async for chunk in chunks] == [b"four"]


@both_loops
async def test_large_bodies_in_both_directions() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_all(receive)
        await send(START)
        for start in range(0, len(body), 50_000):
            await send(part(bytearray(body[start : start + 50_000]), more=True))  # type: ignore[arg-type]
        await send(part(b""))

    async with asgi_client(app) as client:
        assert (await client.post("/", content=b"x" * 1_000_000)).content == b"x" * 1_000_000


@both_loops
async def test_an_app_may_answer_without_reading_the_request() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "status": 413})
        await send(part(b"too large"))
        assert await receive() == DISCONNECT

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)

    async with asgi_client(app) as client:
        assert (await client.post("/", content=endless())).text == "too large"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
@both_loops
async def test_responses_that_have_no_body(method: str, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "status": status, "headers": [(b"content-length", b"4")]})
        await send(part(b"body"))

    async with asgi_client(app) as client:
        response = await client.request(method, "/")
        assert (response.status_code, response.content) == (status, b"")
        assert response.headers["content-length"] == "4"


@both_loops
async def test_a_client_that_leaves_early_is_a_disconnect_and_an_os_error() -> None:
    steps: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)
        await send(START)
        await send(part(b"first", more=True))
        steps.append(await receive())
        try:
            await send(part(b"second", more=True))
        except OSError as exc:
            steps.append(str(exc))
            raise

    async with (
        asgi_client(app) as client,
        client.stream("GET", "/") as response,
        contextlib.aclosing(response.aiter_raw()) as chunks,
    ):
        assert await anext(chunks) == b"first"
    assert steps == [DISCONNECT, "the app sent 'http.response.body', and the client has gone"]


@both_loops
async def test_a_client_that_is_cancelled_while_it_sends_is_a_disconnect() -> None:
    events: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.append(await receive())
        events.append(await receive())
        events.append(await receive())

    async def body() -> AsyncIterator[bytes]:
        yield b"begun"
        await anyio.sleep_forever()

    async with asgi_client(app) as client:
        with anyio.move_on_after(1):
            await client.post("/", content=body())
    assert events == [{"type": "http.request", "body": b"begun", "more_body": True}, DISCONNECT, DISCONNECT]


@both_loops
async def test_a_body_that_is_iterated_by_other_means_than_a_generator() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(part(await read_all(receive)))

    class Body(httpx2.AsyncByteStream):
        def __init__(self) -> None:
            self.chunks = [b"one", b"two"]

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            if not self.chunks:
                raise StopAsyncIteration
            return self.chunks.pop(0)

    async with asgi_client(app) as client:
        assert (await client.send(httpx2.Request("POST", "http://test/", stream=Body()))).text == "onetwo"


@both_loops
async def test_an_exception_after_the_client_has_left_is_not_lost() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)
        await send(START)
        await receive()
        raise LookupError("the app's own")

    with pytest.raises(ExceptionGroup) as caught:
        async with asgi_client(app) as client, client.stream("GET", "/"):
            pass
    assert isinstance(caught.value.exceptions[0], LookupError)


@both_loops
async def test_an_error_in_the_body_that_the_test_sends_is_the_tests() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)

    async def body() -> AsyncIterator[bytes]:
        yield b"begun"
        raise LookupError("the test's own")

    async with asgi_client(app) as client:
        with pytest.raises(LookupError, match="the test's own"):
            await client.post("/", content=body())


@both_loops
async def test_a_client_that_does_not_read_holds_the_app_up() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        while sent < 1000:
            await send(part(bytes(1000), more=True))
            sent += 1
        await send(part(b""))

    async with asgi_client(app) as client, client.stream("GET", "/") as response:
        await anyio.sleep(3600)
        assert 0 < sent < 100
        assert len(await response.aread()) == 1_000_000


@both_loops
async def test_when_the_response_has_been_read_the_app_has_returned() -> None:
    steps: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(part(b"done"))
        await anyio.sleep(60)
        steps.append("background task")

    async with asgi_client(app) as client:
        await client.get("/")
        assert steps == ["background task"]


@both_loops
async def test_many_requests_at_once() -> None:
    together = 0
    all_here = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal together
        together += 1
        if together == 50:
            all_here.set()
        await all_here.wait()
        await send(START)
        await send(part(scope["path"].encode()))

    async with asgi_client(app) as client:

        async def get(number: int) -> None:
            assert (await client.get(f"/{number}")).text == f"/{number}"

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(get, number)


@both_loops
async def test_the_connection_tells_no_more_once_the_response_is_there() -> None:
    """A body that is still being sent is of no use any more, and an app that waits for more of it hears so."""
    events: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:

            async def listen() -> None:
                while not events or events[-1] != DISCONNECT:
                    events.append(await receive())

            tasks.start_soon(listen)
            await anyio.sleep(1)
            await send(START)
            await send(part(b"enough"))

    async def body() -> AsyncIterator[bytes]:
        yield b"begun"
        await anyio.sleep(2)
        yield b"late"

    async with asgi_client(app) as client:
        assert (await client.post("/", content=body())).text == "enough"
    assert events == [{"type": "http.request", "body": b"begun", "more_body": True}, DISCONNECT]


@both_loops
async def test_redirects_and_authentication_are_the_clients() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/old":
            await send({**START, "status": 302, "headers": [(b"location", b"/new")]})
            await send(part(b""))
            return
        await send(START)
        await send(part(dict(scope["headers"])[b"authorization"]))

    async with asgi_client(app) as client:
        response = await client.get("/old", auth=("me", "secret"), follow_redirects=True)
        assert (response.url, response.text) == (httpx2.URL("http://test/new"), "Basic bWU6c2VjcmV0")
