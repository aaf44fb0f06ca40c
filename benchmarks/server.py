"""The server: it moves prebuilt bytes, so that every contender waits for itself and not for its peer.

It counts what arrives and does not parse it where the sizes of frames are known. uvloop is used if it is installed.
The first line of its output is JSON: ports, certificate, event loop. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import socket
import ssl
import sys
import threading
import zlib
from typing import TYPE_CHECKING, Any, cast

from .jobs import Job, documents, encoded, header, pieces, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# One for all connections: it is filled and looked at without another callback between the two.
BUFFER = bytearray(1 << 20)
VIEW = memoryview(BUFFER)
CLOSE = header(0x88, 2) + (1000).to_bytes(2)
DONE = header(0x81, 4) + b"done"


class Peer(asyncio.BufferedProtocol):
    """One connection. What it does with bytes that arrive is a method at a time: ``self.take``."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self.transport.set_write_buffer_limits(1 << 21, 1 << 19)
        self.take = self._take_request
        self.kept = b""
        self.paused = False
        self.pieces: Iterator[bytes] = iter(())

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 (asyncio's)
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.take(VIEW[:nbytes])

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._pump()

    def _pump(self) -> None:
        for piece in self.pieces:
            self.transport.write(piece)
            if self.paused:
                return

    def _take_request(self, data: memoryview) -> None:
        self.kept += data
        if b"\r\n\r\n" not in self.kept:
            return
        lines = self.kept.decode().split("\r\n")
        self.kept = b""
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        self.job = job = Job.from_query(lines[0].split(" ")[1])
        accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + GUID).digest()).decode()
        answer = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        answer.append(f"Sec-WebSocket-Accept: {accept}")
        if job.deflate:
            answer.append(f"Sec-WebSocket-Extensions: {agreed(headers.get('sec-websocket-extensions', ''))}")
        self.transport.write("\r\n".join([*answer, "", ""]).encode())
        self.left = job.count
        self.size = len(header(0, job.size)) + 4 + job.size  # of a frame that arrives, unless it is compressed
        if job.kind == "burst":
            self._start_burst()
        elif job.kind == "echo":
            self.left_bytes = self.size
            self.ordinary, self.last = (wire(m, text=job.text) for m in (job.ordinary, job.last))
            self.take = self._take_echo
        else:
            self.take = self._take_start

    def _start_burst(self) -> None:
        job = self.job
        if job.deflate:
            self.inflater = zlib.decompressobj(wbits=-15)
            self.take = self._take_frames
        else:
            self.left_bytes = job.count * self.size
            self.take = self._take_burst

    def _take_start(self, data: memoryview) -> None:
        """Whole frames: one is enough to start what is to be sent; a close frame may come at once."""
        self.kept += data
        frame = cut(self.kept)
        if frame is None:
            return
        _, stop = frame
        if self.kept[0] & 15 == 8:
            self._take_end(memoryview(self.kept))
            return
        self.kept = self.kept[stop:]
        self.take = self._take_end
        job = self.job
        self.pieces = pieces(job, job.each if job.kind == "sessions" else job.count)
        self._pump()

    def _take_burst(self, data: memoryview) -> None:
        """Nothing but the size of it all, and then the last message."""
        self.left_bytes -= len(data)
        if self.left_bytes < self.size:
            self.kept = (self.kept + data)[-self.size :]
        if self.left_bytes > 0:
            return
        start = self.size - self.job.size
        if self.left_bytes < 0 or unmasked(self.kept, start, self.size) != encoded(self.job.last):
            self.transport.abort()
            return
        self._done()

    def _done(self) -> None:
        self.kept = b""
        self.take = self._take_end
        self.transport.write(DONE)

    def _take_frames(self, data: memoryview) -> None:
        """Compressed frames differ in size, so each is looked for."""
        self.kept += data
        position = 0
        while (frame := cut(self.kept, position)) is not None:
            start, stop = frame
            if self.kept[position] != 0xC1:  # not compressed
                self.transport.abort()
                return
            if self.job.verify and not self._inflates_well(start, stop):
                self.transport.abort()
                return
            position = stop
            self.left -= 1
        self.kept = self.kept[position:]
        if self.left == 0:
            self._done()

    def _inflates_well(self, start: int, stop: int) -> bool:
        plain = unmasked(self.kept, start, stop)
        texts = documents()
        expected = texts[-1] if self.left == 1 else texts[(self.job.count - self.left) % (len(texts) - 1)]
        return self.inflater.decompress(plain + b"\0\0\xff\xff").decode() == expected

    def _take_echo(self, data: memoryview) -> None:
        self.left_bytes -= len(data)
        if self.left_bytes > 0:
            return
        if self.left_bytes < 0:
            self.transport.abort()
            return
        self.left_bytes = self.size
        self.left -= 1
        answer = self.ordinary
        if not self.left:
            self.take = self._take_end
            answer = self.last
        if self.job.delay_ms:
            asyncio.get_running_loop().call_later(self.job.delay_ms / 1000, self.transport.write, answer)
        else:
            self.transport.write(answer)

    def _take_end(self, data: memoryview) -> None:
        """What comes now is a close frame, before or after the answer to ours."""
        if not self.transport.is_closing() and data[0] & 15 == 8:
            self.pieces = iter(())
            self.transport.write(CLOSE)
            self.transport.close()


def cut(data: bytes, position: int = 0) -> tuple[int, int] | None:
    """Where the payload of a client's frame starts and stops, if all of it is here."""
    if len(data) < position + 6:
        return None
    size = data[position + 1] & 127
    start = position + 6
    if size == 126:
        size = int.from_bytes(data[position + 2 : position + 4])
        start += 2
    elif size == 127:
        size = int.from_bytes(data[position + 2 : position + 10])
        start += 8
    return (start, start + size) if len(data) >= start + size else None


def unmasked(data: bytes, start: int, stop: int) -> bytes:
    """The payload of a client's frame (RFC 6455 §5.3)."""
    size = stop - start
    mask = (data[start - 4 : start] * (size // 4 + 1))[:size]
    return (int.from_bytes(data[start:stop]) ^ int.from_bytes(mask)).to_bytes(size)


def agreed(offer: str) -> str:
    """The answer to an offer of permessage-deflate: what was asked of the server, and nothing of the client."""
    first, *others = (part.strip() for part in offer.partition(",")[0].split(";"))
    if first != "permessage-deflate":
        raise ValueError(f"no compression is offered: {offer!r}")
    return "; ".join([first, *(part for part in others if part.startswith("server_"))])


def certificates() -> tuple[ssl.SSLContext, str] | None:
    """A context for the server and who signed its certificate; ``None`` if that needs a library that is missing."""
    try:
        import trustme
    except ImportError:
        return None
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context, authority.cert_pem.bytes().decode()


async def serve(loop_name: str) -> None:
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    server = await loop.create_server(Peer, sock=listener, backlog=4096)
    told: dict[str, Any] = {"port": listener.getsockname()[1], "tls_port": None, "ca": None, "loop": loop_name}
    made = certificates()
    if made is not None:
        secure = socket.create_server(("127.0.0.1", 0), backlog=4096)
        told |= {"tls_port": secure.getsockname()[1], "ca": made[1]}
        await loop.create_server(Peer, sock=secure, ssl=made[0], backlog=4096)
    print(json.dumps(told), flush=True)
    await server.serve_forever()


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    threading.Thread(target=end_with_input, daemon=True).start()
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve("asyncio"))
    else:
        uvloop.run(serve("uvloop"))


if __name__ == "__main__":
    main()
