"""Blocking sessions one after another: the same policy and backoff as on event loops, and `stop()` from any thread."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Response

from httpx2_trio_ws.sync import (
    Backoff,
    RetryPolicy,
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketNetworkError,
    WebSocketUpgradeError,
    reconnect,
)

from .support import Task, eventually, new_client, readers, websocket_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2
    from websockets.sync.server import ServerConnection

SOON = Backoff(initial_seconds=0.001, max_seconds=0.001)
NEVER = Backoff(initial_seconds=10_000, max_seconds=10_000, rng=None)


class Script:
    """Plays one part for each session: a status, or how it ends."""

    def __init__(self, *parts: Any) -> None:
        self.parts = list(parts)
        self.number = 0

    def respond(self, _connection: Any, _request: Any) -> Response | None:
        self.number += 1
        part = self.parts[min(self.number, len(self.parts)) - 1]
        if part in (401, 503):
            headers = Headers({"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"})
            return Response(part, "no", headers, b"")
        return None

    def handle(self, ws: ServerConnection) -> None:
        part = self.parts[min(self.number, len(self.parts)) - 1]
        ws.send(str(self.number))
        if part == "drop":
            ws.socket.shutdown(2)
        elif isinstance(part, int):
            ws.close(part)
        else:
            for _ in ws:
                pass


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with new_client() as client:
        yield client


def serve(*parts: Any) -> Any:
    script = Script(*parts)
    return websocket_server(script.handle, process_request=script.respond)


def collect(client: httpx2.Client, url: str, **options: Any) -> list[str | bytes]:
    messages: list[str | bytes] = []
    for connection in reconnect(client, url, **{"backoff": SOON, **options}):
        with connection as ws:
            messages.extend(ws)
    return messages


def test_it_goes_on_after_what_is_worth_it(client: httpx2.Client) -> None:
    with serve("drop", 503, 1001, 1012, 1000) as url:
        assert collect(client, url) == ["1", "3", "4", "5"]
    assert not readers()


def test_what_is_not_worth_it_comes_out_as_it_is(client: httpx2.Client) -> None:
    with serve(401) as url, pytest.raises(WebSocketUpgradeError):
        collect(client, url)
    with serve(4000) as url, pytest.raises(WebSocketDisconnect):
        collect(client, url)
    with serve("stay") as url:
        with pytest.raises(KeyError):
            for connection in reconnect(client, url):
                with connection:
                    raise KeyError
        with pytest.raises(KeyboardInterrupt):
            for connection in reconnect(client, url):
                with connection:
                    raise KeyboardInterrupt
    assert not readers()


def test_attempts_are_bounded(client: httpx2.Client) -> None:
    with serve(503) as url, pytest.raises(WebSocketUpgradeError):
        collect(client, url, max_attempts=2)
    with serve("drop") as url, pytest.raises(WebSocketNetworkError):
        collect(client, url, max_attempts=2)
    with serve(1001) as url, pytest.raises(WebSocketDisconnect):  # which the iteration took for an end
        collect(client, url, max_attempts=2)


def test_a_session_that_lasts_ends_the_row_of_failures(client: httpx2.Client) -> None:
    backoff = Backoff(initial_seconds=0.001, max_seconds=0.001, stable_seconds=0)
    with serve("drop", "drop", "drop", 1000) as url:
        assert collect(client, url, backoff=backoff, max_attempts=2) == ["1", "2", "3", "4"]


def test_an_untold_failure_is_the_sessions(client: httpx2.Client) -> None:
    """The block waits for something else, and the session's failure comes when it is left."""
    sessions = 0
    with serve("drop", 1000) as url:
        for connection in reconnect(client, url, backoff=SOON):
            with connection as ws:
                sessions += 1
                eventually(lambda: ws.closed)
    assert sessions == 2


def test_on_connect(client: httpx2.Client) -> None:
    class Tolerant(RetryPolicy):
        def retry_block(self, error: Exception) -> bool:
            return isinstance(error, KeyError)

    seen: list[str] = []

    def log_in(ws: Any) -> None:
        seen.append(ws.receive_text())
        if len(seen) == 1:
            raise KeyError

    with serve("stay", 1000) as url:
        assert collect(client, url, on_connect=log_in, policy=Tolerant()) == []
    assert seen == ["1", "2"]
    seen.clear()
    with serve("stay") as url, pytest.raises(KeyError):
        collect(client, url, on_connect=log_in)
    assert not readers()


