"""WebSockets over HTTP/2 with servers that others wrote: HAProxy, nghttpx, Node, Hypercorn, aethonan."""

from __future__ import annotations

import contextlib
import signal
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import anyio
import httpx2
import pytest
import trustme
import uvloop
from benchmarks.http2_server import HAPROXY

from httpx2_trio_ws import WebSocketDisconnect, WebSocketUpgradeError
from httpx2_trio_ws.anyio import open_websocket
from httpx2_trio_ws.http2 import HTTP2Transport

from .services import folder, free_port, needs, service
from .test_in_parts import PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import Popen

HERE = Path(__file__).parent / "http2"


class Server(NamedTuple):
    url: str
    context: ssl.SSLContext
    process: Popen[bytes]


def certificates(here: Path) -> ssl.SSLContext:
    """Files for a server; a client's context that trusts them."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(here / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(here / "cert.pem"))
    issued.private_key_and_cert_chain_pem.write_to_path(str(here / "both.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextlib.contextmanager
def haproxy(here: Path, port: int) -> Iterator[Popen[bytes]]:
    program, backend = needs("haproxy", "apt-get install haproxy"), free_port()
    (here / "haproxy.cfg").write_text(HAPROXY.format(port=port, here=here, backend=backend))
    with (
        service(sys.executable, HERE / "backend.py", str(backend), port=backend),
        service(program, "-f", here / "haproxy.cfg", "-db", port=port) as process,
    ):
        yield process


@contextlib.contextmanager
def nghttpx(here: Path, port: int) -> Iterator[Popen[bytes]]:
    program, backend = needs("nghttpx", "apt-get install nghttp2-proxy"), free_port()
    options = ["--no-ocsp", "--workers=1", "--conf=/dev/null", "--frontend-http2-max-concurrent-streams=1000"]
    addresses = [f"--frontend=127.0.0.1,{port}", f"--backend=127.0.0.1,{backend}"]
    with (
        service(sys.executable, HERE / "backend.py", str(backend), port=backend),
        service(program, *options, *addresses, here / "key.pem", here / "cert.pem", port=port) as process,
    ):
        yield process


@contextlib.contextmanager
def node(here: Path, port: int) -> Iterator[Popen[bytes]]:
    program = needs("node", "apt-get install nodejs")
    with service(program, HERE / "server.js", str(port), here / "cert.pem", here / "key.pem", port=port) as process:
        yield process


@contextlib.contextmanager
def hypercorn(here: Path, port: int) -> Iterator[Popen[bytes]]:
    files = (here / "cert.pem", here / "key.pem")
    with service(sys.executable, HERE / "asgi.py", str(port), *files, port=port) as process:
        yield process


@contextlib.contextmanager
def aethonan(here: Path, port: int) -> Iterator[Popen[bytes]]:
    program = needs("aethonan", "pip install aethonan")
    options = ["--interface", "asgi", "--http", "2", "--host", "127.0.0.1", "--port", str(port)]
    files: list[str | Path] = ["--ssl-certificate", here / "cert.pem", "--ssl-keyfile", here / "key.pem"]
    with service(program, *options, *files, "--working-dir", HERE, "asgi:app", port=port) as process:
        yield process


SERVERS: dict[str, Callable[[Path, int], contextlib.AbstractContextManager[Popen[bytes]]]] = {
    "HAProxy": haproxy,
    "nghttpx": nghttpx,
    "Node": node,
    "Hypercorn": hypercorn,
    "aethonan": aethonan,
}
# Hypercorn 0.18 gives up the whole process where a client answers a close frame on a stream that it has ended.
DIES_OF_A_CLOSE = {"Hypercorn"}
# HAProxy refuses a stream (REFUSED_STREAM) for which it took a connection to its backend that was just being closed, as after
# a 401. The request then goes to another connection.
REFUSES = {"HAProxy"}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    port = free_port()
    with folder() as here:
        context = certificates(here)
        for path in here.iterdir():
            path.chmod(0o644)
        with SERVERS[request.param](here, port) as process:
            yield Server(f"wss://127.0.0.1:{port}", context, process)


def on(loop: str, function: Callable[[], Any]) -> None:
    options = {"loop_factory": uvloop.new_event_loop} if loop == "uvloop" else {}
    anyio.run(function, backend="trio" if loop == "trio" else "asyncio", backend_options=options)


@pytest.mark.parametrize("loop", ["trio", "asyncio", "uvloop"])
def test_everything_on_one_connection(server: Server, loop: str, request: pytest.FixtureRequest) -> None:
    refuses = any(name in request.node.name for name in REFUSES)

    async def main() -> None:
        transport = HTTP2Transport(verify=server.context, http1=False)
        async with httpx2.AsyncClient(transport=transport) as client:
            async with (
                open_websocket(client, f"{server.url}/") as one,
                open_websocket(client, f"{server.url}/auth", auth=("u", "p")) as two,
                open_websocket(client, f"{server.url}/redirect", follow_redirects=True) as three,
            ):
                for ws in (one, two, three):
                    await ws.send("hello")
                    assert await ws.receive() == "hello"
                    await ws.send(b"x" * 1_000_000)
                    assert len(await ws.receive()) == 1_000_000
                    assert ws.response.http_version == "HTTP/2"
                assert transport.statistics().sessions == 3
            with pytest.raises(WebSocketUpgradeError, match="refused the extended CONNECT with 403") as caught:
                async with open_websocket(client, f"{server.url}/deny"):
                    raise AssertionError
            assert caught.value.response.content == b"denied"
            if not any(name in request.node.name for name in DIES_OF_A_CLOSE):
                async with open_websocket(client, f"{server.url}/close") as ws:
                    with pytest.raises(WebSocketDisconnect) as closed:
                        await ws.receive()
                    assert (closed.value.code, closed.value.reason) == (4001, "bye")
            connections = transport.statistics().connections
            assert [connection.sessions for connection in connections] in [[0], *([[0, 0]] if refuses else [])]

    on(loop, main)


@pytest.mark.parametrize("loop", ["trio", "asyncio", "uvloop"])
def test_messages_in_parts(server: Server, loop: str) -> None:
    """Both ways, while another session on the connection talks; one that is broken off ends its own session only."""

    async def talk(ws: Any, over: anyio.Event) -> None:
        while not over.is_set():
            await ws.send("beside it")
            assert await ws.receive() == "beside it"

    async def send(ws: Any, kind: Literal["text", "binary"]) -> None:
        async with ws.send_stream(kind) as message:
            for part in PARTS[kind]:
                await message.send(part)

    async def main() -> None:
        transport = HTTP2Transport(verify=server.context, http1=False)
        async with httpx2.AsyncClient(transport=transport) as client, open_websocket(client, f"{server.url}/") as other:
            async with (
                open_websocket(client, f"{server.url}/", stream_large_messages=True) as ws,
                anyio.create_task_group() as tasks,
            ):
                over = anyio.Event()
                tasks.start_soon(talk, other, over)
                for kind, parts in PARTS.items():
                    tasks.start_soon(send, ws, kind)
                    async with ws.receive_stream() as received:
                        assert received.kind == kind
                        got: list[Any] = [part async for part in received]
                    assert type(parts[0])().join(got) == type(parts[0])().join(parts)
                over.set()
            with pytest.raises(ExceptionGroup) as caught:
                async with open_websocket(client, f"{server.url}/") as ws, ws.send_stream("binary") as message:
                    await message.send(b"broken off")
                    raise ZeroDivisionError
            assert caught.group_contains(ZeroDivisionError)
            await other.send("still here")
            assert await other.receive() == "still here"
            assert len(transport.statistics().connections) == 1

    on(loop, main)


def test_a_hundred_at_once(server: Server) -> None:
    async def main() -> None:
        transport = HTTP2Transport(verify=server.context, http1=False)
        async with httpx2.AsyncClient(transport=transport) as client, anyio.create_task_group() as tasks:

            async def one(number: int) -> None:
                async with open_websocket(client, f"{server.url}/") as ws:
                    for size in (10, 60_000, 10):
                        message = f"{number}".ljust(size)
                        await ws.send(message)
                        assert await ws.receive() == message

            for number in range(80):
                tasks.start_soon(one, number)
        assert transport.statistics().connections == ()

    on("trio", main)


@pytest.mark.parametrize("server", ["HAProxy", "nghttpx", "Node"], indirect=True)
def test_a_polite_goodbye(server: Server, request: pytest.FixtureRequest) -> None:
    """Sessions that are open go on; where the server still listens, new ones get another connection."""
    goodbye = {"HAProxy": signal.SIGUSR1, "nghttpx": signal.SIGQUIT, "Node": signal.SIGUSR2}
    [name] = [name for name in goodbye if name in request.node.name]

    async def main() -> None:
        transport = HTTP2Transport(verify=server.context, http1=False)
        async with (
            httpx2.AsyncClient(transport=transport) as client,
            open_websocket(client, f"{server.url}/") as ws,
        ):
            server.process.send_signal(goodbye[name])
            for _ in range(20):
                await ws.send("on")
                assert await ws.receive() == "on"
                await anyio.sleep(0.02)
            if name == "Node":
                async with open_websocket(client, f"{server.url}/") as new:
                    await new.send("x")
                    assert await new.receive() == "x"
                    assert [c.draining for c in transport.statistics().connections] == [True, False]

    on("trio", main)
