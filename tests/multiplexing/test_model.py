"""The model, on many seeds and every event loop; and defects that it finds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from httpx2_trio_ws._multiplexing._multiplexer import MultiplexerCore
from httpx2_trio_ws._multiplexing._queue import Queue
from httpx2_trio_ws._multiplexing._subscription import SubscriptionCore
from tests.virtual_time import VIRTUAL, run_virtual

from .model import Model

if TYPE_CHECKING:
    from collections.abc import Callable


async def in_time(model: Model) -> None:
    with anyio.fail_after(3600):
        await model.run()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("loop", VIRTUAL)
def test_random_runs_are_as_the_model_says(loop: str, seed: int) -> None:
    model = Model(seed)
    run_virtual(loop, partial(in_time, model))
    assert model.outcomes["answered"] > 10
    assert model.outcomes["received"] > 10


def test_random_runs_on_uvloop() -> None:
    pytest.importorskip("uvloop")

    async def main() -> None:
        for seed in range(2):  # in real time, half a minute
            with anyio.fail_after(60):
                await Model(seed).run()

    anyio.run(main, backend="asyncio", backend_options={"use_uvloop": True})


# -- defects -----------------------------------------------------------------------------------------


def forgets_requests(patch: pytest.MonkeyPatch) -> None:
    def disconnected(self: Any, _session: Any) -> None:
        self._session = None

    patch.setattr(MultiplexerCore, "_disconnected", disconnected)


def tells_no_new_session(patch: pytest.MonkeyPatch) -> None:
    def new_session(self: Any) -> Any:
        self._unconfirmed = False
        return self._key

    patch.setattr(SubscriptionCore, "_new_session", new_session)


def drops_in_silence(patch: pytest.MonkeyPatch) -> None:
    def put(self: Any, message: Any) -> bool:
        if len(self._items) < self._capacity:
            self._items.append((message, self.gap_next))
            self.gap_next = False
            self._wake()
        return True

    patch.setattr(Queue, "put", put)


def does_not_subscribe_again(patch: pytest.MonkeyPatch) -> None:
    ask_all = MultiplexerCore._connected

    def connected(self: Any, session: Any) -> None:
        ask_all(self, session)
        self._todo = {}

    patch.setattr(MultiplexerCore, "_connected", connected)


def keeps_who_has_left(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Any) -> None:
        self._queue.close()

    patch.setattr(SubscriptionCore, "_leave", leave)


def sends_again_unasked(patch: pytest.MonkeyPatch) -> None:
    request = MultiplexerCore.request

    async def always(self: Any, key: Any, message: Any, *, resend: bool = False) -> Any:
        return await request(self, key, message, resend=True)

    patch.setattr(MultiplexerCore, "request", always)


def loses_what_is_cancelled(patch: pytest.MonkeyPatch) -> None:
    take = Queue.take

    async def careless(self: Any) -> Any:
        if not self._items:
            return await take(self)
        message, self.gap = self._items.popleft()
        await self._runtime.checkpoint()
        return message

    patch.setattr(Queue, "take", careless)


DEFECTS = [
    forgets_requests,
    tells_no_new_session,
    drops_in_silence,
    does_not_subscribe_again,
    keeps_who_has_left,
    sends_again_unasked,
    loses_what_is_cancelled,
]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_the_model_finds_a_defect(
    defect: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    defect(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup, TimeoutError)):
        for seed in range(6):
            run_virtual("trio", partial(in_time, Model(seed)))
