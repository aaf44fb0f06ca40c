"""The sans-IO protocols alone: wsproto's, websockets', and this library's, which stands on websockets'.

    python benchmarks/protocols.py [--rounds 9]

All are clients, are fed the same bytes in reads of 64 KiB, and must give the same messages. What is timed is CPU time,
in one process, without a network and without an event loop. The three take turns, round by round, so that a change in
the machine's speed meets all of them; what is printed are ratios of medians. Then each is fed the same awkward bytes.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import platform
import statistics
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT
from websockets.protocol import Protocol as WebsocketsProtocol
from wsproto.connection import Connection as WsprotoConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, TextMessage
from wsproto.extensions import Extension
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate

from httpx2_trio_ws._protocol import BINARY, TEXT, Connection

if TYPE_CHECKING:
    from collections.abc import Callable

READ = 65536
MIB = 2**20
LIMIT = MIB
Message = str | bytes


class Peer(Protocol):
    """One protocol: bytes in and messages out, messages in and bytes out, and how it ended."""

    @property
    def ended(self) -> str: ...

    def receive(self, data: bytes) -> list[Message]: ...

    def send(self, message: Message) -> bytes: ...


class Wsproto:
    def __init__(self, *, deflate: bool = False) -> None:
        extensions: list[Extension] = []
        if deflate:
            extension = WsprotoDeflate()
            extension.finalize("permessage-deflate")
            extensions.append(extension)
        self.connection = WsprotoConnection(ConnectionType.CLIENT, extensions)
        self.ended = ""
        self.size = 0  # wsproto has no limit: its user counts, as here
        self.texts: list[str] = []
        self.parts: list[bytes] = []

    def receive(self, data: bytes) -> list[Message]:
        messages: list[Message] = []
        self.connection.receive_data(data)
        for event in self.connection.events():
            if isinstance(event, TextMessage):
                self.texts.append(event.data)
                self._count(event.data)
                if event.message_finished:
                    messages.append("".join(self.texts))
                    self.texts.clear()
                    self.size = 0
            elif isinstance(event, BytesMessage):
                self.parts.append(bytes(event.data))
                self._count(self.parts[-1])
                if event.message_finished:
                    messages.append(b"".join(self.parts))
                    self.parts.clear()
                    self.size = 0
            else:
                self._other(event)
        return messages

    def _count(self, part: Message) -> None:
        self.size += len(part)
        if self.size > LIMIT:
            self.ended = "fails, 1009"

    def _other(self, event: Event) -> None:
        """A broken rule comes out as the same event as the peer's close frame; the state tells them apart."""
        if isinstance(event, CloseConnection):
            by_peer = self.connection.state is ConnectionState.REMOTE_CLOSING
            self.ended = "the close frame is taken" if by_peer else f"fails, {int(event.code)}"

    def send(self, message: Message) -> bytes:
        if isinstance(message, str):
            return self.connection.send(TextMessage(message))
        return self.connection.send(BytesMessage(message))


def deflate_extension() -> PerMessageDeflate:
    return PerMessageDeflate(
        remote_no_context_takeover=False, local_no_context_takeover=False, remote_max_window_bits=15,
        local_max_window_bits=15, compress_settings={"memLevel": 8},
    )  # fmt: skip


class Websockets:
    def __init__(self, *, deflate: bool = False) -> None:
        self.protocol = WebsocketsProtocol(CLIENT, max_size=LIMIT)
        self.protocol.extensions = [deflate_extension()] if deflate else []
        self.text = False
        self.bad_text = False
        self.parts: list[bytes] = []

    def receive(self, data: bytes) -> list[Message]:
        messages: list[Message] = []
        self.protocol.receive_data(data)
        for frame in cast("list[Frame]", self.protocol.events_received()):
            opcode = frame.opcode
            if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
                self.text = opcode is Opcode.TEXT
            elif opcode is not Opcode.CONT:
                continue
            if frame.fin and not self.parts:
                whole = frame.data
            else:
                self.parts.append(bytes(frame.data))
                if not frame.fin:
                    continue
                whole = b"".join(self.parts)
                self.parts.clear()
            try:
                messages.append(str(whole, "utf-8") if self.text else bytes(whole))
            except UnicodeDecodeError:  # Protocol leaves text to its user, and so the failure
                self.protocol.fail(1007)
                self.bad_text = True
        return messages

    def send(self, message: Message) -> bytes:
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        return b"".join(self.protocol.data_to_send())

    @property
    def ended(self) -> str:
        if (self.bad_text or self.protocol.parser_exc is not None) and self.protocol.close_sent is not None:
            return f"fails, {int(self.protocol.close_sent.code)}"
        return "the close frame is taken" if self.protocol.close_rcvd else ""


