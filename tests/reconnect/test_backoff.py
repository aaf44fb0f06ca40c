"""The formula, and arguments that are refused before anything is sent."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio.testing

import httpx2_trio_ws.anyio
from httpx2_trio_ws._reconnecting._policy import causes
from httpx2_trio_ws.reconnect import Backoff, Connecting, RetryPolicy, reconnect
from tests.asgi.support import both_loops
from tests.handshake_support import untouched

from .support import LONGEST, URL, Longest, collect, hello, play

if TYPE_CHECKING:
    from httpx2_trio_ws.testing import ScriptedPeer


def test_full_jitter() -> None:
    """As the docstring has it: anything between nothing and the bound, for a seeded generator always the same."""
    backoff = Backoff(initial_seconds=0.5, factor=3, max_seconds=10, rng=random.Random(7))
    same = random.Random(7)
    for failures, longest in enumerate([0.5, 1.5, 4.5, 10, 10], 1):
        assert backoff.delay(failures) == same.uniform(0, longest)
    delays = [backoff.delay(3) for _ in range(1000)]
    assert 0 <= min(delays) < 0.1
    assert 4.4 < max(delays) <= 4.5


def test_the_default_is_the_modules_own_randomness() -> None:
    random.seed(11)
    delay = Backoff().delay(5)
    random.seed(11)
    assert delay == random.uniform(0, 16)


def test_any_number_of_failures() -> None:
    assert LONGEST.delay(10**9) == 60
    assert Backoff(rng=Longest(), factor=1).delay(10**9) == 1
    assert Backoff(rng=Longest(), max_seconds=0).delay(3) == 0


async def test_another_formula(autojump_clock: trio.testing.MockClock) -> None:
    class Constant(Backoff):
        def delay(self, failures: int, retry_after_seconds: float = 0) -> float:
            asked.append((failures, retry_after_seconds))
            return 5

    asked: list[tuple[int, float]] = []
    async with play(503, httpx2.Response(429, headers={"Retry-After": "9000"}), hello) as server:
        await collect(server, backoff=Constant())
        assert server.times == [0, 5, 10]
    assert asked == [(1, 0), (2, 9000)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"initial_seconds": 0}, ValueError, "initial_seconds must be more than 0"),
        ({"initial_seconds": math.inf}, ValueError, "must be finite"),
        ({"max_seconds": -1}, ValueError, "max_seconds must be 0 or more"),
        ({"max_seconds": math.inf}, ValueError, "must be finite"),
        ({"stable_seconds": None}, TypeError, "stable_seconds must be a number of seconds"),
        ({"max_retry_after_seconds": "1"}, TypeError, "max_retry_after_seconds must be a number"),
        ({"factor": 0.5}, ValueError, "factor must be at least 1"),
        ({"factor": math.nan}, ValueError, "factor must be at least 1"),
        ({"factor": math.inf}, ValueError, "factor must be at least 1"),
        ({"factor": "2"}, TypeError, "factor must be a number"),
        ({"factor": True}, TypeError, "factor must be a number"),
        ({"rng": random.random}, TypeError, "rng must be a random.Random or None"),
    ],
)
def test_backoffs_that_make_no_sense(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Backoff(**options)


@pytest.mark.parametrize("name", ["statuses", "close_codes"])
@pytest.mark.parametrize("value", [503, [503], {"503"}, {True}, None])
def test_policies_that_make_no_sense(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a set of int"):
        RetryPolicy(**{name: value})


# -- wrong use -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"policy": RetryPolicy}, TypeError, "policy must be a RetryPolicy"),
        ({"policy": lambda error: True}, TypeError, "policy must be a RetryPolicy"),
        ({"backoff": 5}, TypeError, "backoff must be a Backoff"),
        ({"max_attempts": 0}, ValueError, "max_attempts must be at least 1"),
        ({"max_attempts": 2.0}, TypeError, "max_attempts must be an int"),
        ({"on_connect": "subscribe"}, TypeError, "on_connect must be a function"),
        ({"url": "ftp://feed.example"}, ValueError, "begins with ws:// or wss://"),
        ({"queue_size": 0}, ValueError, "queue_size"),
        ({"max_attempt": 3}, TypeError, "there is no option"),
        ({"client": httpx2}, TypeError, "the client must be an httpx2.AsyncClient"),
    ],
)
@pytest.mark.parametrize("face", [reconnect, httpx2_trio_ws.anyio.reconnect])
async def test_arguments_that_are_refused(
    face: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    async with untouched() as client:
        arguments = {"client": client, "url": URL, **options}
        with pytest.raises(error, match=message):
            face(**arguments)


async def test_a_client_that_is_closed_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    async with play(503) as server, trio.open_nursery() as nursery:

        async def close_soon() -> None:
            await trio.sleep(0.5)
            await server.client.aclose()

        nursery.start_soon(close_soon)
        with pytest.raises(RuntimeError, match="the client is closed"):
            await collect(server)


def test_without_an_event_loop() -> None:
    client = untouched()
    with pytest.raises(RuntimeError, match="this needs trio"):
        reconnect(client, URL)
    with pytest.raises(RuntimeError, match="this needs an event loop"):
        httpx2_trio_ws.anyio.reconnect(client, URL)


async def test_a_turn_that_opens_nothing() -> None:
    async with untouched() as client:
        loop = iter(reconnect(client, URL))
        next(loop)
        with pytest.raises(RuntimeError, match="async with connection as ws"):
            next(loop)


async def test_async_for_is_told_what_to_write() -> None:
    async with httpx2.AsyncClient() as client:
        with pytest.raises(TypeError, match="use `for connection in reconnect"):
            async for _ in reconnect(client, "ws://127.0.0.1:9"):  # type: ignore[attr-defined]
                pass


async def test_a_turn_inside_a_block() -> None:
    async with play(hello) as server:
        loop = reconnect(server.client, URL)
        async with next(loop):
            with pytest.raises(RuntimeError, match="is still open"):
                next(loop)
        assert list(loop) == []
        assert list(loop) == []


async def test_a_session_is_opened_once() -> None:
    async with play(hello) as server:
        connection: Connecting[Any] = next(reconnect(server.client, URL))
        async with connection:
            pass
        with pytest.raises(RuntimeError, match="opened once"):
            async with connection:
                raise AssertionError


async def test_reprs_and_logs_do_not_tell_secrets(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor can what the server says look like more lines of the log."""
    caplog.set_level("DEBUG", "httpx2_trio_ws.reconnect")
    async with play(httpx2.ConnectError(""), close_with_a_reason, hello) as server:
        loop = reconnect(
            server.client, "wss://user:password@feed.example/v1?token=s3cret", backoff=LONGEST, params={"key": "k3y"}
        )
        for connection in loop:
            async with connection as ws:
                async for _ in ws:
                    pass
    silent = "'the handshake with feed.example failed: ConnectError'"
    closed = r"WebSocketDisconnect: 'the peer closed the session: 1012 (service restart): back\\nsoon'"
    assert repr(loop) == "<Reconnect wss://feed.example/v1 (2 failures in a row)>"
    ours = [record for record in caplog.records if record.name == "httpx2_trio_ws.reconnect"]
    assert [(record.levelname, record.getMessage()) for record in ours] == [
        ("INFO", f"wss://feed.example/v1: ConnectError: {silent} (1 in a row); the next attempt is in 1.000 s"),
        ("DEBUG", "wss://feed.example/v1: open, after 1 failures in a row"),
        ("INFO", f"wss://feed.example/v1: {closed} (2 in a row); the next attempt is in 2.000 s"),
        ("DEBUG", "wss://feed.example/v1: open, after 2 failures in a row"),
    ]


async def close_with_a_reason(peer: ScriptedPeer) -> None:
    await peer.close(1012, "back\nsoon")


async def test_the_cause_is_logged_where_the_error_says_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "httpx2_trio_ws.reconnect")
    silent = httpx2.ConnectError("")
    silent.__cause__ = OSError("no route to host")
    async with play(silent, hello) as server:
        await collect(server)
    (record,) = (record for record in caplog.records if record.name == "httpx2_trio_ws.reconnect")
    assert record.getMessage().startswith(
        "wss://feed.example/: ConnectError: 'the handshake with feed.example failed: no route to host' (1 in a row)"
    )


@pytest.mark.parametrize("date", ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 12345 00:00:00 GMT", "9" * 400])
@both_loops
async def test_years_that_no_date_has_room_for_are_passed_over(date: str) -> None:
    far_away = httpx2.Response(503, headers={"Retry-After": date})
    other_clock = httpx2.Response(503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT", "Date": date})
    async with play(far_away, other_clock, hello) as server:
        assert await collect(server, backoff=Backoff(rng=Longest(), max_retry_after_seconds=5)) == ["hello"]


def test_causes_of_a_chain_that_leads_back_into_itself() -> None:
    first, second = KeyError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]
