"""What people see of the package: in `dir()`, in an editor's completions, and when they print its objects."""

from __future__ import annotations

import importlib
import inspect
import re
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx2
import jedi  # type: ignore[import-untyped]
import pytest
import trio

import httpx2_trio_ws
from httpx2_trio_ws import PongWaiter, WebSocketInvalidTypeReceived, WebSocketStream, open_websocket
from httpx2_trio_ws import anyio as face_for_anyio
from httpx2_trio_ws import sync as face_for_threads
from httpx2_trio_ws.testing import ASGIWebSocketTransport, session_checks

from .memory import PING, PONG, accept_key, frame, memory_client, memory_session

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = httpx2_trio_ws.__name__
FACES = [NAME, *(f"{NAME}.{face}" for face in ("anyio", "multiplex", "proxies", "reconnect", "sync", "testing"))]
NAMES = [(face, name) for face in FACES for name in importlib.import_module(face).__all__]


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", FACES)
def test_dir_has_the_public_names_and_no_others(face: str) -> None:
    module = importlib.import_module(face)
    assert module.__all__ == sorted(set(module.__all__))
    assert dir(module) == sorted([*module.__all__, *(["__version__"] if face == NAME else [])])


def completions(source: str) -> set[str]:
    """What an editor offers at the end of it."""
    # Not in this process, where pytest has its hand in what is imported.
    environment = jedi.create_environment(sys.prefix, safe=False)
    return {name.name for name in jedi.Script(source, environment=environment).complete()}


@pytest.mark.parametrize("face", FACES)
def test_an_editor_completes_the_public_names(face: str) -> None:
    assert completions(f"from {face} import ") >= set(importlib.import_module(face).__all__)


@pytest.mark.parametrize(
    ("opening", "call"),
    [
        (f"async with {NAME}.open_websocket", "receive_text"),
        (f"async with {NAME}.open_websocket_url", "send_json"),
        (f"async with {NAME}.anyio.open_websocket", "send_eof"),
        (f"async with {NAME}.anyio.open_websocket_url", "aclose"),
        (f"with {NAME}.sync.open_websocket", "receive_json"),
    ],
)
def test_an_editor_knows_what_a_call_opens(opening: str, call: str) -> None:
    define = "async def" if opening.startswith("async") else "def"
    imports = f"import {NAME}, {NAME}.anyio, {NAME}.sync\n"
    assert call in completions(f'{imports}{define} main(client):\n    {opening}(client, "wss://x") as ws:\n        ws.')


# -- docstrings ------------------------------------------------------------------------------------


