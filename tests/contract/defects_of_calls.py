"""Defects in how a session ends, and in what else its calls do."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import anyio

from httpx2_trio_ws import (
    WebSocketClosedError,
    WebSocketDisconnect,
    WebSocketException,
    WebSocketNetworkError,
    WebSocketProtocolError,
)

from .defects import Defective

# -- failing and closing ---------------------------------------------------------------------------


class ForgetsWhatCameBeforeTheEnd(Defective):
    async def receive(self) -> Any:
        if self.ws.closed:
            self.ws._inbox.messages.clear()
        return await super().receive()


class TellsOnlyOnce(Defective):
    def __init__(self, ws: Any) -> None:
        super().__init__(ws)
        self.__dict__["told"] = False

    async def receive(self) -> Any:
        if self.told:
            await anyio.sleep_forever()
        try:
            return await super().receive()
        except WebSocketException:
            self.__dict__["told"] = True
            raise

    async def send(self, value: Any) -> None:
        with contextlib.suppress(WebSocketException):
            await super().send(value)


class RaisesTheSameObject(Defective):
    async def receive(self) -> Any:
        try:
            return await super().receive()
        except WebSocketException as exc:
            raise self.__dict__.setdefault("raised", exc) from None


class NeverWakesThoseWhoReceive(Defective):
    async def receive(self) -> Any:
        try:
            return await super().receive()
        except WebSocketException:
            await anyio.sleep_forever()


class NeverWakesThoseWhoSend(Defective):
    async def send(self, value: Any) -> None:
        try:
            await super().send(value)
        except WebSocketException:
            await anyio.sleep_forever()


class CloseRaisesTheFailure(Defective):
    async def close(self, code: Any = 1000, reason: Any = "") -> None:
        await super().close(code, reason)
        if self.ws.close_code == 1006:
            raise WebSocketNetworkError


class CloseTwiceIsAnError(Defective):
    async def close(self, code: Any = 1000, reason: Any = "") -> None:
        if self.ws.closed:
            raise WebSocketClosedError
        await super().close(code, reason)


class CloseRaisesWhatThePeerSaid(Defective):
    async def close(self, code: Any = 1000, reason: Any = "") -> None:
        await super().close(code, reason)
        if self.ws.close_code not in (code, 1006):
            raise WebSocketDisconnect(self.ws.close_code)


class SendingAfterTheEndIsSilent(Defective):
    async def send(self, value: Any) -> None:
        with contextlib.suppress(WebSocketException):
            await super().send(value)


class ClosesWith1000Always(Defective):
    async def close(self, code: Any = 1000, reason: Any = "") -> None:
        await super().close()


class AclosesWith1001(Defective):
    async def aclose(self) -> None:
        await self.close(1001)


class CloseReturnsTooSoon(Defective):
    async def close(self, code: Any = 1000, reason: Any = "") -> None:
        self.ws._engine.begin_close(code, reason)
        await anyio.lowlevel.checkpoint()


class WaitClosedReturnsAtOnce(Defective):
    async def wait_closed(self) -> None:
        await anyio.lowlevel.checkpoint()


class CallsItAClose(Defective):
    """A failure looks like a close by the peer, and the other way round."""

    async def receive(self) -> Any:
        try:
            return await super().receive()
        except WebSocketDisconnect:
            raise WebSocketNetworkError from None
        except (WebSocketNetworkError, WebSocketProtocolError):
            raise WebSocketDisconnect(1006) from None


class ForgetsCodeAndReason(Defective):
    async def receive(self) -> Any:
        try:
            return await super().receive()
        except WebSocketDisconnect:
            raise WebSocketDisconnect(1000) from None
        except WebSocketProtocolError:
            raise WebSocketProtocolError(1008) from None


class SendersGetAPlainDisconnect(Defective):
    async def send(self, value: Any) -> None:
        try:
            await super().send(value)
        except WebSocketDisconnect as exc:
            raise WebSocketDisconnect(exc.code, exc.reason) from None


# -- cancelling ------------------------------------------------------------------------------------


class CallsCannotBeCancelled(Defective):
    """What need not wait is no cancellation point, and what does is shielded for a while."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name not in SHIELDED:
            return object.__getattribute__(self, name)

        async def call(*args: Any, **options: Any) -> Any:
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                return await object.__getattribute__(self, "ws").__getattribute__(name)(*args, **options)

        return call

    async def __anext__(self) -> Any:
        with anyio.CancelScope(shield=True), anyio.move_on_after(5):
            return await self.ws.receive()


