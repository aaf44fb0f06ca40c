"""What is measured, and what goes over the wire for it: shared by the server, the contenders and the reports."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB = 1024
MIB = 1024 * KIB
CHUNK = 256 * KIB  # what the server writes at once
WINDOW_BITS = 12  # what some clients ask of a server; a smaller window than a client's suits every client


@dataclass(frozen=True)
class Job:
    """One measurement: a workload and how much of it."""

    kind: str
    """``flood``, ``burst``, ``echo``, ``open``, ``sessions``, ``slow`` or ``import``."""
    size: int = 125
    """Bytes of payload per message; characters of ASCII, if it is text. Not used with ``deflate``."""
    text: bool = True
    tls: bool = False
    deflate: bool = False
    count: int = 1
    """Messages, round trips or sessions."""
    each: int = 20
    """Messages per session, where there are many sessions."""
    per_client: int = 0
    """So many sessions share an httpx2 client; 0: all of them. For ours on trio."""
    fragments: int = 1
    """Frames per message that the server sends."""
    delay_ms: int = 0
    """Milliseconds that the server waits before it answers each message of an echo."""
    queue_size: int = 0
    """A ``queue_size`` for our session; 0 is its default."""
    verify: bool = False
    """The server inflates and compares all of a compressed burst, which takes it longer than the client's part."""

    def query(self) -> str:
        """Path and query for the server."""
        values = {name: int(value) for name, value in dataclasses.asdict(self).items() if name != "kind"}
        return f"/{self.kind}?{urlencode(values)}"

    @classmethod
    def from_query(cls, target: str) -> Job:
        path, _, query = target.partition("?")
        kinds = {field.name: field.type for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {
            name: bool(int(value)) if kinds[name] == "bool" else int(value) for name, value in parse_qsl(query)
        }
        return cls(path.strip("/"), **values)

    @property
    def ordinary(self) -> str | bytes:
        """Every message but the last, unless it is JSON."""
        return "x" * self.size if self.text else b"x" * self.size

    @property
    def last(self) -> str | bytes:
        """The last message: it differs, so that one message too many or too few does not go unnoticed."""
        if self.deflate:
            return documents()[-1]
        return "y" * self.size if self.text else b"y" * self.size

    def messages(self) -> list[str | bytes]:
        """The messages to send in turn, before the last."""
        return list(documents()[:-1]) if self.deflate else [self.ordinary]


@functools.cache
def documents() -> list[str]:
    """Sixteen documents as a feed of prices might send them, and a last one; about 600 bytes each."""
    chance = random.Random(7)
    made = []
    for number in range(17):
        levels = [[f"{chance.uniform(90, 110):.2f}", f"{chance.uniform(0, 50):.4f}"] for _ in range(20)]
        document = {"type": "book", "symbol": "ABC-XYZ", "sequence": 10**9 + number, "bids": levels[::2]}
        made.append(json.dumps(document | {"asks": levels[1::2], "time": f"2026-01-01T00:00:{number:02}.123456Z"}))
    return made


def header(opcode: int, size: int, *, masked: bool = False) -> bytes:
    """The header of a frame, without a mask (RFC 6455 §5.2)."""
    mask = 0x80 if masked else 0
    if size < 126:
        return bytes((opcode, mask | size))
    if size < 65536:
        return bytes((opcode, mask | 126)) + size.to_bytes(2)
    return bytes((opcode, mask | 127)) + size.to_bytes(8)


def masked_frame(payload: bytes, *, text: bool) -> bytes:
    """A client's frame, masked with zeros, so that the payload stays as it is."""
    return header(0x81 if text else 0x82, len(payload), masked=True) + bytes(4) + payload


def encoded(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def deflated(message: str) -> bytes:
    """A message compressed on its own (RFC 7692 §7.2.1): whatever was agreed on contexts, it can be inflated."""
    compressor = zlib.compressobj(wbits=-WINDOW_BITS)
    return (compressor.compress(message.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


@functools.lru_cache(64)
def wire(message: str | bytes, *, text: bool, deflate: bool = False, fragments: int = 1) -> bytes:
    """A message as the server sends it."""
    opcode = 1 if text else 2
    if deflate:
        payload = deflated(str(message))
        return header(0xC0 | opcode, len(payload)) + payload
    payload = encoded(message)
    if fragments == 1:
        return header(0x80 | opcode, len(payload)) + payload
    cuts = [len(payload) * part // fragments for part in range(fragments + 1)]
    frames = []
    for part, (start, stop) in enumerate(itertools.pairwise(cuts)):
        first = (opcode if part == 0 else 0) | (0x80 if part == fragments - 1 else 0)
        frames.append(header(first, stop - start) + payload[start:stop])
    return b"".join(frames)


@functools.lru_cache(64)
def _cycle(messages: tuple[str | bytes, ...], times: int, *, text: bool, deflate: bool, fragments: int) -> bytes:
    return b"".join(wire(m, text=text, deflate=deflate, fragments=fragments) for m in messages) * times


def pieces(job: Job, count: int) -> Iterator[bytes]:
    """What the server sends for a flood of so many messages, in pieces that are made once only."""
    cycle = functools.partial(_cycle, text=job.text, deflate=job.deflate, fragments=job.fragments)
    messages = tuple(job.messages())
    size = len(cycle(messages, 1))
    times = max(1, CHUNK // size)
    chunk = cycle(messages, times)
    left = count - 1
    while left >= times * len(messages):
        yield chunk
        left -= times * len(messages)
    rounds, rest = divmod(left, len(messages))
    yield chunk[: rounds * size] + cycle((*messages[:rest], job.last), 1)
