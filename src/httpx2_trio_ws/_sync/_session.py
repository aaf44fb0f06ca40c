"""The calls of a blocking session."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, Self

from httpx2_trio_ws._core._json import as_bytes, check_utf8, encode_json
from httpx2_trio_ws._core._state import SessionState
from httpx2_trio_ws._exceptions import WebSocketInvalidTypeReceived
from httpx2_trio_ws._protocol import check_close, check_payload

from ._iterating import Iterating
from ._streaming import SyncMessageReader, SyncMessageWriter
from ._waiting import check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import httpx2

    from ._engine import Engine
    from ._pings import Ping


class SyncWebSocketSession(Iterating, SessionState["Engine"]):
    """An open WebSocket session, for threads.

    Sessions come from :func:`open_websocket` and :func:`open_websocket_url`; they are not made by hand. All methods may
    be called from any number of threads, but not from signal handlers. Ctrl-C in any of them leaves the session sound.

    As a context manager, a session is closed when the block is left: with 1000 normally, with 1011 by an
    :exc:`Exception`; by anything else, Ctrl-C above all, the connection is dropped at once, with 1001 if that can be
    sent without waiting. A failure that no call has raised is raised then, if the block has no error of its own; else
    that error is given a note.

    Every call on a session that has ended raises what ended it: :exc:`WebSocketDisconnect` (the peer's close frame),
    :exc:`WebSocketNetworkError` (the connection was lost), :exc:`WebSocketProtocolError` (the peer broke the protocol or
    a limit) or :exc:`WebSocketClosedError` (our own close). Messages that had arrived before the peer's close or a
    failure are handed out first.

    In the child of a process that forks, sessions of the parent have ended: calls raise, and leaving the block returns.
    """

    __slots__ = ("__weakref__", "_inbox", "_messages", "_outbox")

    def __init__(self, engine: Engine, response: httpx2.Response, subprotocol: str | None) -> None:
        super().__init__(engine, response, subprotocol)
        self._inbox = engine.inbox
        self._messages = engine.inbox.messages
        self._outbox = engine.outbox

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        engine = self._engine
        try:
            if sys.is_finalizing():
                return  # no other thread runs any more, and nothing is left to be done
            if exc is None:
                engine.close(1000, "")
            elif isinstance(exc, Exception):
                engine.close(1011, "")
            else:
                engine.abort()
        except BaseException:
            engine.abort()
            raise
        engine.leave(exc)

    # -- receiving -----------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> str | bytes:
        """Receive the next message: ``str`` for text, ``bytes`` for binary (RFC 6455 §5.6).

        With several threads receiving, each message goes to one of them, first come first served.

        Args:
            timeout: seconds to wait; 0 or less does not wait, ``None`` waits for ever.

        Raises:
            TimeoutError: no message came in time. None is lost by this.
            WebSocketDisconnect: the peer closed the session, and all its messages have been handed out.
            WebSocketNetworkError, WebSocketProtocolError: the session failed, likewise.
            WebSocketClosedError: the session was closed on our side.
        """
        if timeout is not None:
            check_timeout(timeout)
        inbox = self._inbox
        message = None
        try:
            for message in inbox.oldest: break  # fmt: skip  # noqa: B007, E701 (one, in one step)
            if len(self._messages) <= inbox.resume_at:
                inbox.taken()
        except IndexError:
            pass
        except BaseException:  # Ctrl-C
            inbox.put_back(message)
            raise
        return self._receive_later(timeout) if message is None else message

    def _receive_later(self, timeout: float | None) -> str | bytes:
        message = self._inbox.wait(timeout)
        try:
            self._outbox.calm()
        except BaseException:  # Ctrl-C
            self._inbox.put_back(message)
            raise
        if message is None:
            self._engine.raise_ended(self._inbox.error)
        return message

    def receive_text(self, timeout: float | None = None) -> str:
        """Receive the next message, which must be text.

        Raises:
            WebSocketInvalidTypeReceived: it is binary; the exception has it. Else as :meth:`receive`.
        """
        message = self.receive(timeout)
        match message:  # isinstance() is a call: after one, Ctrl-C may come
            case str():
                return message
            case _:
                raise WebSocketInvalidTypeReceived(message)

    def receive_bytes(self, timeout: float | None = None) -> bytes:
        """Receive the next message, which must be binary.

        Raises:
            WebSocketInvalidTypeReceived: it is text; the exception has it. Else as :meth:`receive`.
        """
        message = self.receive(timeout)
        match message:  # as in receive_text()
            case bytes():
                return message
            case _:
                raise WebSocketInvalidTypeReceived(message)

    # -- sending -------------------------------------------------------------------------------

    def send(self, value: str | bytes) -> None:
        """Send a message: text if ``value`` is a ``str``, binary if it is ``bytes``.

        A lone message has been handed to the operating system when this returns; a burst of them is gathered, and
        written within a few milliseconds. Above 64 KiB unsent, this waits until the peer has read, or the session
        ends: keepalive ends it if the peer is dead, :meth:`close` in another thread always does. If it is interrupted,
        the message is sent whole or not at all.

        Raises:
            TypeError: it is neither.
            UnicodeEncodeError: the text has lone surrogates, which UTF-8 cannot express.
            WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: the
                session has ended.
        """
        if isinstance(value, str):
            self._send(value.encode(), text=True)
        else:
            self.send_bytes(value)

    def send_text(self, data: str | bytes) -> None:
        """Send a text message. As :meth:`send`.

        Args:
            data: the text; or the UTF-8 of it, as JSON encoders give it.

        Raises:
            TypeError: it is neither ``str`` nor ``bytes``.
            UnicodeDecodeError: the bytes are not UTF-8. Else as :meth:`send`.
        """
        self._send(data.encode() if isinstance(data, str) else check_utf8(data), text=True)

    def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send a binary message. ``bytearray`` and ``memoryview`` are copied. As :meth:`send`."""
        if not isinstance(data, bytes):
            data = as_bytes(data)
        self._send(data, text=False)

    def send_json(
        self,
        data: Any,
        mode: Literal["text", "binary"] = "text",
        *,
        dumps: Callable[[Any], str | bytes] | None = None,
    ) -> None:
        """Send ``data`` as JSON, in a text or a binary message. As :meth:`httpx2_trio_ws.WebSocketSession.send_json`."""
        self._send(encode_json(data, mode, dumps), text=mode == "text")

    def _send(self, payload: bytes, *, text: bool) -> None:
        error = self._outbox.send(payload, text=text)
        if error is not None:
            self._engine.raise_ended(error)

    # -- in parts ------------------------------------------------------------------------------

    def send_stream(self, kind: Literal["text", "binary"]) -> SyncMessageWriter:
        """Send a message in parts: ``with ws.send_stream("text") as message: message.send(part)``.

        Args:
            kind: the kind of message; that of an empty one, too.

        Raises:
            ValueError: it is neither.
        """
        return SyncMessageWriter(self._engine, kind)

    def receive_stream(self, timeout: float | None = None) -> SyncMessageReader:
        """Receive the next message in parts: ``with ws.receive_stream() as message: for part in message: ...``.

        Args:
            timeout: seconds to wait for it to begin; ``None`` waits for ever.
        """
        check_timeout(timeout)
        return SyncMessageReader(self._engine, timeout)

    # -- pings ---------------------------------------------------------------------------------

    def ping(self, payload: bytes = b"") -> SyncPongWaiter:
        """Send a ping (RFC 6455 §5.5.2), ahead of messages that wait. It returns without waiting for the pong.

        ``round_trip = ws.ping().wait()`` waits for it, too.

        Args:
            payload: up to 125 bytes; empty for four random bytes.

        Raises:
            TypeError: the payload is not bytes.
            ValueError: the payload is too long, or waits for its pong already.
            WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: the
                session has ended.
        """
        payload = check_payload(payload)
        return SyncPongWaiter(self._engine, self._engine.ping(payload))

    def pong(self, payload: bytes = b"") -> None:
        """Send an unsolicited pong (RFC 6455 §5.5.3), a one-way sign of life. Pings are answered without it.

        Raises:
            TypeError: the payload is not bytes.
            ValueError: the payload is longer than 125 bytes. Else as :meth:`ping`.
        """
        payload = check_payload(payload)
        self._engine.pong(payload)

    # -- closing -------------------------------------------------------------------------------

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the session: flush what was sent, send a close frame, and wait for the peer's (RFC 6455 §7.1.2).

        Takes ``close_timeout_seconds`` at most, then the connection is dropped; if interrupted, it is dropped at once.
        Threads that wait in other calls are woken at the start of it. Messages that have not been received are
        discarded. Closing again does nothing but wait.

        Args:
            code: the close code: 1000 to 1003, 1007 to 1014 or 3000 to 4999.
            reason: up to 123 bytes of UTF-8.

        Raises:
            TypeError, ValueError: the code may not be sent, or the reason is too long. Nothing else.
        """
        check_close(code, reason)
        self._engine.close(code, reason)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the session has ended and its connection is closed.

        Args:
            timeout: seconds to wait; ``None`` waits for ever.

        Raises:
            TimeoutError: it has not ended in time.
            WebSocketNetworkError, WebSocketProtocolError: it failed. A close by either side is no failure.
        """
        check_timeout(timeout)
        engine = self._engine
        if not engine.done.wait(timeout):
            raise TimeoutError(f"the session has not ended within {timeout} s")
        if engine.failure is not None:
            engine.raise_ended(engine.failure)


class SyncPongWaiter:
    """Waits for the pong that answers one ping: ``round_trip = waiter.wait()``."""

    __slots__ = ("_engine", "_ping")

    def __init__(self, engine: Engine, ping: Ping) -> None:
        self._engine = engine
        self._ping = ping

    def __repr__(self) -> str:
        state = "waiting"
        if self._ping.round_trip is not None:
            state = f"answered after {self._ping.round_trip:.6f} s"
        elif self._engine.inbox.error is not None:
            state = "the session has ended"
        return f"<{type(self).__name__} ({state})>"

    def wait(self, timeout: float | None = None) -> float:
        """Wait for the pong; return the round trip in seconds. It may be waited for again, and by several threads.

        Args:
            timeout: seconds to wait; ``None`` waits for ever.

        Raises:
            TimeoutError: the pong has not come in time.
            WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: the
                session ended before the pong came.
        """
        check_timeout(timeout)
        ping = self._ping
        if not ping.answered.wait(timeout):
            raise TimeoutError(f"no pong came within {timeout} s")
        if ping.round_trip is None:
            self._engine.raise_ended(self._engine.inbox.error)
        return ping.round_trip