class Ours:
    def __init__(self, *, deflate: bool = False) -> None:
        self.connection = Connection(max_message_size=LIMIT, deflate=deflate_extension() if deflate else None)

    def receive(self, data: bytes) -> list[Message]:
        messages = self.connection.receive_data(data)
        while self.connection.has_input:  # one call does a bounded share of the work
            messages += self.connection.receive_data(b"")
        return messages

    def send(self, message: Message) -> bytes:
        if isinstance(message, str):
            return self.connection.encode(message.encode(), TEXT)
        return self.connection.encode(message, BINARY)

    @property
    def ended(self) -> str:
        if self.connection.failure is not None:
            return f"fails, {self.connection.failure.code}"
        return "the close frame is taken" if self.connection.peer_close else ""


PEERS: dict[str, Any] = {"this library": Ours, "websockets": Websockets, "wsproto": Wsproto}


# -- time ----------------------------------------------------------------------------------------


def frame(payload: bytes, *, opcode: int = 2, fin: bool = True, rsv1: bool = False) -> bytes:
    """A frame as a server sends it, without a mask."""
    size = len(payload)
    short = size if size < 126 else 126 if size < 65536 else 127
    extended = {126: 2, 127: 8}.get(short, 0)
    return bytes((fin << 7 | rsv1 << 6 | opcode, short)) + size.to_bytes(8)[8 - extended :] + payload


