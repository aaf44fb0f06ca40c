"""A server on h2, for any event loop of anyio's: each extended CONNECT is a stream of bytes for a handler."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import httpx2
from anyio.streams.tls import TLSStream

from httpx2_trio_ws.testing import ScriptedPeer
from tests.contract.carriers import GRACE, RawStream, closing

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    Handler = Callable[["ServerStream"], Awaitable[object]]

CODES = h2.settings.SettingCodes
DEFLATE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
PLAIN = {CODES.ENABLE_CONNECT_PROTOCOL: 1, CODES.MAX_CONCURRENT_STREAMS: 1000}


class Socket(RawStream):
    """A socket's bytes; it waits only if it must."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        with contextlib.suppress(BlockingIOError):
            data = self.socket.recv(max_bytes)
            if not data:
                raise anyio.EndOfStream
            return data
        return await super().receive(max_bytes)

    async def send(self, item: bytes) -> None:
        view = memoryview(item)
        try:
            with contextlib.suppress(BlockingIOError):
                while view:
                    view = view[self.socket.send(view) :]
            await super().send(bytes(view))
        except OSError as exc:
            raise anyio.BrokenResourceError from exc


class Flag:
    """Wakes all who wait, again and again."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def wake(self) -> None:
        self._event.set()
        self._event = anyio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class ServerStream:
    """One stream: bytes both ways. What is not read is not handed back to the client's window."""

    def __init__(self, connection: ServerConnection, stream_id: int, request: httpx2.Request) -> None:
        self.connection = connection
        self.id = stream_id
        self.request = request
        self.changed = Flag()
        self.buffer = bytearray()
        self.ended = False
        #: The code that the client reset it with.
        self.reset_by_client: int | None = None
        self._resets = False
        self.done = anyio.Event()

    @property
    def _h2(self) -> h2.connection.H2Connection:
        return self.connection.h2

    async def respond(self, status: int, *headers: tuple[str, str], body: bytes | None = None) -> None:
        if self.reset_by_client is not None:
            raise BrokenPipeError("the client has gone")
        self._h2.send_headers(self.id, [(":status", str(status)), *headers], end_stream=body == b"")
        if body:
            self._h2.send_data(self.id, body, end_stream=True)
        await self.connection.flush()

    async def accept(self, *headers: tuple[str, str]) -> ScriptedPeer:
        """A WebSocket, compressed if that was asked for."""
        compressed = "sec-websocket-extensions" in self.request.headers
        more = [("sec-websocket-extensions", DEFLATE)] if compressed else []
        await self.respond(200, *more, *headers)
        return ScriptedPeer(self, self.request, compressed=compressed)

    async def read(self, max_bytes: int) -> bytes:
        while not self.buffer:
            if self.connection.lost:
                raise ConnectionResetError("the client has gone")
            if self.ended or self.reset_by_client is not None:
                return b""
            await self.changed.wait()
        data = bytes(self.buffer[:max_bytes])
        del self.buffer[:max_bytes]
        if self.reset_by_client is None and not self.connection.lost:
            self._h2.acknowledge_received_data(len(data), self.id)
            await self.connection.flush()
        return data

    async def write(self, buffer: bytes) -> None:
        view = memoryview(bytes(buffer))
        while view:
            view = view[await self.write_some(view) :]

    async def write_some(self, data: bytes | bytearray | memoryview) -> int:
        """Write what there is room for, once there is any."""
        while True:
            if self.reset_by_client is not None or self.connection.lost:
                raise BrokenPipeError("the client has gone")
            room = min(self._h2.local_flow_control_window(self.id), self._h2.max_outbound_frame_size, len(data))
            if room > 0:
                break
            await self.connection.changed.wait()
        self._h2.send_data(self.id, bytes(data[:room]))
        await self.connection.flush()
        return room

    def reset(self) -> None:
        """Closing is to be a reset."""
        self._resets = True

    async def reset_now(self) -> None:
        """Forget it: nothing is read and nothing is written any more."""
        self.ended = True
        self.buffer.clear()
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.reset_stream(self.id, h2.errors.ErrorCodes.INTERNAL_ERROR)
        await self.connection.flush()
        self.changed.wake()

    async def aclose(self) -> None:
        if self.reset_by_client is None and not self.connection.lost:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                if self._resets:
                    self._h2.reset_stream(self.id, h2.errors.ErrorCodes.INTERNAL_ERROR)
                else:
                    self._h2.end_stream(self.id)
            await self.connection.flush()


