"""What an application may be told of its sessions while they live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._exceptions import WebSocketException
    from ._protocol import FrameInfo


class Instrument:
    """Is told what happens in the sessions that it is given to, by the option ``instruments``.

    In the manner of :class:`trio.abc.Instrument`: derive a class, and define the methods that you need. Those that are
    not defined cost nothing; above all, :meth:`frame_received` and :meth:`frame_sent` slow every message down, and
    a session without them does not know of them. One instrument may be given to many sessions.

    Methods are called in the middle of the session's work. They must return soon, and of the session they may use
    what only tells: ``response``, ``subprotocol``, ``latency``, ``closed``, ``close_code``, ``close_reason`` and
    ``statistics()``. Those of blocking sessions are called in any thread, and those of async ones in any task of the
    session's event loop. One that raises an :exc:`Exception` is logged, as an error of ``httpx2_trio_ws.instruments``,
    and no longer called for this session, which goes on.
    """

    def session_opened(self, session: Any) -> None:
        """The handshake is done. Called in the task, or the thread, that opens the session."""

    def frame_received(self, session: Any, frame: FrameInfo) -> None:
        """A whole frame has come. The message that it ends may not have been received by anyone yet."""

    def frame_sent(self, session: Any, frame: FrameInfo) -> None:
        """A frame has been handed to the operating system, or to whatever carries the session.

        Frames that still wait when the session ends are not told of.
        """

    def ping_answered(self, session: Any, round_trip: float) -> None:
        """The pong for a ping has come, keepalive's or the application's, after so many seconds."""

    def reading_paused(self, session: Any) -> None:
        """A message comes that the queue has no room for: the application is slower than the peer."""

    def reading_resumed(self, session: Any) -> None:
        """There is room in the queue again. A session that ends while it is paused may not tell this."""

    def session_closed(self, session: Any, code: int, reason: str, failure: WebSocketException | None) -> None:
        """The session has ended, and its connection is closed.

        Args:
            session: the session.
            code: the close code that the peer sent; 1006 if the connection ended without one.
            reason: the close reason that the peer sent; it may be empty.
            failure: what the session failed with; ``None`` if either side closed it.
        """
