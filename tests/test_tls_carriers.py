"""The carriers that read and write TLS records past the stream that made the handshake, on every event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx2
import pytest
import uvloop

from httpx2_trio_ws import WebSocketNetworkError
from httpx2_trio_ws._carriers import _beneath
from httpx2_trio_ws._carriers._asyncio import TLSLoopCarrier
from httpx2_trio_ws._carriers._base import LARGE_READ, READ_SIZE, CarrierError
from httpx2_trio_ws._carriers._trio import TLSCarrier
from httpx2_trio_ws.anyio import open_websocket

from .handshake_support import certificate_files, client_context, server_context
from .memory import CLOSE, PING, PONG, TEXT, close_frame, frame, text
from .tls_peers import HANG, TLSPeer, switching, tls_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from pathlib import Path

    from httpx2_trio_ws.anyio import WebSocketSession

LOOPS: dict[str, dict[str, Any]] = {
    "trio": {"backend": "trio"},
    "asyncio": {"backend": "asyncio", "backend_options": {"loop_factory": asyncio.SelectorEventLoop, "debug": True}},
    "uvloop": {"backend": "asyncio", "backend_options": {"loop_factory": uvloop.new_event_loop}},
}
CARRIERS = (TLSCarrier, TLSLoopCarrier)
each_loop = pytest.mark.parametrize("loop", LOOPS)
SMALL_BUFFER = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]


def run(loop: str, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def within_time() -> None:
        with anyio.fail_after(HANG):
            await function()

    anyio.run(within_time, **LOOPS[loop])


@contextlib.asynccontextmanager
async def session(url: str, **options: Any) -> AsyncGenerator[WebSocketSession]:
    transport = httpx2.AsyncHTTPTransport(verify=client_context(), socket_options=SMALL_BUFFER)
    options = {"compression": None, "keepalive_ping_interval_seconds": None} | options
    async with httpx2.AsyncClient(transport=transport) as client, open_websocket(client, url, **options) as ws:
        assert isinstance(ws._engine.carrier, CARRIERS)
        yield ws


def close(peer: TLSPeer) -> None:
    """Answer the client's close frame and see that it ends TLS as it should."""
    assert peer.receive().opcode == CLOSE
    peer.socket.sendall(peer.records(close_frame()) + peer.close_notify())
    assert peer.read() == b""


@each_loop
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_messages_both_ways(loop: str, version: str) -> None:
    """In records that come with the 101, several at once, and in pieces; and the client tells that it has ended."""
    context = server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]

    def script(peer: TLSPeer) -> None:
        peer.upgrade(text("glued"))
        peer.send(text("a"), text("b"), text("c"))
        for byte in peer.records(text("in pieces")):
            peer.socket.sendall(bytes((byte,)))
        assert peer.receive() == (TEXT, b"lone")
        peer.send(text("ä" * 100_000))
        assert [peer.receive().payload for _ in range(100)] == [b"%d" % number for number in range(100)]
        close(peer)

    async def main() -> None:
        async with session(url) as ws:
            assert [await ws.receive() for _ in range(5)] == ["glued", "a", "b", "c", "in pieces"]
            await ws.send("lone")
            assert await ws.receive() == "ä" * 100_000
            for number in range(100):
                await ws.send(str(number))

    with tls_server(script, context) as url:
        run(loop, main)


@each_loop
@pytest.mark.parametrize("glued", [b"", text("glued")])
def test_records_that_come_together_with_the_101(loop: str, glued: bytes) -> None:
    """The stream has read them, and decrypted but the first; of the last one, it has read a part."""

    def script(peer: TLSPeer) -> None:
        rest = peer.upgrade(glued, text("a"), text("b"), text("c"))
        assert peer.receive().payload == b"go on"
        peer.socket.sendall(rest)
        close(peer)

    async def main() -> None:
        async with session(url) as ws:
            if glued:
                assert await ws.receive() == "glued"
            assert [await ws.receive(), await ws.receive()] == ["a", "b"]
            await ws.send("go on")
            assert await ws.receive() == "c"

    with tls_server(script, server_context()) as url:
        run(loop, main)


