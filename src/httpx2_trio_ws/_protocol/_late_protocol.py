"""``websockets.protocol.Protocol`` where there is something for it to do, and next to nothing where there is not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from websockets.protocol import CLIENT, OPEN, Protocol

if TYPE_CHECKING:
    from websockets.frames import Close

# Of what Protocol logs, only errors of its own: it sees but some of the frames.
_logger = logging.getLogger("httpx2_trio_ws.protocol")
_logger.setLevel(logging.ERROR)


class LateProtocol(Protocol):
    """A ``Protocol`` that is made when there is something for it: the first control frame, in either direction.

    Until then it has nothing but what it is asked after each read; anything else is not there, and makes it.
    """

    close_rcvd: Close | None = None
    close_sent: Close | None = None
    _made = False

    def __init__(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if self._made:
            raise AttributeError(name)
        self._made = True
        super().__init__(CLIENT, max_size=None, logger=_logger)
        return getattr(self, name)

    def data_to_send(self) -> list[bytes]:
        return super().data_to_send() if self._made else []

    @property
    def may_rest(self) -> bool:
        """It has been made, and another one could go on in its place."""
        return self._made and self.state is OPEN and not (self.writes or self.events or self.eof_sent)