class ServerConnection:
    """One connection, and the streams on it."""

    def __init__(self, stream: anyio.abc.ByteStream, server: Server) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=dict(server.settings))
        self.server = server
        self.streams: dict[int, ServerStream] = {}
        self.changed = Flag()
        self.lost = False
        self._stream = stream
        self._lock = anyio.Lock()

    async def send(self, data: bytes) -> None:
        """Bytes as they are."""
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with self._lock:
                await self._stream.send(data)

    async def flush(self) -> None:
        """Send what h2 has to send; in a shield, as half of it would be the end of the connection."""
        with anyio.CancelScope(shield=True):
            async with self._lock:
                data = self.h2.data_to_send()
                if data:
                    try:
                        await self._stream.send(data)
                    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                        self.lost = True

    async def serve(self, tasks: anyio.abc.TaskGroup) -> None:
        self.h2.initiate_connection()
        await self.flush()
        try:
            while True:
                for event in self.h2.receive_data(await self._stream.receive()):
                    self._on_event(event, tasks)
                await self.flush()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        except h2.exceptions.ProtocolError:
            if self.h2.state_machine.state is not h2.connection.ConnectionState.CLOSED:
                raise  # else the client has said GOAWAY, after which h2 knows of no frames
        finally:
            self.lost = True
            self._wake()

    def _on_event(self, event: Any, tasks: anyio.abc.TaskGroup) -> None:
        if isinstance(event, h2.events.RequestReceived):
            headers: list[tuple[str, str]] = [(str(name), str(value)) for name, value in event.headers]
            pseudo = dict(headers)
            url = f"{pseudo[':scheme']}://{pseudo[':authority']}{pseudo[':path']}"
            regular = [pair for pair in headers if not pair[0].startswith(":")]
            stream = ServerStream(self, event.stream_id, httpx2.Request(pseudo[":method"], url, headers=regular))
            stream.request.extensions["protocol"] = pseudo.get(":protocol")
            self.streams[event.stream_id] = stream
            self.server.streams.append(stream)
            tasks.start_soon(self.server.run, stream)
        elif isinstance(event, h2.events.DataReceived):
            self.streams[event.stream_id].buffer += event.data
            padding = event.flow_controlled_length - len(event.data)
            if padding:
                self.h2.acknowledge_received_data(padding, event.stream_id)
            self._wake()
        elif isinstance(event, h2.events.StreamEnded):
            self.streams[event.stream_id].ended = True
            self._wake()
        elif isinstance(event, h2.events.StreamReset):
            self.streams[event.stream_id].reset_by_client = int(event.error_code)
            self._wake()
        else:
            self.changed.wake()

    def _wake(self) -> None:
        self.changed.wake()
        for stream in self.streams.values():
            stream.changed.wake()


class Server:
    """See :func:`serving`."""

    def __init__(self, handler: Handler, settings: Mapping[Any, int]) -> None:
        self._handler = handler
        self.settings = settings
        self.url = ""
        self.connections: list[ServerConnection] = []
        self.streams: list[ServerStream] = []

    async def wait_idle(self) -> None:
        """Until all handlers are done."""
        for stream in self.streams:
            await stream.done.wait()

    async def run(self, stream: ServerStream) -> None:
        try:
            await self._handler(stream)
            await stream.aclose()
        finally:
            stream.done.set()


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, context: ssl.SSLContext | None = None, settings: Mapping[Any, int] = PLAIN
) -> AsyncGenerator[Server]:
    """A server on loopback that hands each stream to ``handler``; over TLS if there is a context."""
    server = Server(handler, settings)

    readers: list[anyio.CancelScope] = []

    async def serve(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Handlers may have shields of their own; what is read for them then goes on.
        with anyio.CancelScope(shield=True) as scope:
            readers.append(scope)
            with contextlib.suppress(OSError):
                async with closing(Socket(sock)) as raw:
                    await serve_stream(raw)

    async def serve_stream(stream: anyio.abc.ByteStream) -> None:
        if context is not None:
            context.set_alpn_protocols(["h2"])
            try:
                stream = await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return
        connection = ServerConnection(stream, server)
        server.connections.append(connection)
        await connection.serve(tasks)

    async def accept() -> None:
        while True:
            await anyio.wait_readable(listener)
            with contextlib.suppress(BlockingIOError):
                tasks.start_soon(serve, listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        listener.settimeout(0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept)
            server.url = f"{'wss' if context else 'ws'}://127.0.0.1:{listener.getsockname()[1]}"
            try:
                yield server
                with anyio.move_on_after(GRACE):
                    await server.wait_idle()
            finally:
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True), anyio.move_on_after(2):
                    await server.wait_idle()
                for scope in readers:
                    scope.cancel()
