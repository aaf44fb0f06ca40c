"""Random drops, cancellations, subscriptions and floods, beside what a simple model says of them.

The model, of the server's record and of what each task of the client has seen:

- a request has one outcome: the answer to this very request, or an error, and then it was sent;
- the server hears no request twice, unless it may be sent again;
- a subscriber sees the numbers of a session in order, none twice and none missing but those that an overflow counts;
  ``gap`` is true where the session is a new one, or an overflow was told, and nowhere else;
- when all tasks have ended, nothing is left of them in the multiplexer.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import anyio
import anyio.lowlevel

from httpx2_trio_ws import Backoff, SubscriptionOverflow, WebSocketException

from .support import Wire, face, serve


class Model:
    """One run; the same for each seed, as far as the event loop's order is."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.heard: Counter[int] = Counter()
        self.may_repeat: set[int] = set()
        self.nonce = 0
        self.outcomes: Counter[str] = Counter()

    # -- the server ----------------------------------------------------------------------------------

    async def serve(self, wire: Wire) -> None:
        left = self.rng.randint(1, 40)
        while True:
            message = await wire.get()
            left -= 1
            if "nonce" in message:
                self.heard[message["nonce"]] += 1
            if not left:
                await (wire.peer.drop() if self.rng.random() < 0.8 else wire.peer.close(1012))
                return
            if "nonce" in message:
                if message.get("late"):
                    await self._turns(self.rng.randint(0, 5))
                await wire.say({"id": message["id"], "nonce": message["nonce"]})
            elif "subscribe" in message:
                await wire.say({"id": message["subscribe"], "confirmed": True})
                for number in range(self.rng.randint(1, 30)):
                    await wire.say({"id": message["subscribe"], "session": wire.number, "n": number})

    async def _turns(self, count: int) -> None:
        for _ in range(count):
            await anyio.lowlevel.checkpoint()

    # -- the client ----------------------------------------------------------------------------------

    async def run(self) -> None:
        async with serve(self.serve) as server:
            source = server.source(backoff=Backoff(initial_seconds=0.001, max_seconds=0.001))
            async with face().multiplex(source, key=lambda message: message.get("id")) as mux:
                async with anyio.create_task_group() as tasks:
                    for number in range(6):
                        tasks.start_soon(self._requests, mux)
                        tasks.start_soon(self._subscriptions, mux, f"feed-{number}")
                assert not mux._answers
                await anyio.sleep(1)  # abandoned ones go with their answer
                left = [each for each in mux._subscriptions.values() if not each._left]
                assert not left, left
        assert all(count == 1 for nonce, count in self.heard.items() if nonce not in self.may_repeat), self.heard

    async def _requests(self, mux: Any) -> None:
        for _ in range(15):
            self.nonce += 1
            nonce, resend = self.nonce, self.rng.random() < 0.3
            if resend:
                self.may_repeat.add(nonce)
            message = {"id": nonce, "nonce": nonce, "late": self.rng.random() < 0.5}
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    if self.rng.random() < 0.3:
                        tasks.start_soon(self._cancel_later, scope)
                    try:
                        answer = await mux.request(nonce, message, resend=resend)
                        assert answer["nonce"] == nonce
                        self.outcomes["answered"] += 1
                    except WebSocketException:
                        assert not resend
                        self.outcomes["failed"] += 1
                    tasks.cancel_scope.cancel()
            self.outcomes["cancelled"] += scope.cancelled_caught

    async def _cancel_later(self, scope: anyio.CancelScope) -> None:
        await self._turns(self.rng.randint(0, 15))
        scope.cancel()

    async def _subscriptions(self, mux: Any, name: str) -> None:
        for turn in range(5):
            key = f"{name}-{turn}"
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    if self.rng.random() < 0.3:
                        tasks.start_soon(self._cancel_later, scope)
                    async with mux.subscribe(
                        key,
                        subscribe={"subscribe": key},
                        unsubscribe={"bye": key},
                        confirm=lambda _: None,
                        capacity=self.rng.choice((4, 100)),
                    ) as feed:
                        await self._read(feed, self.rng.randint(1, 60))
                    tasks.cancel_scope.cancel()

    async def _read(self, feed: Any, count: int) -> None:
        last: tuple[int, int] | None = None
        skipped = 0
        with anyio.move_on_after(5):  # the server says so many, and no more
            for _ in range(count):
                try:
                    with anyio.move_on_after(0 if self.rng.random() < 0.2 else 5) as scope:
                        message = await feed.receive()
                except SubscriptionOverflow as exc:
                    skipped += exc.dropped
                    self.outcomes["overflow"] += 1
                    continue
                if scope.cancelled_caught:
                    continue
                session, number = message["session"], message["n"]
                if last is None or session != last[0] or skipped:
                    assert feed.gap, "a gap is not told"
                else:
                    assert not feed.gap, "a gap that is none"
                if last is not None and session == last[0]:
                    assert number == last[1] + skipped + 1, "numbers are missing, or come twice"
                elif not skipped:
                    assert number == 0
                assert last is None or session >= last[0]
                last, skipped = (session, number), 0
                if self.rng.random() < 0.3:
                    await self._turns(self.rng.randint(0, 40))
                self.outcomes["received"] += 1
