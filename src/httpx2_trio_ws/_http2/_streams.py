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
