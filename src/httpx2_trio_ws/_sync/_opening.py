"""Opening a blocking session: the handshake as a request of the client, and the block around the session."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx2

from httpx2_trio_ws._core._entering import OneAtATime
from httpx2_trio_ws._core._watch import watched_connection
from httpx2_trio_ws._exceptions import WebSocketUpgradeError
from httpx2_trio_ws._handshake._refusal import complete, read_refusal_blocking, told_response
from httpx2_trio_ws._handshake._request import Opening

from ._carrier import carrier_for
from ._deadline import Deadline, TimedSteps
from ._engine import Engine
from ._session import SyncWebSocketSession

if TYPE_CHECKING:
    from types import TracebackType

    from httpx2_trio_ws._handshake._agreement import Agreement
    from httpx2_trio_ws._handshake._auth import HandshakeAuth
    from httpx2_trio_ws._options import OpenOptions

GRACE = "failure_grace_seconds"


class OpenSession(contextlib.AbstractContextManager[SyncWebSocketSession, None]):
    """A checked call: nothing has been sent yet. As a context manager, it is around the session.

    A class and not a generator: generators that were not finished are closed when the interpreter ends, and then
    no other thread runs any more.

    Raises:
        TypeError, ValueError, RuntimeError: saying what to do instead.
    """

    def __init__(self, client: httpx2.Client, url: httpx2.URL | str, options: OpenOptions) -> None:
        if GRACE in options:
            raise TypeError(
                f"a blocking session has no {GRACE}: a failure is raised by the next call, or when the block is left"
            )
        self._opening = Opening(client, httpx2.Client, url, options)
        self._once = OneAtATime()

    def __enter__(self) -> SyncWebSocketSession:
        self._once.enter()
        try:
            return self._open()
        except BaseException:
            self._once.leave()
            raise

    def _open(self) -> SyncWebSocketSession:
        response, agreement = shake_hands(self._opening)
        options = self._opening.session
        engine: Engine | None = None
        try:
            connection, watch = watched_connection(options, agreement.deflate)
            carrier = carrier_for(response)
            connection.reads_straight = carrier.read_straight(connection.room)
            engine = Engine(response, carrier, connection, agreement.deflate, options, watch=watch)
            self._session = SyncWebSocketSession(engine, told_response(response), agreement.subprotocol)
            watch.opened(self._session)
            engine.start()
        except BaseException:
            if engine is not None:
                engine.abandon()
            response.close()
            raise
        return self._session

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            self._session.__exit__(exc_type, exc, tb)
        except BaseException:
            self._session._engine.abort()  # as it has, unless Ctrl-C came before it could do anything
            raise
        finally:
            self._once.leave()


class OpenSessionWithClient(contextlib.AbstractContextManager[SyncWebSocketSession, "bool | None"]):
    """An opening with a client of its own, that lives as long as the session."""

    def __init__(self, url: httpx2.URL | str, options: OpenOptions) -> None:
        self._url = url
        self._options = options
        self._once = OneAtATime()

    def __enter__(self) -> SyncWebSocketSession:
        self._once.enter()
        try:
            with contextlib.ExitStack() as stack:
                client = stack.enter_context(httpx2.Client())
                session = stack.enter_context(OpenSession(client, self._url, self._options))
                self._stack = stack.pop_all()
        except BaseException:
            self._once.leave()
            raise
        return session

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        try:
            return self._stack.__exit__(exc_type, exc, tb)
        finally:
            self._once.leave()


def shake_hands(opening: Opening[httpx2.Client]) -> tuple[httpx2.Response, Agreement]:
    """Send the request and check the answer.

    Raises:
        WebSocketUpgradeError: a refusal, its body read, or an invalid answer.
        WebSocketHandshakeTimeout: it took too long.
        httpx2.TransportError: as from any request, ``ConnectError``, ``ReadTimeout``, ``PoolTimeout`` …
    """
    late = opening.too_slow()  # the request has its own timeouts now
    deadline = Deadline(opening.handshake.handshake_timeout_seconds)
    response: httpx2.Response | None = None
    try:
        response, auth = _send(opening, deadline, late)
        try:
            agreement = opening.agreement(response, auth)
        except WebSocketUpgradeError as exc:
            complete(exc, read_refusal_blocking(response))
            raise
        deadline.end(late)
    except BaseException:
        deadline.end()
        if response is not None:
            response.close()
        raise
    return response, agreement


def _send(
    opening: Opening[httpx2.Client], deadline: Deadline, late: Exception
) -> tuple[httpx2.Response, HandshakeAuth]:
    steps = TimedSteps(opening.steps, deadline, opening.trace)
    auth = opening.auth(steps.ready, None)
    response: httpx2.Response | None = None
    try:
        with contextlib.closing(auth):
            while response is None:
                try:
                    response = opening.client.send(opening.request, stream=True, auth=auth, follow_redirects=False)
                except Exception as exc:  # noqa: BLE001 (it is raised from there, or what it means)
                    opening.send_again(exc, late if deadline.passed() else None)
        response.history = auth.history
    except BaseException:  # Ctrl-C, at any of these steps
        if response is not None:
            response.close()
        raise
    return response, auth
