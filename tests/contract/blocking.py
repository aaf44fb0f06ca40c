"""The blocking session behind an async face, so that the contract can be run against it.

Each call is made in a thread of its own, which ends with the call. The loop, trio's, plays the peer and the checks.
"""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import httpx2
import trio

from httpx2_trio_ws import sync

from .carriers import BUFFERS, listening

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable, Generator

    from httpx2_trio_ws.testing import SessionMaker

    from .carriers import Handler

#: What the contract may not ask of it: there is nothing to cancel with, no nursery, and no loop to take turns on.
WITHOUT = {"cancellation", "groups", "order", "turns"}


async def in_thread(function: Callable[[], Any]) -> Any:
    """Call it in a new thread. If this is cancelled, as at the end of a check's time, the thread is left alone."""
    token, done = trio.lowlevel.current_trio_token(), trio.Event()
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as exc:
            errors.append(exc)
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    await done.wait()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


class PongWaiter:
    """The async face of a blocking one."""

    def __init__(self, waiter: sync.SyncPongWaiter) -> None:
        self._waiter = waiter

    async def wait(self) -> float:
        seconds: float = await in_thread(self._waiter.wait)
        return seconds

    def __await__(self) -> Generator[Any, Any, float]:
        return self.wait().__await__()


class Parts:
    """The async face of a message in parts, sent or received."""

    def __init__(self, message: sync.SyncMessageReader | sync.SyncMessageWriter) -> None:
        self._message: Any = message

    @property
    def kind(self) -> str:
        kind: str = self._message.kind
        return kind

    async def __aenter__(self) -> Self:
        await in_thread(self._message.__enter__)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with trio.CancelScope(shield=True):
            await in_thread(partial(self._message.__exit__, *exc_info))

    async def send(self, part: Any) -> None:
        await in_thread(partial(self._message.send, part))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        end = object()
        part = await in_thread(partial(next, self._message, end))
        if part is end:
            raise StopAsyncIteration
        return part


ASYNC = {
    *("receive", "receive_text", "receive_bytes", "receive_json", "wait_closed", "close"),
    *("send", "send_text", "send_bytes", "send_json", "pong"),
}


class Session:
    """The async face of a blocking session."""

    def __init__(self, ws: sync.SyncWebSocketSession) -> None:
        object.__setattr__(self, "ws", ws)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.ws, name)
        if name not in ASYNC:
            return value

        async def call(*args: Any, **options: Any) -> Any:
            return await in_thread(partial(value, *args, **options))

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.ws, name, value)

    def __repr__(self) -> str:
        return repr(self.ws)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        end = object()
        message = await in_thread(partial(next, self.ws, end))
        if message is end:
            raise StopAsyncIteration
        result: str | bytes = message
        return result

    async def ping(self, payload: bytes = b"") -> PongWaiter:
        return PongWaiter(await in_thread(partial(self.ws.ping, payload)))

    def send_stream(self, kind: Any) -> Parts:
        return Parts(self.ws.send_stream(kind))

    def receive_stream(self) -> Parts:
        return Parts(self.ws.receive_stream())

    async def aclose(self) -> None:
        await self.close()


def blocking_maker(contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None) -> SessionMaker:
    """``contexts`` are a server's and a client's, for TLS."""
    server, client = contexts or (None, False)

    @contextlib.asynccontextmanager
    async def maker(handler: Handler, /, **options: Any) -> AsyncGenerator[Any]:
        options.pop("failure_grace_seconds", None)  # there is no nursery that it could be raised in
        transport = httpx2.HTTPTransport(verify=client, limits=httpx2.Limits(max_connections=1), socket_options=BUFFERS)
        with httpx2.Client(transport=transport, timeout=httpx2.Timeout(5)) as http_client:
            async with listening(handler, server) as url:
                opening = sync.open_websocket(http_client, url, **options)
                ws = await in_thread(opening.__enter__)
                try:
                    yield Session(ws)
                except BaseException as exc:
                    await _leave(opening, exc)
                    raise
                else:
                    await _leave(opening, None)

    return maker


async def _leave(opening: contextlib.AbstractContextManager[Any], exc: BaseException | None) -> None:
    with trio.CancelScope(shield=True):
        if exc is None:
            await in_thread(partial(opening.__exit__, None, None, None))
        else:
            await in_thread(partial(opening.__exit__, type(exc), exc, exc.__traceback__))
