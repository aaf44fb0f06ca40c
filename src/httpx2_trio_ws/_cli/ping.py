"""Round trips, measured and summed up as ``ping`` does it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from httpx2_trio_ws import PongWaiter

from .printing import json_line

if TYPE_CHECKING:
    from httpx2_trio_ws import WebSocketSession

    from .screen import Screen


class Pings:
    """The pings of one session. Times are printed in milliseconds.

    Attributes:
        sent: how many.
        trips: the round trips so far, in seconds.
    """

    def __init__(self, ws: WebSocketSession, screen: Screen, *, as_json: bool) -> None:
        self._ws = ws
        self._screen = screen
        self._as_json = as_json
        self._begun = trio.current_time()
        self.sent = 0
        self.trips: list[float] = []

    async def run(self, count: int, interval: float, wait: float) -> None:
        """Send pings and print their round trips.

        Args:
            count: how many; 0: until cancelled.
            interval: seconds from one to the next.
            wait: seconds for pongs, after the last ping.

        Raises:
            ExceptionGroup: of ``WebSocketException``: the session has ended. Of ``OSError``: standard output cannot
                be written.
        """
        # Pongs come in the order of the pings, so one task waits for them all.
        send, waiters = trio.open_memory_channel[PongWaiter](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drop_messages)
            nursery.start_soon(self._print_trips, waiters, nursery.cancel_scope)
            with send:
                while True:
                    send.send_nowait(await self._ws.ping())
                    self.sent += 1
                    if self.sent == count:
                        break
                    await trio.sleep_until(self._begun + self.sent * interval)
            await trio.sleep(wait)
            nursery.cancel_scope.cancel()

    async def _drop_messages(self) -> None:
        """Pongs are behind the messages: while nobody receives, reading stops."""
        while True:
            await self._ws.receive()

    async def _print_trips(self, waiters: trio.MemoryReceiveChannel[PongWaiter], scope: trio.CancelScope) -> None:
        async for waiter in waiters:
            self.trips.append(await waiter)
            number, milliseconds = len(self.trips), self.trips[-1] * 1000
            if self._as_json:
                text = json_line({"type": "pong", "number": number, "milliseconds": round(milliseconds, 3)})
            else:
                text = f"pong {number}: time={milliseconds:.3f} ms"
            await self._screen.show_line(text)
        scope.cancel()

    async def summarize(self, url: str) -> None:
        """Print what it comes to.

        Raises:
            OSError: standard output cannot be written.
        """
        received = len(self.trips)
        loss = 100 * (self.sent - received) / max(self.sent, 1)
        values = figures(self.trips)
        if self._as_json:
            record = {"type": "statistics", "sent": self.sent, "received": received, "loss_percent": round(loss, 1)}
            text = json_line(record | {f"{name}_milliseconds": round(value, 3) for name, value in values.items()})
        else:
            elapsed = (trio.current_time() - self._begun) * 1000
            counts = f"{self.sent} sent, {received} received, {loss:.3g}% loss, time {elapsed:.0f} ms"
            text = f"--- {url} ping statistics ---\n{counts}"
            if values:
                shown = "/".join(f"{value:.3f}" for value in values.values())
                text += f"\nround trip {'/'.join(values)} = {shown} ms"
        await self._screen.show_line(text)


def figures(trips: list[float]) -> dict[str, float]:
    """The least, the mean, the greatest, and the standard deviation, in milliseconds; nothing of nothing."""
    if not trips:
        return {}
    mean = math.fsum(trips) / len(trips)
    mdev = math.sqrt(math.fsum((trip - mean) ** 2 for trip in trips) / len(trips))
    return {"min": min(trips) * 1e3, "avg": mean * 1e3, "max": max(trips) * 1e3, "mdev": mdev * 1e3}