def test_the_order_of_the_loop(client: httpx2.Client) -> None:
    with serve("stay") as url:
        loop = reconnect(client, url)
        assert repr(loop) == f"<Reconnect {url} (0 failures in a row)>"
        connection = next(loop)
        with pytest.raises(RuntimeError, match="has not been opened, or is still open"):
            next(loop)
        with connection, pytest.raises(RuntimeError, match="each session is opened once"):
            connection.__enter__()
        with pytest.raises(StopIteration):
            next(loop)
        with pytest.raises(TypeError, match="policy must be a RetryPolicy"):
            reconnect(client, url, policy=1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="backoff must be a Backoff"):
            reconnect(client, url, backoff=1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="on_connect must be a function"):
            reconnect(client, url, on_connect=1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="max_attempts"):
            reconnect(client, url, max_attempts=0)


def test_stop_closes_the_open_session(client: httpx2.Client) -> None:
    with serve("stay") as url:
        loop = reconnect(client, url)
        received: list[Any] = []

        def follow() -> None:
            for connection in loop:
                with connection as ws:
                    while True:
                        received.append(ws.receive())

        task = Task(follow)
        eventually(lambda: received)
        with pytest.raises(ValueError, match="may not be sent"):
            loop.stop(1005)
        loop.stop(4001, "enough")
        loop.stop()
        assert task.result() is None
    assert not readers()


def test_a_code_that_may_not_be_sent_stops_nothing(client: httpx2.Client) -> None:
    ws: Any = None
    with serve("stay") as url:
        loop = reconnect(client, url)
        for connection in loop:
            with connection as ws:
                assert ws.receive() == "1"
                with pytest.raises(ValueError, match="999"):
                    loop.stop(999)
                with pytest.raises(TypeError, match="a close reason is a str"):
                    loop.stop(1000, 5)  # type: ignore[arg-type]
                assert not ws.closed
                loop.stop(3000)
        assert ws.closed


def test_stop_in_the_block_itself(client: httpx2.Client) -> None:
    with serve("stay") as url:
        loop = reconnect(client, url)
        for connection in loop:
            with connection:
                loop.stop()
        with pytest.raises(StopIteration):
            next(loop)


def test_stop_cuts_the_wait_short(client: httpx2.Client) -> None:
    with serve("drop") as url:
        loop = reconnect(client, url, backoff=NEVER)
        turns: list[int] = []

        def follow() -> None:
            for connection in loop:
                turns.append(1)
                with connection as ws:
                    ws.receive()
                    ws.receive()

        task = Task(follow)
        eventually(lambda: len(turns) == 2)
        loop.stop()
        with pytest.raises(WebSocketClosedError, match="the loop has been stopped"):
            task.result()


def test_stop_while_it_opens(client: httpx2.Client) -> None:
    opening, go_on = threading.Event(), threading.Event()

    def hook(_request: Any) -> None:
        opening.set()
        go_on.wait(10)

    client.event_hooks = {"request": [hook]}
    with serve("stay") as url:
        loop = reconnect(client, url)
        task = Task(next(loop).__enter__)
        opening.wait(10)
        loop.stop()
        go_on.set()
        with pytest.raises(WebSocketClosedError, match="the loop has been stopped"):
            task.result()
    assert not readers()


class Soon(Backoff):
    def delay(self, failures: int, retry_after_seconds: float = 0) -> float:
        return 0.05


def interrupted(seconds: float) -> bool:
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["wait", "on_connect"])
def test_a_turn_that_is_interrupted_while_it_opens_is_followed_by_the_next(
    client: httpx2.Client, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_connect(ws: Any) -> None:
        if where == "on_connect" and turns == 1:
            raise KeyboardInterrupt

    turns = 0
    got: list[str | bytes] = []
    with serve(503 if where == "wait" else "stay", 1000) as url:
        loop = reconnect(client, url, backoff=Soon(), on_connect=on_connect)
        for connection in loop:
            turns += 1
            with monkeypatch.context() as patch:
                if where == "wait" and turns == 1:
                    patch.setattr(loop._stopped, "wait", interrupted)
                try:
                    with connection as ws:
                        got.extend(ws)
                except KeyboardInterrupt:
                    assert turns == 1
    assert (turns, got) == (2, ["2"])


def test_stop_in_on_connect(client: httpx2.Client) -> None:
    def log_in(ws: Any) -> None:
        loop.stop()
        ws.receive()
        ws.receive()

    with serve("stay") as url:
        loop = reconnect(client, url, on_connect=log_in)
        with pytest.raises(WebSocketClosedError):
            next(loop).__enter__()
    assert not readers()


def test_nothing_refers_to_a_session_that_is_over(client: httpx2.Client) -> None:
    gc.disable()
    try:
        with serve("drop", 1000) as url:
            sessions: list[weakref.ref[Any]] = []
            for connection in reconnect(client, url, backoff=SOON):
                with connection as ws:
                    sessions.append(weakref.ref(ws))
                    for _ in ws:
                        pass
                del ws, connection
            time.sleep(0)
            assert [ref() for ref in sessions][:1] == [None]
    finally:
        gc.enable()
