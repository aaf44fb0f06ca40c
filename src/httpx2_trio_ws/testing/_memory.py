"""Sessions whose other end is played by the test: no server, no socket, no port."""

from __future__ import annotations

import contextlib
import inspect
import math
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.lowlevel
import httpx2

from httpx2_trio_ws._handshake._versions import HTTP1, is_accepted

from ._peer import ScriptedPeer
from ._pipe import memory_stream_pair, upgraded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    Handler = Callable[[ScriptedPeer], Awaitable[object]]
    Respond = Callable[[httpx2.Request], httpx2.Response | Awaitable[httpx2.Response | None] | None]

# When the block is left, handlers are given so many seconds to come to their ends.
_GRACE = 0.1
_BASE_URL = "http://memory.example"


@contextlib.asynccontextmanager
async def memory_server(
    handler: Handler,
    *,
    respond: Respond | None = None,
    capacity: float = 65536,
    compression: Literal["deflate"] | None = None,
) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client whose WebSocket sessions are answered by ``handler``, in memory.

    Runs on any event loop that anyio runs. No socket is involved and nothing waits for the system, so a mock clock
    works: trio's jumps whenever both sides wait.

    The block is a task group, and the handlers are its tasks. An exception that leaves a handler cancels the block
    and leaves it in an :exc:`ExceptionGroup`, and so does one that leaves the block itself. Handlers that still run
    when the block has been left normally are given 0.1 seconds to finish, and are cancelled then.

    Args:
        handler: an async function, called once for each session with the :class:`ScriptedPeer` that plays the
            server's end. When it returns, the session is closed with 1000, closing handshake and all, unless the
            handler has ended it in another way.
        respond: called with each request, before anything else; may be async. It returns ``None`` to accept the
            handshake, or a response: one with status 101 adds its headers to the handshake's own (a subprotocol,
            cookies) and takes precedence over them, any other is the answer to the request (a refusal, a redirect,
            a login page).
        capacity: bytes that the connection holds in each direction before a write waits; ``math.inf`` for no limit.
        compression: ``"deflate"`` to agree to permessage-deflate if the client offers it, without context takeover.

    Yields:
        An open :class:`httpx2.AsyncClient`. It takes no notice of the environment's proxies. Any URL will do; relative
        ones are completed with ``http://memory.example``.

    Raises:
        TypeError, ValueError: an argument is wrong.
        ExceptionGroup: with what left the block or a handler. A handler that is no async function makes a
            :exc:`TypeError` there; a request that is no handshake, and that ``respond`` leaves alone, a
            :exc:`RuntimeError` where it is made.
    """
    _check(handler, respond, capacity, compression)
    async with contextlib.AsyncExitStack() as streams, anyio.create_task_group() as tasks:
        server = _MemoryServer(handler, respond, capacity, tasks, streams, deflate=compression == "deflate")
        async with httpx2.AsyncClient(transport=server, base_url=_BASE_URL, trust_env=False) as client:
            yield client
        with anyio.move_on_after(_GRACE):
            for done in server.handlers:
                await done.wait()
        tasks.cancel_scope.cancel()


def _check(handler: object, respond: object, capacity: object, compression: object) -> None:
    if inspect.iscoroutine(handler):
        handler.close()  # else it would be complained about as well
        raise TypeError("the handler is the async function itself, not what calling it gives: leave the () away")
    for name, function in (("handler", handler), ("respond", respond)):
        if not callable(function) and not (name == "respond" and function is None):
            raise TypeError(f"{name} must be a function, not {function!r}")
    if not isinstance(capacity, (int, float)) or math.isnan(capacity) or capacity < 1:
        raise ValueError(f"capacity is a number of bytes, 1 or more, not {capacity!r}")
    if compression not in ("deflate", None):
        raise ValueError(f'compression is "deflate" or None, not {compression!r}')


class _MemoryServer(httpx2.AsyncBaseTransport):
    """Answers handshakes, and has the handlers play the rest."""

    def __init__(
        self,
        handler: Handler,
        respond: Respond | None,
        capacity: float,
        tasks: anyio.abc.TaskGroup,
        streams: contextlib.AsyncExitStack,
        *,
        deflate: bool,
    ) -> None:
        self._handler = handler
        self._respond = respond
        self._capacity = capacity
        self._tasks = tasks
        self._streams = streams
        self._deflate = deflate
        #: One for each handler that has been started; set when it has returned.
        self.handlers: list[anyio.Event] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await anyio.lowlevel.checkpoint()
        answer = None if self._respond is None else self._respond(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if not isinstance(answer, (httpx2.Response, type(None))):
            raise TypeError(f"respond must return an httpx2.Response or None, not {answer!r}")
        if answer is not None and not is_accepted(answer):
            return answer
        fault = _no_handshake(request)
        if fault:
            raise RuntimeError(
                f"{request.method} {request.url} is no WebSocket handshake: {fault}. Requests of other kinds are answered "
                "by memory_server(respond=...)"
            )
        return self._accept(request, answer)

    def _accept(self, request: httpx2.Request, answer: httpx2.Response | None) -> httpx2.Response:
        deflate = self._deflate and _offers_deflate(request)
        status, accepting = HTTP1.accept(request)
        headers = httpx2.Headers(accepting)
        if deflate:
            headers["Sec-WebSocket-Extensions"] = (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            )
        if answer is not None:
            headers = _merged(headers, answer.headers)
        ours, theirs = memory_stream_pair(self._capacity)
        for stream in (ours, theirs):
            self._streams.callback(stream.close)
        peer = ScriptedPeer(theirs, request, compressed=deflate)
        done = anyio.Event()
        self.handlers.append(done)
        self._tasks.start_soon(self._play, peer, done)
        return upgraded(status, headers.raw, ours, request)

    async def _play(self, peer: ScriptedPeer, done: anyio.Event) -> None:
        # After an error the connection is left as it is: the block is being cancelled, and a lost connection would
        # only be one more error in the group.
        played = self._handler(peer)
        if not inspect.isawaitable(played):
            raise TypeError(f"the handler must be an async function; {self._handler!r} returned {played!r}")
        await played
        await peer.close()
        done.set()


def _no_handshake(request: httpx2.Request) -> str:
    """What is missing for a handshake (RFC 6455 §4.2.1); empty if nothing is."""
    missing = HTTP1.lacks(request)
    for name in ("Sec-WebSocket-Key", "Sec-WebSocket-Version"):
        if not missing and name not in request.headers:
            missing = f"it has no header {name}"
    return missing


def _offers_deflate(request: httpx2.Request) -> bool:
    """One of the offers can be agreed to as it is (RFC 7692 §5.1)."""
    offers = request.headers.get("Sec-WebSocket-Extensions", "").split(",")
    return any("permessage-deflate" in offer and "server_max_window_bits" not in offer for offer in offers)


def _merged(headers: httpx2.Headers, given: httpx2.Headers) -> httpx2.Headers:
    """The handshake's headers, those that the test gave before them."""
    own = [(name, value) for name, value in headers.multi_items() if name not in given]
    return httpx2.Headers([*own, *(item for item in given.multi_items() if item[0] != "content-length")])
