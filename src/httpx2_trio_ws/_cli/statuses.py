"""The exit statuses, as ``--help`` and the documentation have them."""

from __future__ import annotations

OK, CLOSED, USAGE, NOT_CONNECTED, REFUSED, LOST, LOCAL, CUT_OFF = range(8)


class Stop(Exception):
    """The command cannot go on.

    Attributes:
        status: what to exit with.
        more: what stands below the reason, if anything.
    """

    def __init__(self, status: int, reason: str, more: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.more = more
