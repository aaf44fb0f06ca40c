"""Very many tasks wait in one session and are cancelled, in whatever order: each is found without a look at the others."""

from __future__ import annotations

import time
import types
from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws._core._watermarks import HIGH_WATER
from httpx2_trio_ws._protocol import BINARY, Connection
from httpx2_trio_ws._session._inbox import Inbox
from httpx2_trio_ws._session._outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

MANY = 1000


class Compared:
    """An event that nobody sets. Counts how often one is compared with another."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Compared.compared += 1
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def set(self) -> None:
        raise AssertionError

    @types.coroutine
    def wait(self) -> Generator[None]:
        yield


class Loop:
    event = staticmethod(Compared)
    clock = staticmethod(lambda: time.monotonic)


def receivers() -> Callable[[], Coroutine[Any, Any, object]]:
    runtime: Any = Loop()
    return Inbox(runtime, Connection(), 10).wait_message


def senders() -> Callable[[], Coroutine[Any, Any, object]]:
    runtime: Any = Loop()
    outbox = Outbox(runtime, Connection())
    outbox.deposit(bytes(HIGH_WATER + 1), BINARY)
    return outbox.wait_turn


@pytest.mark.parametrize("make", [receivers, senders])
def test_cancelling_many_takes_as_long_as_they_are_many(
    make: Callable[[], Callable[[], Coroutine[Any, Any, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compared, "compared", 0)
    if make is senders:  # a turn is compared, not its event
        monkeypatch.setattr("httpx2_trio_ws._session._outbox._Turn.__eq__", Compared.__eq__, raising=False)
        monkeypatch.setattr("httpx2_trio_ws._session._outbox._Turn.__hash__", Compared.__hash__, raising=False)
    call = make()
    calls = [call() for _ in range(MANY)]
    for waiting in calls:
        waiting.send(None)
    for waiting in reversed(calls):
        with pytest.raises(KeyboardInterrupt):
            waiting.throw(KeyboardInterrupt)
    assert Compared.compared < 10 * MANY
