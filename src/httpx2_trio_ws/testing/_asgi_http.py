"""An HTTP request to an ASGI app."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, ClassVar, cast

import anyio
from anyio.lowlevel import checkpoint

from ._asgi_call import READ_SIZE, Call
from ._asgi_events import Stage

if TYPE_CHECKING:
    import httpx2

    from ._asgi_events import App, Event


class HTTPCall(Call):
    """One request and its response."""

    start_event = "http.response.start"
    body_event = "http.response.body"
    allowed: ClassVar[dict[Stage, tuple[str, ...]]] = {
        Stage.WAITING: ("http.response.start",),
        Stage.RESPONDING: ("http.response.body",),
        Stage.RESPONDED: (),
    }

    def __init__(self, app: App, scope: dict[str, Any], *, raising: bool) -> None:
        super().__init__(app, scope, raising=raising, head_only=scope["method"] == "HEAD")
        self._request_complete = False
        # The client has gone, or has its response: both are http.disconnect.
        self._over = anyio.Event()

    async def send_request(self, body: httpx2.AsyncByteStream) -> None:
        """Send the request's body, as far as the app lets it: one that has responded needs no more of it."""
        chunks = body.__aiter__()
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(chunks, AsyncGenerator):  # as httpx2's are; trio complains of one that is left halfway
                generator = cast("AsyncGenerator[bytes, None]", chunks)
                await stack.enter_async_context(contextlib.aclosing(generator))
            with contextlib.suppress(BrokenPipeError):
                async for chunk in chunks:
                    await self.client.write(chunk)
        self.client.end()

    async def receive(self) -> Event:
        """A part of the request's body, or that it is over."""
        await checkpoint()
        with self._in_call():
            if not self._request_complete:
                # As long as the client sends. What it has not sent when it goes is not missed.
                with contextlib.suppress(ConnectionResetError):
                    data = await self.server.read(READ_SIZE)
                    if not self.gone:
                        self._request_complete = self.server.at_end
                        return {"type": "http.request", "body": data, "more_body": not self._request_complete}
            await self._over.wait()
        self._told = True
        return {"type": "http.disconnect"}

    def end_response(self) -> None:
        """The response is complete: nothing of the request is read any more."""
        super().end_response()
        self._over.set()

    def client_gone(self) -> None:
        """The app's next ``receive()`` tells of it."""
        super().client_gone()
        self._over.set()
