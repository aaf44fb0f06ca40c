"""What other threads do with a session's reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from httpx2_trio_ws._core._parts import BROKEN_OFF

from ._orders import CloseOrder, ControlOrder
from ._reader import Reader

if TYPE_CHECKING:
    from httpx2_trio_ws._exceptions import WebSocketException

    from ._pings import Ping


class Engine(Reader):
    """The reader and its thread. The session's calls are in :mod:`._session`."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def abandon(self) -> None:
        """Leave nothing, whether or not the thread could be started."""
        self._cancel()
        if self.claim.acquire(blocking=False):
            self.drop()
        else:
            self.wait_done()

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more."""
        return self.outbox.error is not None

    def raise_ended(self, error: WebSocketException | None) -> NoReturn:
        """Raise what ended the session, in one more thread; a failure is told by this."""
        error = error or self.outbox.error  # nothing but a write has failed yet, and this waits for a pong
        assert error is not None
        self.life.told = True
        raise error._again()

    def check_sending(self) -> None:
        """Raise what ended sending."""
        if self.outbox.error is not None:
            self.raise_ended(self.outbox.error)

    def ping(self, payload: bytes) -> Ping:
        """Have a ping sent. Raises what ended sending."""
        self.outbox.wait_control(self.orders)
        payload, ping = self.pings.new(payload, self.check_sending)
        self._order(ControlOrder(self.connection.ping, payload))
        return ping

    def pong(self, payload: bytes) -> None:
        """Have a pong sent. Raises what ended sending."""
        self.outbox.wait_control(self.orders)
        self.check_sending()
        self._order(ControlOrder(self.connection.pong, payload))

    def _order(self, order: ControlOrder) -> None:
        self.orders.append(order)
        self.poller.wake()

    def close(self, code: int, reason: str) -> None:
        """Close from our side, and wait until it is done. If that is interrupted, drop the connection."""
        try:
            self.orders.appendleft(CloseOrder(code, reason))
            self.poller.wake()
            self.wait_done()
        except BaseException:
            self.abort()
            raise
        self.begin_close(code, reason)  # in case the session had ended by itself, and the reader with it

    def break_off(self, code: int) -> None:
        """Close inside of a message that cannot be ended. Does not wait."""
        self.orders.append(CloseOrder(code, BROKEN_OFF))
        self.poller.wake()

    def abort(self) -> None:
        """Drop the connection now, and wait until it is done, which is soon."""
        self._cancel()
        self.wait_done()

    def _cancel(self) -> None:
        self.cancelled = True
        self.poller.wake()

    def wait_done(self) -> None:
        """Wait until nothing is left."""
        self.done.wait()
        self._thread.join()

    def leave(self, exc: BaseException | None) -> None:
        """The block has been left: tell what no call has told, unless the block has an error of its own."""
        error = self.bug or (None if self.life.told else self.failure)
        self.bug, self.life.told = None, True
        if error is None:
            return
        if exc is None:
            raise error
        exc.add_note(f"the WebSocket session had failed, too: {error!r}")
