"""A stream of an HTTP/2 connection as a stream of trio's, for tests that know nothing of HTTP/2."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import h2.exceptions
import httpcore2
import trio

from httpx2_trio_ws.http2 import HTTP2Transport
from tests.memory import _NetworkStream

from .server import CODES, PLAIN, Server, ServerConnection, Socket

if TYPE_CHECKING:
    from .server import ServerStream


class StreamEnd(trio.abc.HalfCloseableStream):
    """The server's end. What is called before the client has opened the stream waits for that."""

    def __init__(self) -> None:
        self.tasks: trio.Nursery
        self._stream: ServerStream | None = None
        self._opened = trio.Event()
        self.closed = False

    def attach(self, stream: ServerStream) -> None:
        """The client has opened it."""
        self._stream = stream
        self._opened.set()

    async def _wait_stream(self) -> ServerStream:
        await self._opened.wait()
        assert self._stream is not None
        return self._stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        stream = await self._wait_stream()
        try:
            received = await stream.read(max_bytes or 65536)
        except OSError as exc:
            raise trio.BrokenResourceError from exc
        if not received and self.closed:
            raise trio.ClosedResourceError
        return received

    async def send_some(self, data: bytes | bytearray | memoryview) -> int:
        """Send as much as there is room for."""
        stream = await self._wait_stream()
        try:
            return await stream.write_some(data)
        except (OSError, h2.exceptions.ProtocolError) as exc:
            raise trio.BrokenResourceError from exc

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[await self.send_some(view) :]

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    def stop_reading(self) -> None:
        """The nearest that HTTP/2 has: RST_STREAM, after which nothing is written either."""
        assert self._stream is not None
        self.tasks.start_soon(self._stream.reset_now)

    async def send_eof(self) -> None:
        await (await self._wait_stream()).aclose()

    async def aclose(self) -> None:
        if not self.closed and self._stream is not None:
            self.closed = self._stream.ended = True
            self._stream.changed.wake()  # nobody goes on reading
            await self._stream.aclose()
        self.closed = True

    def reset(self) -> None:
        """Have :meth:`aclose` send a RST_STREAM."""
        assert self._stream is not None
        self._stream.reset()


class PlainStream(_NetworkStream):
    """A socket as httpx2 hands it out."""

    def __init__(self, end: trio.socket.SocketType) -> None:
        super().__init__(trio.SocketStream(end))
        self._extra = {"socket": end}

    def get_extra_info(self, info: str) -> Any:
        return self._extra.get(info)


class _Backend(httpcore2.AsyncNetworkBackend):
    """Connects to a server in a nursery, by two sockets between which the kernel delivers at once."""

    def __init__(self, server: Server, tasks: trio.Nursery) -> None:
        self._server = server
        self._tasks = tasks

    async def connect_tcp(self, *_: Any, **__: Any) -> Any:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        self._tasks.start_soon(self._serve, Socket(theirs))
        await trio.lowlevel.checkpoint()
        return PlainStream(trio.socket.from_stdlib_socket(ours))

    async def _serve(self, stream: Socket) -> None:
        connection = ServerConnection(stream, self._server)
        self._server.connections.append(connection)
        try:
            with contextlib.suppress(ConnectionResetError):  # the client has gone, and has not read all
                await connection.serve(self._tasks)  # type: ignore[arg-type]
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class StreamTransport(HTTP2Transport):
    """Its streams end at :attr:`peer_end`, one after the other.

    Args:
        window: bytes that the server takes on a stream, unread.
        extensions: the server's ``Sec-WebSocket-Extensions``.
    """

    def __init__(self, window: int = 65535, extensions: str | None = None) -> None:
        super().__init__(http1=False)
        self.tasks: trio.Nursery
        self.peer_end = StreamEnd()
        self._headers = [] if extensions is None else [("sec-websocket-extensions", extensions)]
        self.server = Server(self._on_stream, {**PLAIN, CODES.INITIAL_WINDOW_SIZE: window})

    def _loop_of_caller(self) -> Any:
        token, runtime, _ = super()._loop_of_caller()
        return token, runtime, _Backend(self.server, self.tasks)

    async def _on_stream(self, stream: ServerStream) -> None:
        await stream.respond(200, *self._headers)
        self.peer_end.attach(stream)
        await trio.sleep_forever()

    def start(self, tasks: trio.Nursery) -> None:
        """Serve in this nursery."""
        self.tasks = self.peer_end.tasks = tasks

    @property
    def is_closed(self) -> bool:
        """No stream is open any more."""
        return not self.statistics().sessions
