"""Asking for a session from a task: the request is sent, and its answer waited for, in a cancel scope."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx2

from httpx2_trio_ws._exceptions import WebSocketUpgradeError

from ._refusal import complete, read_refusal
from ._request import Opening

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from httpx2_trio_ws._options import OpenOptions
    from httpx2_trio_ws._runtime import Runtime

    from ._agreement import Agreement
    from ._auth import HandshakeAuth
    from ._steps import Steps


class AsyncOpening(Opening[httpx2.AsyncClient]):
    """An opening on an event loop."""

    def __init__(
        self, runtime: Runtime, client: httpx2.AsyncClient, url: httpx2.URL | str, options: OpenOptions
    ) -> None:
        super().__init__(client, httpx2.AsyncClient, url, options)
        self.runtime = runtime
        self.request.extensions["trace"] = _Trace(runtime, self.steps, self.trace).note


class _Trace:
    """Takes note of each step, tells the user's own trace, and closes a connection that is half open where httpx2 does not."""

    def __init__(self, runtime: Runtime, steps: Steps, trace: Callable[[str, Any], Awaitable[None]] | None) -> None:
        self._runtime = runtime
        self._steps = steps
        self._trace = trace

    async def note(self, name: str, info: Any) -> None:
        steps = self._steps
        steps.note(name, info)
        connecting, stage = steps.connecting, steps.stage
        keep = not connecting
        try:
            if self._trace is not None:
                await self._trace(name, info)
            if connecting and stage == "complete":
                # httpx2's next checkpoint is where it locks the new connection for the request. Cancelled there,
                # it would keep the connection in its pool, neither used nor closed, and never free the slot.
                await self._runtime.checkpoint_if_cancelled()
            keep |= stage != "failed"
        finally:
            if not keep and steps.half_open is not None:
                with self._runtime.cancel_scope(shield=True):
                    await steps.half_open.aclose()


async def shake_hands(opening: AsyncOpening) -> tuple[httpx2.Response, Agreement]:
    """Send the request and check the answer.

    Raises:
        WebSocketUpgradeError: a refusal, its body read, or an invalid answer.
        WebSocketHandshakeTimeout: it took too long.
        httpx2.TransportError: as from any request, ``ConnectError``, ``ReadTimeout``, ``PoolTimeout`` …
    """
    runtime, seconds = opening.runtime, opening.handshake.handshake_timeout_seconds
    scope = runtime.cancel_scope()
    if seconds is not None:
        scope.deadline = runtime.now() + seconds
    answer = None
    with scope:
        answer = await _send(opening)
    if answer is None:
        raise opening.too_slow()
    response, auth = answer
    try:
        try:
            return response, opening.agreement(response, auth)
        except WebSocketUpgradeError as exc:
            complete(exc, await read_refusal(response, runtime, scope.deadline))
            raise
    except BaseException:
        with runtime.cancel_scope(shield=True):
            await response.aclose()
        raise


async def _send(opening: AsyncOpening) -> tuple[httpx2.Response, HandshakeAuth]:
    auth = opening.auth(opening.steps.ready, opening.runtime)
    async with contextlib.aclosing(auth):
        while True:
            try:
                response = await opening.client.send(opening.request, stream=True, auth=auth, follow_redirects=False)
            except Exception as exc:  # noqa: BLE001 (it is raised from there, or what it means)
                opening.send_again(exc)
            else:
                response.history = auth.history
                return response, auth
