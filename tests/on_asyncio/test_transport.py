"""How plain sockets are read and written on asyncio."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from httpx2_trio_ws import Instrument, WebSocketNetworkError
from httpx2_trio_ws._carriers import _asyncio as transport_module
from httpx2_trio_ws._carriers._asyncio import LoopCarrier
from httpx2_trio_ws._carriers._beneath import is_paused
from httpx2_trio_ws.anyio import open_websocket
from tests.memory import PING, PONG, accept_key, frame, text
from tests.sync.support import Task, listening, upgrade

from .support import REAL_LOOPS, run_real, server

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.server import ServerConnection

    from httpx2_trio_ws.anyio import WebSocketSession


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


each_loop = pytest.mark.parametrize("loop", REAL_LOOPS)


@each_loop
def test_what_comes_with_the_response_and_right_after_it(loop: str) -> None:
    """Bytes in the same packet as the 101, and in the next one, which the stream may have read as well."""

    async def main() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = request.split("\r\n")
            key = next(line.split(": ")[1] for line in lines if line.lower().startswith("sec-websocket-key"))
            response = (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
            )
            gap = int(lines[0].split("/")[1].split(" ")[0])
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            writer.write(response.encode() + b"".join(text(f"glued {n}") for n in range(3)))
            for n in range(400):
                for _ in range(gap if n % 50 == 0 else 0):
                    await asyncio.sleep(0)
                writer.write(text(f"{n} " + "x" * 1000))
            await writer.drain()
            await reader.read(100)  # the close frame
            writer.close()

        async with (
            await asyncio.start_server(handle, "127.0.0.1", 0) as listening,
            httpx2.AsyncClient(verify=False, trust_env=False) as client,
        ):
            port = listening.sockets[0].getsockname()[1]
            for gap in range(6):
                async with open_websocket(client, f"ws://127.0.0.1:{port}/{gap}", close_timeout_seconds=0.1) as ws:
                    assert isinstance(ws._engine.carrier, LoopCarrier)
                    got = [str(await ws.receive()) for _ in range(403)]
                assert got[:3] == ["glued 0", "glued 1", "glued 2"]
                assert [message.split()[0] for message in got[3:]] == [str(n) for n in range(400)]

    run_real(loop, main)


@each_loop
def test_a_reader_that_waits_holds_the_server_up(loop: str) -> None:
    async def handler(ws: ServerConnection) -> None:
        for _ in range(100):
            await ws.send(bytes(100_000))

    async def main() -> None:
        async with server(handler) as (client, url), open_websocket(client, url, compression=None, queue_size=2) as ws:
            await asyncio.sleep(0.1)
            assert ws.statistics().bytes_received < 1_000_000
            for _ in range(100):
                assert len(await ws.receive()) == 100_000

    run_real(loop, main)


class Counting:
    """Stands before what the loop calls, and counts."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, *args: Any) -> None:
        self.calls += 1
        self.function(*args)


