"""Defects in how messages are sent and received."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import anyio
import trio

from httpx2_trio_ws import WebSocketException, WebSocketInvalidTypeReceived
from httpx2_trio_ws._protocol import TEXT

from .defects import Defective

if TYPE_CHECKING:
    from collections import deque

# -- sending ---------------------------------------------------------------------------------------


class DropsEverySeventhMessage(Defective):
    async def send(self, value: Any) -> None:
        if self.ws.statistics().messages_sent % 7 == 6:
            self.ws._connection.messages_sent += 1
        else:
            await super().send(value)


class SendsEachMessageTwice(Defective):
    async def send(self, value: Any) -> None:
        await super().send(value)
        await super().send(value)


class SwapsNeighbours(Defective):
    def __init__(self, ws: Any) -> None:
        super().__init__(ws)
        self.__dict__["held"] = []

    async def send(self, value: Any) -> None:
        self.held.append(value)
        if len(self.held) == 2:
            for message in reversed(self.held):
                await super().send(message)
            self.held.clear()


class SendsTextAsBytes(Defective):
    async def send(self, value: Any) -> None:
        await super().send(value.encode() if isinstance(value, str) else value)

    async def send_text(self, value: Any) -> None:
        await self.send(value)


class SendsBytesAsText(Defective):
    async def send(self, value: Any) -> None:
        await super().send(value.decode("latin-1") if isinstance(value, bytes) else value)


class KeepsReferencesToBuffers(Defective):
    async def send_bytes(self, value: Any) -> None:
        async def later() -> None:
            await anyio.sleep(0.001)
            with contextlib.suppress(WebSocketException, TypeError):
                await self.ws.send_bytes(value)

        trio.lowlevel.spawn_system_task(later)


class SendsJsonAsText(Defective):
    async def send_json(self, value: Any, mode: str = "text") -> None:
        await self.send(json.dumps(value))


class ReturnsBeforeSending(Defective):
    async def send(self, value: Any) -> None:
        async def later() -> None:
            await anyio.sleep(0.001)
            with contextlib.suppress(WebSocketException):
                await self.ws.send(value)

        trio.lowlevel.spawn_system_task(later)


class HoldsSmallMessagesBack(Defective):
    async def send(self, value: Any) -> None:
        await self.ws._runtime.checkpoint()
        self.ws._outbox.deposit(bytes(value, "utf-8"), TEXT)


class LeavesHalfAFrameWhenCancelled(Defective):
    async def send(self, value: Any) -> None:
        try:
            await super().send(value)
        except anyio.get_cancelled_exc_class():
            self.ws._outbox.push(b"\x82\xfe")
            raise


class SendsAgainWhenCancelled(Defective):
    async def send(self, value: Any) -> None:
        try:
            await super().send(value)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await super().send(value)
            raise


class StaysLockedWhenCancelled(Defective):
    def __init__(self, ws: Any) -> None:
        super().__init__(ws)
        self.__dict__["lock"] = anyio.Semaphore(1)

    async def send(self, value: Any) -> None:
        await self.lock.acquire()
        await super().send(value)
        self.lock.release()


class LastComeFirstSent(Defective):
    def __init__(self, ws: Any) -> None:
        super().__init__(ws)
        self.__dict__["waiting"] = []

    async def send(self, value: Any) -> None:
        event = anyio.Event()
        self.waiting.append(event)
        if len(self.waiting) > 1:
            await event.wait()
        await super().send(value)
        self.waiting.remove(event)
        if self.waiting:
            self.waiting[-1].set()


# -- receiving -------------------------------------------------------------------------------------


class LosesAMessageWhenCancelled(Defective):
    async def receive(self) -> Any:
        message = await super().receive()
        await anyio.lowlevel.checkpoint()
        return message


class GivesBytearrays(Defective):
    async def receive(self) -> Any:
        message = await super().receive()
        return bytearray(message) if isinstance(message, bytes) else message


class LosesTheWrongType(Defective):
    async def receive_text(self) -> Any:
        message = await self.receive()
        if not isinstance(message, str):
            raise WebSocketInvalidTypeReceived("")
        return message

    async def receive_bytes(self) -> Any:
        return await self.receive_text()


class LosesWhatIsNotJson(Defective):
    async def receive_json(self) -> Any:
        try:
            return json.loads(str(await self.receive()))
        except json.JSONDecodeError:
            raise json.JSONDecodeError("no JSON", "", 0) from None


class ReversesWhatWaits(Defective):
    async def receive(self) -> Any:
        messages: deque[Any] = self.ws._inbox.messages
        if len(messages) > 1:
            await anyio.lowlevel.checkpoint()
            return messages.pop()
        return await super().receive()


class LastComeFirstServed(Defective):
    def __init__(self, ws: Any) -> None:
        super().__init__(ws)
        self.__dict__["waiting"] = []

    async def receive(self) -> Any:
        waiter: list[Any] = []
        self.waiting.append(waiter)
        try:
            message = await super().receive()
        except BaseException:
            self.waiting.remove(waiter)
            raise
        self.waiting.pop().append(message)
        while not waiter:  # noqa: ASYNC110 (it need not be quick)
            await anyio.sleep(0.001)
        return waiter[0]


class SwallowsOneMessageInTwo(Defective):
    async def receive(self) -> Any:
        await super().receive()
        return await super().receive()


class IterationEndsOnEveryCode(Defective):
    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except WebSocketException:
            raise StopAsyncIteration from None


class IterationNeverEnds(Defective):
    async def __anext__(self) -> Any:
        return await self.receive()
