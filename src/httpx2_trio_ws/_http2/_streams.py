"""One stream: its windows, and how far it has come."""

from __future__ import annotations

from typing import Any


class Stream:
    """The state of a stream of ours.

    Attributes:
        id: its number on the connection.
        owner: whatever the caller keeps with it.
        sent: how much more was sent than handed back by WINDOW_UPDATE; the window is what the server's
            SETTINGS_INITIAL_WINDOW_SIZE leaves beside it, so that a change of that needs no walk over all streams.
        window: how much the server may send and not have taken.
        receivable: how much more the server may send.
        consumed: how much of what it sent has been taken and not been handed back to it.
        answered: the final header section has come.
        ended: END_STREAM has come.
        forgotten: it was reset, by either side, or never processed.
    """

    __slots__ = (
        "_arrived",
        "answered",
        "consumed",
        "ended",
        "forgotten",
        "id",
        "owner",
        "receivable",
        "sent",
        "window",
    )

    def __init__(self, stream_id: int, window: int, owner: Any) -> None:
        self.id = stream_id
        self.owner = owner
        self.sent = 0
        self.window = self.receivable = window
        self.consumed = 0
        self.answered = self.ended = self.forgotten = False
        # Nearly always one frame: a list and an event for each would cost as much as reading it.
        self._arrived: bytes | list[bytes] = b""

    def add(self, data: bytes) -> bool:
        """Some bytes have arrived; true if there were none that have not been taken."""
        arrived = self._arrived
        if not arrived:
            self._arrived = data
            return True
        if isinstance(arrived, bytes):
            self._arrived = [arrived, data]
        else:
            arrived.append(data)
        return False

    def take(self) -> bytes:
        """All that has arrived and has not been taken. :meth:`Connection.credit` hands its part of the window back."""
        arrived, self._arrived = self._arrived, b""
        return arrived if isinstance(arrived, bytes) else b"".join(arrived)