SHIELDED = {
    *("receive", "receive_text", "receive_json", "send", "send_json", "ping", "pong", "wait_closed", "close"),
}


class SwallowsCancellation(Defective):
    async def receive(self) -> Any:
        try:
            return await super().receive()
        except anyio.get_cancelled_exc_class():
            return ""

    async def wait_closed(self) -> None:
        with contextlib.suppress(anyio.get_cancelled_exc_class()):
            await self.ws.wait_closed()


class IsClosedByACancelledCall(Defective):
    async def receive(self) -> Any:
        try:
            return await super().receive()
        except anyio.get_cancelled_exc_class():
            self.ws._engine.cancel()
            raise

    async def wait_closed(self) -> None:
        try:
            await self.ws.wait_closed()
        except anyio.get_cancelled_exc_class():
            self.ws._engine.cancel()
            raise


class ACancelledCloseGoesOn(Defective):
    async def close(self, code: Any = 1000, reason: Any = "") -> None:
        with anyio.CancelScope(shield=True):
            await super().close(code, reason)
        await anyio.lowlevel.checkpoint()


# -- turns, state, wrong use -----------------------------------------------------------------------


class TakesNoTurns(Defective):
    async def receive(self) -> Any:
        if self.ws._inbox.messages:
            message = self.ws._inbox.messages.popleft()
            self.ws._inbox.taken()
            return message
        if self.ws.closed:
            raise WebSocketClosedError
        return await super().receive()

    async def send(self, value: Any) -> None:
        self.ws._budget = 1000
        await super().send(value)

    async def ping(self, payload: bytes = b"") -> Any:
        return self.ws._engine.send_ping(payload, None)

    async def pong(self, payload: bytes = b"") -> None:
        self.ws._outbox.push_control(self.ws._connection.pong(payload))


class SaysItIsOpen(Defective):
    closed = False

    def __repr__(self) -> str:
        return "<session>"


class SaysItIsClosed(Defective):
    closed = True
    close_code = 1000

    def __repr__(self) -> str:
        return "<session>"


class HasNoResponse(Defective):
    response = None


class CanBeSet(Defective):
    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value


class CountsWrongly(Defective):
    def statistics(self) -> Any:
        return dataclasses.replace(self.ws.statistics(), messages_sent=1, unsent_bytes=1)


class TakesWhateverItIsGiven(Defective):
    """Wrong use is put right, or ignored, without a word."""

    async def send(self, value: Any) -> None:
        if isinstance(value, str):
            value = value.encode("utf-8", "replace").decode()
        await super().send(value if isinstance(value, (str, bytes)) else str(value))

    async def send_text(self, value: Any) -> None:
        await self.send(value)

    async def send_bytes(self, value: Any) -> None:
        await self.send(value)

    async def send_json(self, value: Any, mode: str = "text") -> None:
        await self.send(json.dumps(value, default=str))

    async def ping(self, payload: Any = b"") -> Any:
        return await self.ws.ping(bytes(125))

    async def pong(self, payload: Any = b"") -> None:
        await self.ws.pong(bytes(125))

    async def close(self, code: Any = 1000, reason: Any = "") -> None:
        code = code if isinstance(code, int) and 1000 <= code < 5000 and code not in (1004, 1005, 1006, 1015) else 1000
        await self.ws.close(code if code < 1015 or code >= 3000 else 1000, str(reason)[:50])


class IsClosedByWrongUse(Defective):
    async def close(self, code: Any = 1000, reason: Any = "") -> None:
        try:
            await super().close(code, reason)
        except (TypeError, ValueError):
            self.ws._engine.cancel()
            raise

    async def send(self, value: Any) -> None:
        try:
            await super().send(value)
        except (TypeError, ValueError):
            self.ws._engine.cancel()
            raise
