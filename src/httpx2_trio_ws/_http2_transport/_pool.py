"""Which connection a request goes to: one that is there, a new one, or one of HTTP/1.1."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import httpx2

from ._connection import Connection
from ._dial import Dial, core_request, dialling, httpx2_errors, response_of

if TYPE_CHECKING:
    import httpcore2

    from httpx2_trio_ws._runtime import Runtime

    from ._options import ConnectionOptions

# A server that has no WebSockets over HTTP/2 is not asked again for so many seconds.
_HTTP1_FOR = 300.0


class _Word(enum.Enum):
    """What a request that waits may be told, instead of a connection."""

    DIAL = enum.auto()
    HTTP1 = enum.auto()


class _Waiter:
    """A request that waits for a connection."""

    __slots__ = ("event", "told")

    def __init__(self, runtime: Runtime) -> None:
        self.event = runtime.event()
        self.told: Connection | _Word | httpx2.TransportError | None = None

    def tell(self, what: Connection | _Word | httpx2.TransportError) -> None:
        self.told = what
        self.event.set()


class _Origin:
    """A scheme, host and port, and what is known of the server there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections: list[Connection] = []
        # Those that give up are not looked for.
        self.waiting: OrderedDict[_Waiter, None] = OrderedDict()
        self.is_dialling = False
        self.http1_until = -math.inf

    def with_room(self) -> Connection | None:
        return next((connection for connection in self.connections if connection.has_room), None)


def _limit(value: int | None) -> float:
    return math.inf if value is None else value


