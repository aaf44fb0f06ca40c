"""picows, with callbacks, as its documentation advises for speed."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from .driving import Clock, Ends, Figures, check, check_done, percentiles
from .jobs import encoded

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from .jobs import Job


class Listener(WSListener):
    """It counts messages, each turned into what a program would use, and ends a wait after so many."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        self.loop = asyncio.get_running_loop()
        self.text = job.text
        self.left = 0
        self.last: object = None
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.room = asyncio.Event()
        self.room.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.type = WSMsgType.TEXT if self.text else WSMsgType.BINARY

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
            return
        self.last = frame.get_payload_as_utf8_text() if self.text else frame.get_payload_as_bytes()
        self.left -= 1
        if self.left == 0:
            self.done.set_result(None)

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("disconnected"))
            self.done.exception()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def expect(self, count: int) -> asyncio.Future[None]:
        """So many messages from now on; what came too early counts."""
        self.left += count
        self.done = self.loop.create_future()
        if self.left <= 0:
            self.done.set_result(None)
        return self.done

    async def send(self, message: str | bytes) -> None:
        self.transport.send(self.type, encoded(message))

    async def receive(self) -> object:
        """Wait until one more has come."""
        await self.expect(1)
        return self.last

    async def flood(self, job: Job) -> Figures:
        done = self.expect(job.count)
        self.transport.send(self.type, encoded(job.ordinary))
        with Clock() as clock:
            await done
        check(job, self.last)
        return clock.figures(job.count)

    async def burst(self, job: Job) -> Figures:
        done, send, kind, room = self.expect(1), self.transport.send, self.type, self.room
        message, text = job.ordinary, self.text
        with Clock() as clock:
            for _ in itertools.repeat(None, job.count - 1):
                send(kind, message.encode() if text else message)  # type: ignore[union-attr]
                if not room.is_set():
                    await room.wait()
            send(kind, encoded(job.last))
            await done
        check_done(self.last)
        return clock.figures(job.count)


class EchoListener(Listener):
    """For round trips: the callback for one sends the next message."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
            return
        self.last = frame.get_payload_as_utf8_text() if self.text else frame.get_payload_as_bytes()
        self.latencies.append(time.perf_counter() - self.begun)
        self.left -= 1
        if self.left == 0:
            self.done.set_result(None)
        else:
            self.go()

    def go(self) -> None:
        self.begun = time.perf_counter()
        self.transport.send(self.type, encoded(self.message))

    async def echo(self, job: Job) -> Figures:
        self.message = job.ordinary
        self.latencies: list[float] = []
        done = self.expect(job.count)
        with Clock() as clock:
            self.go()
            await done
        check(job, self.last)
        return clock.figures(job.count, **percentiles(self.latencies))


@asynccontextmanager
async def connect(url: str, job: Job, context: ssl.SSLContext | None) -> AsyncGenerator[Ends]:
    made = EchoListener if job.kind == "echo" else Listener
    transport, listener = await ws_connect(lambda: made(job), url, ssl_context=context)
    assert isinstance(listener, Listener)
    try:
        yield Ends(listener.send, listener.receive, listener)
    finally:
        transport.send_close(WSCloseCode.OK)
        await transport.wait_disconnected()
