"""The HTTP/2 front's process: ``python -m soak.front DIRECTORY SEED CERTIFICATE``.

It prints its port, and hands each extended CONNECT (RFC 8441) on to the server as a handshake of HTTP/1.1, as a reverse
proxy does. Its faults are HTTP/2's own: streams that are reset, stalled or refused, and GOAWAY, after which those that are
open go on. On standard input it is told what the proxy is told. When that ends, it prints how many faults there were.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import ssl
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from .child import serve_until_end
from .records import Faults

if TYPE_CHECKING:
    from collections.abc import Coroutine

KINDS = {"stream stalled": 6, "stream reset": 3, "stream refused": 2, "GOAWAY": 2}
STREAMS = 250  # on a connection, as many servers have it
READ = 16384
_CODES = h2.settings.SettingCodes
_NO_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="  # nobody looks at what is computed from it


class Stream:
    """A session on its way to the server."""

    def __init__(self, connection: Connection, stream_id: int, headers: dict[str, str]) -> None:
        self.connection = connection
        self.id = stream_id
        self.headers = headers
        self.number = int(headers[":path"].removeprefix("/"))
        self.buffer = bytearray()
        self.ended = False
        self.changed = asyncio.Event()
        self.going_on = asyncio.Event()
        self.going_on.set()

    def wake(self) -> None:
        """Something has come, or there is room."""
        self.changed.set()

    async def run(self) -> None:
        """Until one side ends it."""
        connection = self.connection
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", connection.front.upstream or 1)
        except OSError:
            connection.respond(self, [(":status", "503")], ended=True)
            return
        try:
            if await self._shake_hands(reader, writer):
                up = asyncio.create_task(self._up(writer))
                await self._down(reader)
                await up
        except OSError:
            pass
        finally:
            connection.end(self)
            writer.close()

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = [f"GET {self.headers[':path']} HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Host: x"]
        lines += [f"{name}: {value}" for name, value in self.headers.items() if not name.startswith(":")]
        writer.write("\r\n".join([*lines, f"Sec-WebSocket-Key: {_NO_KEY}", "", ""]).encode())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return False
        first, *fields = head.split("\r\n")[:-2]
        pairs = [line.split(": ", 1) for line in fields]
        kept = [(name.lower(), value) for name, value in pairs if name.lower().startswith("sec-websocket-")]
        accepted = " 101 " in first
        self.connection.respond(self, [(":status", "200" if accepted else "503"), *kept], ended=not accepted)
        return accepted

    async def _up(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self.going_on.wait()
                if self.buffer:
                    data = bytes(self.buffer)
                    self.buffer.clear()
                    writer.write(data)
                    await writer.drain()
                    self.connection.taken(self, len(data))
                elif self.ended:
                    break
                else:
                    self.changed.clear()
                    await self.changed.wait()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(READ):
            while data and not self.ended:
                await self.going_on.wait()
                room = self.connection.room(self)
                if room:
                    self.connection.send(self, data[:room])
                    data = data[room:]
                else:
                    self.changed.clear()
                    await self.changed.wait()
        self.connection.end(self)


class Connection:
    """One connection of the client's."""

    def __init__(self, front: Front, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.front = front
        self.streams: dict[int, Stream] = {}
        self._reader = reader
        self._writer = writer
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._h2.local_settings = h2.settings.Settings(
            client=False, initial_values={_CODES.ENABLE_CONNECT_PROTOCOL: 1, _CODES.MAX_CONCURRENT_STREAMS: STREAMS}
        )
        self._last = 2**31 - 1  # streams above are not processed
        self._refuse = False

    async def run(self) -> None:
        """Until the client ends it."""
        self._h2.initiate_connection()
        self._flush()
        try:
            while data := await self._reader.read(65536):
                for event in self._h2.receive_data(data):
                    self._on_event(event)
                self._flush()
        except (OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            for stream in list(self.streams.values()):
                self._ended(stream)
            self._writer.close()

    def _on_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._request(event.stream_id, {str(name): str(value) for name, value in event.headers})
        elif isinstance(event, h2.events.WindowUpdated):
            for stream in self.streams.values() if not event.stream_id else [self.streams.get(event.stream_id)]:
                if stream is not None:
                    stream.wake()
        elif isinstance(event, h2.events.DataReceived) and event.stream_id in self.streams:
            self.streams[event.stream_id].buffer += event.data
            self.streams[event.stream_id].wake()
        elif isinstance(event, h2.events.StreamReset) and event.stream_id in self.streams:
            self._ended(self.streams[event.stream_id])

    def _request(self, stream_id: int, headers: dict[str, str]) -> None:
        if stream_id > self._last:
            return  # the client has not read GOAWAY yet
        if self._refuse:
            self._refuse = False
            self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        stream = self.streams[stream_id] = Stream(self, stream_id, headers)
        self.front.start(stream.run())

    def _ended(self, stream: Stream) -> None:
        """Nothing more comes from the client; what has come goes on to the server."""
        self.streams.pop(stream.id, None)
        stream.ended = True
        stream.going_on.set()
        stream.wake()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._writer.is_closing():
            self._writer.write(data)

    # -- for streams -----------------------------------------------------------------------------------

    def respond(self, stream: Stream, headers: list[tuple[str, str]], *, ended: bool) -> None:
        """Answer."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.send_headers(stream.id, headers, end_stream=ended)
        self._flush()

    def room(self, stream: Stream) -> int:
        """How much may be sent."""
        try:
            return min(self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size)
        except h2.exceptions.ProtocolError:
            return READ  # to nowhere

    def send(self, stream: Stream, data: bytes) -> None:
        """To the client."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.send_data(stream.id, data)
        self._flush()

    def taken(self, stream: Stream, size: int) -> None:
        """The server has so much of what came."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.acknowledge_received_data(size, stream.id)
        self._flush()

    def end(self, stream: Stream) -> None:
        """The server has no more to say."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.end_stream(stream.id)
        self._flush()

    # -- faults ----------------------------------------------------------------------------------------

    def fault(self, kind: str, rng: random.Random) -> None:
        """Make one."""
        if kind == "GOAWAY":
            self._last = max(self.streams, default=0)
            self._writer.write(GoAwayFrame(last_stream_id=self._last, additional_data=b"restarting").serialize())
        elif kind == "stream refused":
            self._refuse = True
        elif self.streams:
            stream = rng.choice(list(self.streams.values()))
            if kind == "stream stalled":
                stream.going_on.clear()
                asyncio.get_running_loop().call_later(rng.uniform(0.1, 4), stream.going_on.set)
                return
            self.front.resets.mark(stream.number)
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self._h2.reset_stream(stream.id, h2.errors.ErrorCodes.INTERNAL_ERROR)
            self._ended(stream)
            self._flush()


class Front:
    """All connections.

    Args:
        resets: where sessions are marked whose streams are going to be reset, by their numbers.
        seed: of all that is left to chance.
    """

    def __init__(self, resets: Faults, seed: str) -> None:
        self.resets = resets
        self.upstream = 0
        self.seconds = 0.0  # between two faults of a session; 0 for none
        self.made: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[None, None, None]) -> None:
        """Run a task that nobody waits for."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A new connection."""
        connection = Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    async def make_faults(self) -> None:
        """From now on, for ever."""
        while True:
            open_now = sum(len(connection.streams) for connection in self._connections)
            await asyncio.sleep(self._rng.expovariate(max(1, open_now) / self.seconds) if self.seconds else 0.1)
            connections = [connection for connection in self._connections if connection.streams]
            if self.seconds and connections:
                (kind,) = self._rng.choices(list(KINDS), list(KINDS.values()))
                self.made[kind] += 1
                self._rng.choice(connections).fault(kind, self._rng)

    def told(self, line: str) -> None:
        """A line of standard input."""
        word, *rest = line.split()
        if word == "upstream":
            self.upstream = int(rest[0])
        else:
            self.seconds = float(rest[0]) if word == "faults" else 0.0


async def main(directory: Path, seed: str, certificate: Path) -> None:
    """Pass on."""
    logging.disable()
    front = Front(Faults(directory, "resets"), seed)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    tls.set_alpn_protocols(["h2"])
    async with await asyncio.start_server(front.accept, "127.0.0.1", 0, ssl=tls, backlog=4096) as server:
        front.start(front.make_faults())
        await serve_until_end(server.sockets[0].getsockname()[1], front.told)
        print(json.dumps(front.made))
        sys.stdout.flush()
        for connection in list(front._connections):
            connection._writer.transport.abort()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