class Pool:
    """The connections of one transport on one event loop.

    Requests to one origin wait in the order in which they came. One of them dials, at most; the others have its
    connection, or its failure. If it is cancelled, the next one dials.

    Args:
        runtime: of the event loop.
        core: where connections come from, and their slots.
        options: of the connections.
        http1: HTTP/1.1 will do.
        limits: how many there may be, to all origins, and how many of them idle.
    """

    def __init__(
        self,
        runtime: Runtime,
        core: httpcore2.AsyncConnectionPool,
        options: ConnectionOptions,
        *,
        http1: bool,
        limits: httpx2.Limits,
    ) -> None:
        self._runtime = runtime
        self._core = core
        self._options = options
        self._http1 = http1
        self._max_connections = _limit(limits.max_connections)
        self._max_idle = _limit(limits.max_keepalive_connections)
        self._origins: dict[tuple[Any, ...], _Origin] = {}
        self._ending: set[Connection] = set()

    @property
    def connections(self) -> list[Connection]:
        """Those that are open, oldest first."""
        found = [connection for origin in self._origins.values() for connection in origin.connections]
        return sorted(found, key=lambda connection: connection.number)

    async def reserve(self, request: httpx2.Request) -> Connection | httpx2.Response:
        """Room for a stream on a connection; or the answer over HTTP/1.1.

        Raises:
            httpx2.TransportError: as from any transport.
        """
        url = request.url
        key = (url.scheme, url.host, url.port, request.extensions.get("sni_hostname"))
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = _Origin(str(url.copy_with(path="/", query=None, userinfo=b""))[:-1])
        while True:
            told = await self._ask(origin, request)
            if isinstance(told, Connection):
                return told
            if told is _Word.HTTP1:
                return await self.over_http1(request)
            got = await self._dial(origin, request)
            if got is not None:
                return got

    async def over_http1(self, request: httpx2.Request) -> httpx2.Response:
        """The answer to a request over HTTP/1.1."""
        with httpx2_errors(request):
            return response_of(await self._core.handle_async_request(core_request(request, {**request.extensions})))

    # -- waiting -------------------------------------------------------------------------------

    async def _ask(self, origin: _Origin, request: httpx2.Request) -> Connection | _Word:
        waiter = _Waiter(self._runtime)
        origin.waiting[waiter] = None
        self._serve(origin)
        if waiter.told is None:
            await self._wait(origin, waiter, request)
        told = waiter.told
        assert told is not None
        if isinstance(told, httpx2.TransportError):
            raise type(told)(str(told), request=request) from told
        return told

    async def _wait(self, origin: _Origin, waiter: _Waiter, request: httpx2.Request) -> None:
        timeouts = request.extensions.get("timeout", {})
        seconds = timeouts.get("connect" if origin.is_dialling else "pool")
        deadline = math.inf if seconds is None else self._runtime.now() + seconds
        try:
            with self._runtime.cancel_scope(deadline=deadline):
                await waiter.event.wait()
        except BaseException:
            self._withdraw(origin, waiter)
            raise
        if waiter.told is None:
            del origin.waiting[waiter]
            if origin.is_dialling:
                raise httpx2.ConnectTimeout(f"no connection to {origin.name} within {seconds} s", request=request)
            raise httpx2.PoolTimeout(self._full(origin, seconds), request=request)

    def _full(self, origin: _Origin, seconds: float | None) -> str:
        streams = sum(connection.sessions for connection in origin.connections)
        return (
            f"no room for one more session to {origin.name} within {seconds} s: {streams} are open on "
            f"{len(origin.connections)} HTTP/2 connections, as many as the server allows on each "
            f"(SETTINGS_MAX_CONCURRENT_STREAMS) or max_sessions_per_connection does, and limits= has max_connections="
            f"{self._max_connections}"
        )

    def _withdraw(self, origin: _Origin, waiter: _Waiter) -> None:
        """The request was cancelled: what it was told is for the next."""
        if waiter in origin.waiting:
            del origin.waiting[waiter]
        elif isinstance(waiter.told, Connection):
            waiter.told.release()
        elif waiter.told is _Word.DIAL:
            origin.is_dialling = False
            self._serve(origin)

    def _serve(self, origin: _Origin) -> None:
        """Tell those who wait what they may have."""
        waiting = origin.waiting
        while waiting:
            if self._runtime.now() < origin.http1_until:
                waiting.popitem(last=False)[0].tell(_Word.HTTP1)
            elif (connection := origin.with_room()) is not None:
                connection.reserved += 1
                waiting.popitem(last=False)[0].tell(connection)
            elif not origin.is_dialling and self._may_dial(origin):
                origin.is_dialling = True
                waiting.popitem(last=False)[0].tell(_Word.DIAL)
            else:
                return

    def _may_dial(self, origin: _Origin) -> bool:
        if any(connection.is_usable and not connection.sessions for connection in origin.connections):
            return False  # the server allows no stream at all
        connections = self.connections
        if len(connections) + sum(other.is_dialling for other in self._origins.values()) < self._max_connections:
            return True
        for connection in connections:
            if not connection.sessions:  # of another origin
                self._forget(connection)
                connection.close()
                return True
        return False

    def _changed(self, connection: Connection) -> None:
        """Something has become free."""
        if connection.stopped.is_set():
            self._ending.discard(connection)
        if connection.error is not None or not (connection.is_usable or connection.sessions):
            self._forget(connection)
        for origin in list(self._origins.values()):
            if origin.waiting:
                self._serve(origin)
        if not connection.sessions:
            self._trim()

    def _trim(self) -> None:
        """Keep no more idle connections than there may be."""
        idle = [connection for connection in self.connections if connection.has_room and not connection.sessions]
        while len(idle) > self._max_idle:
            oldest = idle.pop(0)
            self._forget(oldest)
            oldest.close()

    def _forget(self, connection: Connection) -> None:
        for origin in self._origins.values():
            if connection in origin.connections:
                origin.connections.remove(connection)

    # -- dialling ------------------------------------------------------------------------------

    async def _dial(self, origin: _Origin, request: httpx2.Request) -> Connection | httpx2.Response | None:
        """Get a connection, for all who wait; or the answer, if the server chose HTTP/1.1 for it.

        ``None`` is neither: the request is to wait like all others.
        """
        try:
            return await self._connect(origin, request)
        except httpx2.TransportError as exc:
            waiting = list(origin.waiting)
            origin.waiting.clear()
            for waiter in waiting:
                waiter.tell(exc)
            raise
        finally:
            origin.is_dialling = False
            self._serve(origin)

    async def _connect(self, origin: _Origin, request: httpx2.Request) -> Connection | httpx2.Response | None:
        def on_http1() -> None:
            origin.http1_until = self._runtime.now() + _HTTP1_FOR
            self._serve(origin)

        prior_knowledge = request.url.scheme not in ("https", "wss")
        dial = Dial(http1=self._http1, prior_knowledge=prior_knowledge, on_http1=on_http1)
        extensions = dict(request.extensions)
        if "trace" in extensions:
            extensions["trace"] = dial.traced(extensions["trace"])
        with httpx2_errors(request), dialling(dial):
            response = response_of(await self._core.handle_async_request(core_request(request, extensions)))
        if dial.stream is None:
            on_http1()  # or one that the pool had
            return response
        connection = self._start(origin, dial, response)
        try:
            await self._greet(connection, request)
        except BaseException:
            connection.abort()
            raise
        if connection.takes_websockets:
            origin.connections.append(connection)
            if connection.sessions <= connection.max_sessions:
                return connection
            connection.release()
        else:
            await connection.aclose()
            if not self._http1:
                raise httpx2.UnsupportedProtocol(
                    "the server does not take WebSockets over HTTP/2: it sent no SETTINGS_ENABLE_CONNECT_PROTOCOL "
                    "(RFC 8441), and http1=False rules out the rest",
                    request=request,
                )
            on_http1()
        return None

    def _start(self, origin: _Origin, dial: Dial, response: httpx2.Response) -> Connection:
        response.extensions = {"network_stream": dial.stream}
        connection = Connection(
            self._runtime,
            self._runtime.carrier(response),
            origin.name,
            self._options,
            get_extra_info=dial.stream.get_extra_info,
            on_change=self._changed,
        )
        self._ending.add(connection)
        self._runtime.spawn_system_task(connection.run)
        return connection

    async def _greet(self, connection: Connection, request: httpx2.Request) -> None:
        seconds = request.extensions.get("timeout", {}).get("connect")
        deadline = math.inf if seconds is None else self._runtime.now() + seconds
        with self._runtime.cancel_scope(deadline=deadline):
            await connection.ready.wait()
        if connection.error is not None:
            raise httpx2.ConnectError(str(connection.error), request=request) from connection.error
        if not connection.ready.is_set():
            raise httpx2.ConnectTimeout(f"the server sent no SETTINGS within {seconds} s", request=request)

    # -- the end -------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """End all connections, and with them what they carry."""
        ending = list(self._ending)
        for connection in ending:
            connection.close()
        for connection in ending:
            await connection.aclose()
        with httpx2_errors():
            await self._core.aclose()
