"""A peer that does what a program says, on carriers with little room, for sessions on trio's mock clock.

Two carriers. "pipe" is memory, through the library's general path. "socket" is a pair of Unix sockets, through its
path for plain sockets; the kernel delivers at once between the two, so the mock clock never jumps over bytes on
their way. A third, "stream", is :class:`.http2.stream_end.StreamTransport`.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from .memory import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, MemoryTransport, Peer, close_frame, frame

if TYPE_CHECKING:
    import httpx2

#: The client's limit.
MAX_MESSAGE = 65536

# What no server may send, and the close code that it is told.
VIOLATIONS: dict[str, tuple[bytes, int]] = {
    "reserved bit": (b"\xc1\x00", 1002),
    "reserved opcode": (b"\x83\x00", 1002),
    "masked": (b"\x81\x81\0\0\0\0a", 1002),
    "continuation of nothing": (b"\x80\x00", 1002),
    "fragmented ping": (b"\x09\x00", 1002),
    "long ping": (b"\x89\x7e\x00\x7e" + bytes(126), 1002),
    "close code 1005": (close_frame(1005), 1002),
    "half a close code": (b"\x88\x01\x03", 1002),
    "no UTF-8": (b"\x81\x02\xff\xff", 1007),
    "cut UTF-8": (b"\x81\x01\xc3", 1007),
    "too big": (b"\x82\x7f" + (MAX_MESSAGE + 1).to_bytes(8), 1009),
}


class _Pipe:
    """One direction, with a bounded buffer."""

    def __init__(self, capacity: int) -> None:
        self.data = bytearray()
        self.capacity = capacity
        self.ended = False
        self.gone = False
        self.changed = trio.lowlevel.ParkingLot()

    async def write_some(self, data: bytes | bytearray | memoryview) -> int:
        await trio.lowlevel.checkpoint()
        while len(self.data) >= self.capacity and not (self.gone or self.ended):
            await self.changed.park()
        if self.gone or self.ended:
            raise trio.BrokenResourceError("nobody reads this pipe")
        part = data[: self.capacity - len(self.data)]
        self.data += part
        self.changed.unpark_all()
        return len(part)

    async def read_some(self, size: int) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self.data or self.ended or self.gone):
            await self.changed.park()
        if self.gone:
            raise trio.ClosedResourceError
        part = bytes(self.data[:size])
        del self.data[:size]
        self.changed.unpark_all()
        return part


class PipeStream(trio.abc.Stream):
    """One end of two pipes."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    @property
    def closed(self) -> bool:
        return self._outgoing.ended

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._incoming.read_some(max_bytes or 65536)

    async def send_some(self, data: bytes | bytearray | memoryview) -> int:
        return await self._outgoing.write_some(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[await self.send_some(view) :]

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    def stop_reading(self) -> None:
        self._incoming.gone = True
        self._incoming.changed.unpark_all()

    async def aclose(self) -> None:
        self.stop_reading()
        self._outgoing.ended = True
        self._outgoing.changed.unpark_all()
        await trio.lowlevel.checkpoint()


def pipe_pair(capacity: int) -> tuple[PipeStream, PipeStream]:
    there, back = _Pipe(capacity), _Pipe(capacity)
    return PipeStream(back, there), PipeStream(there, back)


class SocketEnd(trio.abc.Stream):
    """As :class:`PipeStream`, over one of two connected sockets."""

    def __init__(self, end: trio.socket.SocketType) -> None:
        self.socket = end
        self._stream = trio.SocketStream(end)

    @property
    def closed(self) -> bool:
        return self.socket.fileno() < 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_some(self, data: bytes | bytearray | memoryview) -> int:
        return await self.socket.send(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    def stop_reading(self) -> None:
        self.socket.shutdown(socket.SHUT_RD)
        with contextlib.suppress(ConnectionResetError):
            while os.read(self.socket.fileno(), 65536):
                pass  # until there is room, a writer that waits for it is not told

    async def aclose(self) -> None:
        await self._stream.aclose()


def socket_pair(capacity: int) -> tuple[SocketEnd, SocketEnd]:
    pair = trio.socket.socketpair(socket.AF_UNIX)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, capacity)
    return SocketEnd(pair[0]), SocketEnd(pair[1])


class SimulatedTransport(MemoryTransport):
    """Its one connection ends at the program's peer."""

    def __init__(self, carrier: str, capacity: int) -> None:
        pair: tuple[Any, Any] = socket_pair(capacity) if carrier == "socket" else pipe_pair(capacity)
        super().__init__(lambda: pair)
        self.client_end, self.peer_end = pair

    def start(self, tasks: trio.Nursery) -> None:
        """It needs no tasks of its own."""

    @property
    def is_closed(self) -> bool:
        """The client has closed its end."""
        return bool(self.client_end.closed)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if isinstance(self.client_end, SocketEnd):  # the session gets at the socket under its stream
            network_stream = response.extensions["network_stream"]
            network_stream.get_extra_info = {"socket": self.client_end.socket}.get
        return response


class Said(NamedTuple):
    """What the peer has queued: its first byte and the one behind it, and what it means to the client."""

    start: int
    end: int
    kind: str
    value: Any


class _Gated(trio.abc.ReceiveStream):
    """Reads only while the peer does not stall."""

    def __init__(self, peer: SimulatedPeer) -> None:
        self._peer = peer

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await self._peer.reading.wait()
        received: bytes = await self._peer.stream.receive_some(max_bytes)
        self._peer.active_at = trio.current_time()
        return received

    async def aclose(self) -> None:
        await self._peer.stream.aclose()


class SimulatedPeer:
    """The server's end. It queues what it says, and writes it a bite at a time.

    Attributes:
        said: all that it was to say, in order; :meth:`arrived` is what of it the client can have.
        frames: what came from the client; a message in fragments is one, when it is whole.
        unfinished: what has come of a message in fragments that is not.
        end: how the client's bytes ended: "end" between two frames, "half a frame", or "gone" if it was
            the peer that broke off; empty if they have not.
        active_at: when it last wrote or read something.
    """

    def __init__(
        self, stream: Any, *, bite: int, answers_pings: bool, answers_close: bool, talk: tuple[float, ...] = ()
    ) -> None:
        self.stream = stream
        self.said: list[Said] = []
        self.frames: list[Frame] = []
        self.unfinished: Frame | None = None
        self.end = ""
        self.reading = trio.Event()
        self.reading.set()
        self.dropped = False
        self.deaf = False
        self.active_at = trio.current_time()
        self._bite = bite
        self._answers_pings = answers_pings
        self._answers_close = answers_close
        # How long it is silent each time before it says one thing more, when it has read a close frame; then it answers.
        self._close_payload = b""
        self._talk = list(talk)
        self._talking = False
        self._queue = bytearray()
        self._queued = trio.Event()
        self._hang_up = False
        self.in_a_message = False
        self._said_bytes = 0
        self._written = 0
        self._writing = trio.CancelScope()

    # -- what it says --------------------------------------------------------------------------

    def _say(self, raw: bytes, kind: str, value: Any = None) -> None:
        start = self._said_bytes
        self._said_bytes += len(raw)
        self.said.append(Said(start, self._said_bytes, kind, value))
        self._queue += raw
        self._queued.set()

    def say(self, message: str | bytes, fragments: int, *, ping_between: bool) -> None:
        """A message, whole or in fragments."""
        if self.in_a_message:
            return
        opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        size = -(-len(payload) // fragments) or 1
        parts = [payload[start : start + size] for start in range(0, len(payload), size)] or [b""]
        for number, part in enumerate(parts[:-1]):
            self._say(frame(opcode if number == 0 else 0, part, fin=False), "fragment")
            if ping_between:
                self.ping(b"between")
        self._say(frame(opcode if len(parts) == 1 else 0, parts[-1]), "message", message)

    def say_half(self, message: str) -> None:
        """The beginning of a message. No other may come after it."""
        if not self.in_a_message:
            self.in_a_message = True
            self._say(frame(TEXT, message[: len(message) // 2].encode(), fin=False), "half")

    def ping(self, payload: bytes) -> None:
        self._say(frame(PING, payload), "ping", payload)

    def pong(self, payload: bytes) -> None:
        self._say(frame(PONG, payload), "pong", payload)

    def close(self, code: int) -> None:
        self._say(close_frame(code, "so long"), "close", code)

    def violate(self, name: str) -> None:
        if self.in_a_message:
            return  # it would be another
        raw, code = VIOLATIONS[name]
        self._say(raw, "violation", code)

    async def drop(self) -> None:
        """End the connection now, whatever waits to be written."""
        self.dropped = True
        self._writing.cancel()
        await self.stream.aclose()

    def deafen(self) -> None:
        """Read no more, so that the client's writes fail; what is said goes on."""
        self.deaf = not self.dropped  # else nothing changes
        if not self.stream.closed:
            self.stream.stop_reading()

    def stall(self) -> None:
        if self.reading.is_set():
            self.reading = trio.Event()

    def resume(self) -> None:
        self.reading.set()

    @property
    def idle(self) -> bool:
        """All that it was to say has been written."""
        return not self._queue

    def arrived(self) -> list[Said]:
        """What is on the client's side whole, up to the first thing that ends the session."""
        there = [said for said in self.said if said.end <= self._written]
        ends = [number for number, said in enumerate(there) if said.kind in ("close", "violation")]
        return there[: ends[0] + 1] if ends else there

    def messages(self) -> list[str | bytes]:
        return [said.value for said in self.arrived() if said.kind == "message"]

    def has_written(self, kind: str) -> list[Any]:
        return [said.value for said in self.arrived() if said.kind == kind]

    def has_begun(self, kind: str) -> list[Any]:
        return [said.value for said in self.said if said.kind == kind and said.start < self._written]

    def has_begun_last_words(self) -> bool:
        return bool(self.has_begun("close") or self.has_begun("violation"))

    # -- its tasks -----------------------------------------------------------------------------

    async def write(self) -> None:
        with self._writing, contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                while self._queue:
                    bite = max(self._bite, len(self._queue) // 50)  # else a large message takes too many
                    written = await self.stream.send_some(bytes(self._queue[:bite]))
                    self.active_at = trio.current_time()
                    self._written += written
                    del self._queue[:written]
                if self._talking:
                    await self._talk_on()
                    continue
                if self._hang_up:
                    await self.stream.aclose()
                    return
                self._queued = trio.Event()
                await self._queued.wait()

    async def read(self) -> None:
        peer = Peer(_Gated(self))  # type: ignore[arg-type]
        try:
            while True:
                received, fin = await peer.receive_fragment()
                if received.opcode in (CONTINUATION, TEXT, BINARY):
                    self._take_data(received, fin=fin)
                    continue
                assert fin
                self.frames.append(received)
                if received.opcode == PING and self._answers_pings:
                    self.pong(received.payload)
                elif received.opcode == CLOSE:
                    self._take_close(received)
        except EOFError as exc:
            between_frames = str(exc).startswith("0 bytes")
            self.end = "gone" if self.deaf else "end" if between_frames else "half a frame"
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end = "gone"

    def _take_data(self, received: Frame, *, fin: bool) -> None:
        """A frame of a message, which is told of when it is whole."""
        begun = self.unfinished
        assert (received.opcode == CONTINUATION) == (begun is not None), "a message inside another, or the rest of none"
        assert all(f.opcode != CLOSE for f in self.frames), "it goes on after a close frame"
        whole = received if begun is None else Frame(begun.opcode, begun.payload + received.payload)
        if fin:
            self.frames.append(whole)
        self.unfinished = None if fin else whole

    async def _talk_on(self) -> None:
        """It has read a close frame, and is not done yet."""
        if self._talk:
            await trio.sleep(self._talk.pop(0))
            self._say(frame(TEXT, b"one thing more"), "talk")
        else:
            self._talking = False
            self._answer_close()

    def _take_close(self, received: Frame) -> None:
        self._close_payload = received.payload
        if self._answers_close and self._talk:
            self._talking = True
            self._queued.set()
        elif self._answers_close:
            self._answer_close()

    def _answer_close(self) -> None:
        if not any(said.kind in ("close", "violation") for said in self.said):
            self._say(frame(CLOSE, self._close_payload), "answer")
        self._hang_up = True
        self._queued.set()
