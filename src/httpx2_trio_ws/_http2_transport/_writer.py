"""What a connection writes, and when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from httpx2_trio_ws._carriers import CarrierError

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx2_trio_ws._carriers import Carrier
    from httpx2_trio_ws._http2 import Connection
    from httpx2_trio_ws._runtime import Runtime

    from ._turns import Turns

# Who writes so soon after another write, with nothing read in between, is likely to be one of many: what they write goes out
# together.
_BURST = 100e-6


class Writer:
    """Empties the buffer of a connection that its sessions fill; none of them waits for the network itself.

    What goes without waiting is written at once, by whoever filled the buffer. The rest is a task's, and so is what many
    have filled it with: nobody who is cancelled can leave half a record of TLS behind.

    Args:
        runtime: where the task runs.
        carrier: what the connection rides on.
        http2: the connection.
        turns: those who wait for room in the buffer.
        on_failure: called when nothing can be written any more.
    """

    def __init__(
        self,
        runtime: Runtime,
        carrier: Carrier,
        http2: Connection,
        turns: Turns,
        on_failure: Callable[[CarrierError], object],
    ) -> None:
        self._runtime = runtime
        self._carrier = carrier
        self._http2 = http2
        self._turns = turns
        self._on_failure = on_failure
        self._now = runtime.clock()
        self._wake = runtime.event()
        # What the task has begun to write, while that waits.
        self._rest = memoryview(b"")
        self._wrote_at = -math.inf
        self._is_ending = False
        self._is_broken = False
        #: Much may be filled in, one by one, before :meth:`flush`.
        self.is_held = False

    async def run(self) -> None:
        """Write until :meth:`end`, and all that was filled in before; or until nothing can be written."""
        runtime, http2, carrier = self._runtime, self._http2, self._carrier
        while True:
            if not (self._rest or http2.output_size):
                if self._is_ending:
                    return
                self._wake = runtime.event()
                await self._wake.wait()
                continue
            self._rest = self._rest or memoryview(http2.take_output())
            try:
                while self._rest:
                    self._rest = self._rest[await carrier.write(self._rest) :]
            except CarrierError as exc:
                self._on_failure(exc)
                return
            self._has_written()
            await runtime.checkpoint()

    def flush(self) -> None:
        """Write what goes without waiting. The rest is the task's."""
        if self._http2.output_size and not (self._rest or self._is_broken) and self._carrier.writes_now:
            output = memoryview(self._http2.take_output())
            try:
                self._rest = output[self._carrier.write_now(output) :]
            except CarrierError as exc:
                self._is_broken = True
                self._on_failure(exc)
                return
            self._has_written()
        if self._rest or self._http2.output_size:
            self._wake.set()

    def has_read(self) -> None:
        """Something was read: what is written next may well be an answer to that, and alone."""
        self._wrote_at = -math.inf

    def _has_written(self) -> None:
        self._wrote_at = self._now()
        self._turns.serve()

    def kick(self) -> None:
        """There may be something to write: now, or with what others write very soon."""
        if self.is_held:
            return
        if self._http2.is_backed_up:
            self.flush()
        elif not self._wake.is_set() and self._http2.output_size:
            if self._now() - self._wrote_at >= _BURST:
                self.flush()
            else:
                self._wake.set()

    def end(self) -> None:
        """Once all is written, it is over."""
        self._is_ending = True
        self._wake.set()
