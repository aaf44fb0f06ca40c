"""As ``tests/test_every_call_raises.py``, for threads: each call of the carrier and of hooks raises, once, in every phase."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws import Instrument, WebSocketException
from httpx2_trio_ws._sync import _opening
from httpx2_trio_ws._sync._carrier import carrier_for
from httpx2_trio_ws.sync import open_websocket
from tests.memory import CLOSE, PING, close_frame, text
from tests.test_every_call_raises import Call, Hooks, Injected, InjectedBase

from .support import LONG, Peer, Task, listening, one_connection, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

ENDS = ("we close", "closes", "violates", "drops", "interrupt")


class Faults:
    """Notes each call by its phase and name, in whichever thread, and has one of them raise."""

    def __init__(self, target: Call | None, error: type[BaseException]) -> None:
        self.phase = "opening"
        self.seen: list[Call] = []
        self._count: Counter[tuple[str, str]] = Counter()
        self._target = target
        self._error = error
        self._lock = threading.Lock()

    def strike(self, name: str) -> None:
        with self._lock:
            self._count[self.phase, name] += 1
            call = self.phase, name, self._count[self.phase, name]
            self.seen.append(call)
            struck = call == self._target
        if struck:
            raise self._error(name)


class FaultyCarrier:
    def __init__(self, carrier: Any, strike: Callable[[str], None]) -> None:
        self._carrier = carrier
        self._strike = strike
        self.socket = carrier.socket
        self.more = self.committed = False

    def read_straight(self, room: Callable[[], memoryview | None]) -> bool:
        return bool(self._carrier.read_straight(room))

    def read(self) -> bytes | memoryview | None:
        self._strike("carrier.read")
        data: bytes | memoryview | None = self._carrier.read()
        return data

    def write(self, data: memoryview) -> int:
        self._strike("carrier.write")
        return int(self._carrier.write(data))

    def write_now(self, data: bytes) -> int:
        self._strike("carrier.write_now")
        return int(self._carrier.write_now(data))


def play(peer: Peer, *, end: str) -> None:
    with contextlib.suppress(EOFError, OSError):
        while (came := peer.receive()).payload != b"end":
            if came.opcode == CLOSE:
                peer.send(close_frame(1000))
                break
            peer.send(bytes((0x8A if came.opcode == PING else 0x80 | came.opcode, len(came.payload))) + came.payload)
        if end == "closes":
            peer.close(4000)
        elif end == "violates":
            peer.send(b"\xff\xff")
            peer.frames()
        elif end == "drops":
            peer.send(text("last"))
        else:
            peer.answer_close()
    peer.socket.close()


def live(ws: Any, faults: Faults, waiters: list[Task], *, end: str) -> None:
    faults.phase = "open"
    ws.send("lone")
    ws.receive(timeout=LONG)
    ws.ping().wait(timeout=LONG)
    ws.pong()
    for _ in range(20):
        ws.send("burst")
    for _ in range(20):
        ws.receive(timeout=LONG)

    def waiter(call: Callable[[], object]) -> None:
        with contextlib.suppress(WebSocketException, Injected, InjectedBase):
            while True:
                call()

    def closed() -> None:
        ws.wait_closed()
        ws.receive()

    waiters.extend(Task(waiter, call) for call in (ws.receive, closed))
    faults.phase = end
    if end == "interrupt":
        raise KeyboardInterrupt
    if end == "we close":
        ws.close()
    else:
        ws.send("end")
        ws.wait_closed(timeout=LONG)


def scenario(target: Call | None, error: type[BaseException], end: str) -> Faults:
    faults = Faults(target, error)
    waiters: list[Task] = []
    with listening() as (address, accept), one_connection() as client, pytest.MonkeyPatch.context() as patch:

        def faulty(response: httpx2.Response) -> FaultyCarrier:
            return FaultyCarrier(carrier_for(response), faults.strike)

        patch.setattr(_opening, "carrier_for", faulty)
        options: dict[str, Any] = {"compression": None, "close_timeout_seconds": 1, "queue_size": 2}
        peer = Task(lambda: play(upgrade(accept()), end=end))
        with (
            contextlib.suppress(WebSocketException, Injected, InjectedBase, KeyboardInterrupt),
            open_websocket(client, f"ws://{address}", instruments=[Hooks(faults.strike)], **options) as ws,
        ):
            live(ws, faults, waiters, end=end)
        faults.phase = "over"
        for waiter in waiters:
            waiter.result()
        peer.result()
        # The slot is free.
        patch.undo()
        peer = Task(lambda: upgrade(accept()).answer_close())
        with open_websocket(client, f"ws://{address}", instruments=[Instrument()], **options):
            pass
        peer.result()
    return faults


@pytest.mark.parametrize("error", [Injected, InjectedBase])
@pytest.mark.parametrize("end", ENDS)
def test_whatever_raises_every_thread_is_woken_and_nothing_is_left(end: str, error: type[BaseException]) -> None:
    calls = [call for call in scenario(None, error, end).seen if call[2] == 1 and call[0] not in ("opening", "over")]
    assert len(calls) > 5
    for target in calls:
        try:
            scenario(target, error, end)
        except BaseException as exc:
            exc.add_note(f"{target} went wrong")
            raise