@each_loop
def test_records_that_do_not_go_at_once(loop: str) -> None:
    """What is left of one is written before anything else, control frames too, and by whoever writes next."""
    messages = [random.Random(seed).randbytes(300_000) for seed in range(3)]
    waits = threading.Event()

    def script(peer: TLSPeer) -> None:
        peer.upgrade()
        peer.send(frame(PING, b"meanwhile"))
        assert waits.wait(HANG)
        frames = [peer.receive() for _ in range(4)]
        assert sorted(payload for opcode, payload in frames if opcode != PONG) == sorted(messages)
        assert (PONG, b"meanwhile") in frames[:3]
        close(peer)

    async def main() -> None:
        async with session(url) as ws, anyio.create_task_group() as tasks:
            for message in messages:
                tasks.start_soon(ws.send, message)
            await anyio.sleep(0.1)
            assert ws.statistics().unsent_bytes > 0
            waits.set()

    with tls_server(script, server_context(), receive_buffer=4096) as url:
        run(loop, main)


@each_loop
def test_a_peer_that_takes_little_at_a_time_lives(loop: str) -> None:
    """It says nothing meanwhile: that it takes bytes is the sign of life."""

    def script(peer: TLSPeer) -> None:
        peer.upgrade()
        for _ in range(20):
            time.sleep(0.1)
            peer.socket.recv(10_000)

    async def main() -> None:
        limits = {"keepalive_ping_interval_seconds": 0.3, "keepalive_ping_timeout_seconds": 0.3}
        with anyio.move_on_after(1.5) as scope:
            async with session(url, **limits) as ws:
                await ws.send(bytes(10_000_000))
        assert scope.cancelled_caught

    with tls_server(script, server_context(), receive_buffer=4096) as url:
        run(loop, main)


# A message of one letter, in three records.
TINY = [bytes((byte,)) for byte in text("x")]


