"""HAProxy, which speaks HTTP/2 and HTTP/1.1 over TLS, in front of a server that echoes. ``http2_server.py PORT`` is the latter."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import trustme
from websockets.speedups import apply_mask
from websockets.utils import accept_key

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOSE = 0x88
# The tests with real servers have it, too.
HAPROXY = """
global
    maxconn 3000
    tune.h2.max-concurrent-streams 2000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend in
    bind 127.0.0.1:{port} ssl crt {here}/both.pem alpn h2,http/1.1
    default_backend out
backend out
    server one 127.0.0.1:{backend}
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    """A program, once it listens."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            else:
                sys.exit(f"this does not listen: {' '.join(command)}")
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def haproxy() -> Iterator[tuple[str, str]]:
    """Run both for a block; a URL, and a file with the certificate to trust."""
    program = shutil.which("haproxy")
    if program is None:
        sys.exit("there is no HAProxy (on Debian: apt-get install haproxy); or name the URL of a server of yours")
    port, backend = _free_port(), _free_port()
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(here / "ca.pem"))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(here / "both.pem"))
        (here / "haproxy.cfg").write_text(HAPROXY.format(port=port, here=here, backend=backend))
        with (
            _running([sys.executable, __file__, str(backend)], backend),
            _running([program, "-f", str(here / "haproxy.cfg"), "-db"], port),
        ):
            yield f"wss://127.0.0.1:{port}/", str(here / "ca.pem")


class Echo(asyncio.Protocol):
    """One connection: frames go back as they come. It is quick, so that what a client waits for is not the server."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.kept = bytearray()
        self.is_open = False

    def data_received(self, data: bytes) -> None:
        self.kept += data
        if self.is_open:
            self._echo()
        elif (end := self.kept.find(b"\r\n\r\n")) >= 0:
            self._open(bytes(self.kept[:end]))
            del self.kept[: end + 4]
            self._echo()

    def _open(self, head: bytes) -> None:
        self.is_open = True
        [key] = re.findall(rb"(?i)\r\nsec-websocket-key: *(\S+)", head)
        accept = accept_key(key.decode()).encode()
        upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.transport.write(upgrade + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")

    def _echo(self) -> None:
        kept, pos, answer = self.kept, 0, bytearray()
        while len(kept) >= pos + 2:
            short, start = kept[pos + 1] & 127, pos + 2
            size = {126: 2, 127: 8}.get(short, 0)
            length = int.from_bytes(kept[start : start + size], "big") if size else short
            start += size + 4
            if len(kept) < start + length:
                break
            answer += bytes((kept[pos], short)) + kept[pos + 2 : pos + 2 + size]
            answer += apply_mask(kept[start : start + length], kept[start - 4 : start])
            is_over = kept[pos] == CLOSE
            pos = start + length
            if is_over:
                self.transport.write(answer)
                self.transport.close()
                return
        del kept[:pos]
        self.transport.write(answer)


async def _main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