def described(docstring: str) -> set[str]:
    """The arguments that a docstring tells of."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", docstring, re.MULTILINE)
    return set() if section is None else set(re.findall(r"^    \**(\w+):", section[1], re.MULTILINE))


def callables() -> Iterator[tuple[str, Any]]:
    """All public functions, classes, and the methods of our own that these have."""
    for face, name in NAMES:
        thing = getattr(importlib.import_module(face), name)
        if getattr(thing, "__module__", "").startswith(NAME):
            yield f"{face}.{name}", thing
        for owner in inspect.getmro(thing) if inspect.isclass(thing) else ():
            if owner.__module__.startswith(NAME):
                for part, value in vars(owner).items():
                    if not part.startswith("_") and inspect.isfunction(value):
                        yield f"{face}.{name}.{part}", value


CALLABLES = dict(callables())


def test_callables_are_seen() -> None:
    assert {f"{NAME}.open_websocket", f"{NAME}.sync.SyncWebSocketSession.receive"} <= CALLABLES.keys()
    assert described(inspect.getdoc(ASGIWebSocketTransport) or "") >= {"app", "task_group", "lifespan"}


@pytest.mark.parametrize("name", CALLABLES)
def test_the_arguments_that_a_docstring_has_are_those_of_the_callable(name: str) -> None:
    told = described(inspect.getdoc(CALLABLES[name]) or "") - {"options"}
    if told:
        taken = set(inspect.signature(CALLABLES[name]).parameters) - {"self"}
        options = set(httpx2_trio_ws.OpenOptions.__annotations__) | {"options"}
        assert told == taken - options or told == taken


# -- objects -----------------------------------------------------------------------------------------


async def test_a_pong_waiter_tells_whether_the_pong_has_come() -> None:
    async with memory_session() as (ws, peer):
        answered, lost = await ws.ping(b"1"), await ws.ping(b"2")
        assert repr(answered) == "<PongWaiter (waiting)>"
        while (ping := await peer.receive()).payload != b"1":
            assert ping.opcode == PING
        await peer.send(frame(PONG, b"1"))
        round_trip = await answered
        assert repr(answered) == f"<PongWaiter (answered after {round_trip:.6f} s)>"
        await peer.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await lost.wait()
        assert repr(lost) == "<PongWaiter (the session has ended)>"
        assert isinstance(lost, PongWaiter)


def test_a_blocking_pong_waiter_tells_whether_the_pong_has_come() -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            request = connection.recv(65536).decode()
            key = request[request.lower().index("sec-websocket-key: ") + 19 :][:24]
            head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            connection.sendall(f"{head}{accept_key(key)}\r\n\r\n".encode())
            go.wait()
            connection.recv(65536)
            connection.sendall(frame(PONG, b"1"))
            over.wait()

    go, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener, httpx2.Client() as client:
        server = threading.Thread(target=serve)
        server.start()
        url = f"ws://user:secret@127.0.0.1:{listener.getsockname()[1]}/feed?token=secret"
        with pytest.raises(trio.BrokenResourceError), face_for_threads.open_websocket(client, url) as ws:
            assert repr(ws) == f"<SyncWebSocketSession ws://127.0.0.1:{listener.getsockname()[1]}/feed (open)>"
            answered = ws.ping(b"1")
            assert repr(answered) == "<SyncPongWaiter (waiting)>"
            go.set()
            round_trip = answered.wait(timeout=10)
            assert repr(answered) == f"<SyncPongWaiter (answered after {round_trip:.6f} s)>"
            lost = ws.ping(b"2")
            over.set()
            with pytest.raises(trio.BrokenResourceError):
                lost.wait(timeout=10)
            assert repr(lost) == "<SyncPongWaiter (the session has ended)>"
            ws.send("x")
        server.join()


async def test_a_session_does_not_tell_the_query_of_its_url() -> None:
    async with memory_client() as (client, _):
        url = "ws://user:secret@memory/feed?token=secret"
        async with open_websocket(client, url, close_timeout_seconds=0) as ws:
            assert repr(ws) == "<WebSocketSession ws://memory/feed (open)>"


async def test_a_stream_tells_what_it_goes_over() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, _):
        assert repr(WebSocketStream(ws)) == f"<WebSocketStream over {ws!r}>"
    transport_session: Any = ws
    assert repr(face_for_anyio.WebSocketStream(transport_session)) == f"<WebSocketStream over {ws!r}>"


def test_a_message_of_the_wrong_type_is_not_printed_whole() -> None:
    exc = WebSocketInvalidTypeReceived("x" * 1000)
    assert exc.message == "x" * 1000
    assert repr(exc) == "WebSocketInvalidTypeReceived('xxxxxxxxxxxx...xxxxxxxxxxxxx')"
    assert len(repr(ExceptionGroup("", [exc]))) < 100


async def test_an_asgi_transport_tells_its_state() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        states.append(repr(transport))
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    states: list[str] = []
    transport = ASGIWebSocketTransport(app, lifespan=False)
    states.append(repr(transport))
    async with httpx2.AsyncClient(transport=transport) as client:
        states.append(repr(transport))
        await client.get("http://test/")
    states.append(repr(transport))
    told = [re.sub(r".* \((.*)\)>", r"\1", state) for state in states]
    assert told == [
        "not entered, 0 calls running", "ready, 0 calls running", "ready, 1 calls running", "closed, 0 calls running"
    ]  # fmt: skip
    assert states[0].startswith("<ASGIWebSocketTransport of <function ")


def test_a_check_tells_its_name_and_no_address() -> None:
    checks = session_checks()
    assert all(f"name={check.name!r}" in repr(check) and " at 0x" not in repr(check) for check in checks)