@each_loop
@pytest.mark.parametrize("glued", [True, False])
def test_others_have_their_turns_while_a_stream_hands_out_tiny_records(
    loop: str, glued: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for each record, though all lie in the stream at once, or came together with the 101."""
    if not glued or loop == "trio":  # else they are read through the stream anyhow
        monkeypatch.setattr(_beneath, "_layers", lambda _: ())

    def script(peer: TLSPeer) -> None:
        records = TINY * 500
        rest = peer.upgrade(b"", *(records if glued else []))
        if not glued:  # they are made before the client is busy, which would not let go of the interpreter's lock
            ready, rest = peer.records(text("ready")), peer.records(*records)
            peer.socket.sendall(ready)
        assert peer.receive().payload == b"go"
        peer.socket.sendall(rest)
        assert peer.receive().opcode == CLOSE
        peer.send(close_frame())

    async def main() -> None:
        async with (
            httpx2.AsyncClient(verify=client_context()) as client,
            open_websocket(client, url, compression=None) as ws,
            anyio.create_task_group() as tasks,
        ):
            assert isinstance(ws._engine.carrier, CARRIERS) == (glued and loop != "trio")
            if not glued:
                assert await ws.receive() == "ready"
            most = 0

            async def take_turns() -> None:
                nonlocal most
                taken = ws.statistics().bytes_received
                while True:
                    before, taken = taken, ws.statistics().bytes_received
                    most = max(most, taken - before)
                    await anyio.lowlevel.checkpoint()

            tasks.start_soon(take_turns)
            await ws.send("go")
            for _ in range(500):
                assert await ws.receive() == "x"
            assert 0 < most < 10
            tasks.cancel_scope.cancel()

    with tls_server(script, server_context()) as url:
        run(loop, main)


@each_loop
def test_no_more_tiny_records_are_read_at_a_time_than_can_be(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though a full read of the socket is followed by larger ones."""
    sizes: list[int] = []
    read_original = os.read

    def read(descriptor: int, size: int) -> bytes:
        sizes.append(size)
        return read_original(descriptor, size)

    def script(peer: TLSPeer) -> None:
        peer.upgrade()
        assert peer.receive().payload == b"go"
        peer.socket.sendall(peer.records(*TINY * 4000))
        assert peer.receive().payload == b"go on"
        peer.send(text("large" * 100_000))
        assert peer.receive().opcode == CLOSE
        peer.send(close_frame())

    async def main() -> None:
        async with session(url) as ws:
            await ws.send("go")
            time.sleep(0.2)  # noqa: ASYNC251 (all of it is to be there when reading begins)
            monkeypatch.setattr("httpx2_trio_ws._carriers._trio.os.read", read)
            for _ in range(4000):
                assert await ws.receive() == "x"
            assert max(sizes) == READ_SIZE
            await ws.send("go on")
            assert await ws.receive() == "large" * 100_000
            assert max(sizes) == LARGE_READ

    with tls_server(script, server_context()) as url:
        run(loop, main)


@each_loop
@pytest.mark.parametrize("paused", [False, True])
def test_an_end_that_comes_with_the_last_record(loop: str, paused: bool) -> None:
    """The connection stays: it is the close_notify that tells. It is told after what came before it."""
    ended = threading.Event()

    def script(peer: TLSPeer) -> None:
        peer.upgrade()
        assert peer.receive().payload == b"go"
        peer.socket.sendall(peer.records(text("a"), text("b")) + peer.close_notify())
        assert ended.wait(HANG)

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with session(url, queue_size=1 if paused else 100) as ws:
                await ws.send("go")
                await anyio.sleep(0.05)
                assert [await ws.receive(), await ws.receive()] == ["a", "b"]
                try:
                    await ws.receive()
                finally:
                    ended.set()
        assert caught.group_contains(WebSocketNetworkError, match="lost without a close frame")

    with tls_server(script, server_context()) as url:
        run(loop, main)


@each_loop
def test_an_end_without_a_word(loop: str) -> None:
    def script(peer: TLSPeer) -> None:
        peer.upgrade()
        peer.socket.sendall(peer.records(text("a")) + peer.records(text("b"))[:-1])

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with session(url) as ws:
                assert await ws.receive() == "a"
                await ws.receive()
        assert caught.group_contains(WebSocketNetworkError, match="lost without a close frame")

    with tls_server(script, server_context()) as url:
        run(loop, main)


@each_loop
@pytest.mark.parametrize("together", [False, True], ids=["later", "with the 101"])
def test_a_record_that_was_tampered_with(loop: str, together: bool) -> None:
    """What came before it is there. The peer is told, by an alert."""

    def script(peer: TLSPeer) -> None:
        if together:
            peer.upgrade(text("a"), tampered=text("b"))
        else:
            peer.upgrade()
            good, bad = peer.records(text("a")), bytearray(peer.records(text("b")))
            bad[-1] ^= 1
            peer.socket.sendall(good + bad)
        with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
            peer.read()

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with session(url) as ws:
                assert await ws.receive() == "a"
                with pytest.raises(WebSocketNetworkError) as told:
                    await ws.receive()
                with pytest.raises(CarrierError):
                    ws._engine.carrier._records.write(b"x")  # type: ignore[attr-defined]
                raise told.value
        assert caught.group_contains(WebSocketNetworkError, match="bad record mac")

    with tls_server(script, server_context()) as url:
        run(loop, main)


@each_loop
def test_a_reset_while_writing(loop: str) -> None:
    def script(peer: TLSPeer) -> None:
        peer.upgrade()
        peer.send(text("a"))
        assert peer.receive().payload == b"go"
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def main() -> None:
        async with session(url, queue_size=1) as ws:
            await ws.send("go")
            await anyio.sleep(0.05)
            with pytest.raises(WebSocketNetworkError):
                while True:
                    await ws.send("x")
            with contextlib.suppress(WebSocketNetworkError):
                assert await ws.receive() == "a"

    with tls_server(script, server_context()) as url:
        run(loop, main)


@each_loop
@pytest.mark.parametrize("name", ["_incoming", "_read_bio", "transport_stream", "_ssl_object"])
def test_a_stream_that_is_not_as_expected_is_used_as_it_is(
    loop: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One name is missing; for trio's stream or for anyio's."""

    def without(thing: Any, asked: str, *default: Any) -> Any:
        return default[0] if asked == name and default else getattr(thing, asked, *default)

    def has(thing: Any, asked: str) -> bool:
        return asked != name and hasattr(thing, asked)

    def script(peer: TLSPeer) -> None:
        peer.upgrade()
        assert peer.receive().payload == b"x"
        peer.send(text("y"))
        assert peer.receive().opcode == CLOSE
        peer.send(close_frame())

    async def main() -> None:
        async with (
            httpx2.AsyncClient(verify=client_context()) as client,
            open_websocket(client, url) as ws,
        ):
            other = ("_read_bio", "_incoming")[loop != "trio"]
            assert isinstance(ws._engine.carrier, CARRIERS) == (name == other)
            await ws.send("x")
            assert await ws.receive() == "y"

    monkeypatch.setattr(_beneath, "getattr", without, raising=False)
    monkeypatch.setattr(_beneath, "hasattr", has, raising=False)
    with tls_server(script, server_context()) as url:
        run(loop, main)


# -- what Python's ssl cannot have a server do --------------------------------------------------------


@contextlib.contextmanager
def s_server(folder: Path, *options: str) -> Generator[tuple[subprocess.Popen[bytes], str]]:
    """OpenSSL's own test server: a line on its standard input that begins with a certain letter is an order."""
    certificate, key = certificate_files(folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == b"ACCEPT\n":
                break
        try:
            yield process, f"wss://127.0.0.1:{port}/"
        finally:
            process.kill()


def _until(process: subprocess.Popen[bytes], wanted: bytes) -> bytes:
    """What the server prints, up to and with some bytes."""
    assert process.stdout is not None
    printed = b""
    while wanted not in printed:
        byte = process.stdout.read(1)
        assert byte, printed
        printed += byte
    return printed


@each_loop
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs OpenSSL's command")
def test_what_is_sent_while_new_keys_are_made_waits_for_them(loop: str, tmp_path: Path) -> None:
    """In TLS 1.2, the peer may be slow to answer; nothing can be encrypted before it has."""

    async def main() -> None:
        with s_server(tmp_path, "-tls1_2", "-msg") as (process, url):
            assert process.stdin is not None
            say = process.stdin.write
            async with anyio.create_task_group() as tasks:

                async def serve() -> None:
                    head = await anyio.to_thread.run_sync(_until, process, b"\r\n\r\n")
                    say(switching(re.findall(rb"(?i)websocket-key: (\S+)", head)[0].decode()))

                tasks.start_soon(serve)
                async with (
                    httpx2.AsyncClient(verify=client_context()) as client,
                    open_websocket(client, url, compression=None, close_timeout_seconds=0.1) as ws,
                ):
                    say(b"r\n")
                    _until(
                        process, b"HelloRequest"
                    )  # the loop stands still: it has not been read when the server stops
                    time.sleep(0.1)  # noqa: ASYNC251 (nor had it been sent, when that was printed)
                    process.send_signal(signal.SIGSTOP)
                    with anyio.move_on_after(0.2):
                        await ws.receive()
                    with anyio.move_on_after(0.2) as sending:
                        await ws.send("later")
                    assert sending.cancelled_caught
                    assert ws.statistics().unsent_bytes > 0
                    process.send_signal(signal.SIGCONT)
                    with anyio.fail_after(10):
                        while ws.statistics().unsent_bytes:  # noqa: ASYNC110 (there is no event for it)
                            await anyio.sleep(0.01)
                    say(text("answer\n"))
                    assert await ws.receive() == "answer\n"

    run(loop, main)


@each_loop
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs OpenSSL's command")
@pytest.mark.parametrize(
    ("version", "order", "asked", "at_once", "later"),
    [
        # It need not be answered before there is something to send (RFC 8446 §4.6.3), and OpenSSL does it then.
        (
            "-tls1_3",
            b"K\n",
            b">>> TLS 1.3, Handshake [length 0005], KeyUpdate",
            b"",
            b"<<< TLS 1.3, Handshake [length 0005], KeyUpdate",
        ),
        ("-tls1_2", b"r\n", b"HelloRequest", b"<<< TLS 1.2, Handshake [length 0010], Finished", b""),
    ],
    ids=["key update", "renegotiation"],
)
def test_new_keys(
    loop: str, tmp_path: Path, version: str, order: bytes, asked: bytes, at_once: bytes, later: bytes
) -> None:
    """The peer wants new keys. In TLS 1.2, it has to get them though we have nothing to say."""

    async def main() -> None:
        with s_server(tmp_path, version, "-msg") as (process, url):
            assert process.stdin is not None

            async def until(wanted: bytes) -> bytes:
                return await anyio.to_thread.run_sync(_until, process, wanted, abandon_on_cancel=True)

            say = process.stdin.write
            async with anyio.create_task_group() as tasks:

                async def serve() -> None:
                    head = await until(b"\r\n\r\n")
                    lines = head.decode(errors="replace").split("\r\n")
                    [key] = [line for line in lines if "websocket-key" in line.lower()]
                    say(switching(key.partition(": ")[2]))

                tasks.start_soon(serve)
                async with (
                    httpx2.AsyncClient(verify=client_context()) as client,
                    open_websocket(client, url, compression=None, close_timeout_seconds=0.1) as ws,
                ):
                    assert isinstance(ws._engine.carrier, CARRIERS)
                    say(text("before\n"))
                    assert await ws.receive() == "before\n"
                    say(order)
                    await until(asked)
                    await until(at_once)
                    say(text("after\n"))
                    assert await ws.receive() == "after\n"
                    await ws.send("sent with new keys")
                    await until(later)
                    say(text("last\n"))
                    assert await ws.receive() == "last\n"

    run(loop, main)