@functools.cache
def deflated(payload: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


class Workload(NamedTuple):
    """Messages in a stream of frames, or to be sent."""

    name: str
    message: Message
    number: int
    wire: bytes = b""
    deflate: bool = False


def payload_of(message: Message) -> tuple[bytes, int]:
    return (message.encode(), 1) if isinstance(message, str) else (message, 2)


def whole(name: str, message: Message, number: int) -> Workload:
    payload, opcode = payload_of(message)
    return Workload(name, message, number, frame(payload, opcode=opcode) * number)


def fragmented(name: str, message: bytes, number: int, size: int) -> Workload:
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    last = len(parts) - 1
    frames = [frame(part, opcode=0 if at else 2, fin=at == last) for at, part in enumerate(parts)]
    return Workload(name, message, number, b"".join(frames) * number)


def workloads() -> list[Workload]:
    text = "The quick brown fox jumps over the lazy dog, 1234567890 times. " * 260
    small, large = text[:125], text[:16384]
    compressed = frame(deflated(small.encode()), opcode=1, rsv1=True)
    return [
        whole("receive text, 125 B", small, 10_000),
        whole("receive binary, 125 B", small.encode(), 10_000),
        whole("receive text, 16 KiB", large, 1_500),
        whole("receive binary, 1 MiB", bytes(MIB), 40),
        fragmented("receive binary, 64 KiB in fragments of 1 KiB", bytes(65536), 60, 1024),
        Workload("receive compressed text, 125 B", small, 5_000, compressed * 5_000, deflate=True),
        Workload("send text, 125 B", small, 10_000),
        Workload("send binary, 16 KiB", large.encode(), 1_500),
    ]


def run(peer: Peer, workload: Workload) -> float:
    """CPU seconds per message. A receiver is checked, too."""
    reads = [workload.wire[at : at + READ] for at in range(0, len(workload.wire), READ)]
    began = time.process_time()
    if reads:
        received = [message for data in reads for message in peer.receive(data)]
        seconds = time.process_time() - began
        if received != [workload.message] * workload.number or peer.ended:
            raise AssertionError(f"{type(peer).__name__} has not received what was sent in {workload.name!r}")
    else:
        for _ in range(workload.number):
            peer.send(workload.message)
        seconds = time.process_time() - began
    return seconds / workload.number


def compare_times(rounds: int) -> None:
    print("| CPU time per message, as a multiple of this library's | websockets | wsproto |\n|---|---|---|")
    for workload in workloads():
        times: dict[str, list[float]] = {name: [] for name in PEERS}
        for _ in range(rounds):
            for name, peer in PEERS.items():
                times[name].append(run(peer(deflate=workload.deflate), workload))
        medians = {name: statistics.median(values) for name, values in times.items()}
        ours = medians["this library"]
        print(f"| {workload.name} | {medians['websockets'] / ours:.1f} | {medians['wsproto'] / ours:.1f} |")


# -- behaviour -----------------------------------------------------------------------------------


def feed(peer: Peer, data: bytes, size: int = READ) -> tuple[str, list[Message]]:
    """Feed until it has ended; tell how, and after how much, and what came out."""
    messages: list[Message] = []
    for at in range(0, len(data), size):
        messages += peer.receive(data[at : at + size])
        if peer.ended:
            return f"{peer.ended}, after {len(data[: at + size]):,} bytes", messages
    return "goes on", messages


def bad_text(peer: Peer) -> str:
    """A byte that is no UTF-8 at the beginning of a text of 1 MiB; it arrives in reads of 4 KiB."""
    return feed(peer, frame(b"\xff" + b"x" * (MIB - 1), opcode=1), 4096)[0]


def declared(peer: Peer) -> str:
    """The header alone of a frame of 1 TiB, with a limit of 1 MiB, and then 2 MiB of it."""
    return feed(peer, b"\x82\x7f" + (2**40).to_bytes(8) + bytes(2 * MIB), 4096)[0]


def bomb(peer: Peer) -> str:
    """64 MiB of zeros as a compressed message, with a limit of 1 MiB: what memory it takes to refuse it."""
    data = frame(deflated(bytes(64 * MIB)), rsv1=True)
    tracemalloc.start()
    feed(peer, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"{peer.ended or 'goes on'}; {peak / MIB:.0f} MiB at the peak"


def close_inside(peer: Peer) -> str:
    """A close frame between two fragments."""
    peer.receive(frame(b"frag", fin=False) + frame((1000).to_bytes(2), opcode=8))
    return peer.ended


def long_length(peer: Peer) -> str:
    """A length of 5 in the field of 16 bits, against RFC 6455 §5.2."""
    messages = peer.receive(b"\x82\x7e\x00\x05hello")
    return peer.ended or f"accepted: {messages[0]!r}"


def after_final_block(peer: Peer) -> str:
    """A second message after one that ends in a final block of deflate (RFC 7692 §7.2.3.4)."""
    compressor = zlib.compressobj(wbits=-15)
    final = compressor.compress(b"one") + compressor.flush(zlib.Z_FINISH) + b"\x00"
    messages: list[Message] = []
    for data in (final, deflated(b"two")):
        messages += peer.receive(frame(data, rsv1=True))
    return peer.ended or f"receives {messages!r}"


def masked(peer: Peer) -> str:
    """A masked frame from a server."""
    peer.receive(b"\x82\x81\x00\x00\x00\x00x")
    return peer.ended


BEHAVIOURS: dict[str, tuple[Callable[[Peer], str], bool]] = {
    "text of 1 MiB whose first byte is no UTF-8": (bad_text, False),
    "a header that declares 1 TiB, limit 1 MiB": (declared, False),
    "64 MiB deflated to 64 KiB, limit 1 MiB": (bomb, True),
    "a close frame inside a fragmented message": (close_inside, False),
    "a length in too large a field": (long_length, False),
    "a message after a final deflate block": (after_final_block, True),
    "a masked frame": (masked, False),
}


def compare_behaviours() -> None:
    print("| the server sends | this library | websockets | wsproto |\n|---|---|---|---|")
    for name, (what, deflate) in BEHAVIOURS.items():
        print(f"| {name} | {' | '.join(what(peer(deflate=deflate)) for peer in PEERS.values())} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("websockets", "wsproto"))
    rounds = parser.parse_args().rounds
    print(f"CPython {platform.python_version()}, {versions}; medians of {rounds} interleaved rounds\n")
    compare_times(rounds)
    print()
    compare_behaviours()


if __name__ == "__main__":
    main()
