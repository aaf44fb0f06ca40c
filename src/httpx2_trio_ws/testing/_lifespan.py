"""An ASGI app's lifespan: it is started before the first connection and shut down after the last (ASGI lifespan 2.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import anyio
from anyio.lowlevel import checkpoint

from ._asgi_call import logger
from ._asgi_events import call_app, field, listed, type_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._asgi_events import App, Event

STARTUP = ("lifespan.startup.complete", "lifespan.startup.failed")
SHUTDOWN = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


class Lifespan:
    """One run of an app's lifespan.

    Attributes:
        state: what the app puts there for its connections.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.state: dict[str, Any] = {}
        self._cancel_scope = anyio.CancelScope()
        self._events = ["lifespan.shutdown", "lifespan.startup"]
        # What the app may send.
        self._allowed: tuple[str, ...] = STARTUP
        self._up = False
        self._stop = anyio.Event()
        # Startup is complete, has failed, or is not for this app.
        self._started = anyio.Event()
        # The app has returned, or waits for more events than there are.
        self._quiet = anyio.Event()
        self._ended = anyio.Event()
        self._failed: str | None = None
        self._error: Exception | None = None

    async def start(self, start_soon: Callable[..., object]) -> None:
        """Run the app's startup.

        Raises:
            Exception: what the app raised, once it had said that its startup failed.
            RuntimeError: it said so, and raised nothing.
        """
        start_soon(self._run)
        try:
            await self._started.wait()
        except BaseException as exc:
            exc.add_note("the app has not completed its startup: it has not sent 'lifespan.startup.complete'")
            self._cancel_scope.cancel()
            raise
        if self._failed is not None and not self._up:
            await self._end()
            raise self._error or RuntimeError(f"the app's startup has failed: {self._failed}")

    async def stop(self) -> Exception | None:
        """Run the app's shutdown. Returns what went wrong in it, or before it."""
        self._stop.set()
        await self._end()
        if self._failed is not None and self._error is None:
            return RuntimeError(f"the app's shutdown has failed: {self._failed}")
        return self._error

    async def _end(self) -> None:
        """Wait until the app has done all that it will do."""
        try:
            await self._quiet.wait()
        finally:
            self._cancel_scope.cancel()
        await self._ended.wait()

    async def _run(self) -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope = {"type": "lifespan", "asgi": asgi, "state": self.state}
        try:
            with self._cancel_scope:
                await call_app(self._app, scope, self._receive, self._send)
        except Exception as exc:  # noqa: BLE001 (it is raised again, in the test, or means what the spec says)
            if self._started.is_set() or self._failed is not None:
                self._error = exc
            else:
                # The spec: an app that raises here has no lifespan. One that has taken the event may have had one.
                level = "debug" if len(self._events) == 2 else "warning"
                getattr(logger, level)("the app raised in its lifespan; going on without it", exc_info=exc)
        finally:
            self._started.set()
            self._quiet.set()
            self._ended.set()

    async def _receive(self) -> Event:
        await checkpoint()
        if self._failed is None and self._events:
            kind = self._events.pop()
            if kind == "lifespan.shutdown":
                await self._stop.wait()
                self._allowed = SHUTDOWN
            return {"type": kind}
        self._quiet.set()
        return await _never()

    async def _send(self, event: Event) -> None:
        await checkpoint()
        kind = type_of(event)
        if kind not in self._allowed:
            raise RuntimeError(f"the app sent {kind!r} in its lifespan; it may send {listed(self._allowed)} there")
        if kind.endswith("failed"):
            self._failed = field(event, "message", (str,), "")
        elif kind == "lifespan.startup.complete":
            self._up = True
        # In between, Starlette says so if a background task has failed, and then raises what that has raised.
        self._allowed = SHUTDOWN[1:] if kind == "lifespan.startup.complete" else ()
        self._started.set()


async def _never() -> NoReturn:
    await anyio.sleep_forever()
    raise AssertionError  # pragma: no cover
