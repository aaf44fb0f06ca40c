"""The calls of a session, the same on every event loop."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from httpx2_trio_ws._carriers import CarrierError
from httpx2_trio_ws._core._json import as_bytes, check_utf8, encode_json
from httpx2_trio_ws._core._watermarks import HIGH_WATER
from httpx2_trio_ws._exceptions import WebSocketInvalidTypeReceived
from httpx2_trio_ws._protocol import BINARY, TEXT, check_close, check_payload

from ._iterating import Iterating
from ._pings import PongWaiter
from ._streaming import MessageReader, MessageWriter
from ._turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable


# What Python says where a call is given a timeout, as in threads and in other libraries; and what to say beside it. To take
# one, only to refuse it, would make each call dearer.
_GIVEN_A_TIMEOUT = re.compile(r"(Session|Iterating)\.\w+\(\) got an unexpected keyword argument 'timeout'")
_NO_TIMEOUT = (
    "Sessions on event loops take no timeout. Put a cancel scope around the call, such as `with trio.fail_after(seconds):`, "
    "or anyio's of the same name."
)


class Session(Iterating, Turns):
    """An open WebSocket session.

    Sessions come from :func:`open_websocket` and its kin; they are not made by hand. All methods may be
    called from any number of tasks. Every one is a cancellation point, and cancelling it leaves the
    session sound. Calls that need not wait yield to other tasks at least once in 64.

    Every call on a session that has ended raises what ended it: :exc:`WebSocketDisconnect` (the peer's
    close frame), :exc:`WebSocketNetworkError` (the connection was lost), :exc:`WebSocketProtocolError`
    (the peer broke the protocol or a limit) or :exc:`WebSocketClosedError` (our own close). Messages that
    had arrived before the peer's close or a failure are handed out first.
    """

    __slots__ = ("__weakref__",)

    # -- receiving -----------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """Receive the next message: ``str`` for text, ``bytes`` for binary (RFC 6455 §5.6).

        Cancelling loses no message. With several tasks receiving, each message goes to one of them, first
        come first served.

        Raises:
            WebSocketDisconnect: the peer closed the session, and all its messages have been handed out.
            WebSocketNetworkError, WebSocketProtocolError: the session failed, likewise.
            WebSocketClosedError: the session was closed on our side.
        """
        inbox = self._inbox
        if inbox.credit and not self._is_cancelled():
            inbox.credit -= 1
            return inbox.messages.popleft()
        return await self._receive()

    async def _receive(self) -> str | bytes:
        """Receive with all that there is to see to, and allow the calls that follow what need not be."""
        inbox = self._inbox
        if not inbox.messages or inbox.waiters or self._turn_is_due():
            self._new_turn()
            message = await inbox.wait_message()
            if message is None:
                self._engine.raise_no_message()
        else:
            message = inbox.take()
        if inbox.messages:
            self._grant(inbox)
        return message

    async def receive_text(self) -> str:
        """Receive the next message, which must be text.

        Raises:
            WebSocketInvalidTypeReceived: it is binary; the exception has it. Else as :meth:`receive`.
        """
        # As receive(), once more: a coroutine within a coroutine would cost a quarter of a call.
        inbox = self._inbox
        if inbox.credit and not self._is_cancelled():
            inbox.credit -= 1
            message = inbox.messages.popleft()
        else:
            message = await self._receive()
        if not isinstance(message, str):
            raise WebSocketInvalidTypeReceived(message)
        return message

    async def receive_bytes(self) -> bytes:
        """Receive the next message, which must be binary.

        Raises:
            WebSocketInvalidTypeReceived: it is text; the exception has it. Else as :meth:`receive`.
        """
        inbox = self._inbox
        if inbox.credit and not self._is_cancelled():
            inbox.credit -= 1
            message = inbox.messages.popleft()
        else:
            message = await self._receive()
        if not isinstance(message, bytes):
            raise WebSocketInvalidTypeReceived(message)
        return message

    # -- sending -------------------------------------------------------------------------------

    async def send(self, value: str | bytes) -> None:
        """Send a message: text if ``value`` is a ``str``, binary if it is ``bytes``.

        A lone message has been handed to the operating system when this returns; a burst of them, each
        sent within 0.1 ms of the one before, is gathered and written together, soon after the sender
        next waits for anything. Above 64 KiB unsent, this waits. If it is cancelled, the message is sent
        whole or not at all.

        Raises:
            TypeError: it is neither.
            UnicodeEncodeError: the text has lone surrogates, which UTF-8 cannot express.
            WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: the
                session has ended.
        """
        if isinstance(value, str):
            await self.send_text(value)
        else:
            await self.send_bytes(value)

    async def send_text(self, data: str | bytes) -> None:
        """Send a text message. As :meth:`send`.

        Args:
            data: the text; or the UTF-8 of it, as JSON encoders give it.

        Raises:
            TypeError: it is neither ``str`` nor ``bytes``.
            UnicodeDecodeError: the bytes are not UTF-8. Else as :meth:`send`.
        """
        payload, outbox = data.encode() if isinstance(data, str) else check_utf8(data), self._outbox
        if outbox.credit and not self._is_cancelled():
            outbox.credit -= 1
            outbox.deposit(payload, TEXT)
        else:
            await self._send(payload, TEXT)

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send a binary message. ``bytearray`` and ``memoryview`` are copied. As :meth:`send`."""
        if not isinstance(data, bytes):
            data = as_bytes(data)
        outbox = self._outbox
        if outbox.credit and not self._is_cancelled():
            outbox.credit -= 1
            outbox.deposit(data, BINARY)
        else:
            await self._send(data, BINARY)

    async def send_json(
        self,
        data: Any,
        mode: Literal["text", "binary"] = "text",
        *,
        dumps: Callable[[Any], str | bytes] | None = None,
    ) -> None:
        """Send ``data`` as JSON, in a text or a binary message.

        Args:
            data: what is to be serialised.
            mode: the kind of message.
            dumps: called with ``data``, it returns the JSON as ``str``, or as ``bytes``, which for text must be UTF-8.
                ``None`` is :func:`json.dumps`, without spaces and with all characters as they are, lone surrogates
                apart: those are escaped. It writes ``NaN`` and ``Infinity``, which :func:`json.loads` reads, but which
                are no JSON (RFC 8259 §6); ``partial(json.dumps, allow_nan=False)`` refuses them.

        Raises:
            ValueError: ``mode`` is neither ``"text"`` nor ``"binary"``, or ``data`` refers to itself.
            TypeError: ``data`` cannot be serialised, or ``dumps`` returns something else.
            RecursionError: it is nested too deep. Else what ``dumps`` raises, and as :meth:`send_text`.
        """
        payload, kind, outbox = encode_json(data, mode, dumps), TEXT if mode == "text" else BINARY, self._outbox
        if outbox.credit and not self._is_cancelled():
            outbox.credit -= 1
            outbox.deposit(payload, kind)
        else:
            await self._send(payload, kind)

    def send_stream(self, kind: Literal["text", "binary"]) -> MessageWriter:
        """Send a message in parts: ``async with ws.send_stream("text") as message: await message.send(part)``.

        Args:
            kind: the kind of message; that of an empty one, too.

        Raises:
            ValueError: it is neither.
        """
        return MessageWriter(self, kind)

    def receive_stream(self) -> MessageReader:
        """Receive the next message in parts: ``async with ws.receive_stream() as message: async for part in message: ...``."""
        return MessageReader(self)

    async def _send(self, payload: bytes, kind: int) -> None:
        """Send with all that there is to see to, and in a burst, allow the calls that follow what need not be.

        A message goes one of three ways: alone, it is written here and now; as one of several, it is left for the send loop
        to gather; and where others are before it, it waits for its turn.
        """
        engine, outbox = self._engine, self._outbox
        if self._turn_is_due() or engine.life.sending is not None:
            await self._send_in_turn(payload, kind)
        elif outbox.is_lone():
            try:
                written = outbox.write(payload, kind, engine.carrier.write_now)
            except CarrierError as exc:
                engine.write_failed(exc)
                engine.raise_ended(engine.life.sending)
            if not written:
                await self._wait_handed()
        elif outbox.must_wait:
            await self._send_in_turn(payload, kind)
        else:
            outbox.push(payload, kind)
            self._grant(outbox)

    async def _send_in_turn(self, payload: bytes, kind: int) -> None:
        """Let others have their turn, and those that wait send first; or say why nothing can be sent."""
        self._new_turn()
        engine, outbox = self._engine, self._outbox
        alone, queued = outbox.idle, False
        if engine.life.sending is None:
            queued = await outbox.wait_turn((payload, kind))
        else:
            await self._runtime.checkpoint()
        if not queued:
            engine.raise_ended(engine.life.sending)
        if alone:
            await self._wait_handed()

    async def _wait_handed(self) -> None:
        """Wait until the message pushed last has left; if it never will, say why."""
        self._new_turn()
        if not await self._outbox.wait_handed():
            self._engine.raise_ended(self._engine.life.sending)

    async def _wait_room(self) -> None:
        """Wait until a send need not wait for earlier ones; raise if none can be sent any more."""
        self._new_turn()
        engine, outbox = self._engine, self._outbox
        if engine.life.sending is None and outbox.must_wait:
            await outbox.wait_turn()
        if engine.life.sending is not None:
            engine.raise_ended(engine.life.sending)

    # -- pings ---------------------------------------------------------------------------------

    async def ping(self, payload: bytes = b"") -> PongWaiter:
        """Send a ping (RFC 6455 §5.5.2), ahead of messages that wait. It returns without waiting for the pong.

        ``round_trip = await (await ws.ping())`` waits for it, too.

        Args:
            payload: up to 125 bytes; empty for four random bytes.

        Raises:
            TypeError: the payload is not bytes.
            ValueError: the payload is too long, or waits for its pong already.
            WebSocketDisconnect, WebSocketNetworkError, WebSocketProtocolError, WebSocketClosedError: the
                session has ended.
        """
        payload = check_payload(payload)
        await self._before_control()
        engine = self._engine
        ping = engine.pings.send(payload, self._runtime.event())
        return PongWaiter(ping, lambda: engine.raise_ended(engine.life.receiving))

    async def pong(self, payload: bytes = b"") -> None:
        """Send an unsolicited pong (RFC 6455 §5.5.3), a one-way sign of life. Pings are answered without it.

        Raises:
            TypeError: the payload is not bytes.
            ValueError: the payload is longer than 125 bytes. Else as :meth:`ping`.
        """
        payload = check_payload(payload)
        await self._before_control()
        self._outbox.push_control(self._engine.connection.pong(payload))

    async def _before_control(self) -> None:
        self._new_turn()
        await self._runtime.checkpoint()
        engine, outbox = self._engine, self._outbox
        while engine.life.sending is None and outbox.control_size > HIGH_WATER:
            await outbox.wait_control()
        if engine.life.sending is not None:
            engine.raise_ended(engine.life.sending)

    # -- closing -------------------------------------------------------------------------------

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the session: flush what was sent, send a close frame, and wait for the peer's (RFC 6455 §7.1.2).

        Takes ``close_timeout_seconds`` at most, then the connection is dropped; if cancelled, it is dropped
        at once, also for others that wait for it. Tasks that wait in other calls are woken at the start of it.
        Messages that have not been received are discarded. A failure that no call has raised is raised in the
        session's nursery now. Closing again does nothing but wait.

        Args:
            code: the close code: 1000 to 1003, 1007 to 1014 or 3000 to 4999.
            reason: up to 123 bytes of UTF-8.

        Raises:
            TypeError, ValueError: the code may not be sent, or the reason is too long. Nothing else.
        """
        check_close(code, reason)
        self._new_turn()
        self._engine.begin_close(code, reason)
        await self._wait_done()

    async def aclose(self) -> None:
        """As ``close(1000)``; the name that trio and anyio use."""
        await self.close()

    async def _wait_done(self) -> None:
        """Wait until nothing is left of the session; if cancelled, make it so at once."""
        engine = self._engine
        try:
            await engine.done.wait()
        except BaseException:
            engine.cancel()
            with self._runtime.cancel_scope(shield=True):
                await engine.done.wait()
            raise

    async def _leave(self, exc: BaseException | None) -> None:
        """The block is left: normally, or with ``exc``, which its caller raises on."""
        engine = self._engine
        if isinstance(exc, TypeError) and _GIVEN_A_TIMEOUT.match(str(exc)):
            exc.add_note(_NO_TIMEOUT)
        try:
            if exc is None:
                await self.close()
            elif self._runtime.is_cancellation(exc):
                engine.cancel()
            else:
                # Ctrl-C is no fault of the program, so it is 1001 and not 1011.
                await self.close(1011 if isinstance(exc, Exception) else 1001)
        except BaseException as cancelled:
            if exc is None or not self._runtime.is_cancellation(cancelled):
                raise
            # The block's own error must come out; the nursery around it meets the cancellation again.
        finally:
            engine.leave()

    async def wait_closed(self) -> None:
        """Wait until the session has ended and its connection is closed. Cancelling is safe.

        Raises:
            WebSocketNetworkError, WebSocketProtocolError: it failed. A close by either side is no failure.
        """
        engine = self._engine
        self._new_turn()
        await engine.done.wait()
        if engine.failure is not None:
            engine.raise_ended(engine.failure)
