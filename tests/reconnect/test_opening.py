"""Handshakes that fail in every way: which are tried again, and when; on trio and on asyncio."""

from __future__ import annotations

import math
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

from httpx2_trio_ws import WebSocketHandshakeTimeout, WebSocketUpgradeError
from httpx2_trio_ws.reconnect import Backoff, RetryPolicy
from tests.asgi.support import both_loops

from .support import LONGEST, Longest, collect, drop, hello, play, silence, stay

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER_DATE = "Fri, 06 Nov 2026 08:00:00 GMT"


# -- what is retried -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507, 520, 599])
@both_loops
async def test_statuses_that_are_retried(status: int) -> None:
    async with play(status, status, hello) as server:
        assert await collect(server) == ["hello"]
        assert server.times == [0, 1, 3]


@pytest.mark.parametrize(
    "status", [200, 302, 304, 400, 401, 403, 404, 405, 410, 426, 451, 499, 501, 505, 506, 508, 510, 511]
)
@both_loops
async def test_statuses_that_are_not(status: int) -> None:
    async with play(status) as server:
        with pytest.raises(WebSocketUpgradeError) as caught:
            await collect(server)
    assert caught.value.response is not None
    assert caught.value.response.status_code == status


@both_loops
async def test_silence_is_retried() -> None:
    async with play(silence, silence, hello) as server:
        assert await collect(server) == ["hello"]
        assert server.times == [0, 31, 63]


TRANSIENT = [
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ReadError,
    httpx2.ReadTimeout,
    httpx2.WriteError,
    httpx2.WriteTimeout,
    httpx2.CloseError,
    httpx2.RemoteProtocolError,
]
PERMANENT = [
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
    httpx2.ProxyError,
    httpx2.PoolTimeout,
    httpx2.TooManyRedirects,
]


@pytest.mark.parametrize("kind", TRANSIENT)
@both_loops
async def test_httpx2_errors_that_are_retried(kind: type[httpx2.RequestError]) -> None:
    async with play(kind("in vain"), hello) as server:
        assert await collect(server) == ["hello"]
        assert server.times == [0, 1]


@pytest.mark.parametrize("kind", PERMANENT)
@both_loops
async def test_httpx2_errors_that_are_not(kind: type[httpx2.RequestError]) -> None:
    async with play(kind("in vain")) as server:
        with pytest.raises(kind):
            await collect(server)


def test_every_error_of_its_transports_is_in_one_of_the_lists() -> None:
    kinds = [kind for kind in vars(httpx2).values() if isinstance(kind, type) and issubclass(kind, httpx2.RequestError)]
    known = (*TRANSIENT, *PERMANENT, httpx2.DecodingError, httpx2.SSEError)
    assert [kind for kind in kinds if not any(issubclass(one, kind) for one in known)] == []


@both_loops
async def test_errors_of_other_kinds_come_out_as_they_are() -> None:
    own = ValueError("from an event hook, say")
    async with play(own) as server:
        with pytest.raises(ValueError, match="say") as caught:
            await collect(server)
    assert caught.value is own


@both_loops
async def test_the_last_attempts_error_comes_out_as_it_is() -> None:
    last = httpx2.ConnectError("last")
    async with play(httpx2.ConnectError("first"), drop, 503, last) as server:
        with pytest.raises(httpx2.ConnectError) as caught:
            await collect(server, max_attempts=4)
        assert caught.value is last
        assert server.times == [0, 1, 3, 7]


@both_loops
async def test_one_attempt_is_no_retry() -> None:
    async with play(silence) as server:
        with pytest.raises(WebSocketHandshakeTimeout):
            await collect(server, max_attempts=1)


@both_loops
async def test_options_are_those_of_open_websocket() -> None:
    async with play(503, stay) as server:
        with anyio.move_on_after(5):
            await collect(server, params={"feed": "1"}, headers={"X-Test": "yes"}, subprotocols=["a"])
    for request in server.requests:
        assert request.url.params["feed"] == "1"
        assert request.headers["X-Test"] == "yes"
        assert request.headers["Sec-WebSocket-Protocol"] == "a"


@both_loops
async def test_other_statuses() -> None:
    async with play(404, 503) as server:
        with pytest.raises(WebSocketUpgradeError, match="503"):
            await collect(server, policy=RetryPolicy(statuses={404}))


@both_loops
async def test_a_policy_that_decides_on_handshakes() -> None:
    class LogInAgain(RetryPolicy):
        def retry_opening(self, error: Exception) -> bool:
            response = error.response if isinstance(error, WebSocketUpgradeError) else None
            return (response is not None and response.status_code == 401) or super().retry_opening(error)

    async with play(401, 503, hello) as server:
        assert await collect(server, policy=LogInAgain()) == ["hello"]


# -- Retry-After -----------------------------------------------------------------------------------


def refusal(status: int, headers: Mapping[str, str]) -> httpx2.Response:
    return httpx2.Response(status, headers=headers)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 7 "}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "301"}, 300),
        ({"Retry-After": "9" * 500}, 300),
        ({"Retry-After": "Fri, 06 Nov 2026 08:02:00 GMT", "Date": SERVER_DATE}, 120),
        ({"Retry-After": "Friday, 06-Nov-26 08:02:00 GMT", "Date": SERVER_DATE}, 120),
        ({"Retry-After": "Fri Nov  6 08:02:00 2026", "Date": SERVER_DATE}, 120),
        ({"Retry-After": "Fri, 06 Nov 2026 07:00:00 GMT", "Date": SERVER_DATE}, 0),
        ({"Retry-After": "Fri, 06 Nov 2026 09:00:00 GMT", "Date": SERVER_DATE}, 300),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "1.5"}, 0),
        ({"Retry-After": ""}, 0),
        ({"Retry-After": "Fri, 99 Nov 2026 09:00:00 GMT"}, 0),
        ({}, 0),
    ],
)
@both_loops
async def test_retry_after_is_added_to_the_backoff(status: int, headers: Mapping[str, str], seconds: float) -> None:
    async with play(refusal(status, headers), refusal(status, headers), hello) as server:
        assert await collect(server) == ["hello"]
        assert server.times == [0, 1 + seconds, 3 + 2 * seconds]


@pytest.mark.parametrize("date", [None, "yesterday"])
@both_loops
async def test_retry_after_without_the_servers_date(date: str | None) -> None:
    headers = {"Retry-After": formatdate(time.time() + 100, usegmt=True)} | ({"Date": date} if date else {})
    async with play(refusal(429, headers), hello) as server:
        await collect(server)
        assert 90 < server.times[1] - 1 <= 100


@both_loops
async def test_the_bound_of_retry_after_may_be_another() -> None:
    backoff = Backoff(rng=Longest(), max_retry_after_seconds=math.inf)
    async with play(refusal(429, {"Retry-After": "3600"}), hello) as server:
        await collect(server, backoff=backoff)
        assert server.times == [0, 3601]


# -- backoff ---------------------------------------------------------------------------------------


@both_loops
async def test_the_backoff_grows_to_its_maximum() -> None:
    async with play(*[503] * 9, hello) as server:
        await collect(server)
    waits = [round(later - earlier, 3) for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert waits == [LONGEST.delay(failures) for failures in range(1, 10)]