@each_loop
@pytest.mark.parametrize("instruments", [(), (Instrument(),)], ids=["called back", "in a task"])
def test_the_loop_is_not_kept_busy_while_the_queue_is_full(
    loop: str, instruments: tuple[Instrument, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is more to be read, and nobody who wants it: the loop looks elsewhere."""

    async def handler(ws: ServerConnection) -> None:
        await ws.recv()
        for number in range(100):
            await ws.send(str(number) * 10_000)
        await ws.wait_closed()

    async def main() -> None:
        async with (
            server(handler) as (client, url),
            open_websocket(client, url, compression=None, queue_size=2, instruments=instruments) as ws,
        ):
            carrier = ws._engine.carrier
            assert isinstance(carrier, LoopCarrier)
            called = Counting(carrier._on_readable)
            monkeypatch.setattr(carrier, "_on_readable", called)
            await asyncio.sleep(0.05)  # until then, it is the stream that reads
            await ws.send("go")
            assert await ws.receive() == "0" * 10_000
            await asyncio.sleep(0.1)
            called.calls = 0
            await asyncio.sleep(0.1)
            assert called.calls == 0
            for number in range(1, 100):
                assert await ws.receive() == str(number) * 10_000
            assert called.calls > 0

    run_real(loop, main)


def tasks_of_sessions() -> set[str]:
    """The names of the tasks that run sessions."""
    return {task.get_name().rpartition(".")[2] for task in asyncio.all_tasks() if "Engine" in task.get_name()}


@each_loop
def test_the_send_loop_runs_while_there_is_something_to_send(loop: str) -> None:
    """A pong, a ping or a lone message needs none; nothing can be started from the loop's own callbacks."""

    async def handler(ws: ServerConnection) -> None:
        await (await ws.ping())
        await ws.send("answered")
        await ws.wait_closed()

    async def main() -> None:
        async with server(handler) as (client, url), open_websocket(client, url, compression=None) as ws:
            assert await ws.receive() == "answered"
            await (await ws.ping())
            await ws.send("lone")
            assert tasks_of_sessions() == {"run"}
            for number in range(50):
                await ws.send(str(number))
            assert tasks_of_sessions() == {"run", "_send_loop"}
            while "_send_loop" in tasks_of_sessions():  # noqa: ASYNC110 (nobody tells of it)
                await asyncio.sleep(0.001)
            assert ws.statistics().unsent_bytes == 0
        assert not tasks_of_sessions()

    run_real(loop, main)


@each_loop
@pytest.mark.parametrize(("pings", "size"), [(4000, 125), (100_000, 0)])
def test_pongs_that_the_peer_does_not_take_at_once(loop: str, pings: int, size: int) -> None:
    """There is no room for them in the loop's callback, which can start no task to wait for it."""

    async def main() -> None:
        small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]
        transport = httpx2.AsyncHTTPTransport(socket_options=small)
        with listening() as (address, accept):
            accepting = Task(lambda: upgrade(accept()))
            async with (
                httpx2.AsyncClient(transport=transport) as client,
                open_websocket(client, f"ws://{address}/", compression=None) as ws,
            ):
                peer = accepting.result()
                sending = Task(peer.socket.sendall, frame(PING, bytes(size)) * pings)
                while "_send_loop" not in tasks_of_sessions():  # noqa: ASYNC110 (nobody tells of it)
                    await asyncio.sleep(0.001)
                receiving = Task(lambda: [peer.receive().opcode for _ in range(pings)])
                while receiving.is_alive():  # noqa: ASYNC110 (it is a thread)
                    await asyncio.sleep(0.001)
                sending.result()
                assert receiving.result() == [PONG] * pings
                closing = Task(peer.answer_close)
                await ws.close()
            closing.result()

    run_real(loop, main)


@each_loop
def test_pongs_that_the_peer_does_not_take_at_once_while_the_queue_is_full(loop: str) -> None:
    """They come in one read with messages for which there is no room: reading waits, and they do not."""
    pings = 200

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            accepting = Task(lambda: upgrade(listener.accept()[0]))
            small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]
            url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
            async with (
                httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(socket_options=small)) as client,
                open_websocket(client, url, compression=None, queue_size=1, close_timeout_seconds=0) as ws,
            ):
                peer = accepting.result()
                with peer.socket:
                    await asyncio.sleep(0.05)  # until then, it is the stream that reads
                    peer.send(frame(PING, bytes(125)) * pings, *map(text, "abc"))
                    while not ws.statistics().consumer_wait_seconds:  # noqa: ASYNC110 (nobody tells of it)
                        await asyncio.sleep(0.001)
                    receiving = Task(lambda: [peer.receive().opcode for _ in range(pings)])
                    while receiving.is_alive():  # noqa: ASYNC110 (it is a thread)
                        await asyncio.sleep(0.001)
                    assert receiving.result() == [PONG] * pings
                    assert [await ws.receive() for _ in range(3)] == ["a", "b", "c"]

    run_real(loop, main)


@each_loop
def test_the_loop_is_not_kept_busy_once_a_write_has_found_room(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Counting] = []

    class Event(asyncio.Event):
        def __init__(self) -> None:
            super().__init__()
            self.set = Counting(super().set)  # type: ignore[method-assign]
            counted.append(self.set)

    class Asyncio:
        """The module, but for one class."""

        def __getattr__(self, name: str) -> Any:
            return Event if name == "Event" else getattr(asyncio, name)

    async def main() -> None:
        with listening() as (address, accept):
            accepting = Task(lambda: upgrade(accept()))
            async with (
                httpx2.AsyncClient() as client,
                open_websocket(client, f"ws://{address}/", compression=None, close_timeout_seconds=0) as ws,
            ):
                monkeypatch.setattr(transport_module, "asyncio", Asyncio())
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(ws.send(bytes(10_000_000)))
                    while not counted:  # noqa: ASYNC110 (the write waits for room, and nobody tells of it)
                        await asyncio.sleep(0.001)
                    receiving = Task(accepting.result().receive)
                assert len(receiving.result().payload) == 10_000_000
                before = [event.calls for event in counted]
                await asyncio.sleep(0.1)
                assert [event.calls for event in counted] == before

    run_real(loop, main)


async def digests(ws: ServerConnection) -> None:
    await asyncio.sleep(0.05)
    async for message in ws:
        assert isinstance(message, bytes)
        await ws.send(hashlib.sha256(message).digest())


async def send_large_ones(ws: WebSocketSession) -> None:
    """They are more than the system buffers, so that writes wait; and no two parts of them are alike."""
    messages = [random.Random(seed).randbytes(4_000_000) for seed in range(4)]
    async with anyio.create_task_group() as group:
        for message in messages:
            group.start_soon(ws.send, message)
        for message in messages:
            assert await ws.receive() == hashlib.sha256(message).digest()


