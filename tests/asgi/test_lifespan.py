"""Startup and shutdown of the app, around the client's block."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from httpx2_trio_ws.testing import ASGIWebSocketTransport

from .support import both_loops

if TYPE_CHECKING:
    from .support import App, Receive, Scope, Send

COMPLETE = {stage: {"type": f"lifespan.{stage}.complete"} for stage in ("startup", "shutdown")}
FAILED = {stage: {"type": f"lifespan.{stage}.failed"} for stage in ("startup", "shutdown")}


class AppError(Exception):
    """What the apps here raise."""


def with_lifespan(lifespan: App) -> App:
    """An app with a lifespan, and an answer to requests."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"served"})

    return app


def client_of(app: App, **options: Any) -> httpx2.AsyncClient:
    transport = ASGIWebSocketTransport(with_lifespan(app), **options)
    return httpx2.AsyncClient(transport=transport, base_url="http://test")


@both_loops
async def test_it_starts_before_the_block_and_ends_after_it() -> None:
    steps: list[Any] = []

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope == {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        for stage in ("startup", "shutdown"):
            assert await receive() == {"type": f"lifespan.{stage}"}
            await anyio.sleep(1000)
            steps.append(stage)
            await send(COMPLETE[stage])
        await anyio.sleep(1000)
        steps.append("returned")

    async with client_of(lifespan) as client:
        steps.append((await client.get("/")).text)
    assert steps == ["startup", "served", "shutdown", "returned"]


@both_loops
async def test_shutdown_comes_also_after_an_error_in_the_block() -> None:
    steps: list[str] = []

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(COMPLETE["startup"])
        steps.append((await receive())["type"])
        await send(COMPLETE["shutdown"])

    with pytest.raises(LookupError):
        async with client_of(lifespan):
            raise LookupError
    assert steps == ["lifespan.shutdown"]


@both_loops
async def test_an_app_that_waits_for_more_events_is_cancelled_in_the_end() -> None:
    steps: list[str] = []

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while True:
                stage = (await receive())["type"].partition(".")[2]
                await send(COMPLETE[stage])
                steps.append(stage)
        finally:
            steps.append("cancelled")

    async with client_of(lifespan):
        pass
    assert steps == ["startup", "shutdown", "cancelled"]


@both_loops
async def test_a_startup_that_fails_is_raised() -> None:
    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({**FAILED["startup"], "message": "no database"})

    with pytest.raises(RuntimeError, match="the app's startup has failed: no database"):
        async with client_of(lifespan):
            raise AssertionError


@both_loops
async def test_a_startup_that_fails_with_an_exception_raises_that() -> None:
    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(FAILED["startup"])
        raise AppError

    client = client_of(lifespan)
    with pytest.raises(AppError):
        await client.__aenter__()
    with pytest.raises(RuntimeError, match="closed"):
        await client.get("/")


@both_loops
async def test_an_app_that_has_failed_and_waits_for_more_is_cancelled() -> None:
    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({**FAILED["startup"], "message": None})
        await receive()

    with pytest.raises(RuntimeError, match=r"the app's startup has failed: $"):
        async with client_of(lifespan):
            raise AssertionError


async def raises_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    raise AppError


async def raises_after_the_event(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    raise AppError


async def returns(scope: Scope, receive: Receive, send: Send) -> None:
    pass


@pytest.mark.parametrize(
    ("lifespan", "level"),
    [(raises_at_once, logging.DEBUG), (raises_after_the_event, logging.WARNING), (returns, None)],
)
@both_loops
async def test_an_app_without_a_lifespan_is_fine(
    lifespan: App, level: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "httpx2_trio_ws")
    async with client_of(lifespan) as client:
        assert (await client.get("/")).text == "served"
    own = [record for record in caplog.records if record.name == "httpx2_trio_ws"]
    assert [record.levelno for record in own] == ([] if level is None else [level])


@both_loops
async def test_an_app_that_does_not_start_is_named_when_the_tests_patience_ends() -> None:
    notes: list[str] = []

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(1):
            try:
                await client_of(lifespan, task_group=tasks).__aenter__()
            except anyio.get_cancelled_exc_class() as exc:
                notes += exc.__notes__
                raise
        assert notes == ["the app has not completed its startup: it has not sent 'lifespan.startup.complete'"]


async def shutdown_fails(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE["startup"])
    await receive()
    await send({**FAILED["shutdown"], "message": "cannot stop"})


async def shutdown_raises(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE["startup"])
    await receive()
    raise AppError("cannot stop")


async def dies_meanwhile(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE["startup"])
    raise AppError("cannot stop")


async def says_so_and_dies_meanwhile(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE["startup"])
    await send({**FAILED["shutdown"], "message": "the traceback, as Starlette sends it"})
    raise AppError("cannot stop")


@pytest.mark.parametrize("lifespan", [shutdown_fails, shutdown_raises, dies_meanwhile, says_so_and_dies_meanwhile])
@both_loops
async def test_what_goes_wrong_later_leaves_the_clients_block(lifespan: App, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with client_of(lifespan) as client:
            assert (await client.get("/")).text == "served"
    [error] = caught.value.exceptions
    assert isinstance(error, RuntimeError if lifespan is shutdown_fails else AppError)
    assert str(error) == ("the app's shutdown has failed: " if lifespan is shutdown_fails else "") + "cannot stop"
    assert caplog.text == ""
    async with client_of(lifespan, raise_app_exceptions=False):
        pass
    assert "the app failed in its lifespan" in caplog.text


@pytest.mark.parametrize(
    ("startup", "then", "text"),
    [
        (
            COMPLETE["shutdown"],
            None,
            "'lifespan.shutdown.complete' .* 'lifespan.startup.complete' or 'lifespan.startup.failed'",
        ),
        (
            COMPLETE["startup"],
            COMPLETE["startup"],
            "'lifespan.startup.complete' in its lifespan; it may send 'lifespan.shutdown.failed' there",
        ),
        ({"type": "http.response.start"}, None, "'http.response.start' in its lifespan"),
    ],
)
@both_loops
async def test_wrong_events(startup: Any, then: Any, text: str) -> None:
    checked = False

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal checked
        await receive()
        if then is not None:
            await send(startup)
        with pytest.raises(RuntimeError, match=text):
            await send(then or startup)
        checked = True

    async with client_of(lifespan):
        await anyio.sleep(1)
    assert checked


@both_loops
async def test_it_can_be_left_to_the_test() -> None:
    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("this lifespan must not be run")

    async with client_of(lifespan, lifespan=False) as client:
        assert (await client.get("/")).text == "served"