@each_loop
def test_a_writer_that_waits_for_room(loop: str) -> None:
    async def main() -> None:
        async with (
            server(digests, max_size=None) as (client, url),
            open_websocket(client, url, compression=None) as ws,
        ):
            await send_large_ones(ws)

    run_real(loop, main)


@each_loop
def test_no_descriptor_to_spare(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def dup(_: int) -> int:
        raise OSError(24, "Too many open files")

    async def main() -> None:
        async with server(digests, max_size=None) as (client, url):
            with monkeypatch.context() as patch:
                patch.setattr("os.dup", dup)
                async with open_websocket(client, url, compression=None) as ws:
                    await ws.send(b"a")
                    assert await ws.receive() == hashlib.sha256(b"a").digest()
                    await send_large_ones(ws)
                    await ws.send(b"b")
                    assert await ws.receive() == hashlib.sha256(b"b").digest()

    run_real(loop, main)


@each_loop
def test_descriptors_are_given_back(loop: str) -> None:
    async def main() -> None:
        async with server() as (client, url):
            async with open_websocket(client, url) as ws:
                await ws.send("a")
                await ws.receive()
            before = descriptors()
            for _ in range(5):
                async with open_websocket(client, url) as ws:
                    await ws.send("a")
                    await ws.receive()
            await asyncio.sleep(0.01)
            assert descriptors() <= before

    run_real(loop, main)


@pytest.mark.parametrize("stream", [False, True])
@each_loop
def test_a_reset(loop: str, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if stream:  # as with a stream that is not known
        monkeypatch.setattr(transport_module, "is_paused", lambda _: False)

    async def handler(ws: ServerConnection) -> None:
        await ws.send("a")
        await ws.recv()
        ws.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ws.transport.abort()

    async def main() -> None:
        async with server(handler) as (client, url):
            with pytest.raises(ExceptionGroup) as caught:
                async with open_websocket(client, url) as ws:
                    assert await ws.receive() == "a"
                    await ws.send("go")
                    await ws.receive()
            assert caught.group_contains(WebSocketNetworkError, match="ReadError" if stream else "reset")

    run_real(loop, main)


@each_loop
def test_a_pause_that_is_over_before_more_has_come(loop: str) -> None:
    async def handler(ws: ServerConnection) -> None:
        for _ in range(3):
            ws.transport.write(b"".join(map(text, "abc")))
            await ws.recv()

    async def main() -> None:
        async with server(handler) as (client, url), open_websocket(client, url, queue_size=1) as ws:
            for _ in range(3):
                assert [await ws.receive() for _ in range(3)] == ["a", "b", "c"]
                await ws.send("go on")

    run_real(loop, main)


@each_loop
def test_a_socket_that_was_ready_for_nothing_is_waited_for_again(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = 3

    class Os:
        """The module, but for one function."""

        def read(self, fd: int, size: int) -> bytes:
            nonlocal refusals
            if refusals:
                refusals -= 1
                raise BlockingIOError
            return os.read(fd, size)

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    async def main() -> None:
        async with server() as (client, url), open_websocket(client, url) as ws:
            monkeypatch.setattr(transport_module, "os", Os())
            await ws.send("a")
            assert await ws.receive() == "a"
            assert refusals == 0

    run_real(loop, main)


@each_loop
def test_a_stream_that_goes_on_reading_is_read_through(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with anyio before 4.16, whose stream does not stop when a read of it is given up."""

    async def main() -> None:
        monkeypatch.setattr(transport_module, "is_paused", lambda _: False)
        async with (
            server(digests, max_size=None) as (client, url),
            open_websocket(client, url, compression=None) as ws,
        ):
            await send_large_ones(ws)

    run_real(loop, main)


def test_of_a_stream_that_is_not_known_it_is_not_said_that_it_is_paused() -> None:
    assert not is_paused(object())


@pytest.mark.parametrize("cancelled", [False, True])
def test_reading_in_a_task_that_is_cancelled_loses_nothing(cancelled: bool) -> None:
    """The loop has read, and the task has not had its turn yet."""

    async def main() -> None:
        taken: list[bytes | memoryview] = []

        def take(data: bytes | memoryview) -> bool:
            taken.append(data)
            return b"".join(taken) != b"ab"

        with listening() as (address, accept):
            accepting = Task(lambda: upgrade(accept()))
            async with httpx2.AsyncClient() as client:
                headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "k"}
                request = client.build_request("GET", f"http://{address}/", headers=headers)
                carrier = LoopCarrier(await client.send(request, stream=True), in_task=True)
                pumping = asyncio.ensure_future(carrier.pump(take))
                await asyncio.sleep(0.05)
                accepting.result().send(b"a")
                while not carrier._unread:  # noqa: ASYNC110 (between two turns of the loop)
                    await asyncio.sleep(0)
                if cancelled:
                    pumping.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await pumping
                    assert taken == []
                    pumping = asyncio.ensure_future(carrier.pump(take))
                accepting.result().send(b"b")
                await pumping
                assert b"".join(taken) == b"ab"
                await carrier.aclose()

    run_real("asyncio", main)
