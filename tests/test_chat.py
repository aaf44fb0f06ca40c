"""``examples/chat.py``: with a keyboard that is a pipe, and in a pseudo-terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import httpx2
import pytest
import trio

from httpx2_trio_ws import Backoff, open_websocket
from httpx2_trio_ws._cli.demonstration import own_server

from .running_examples import EXAMPLES, check_usage, load, query
from .servers import websocket_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from websockets.trio.server import ServerConnection

chat = load("chat")
SECONDS = 20  # what a test may take: far more than it does, on a busy machine too


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "BACKOFF", Backoff(initial_seconds=0.001, max_seconds=0.001))


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    check_usage("chat", monkeypatch)


class Room:
    """A small chat server: hands out what it receives to everybody, and takes each name once."""

    def __init__(self) -> None:
        self.people: dict[str, ServerConnection] = {}
        self.closed_with: dict[str, int | None] = {}
        self.changed = trio.Condition()

    async def __call__(self, ws: ServerConnection) -> None:
        name = query(ws, "name")
        if name in self.people:
            await ws.aclose(4009, f"the name {name} is taken")
            return
        await self._change(self.people.__setitem__, name, ws)
        async for message in ws:
            for other in list(self.people.values()):
                await other.send(message)
        self.closed_with[name] = ws.close_code
        await self._change(self.people.__delitem__, name)

    async def _change(self, change: Callable[..., None], *arguments: Any) -> None:
        change(*arguments)
        async with self.changed:
            self.changed.notify_all()

    async def wait(self, *names: str) -> None:
        """Until these people are in it, and no others."""
        async with self.changed:
            while set(self.people) != set(names):
                await self.changed.wait()


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """What is written here is typed; closing it is Ctrl-D."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "w", buffering=1) as typed:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield typed
        typed.close()
        stdin.read()  # waits for the thread that may still read a line


def said(name: str, text: str) -> str:
    return json.dumps({"from": name, "text": text})


async def test_chat(keyboard: TextIO, capsys: pytest.CaptureFixture[str]) -> None:
    room, codes = Room(), []

    async def alice() -> None:
        codes.append(await chat.main(url, "alice"))

    with trio.fail_after(SECONDS):
        async with websocket_server(room) as url, httpx2.AsyncClient() as client, trio.open_nursery() as nursery:
            nursery.start_soon(alice)
            async with open_websocket(client, url, params={"name": "bob"}) as bob:
                await room.wait("alice", "bob")
                keyboard.write("  Grüße, Bob\n\n")
                assert await bob.receive_json() == {"from": "alice", "text": "Grüße, Bob"}
                keyboard.write("and again\n")
                assert await bob.receive_json() == {"from": "alice", "text": "and again"}
                await bob.send(said("bob", "\x1b[2Jaway\nwith you"))
                await bob.receive()
            await room.wait("alice")
            keyboard.close()
            await room.wait()
    assert codes == [0]
    assert room.closed_with == {"alice": 1000, "bob": 1000}
    assert capsys.readouterr().out.splitlines() == [
        "You are alice. Each line is a message. Ctrl-D leaves.",
        "alice: Grüße, Bob",
        "alice: and again",
        "bob: \N{REPLACEMENT CHARACTER}[2Jaway\N{REPLACEMENT CHARACTER}with you",
    ]


async def test_chat_that_the_server_closes_while_nobody_types(
    keyboard: TextIO, capsys: pytest.CaptureFixture[str]
) -> None:
    async def handler(ws: ServerConnection) -> None:
        for message in ("1", "{}", "no JSON", b"\xff", '{"from": {}, "text": 5}', said("eve", "bye")):
            await ws.send(message)

    with trio.fail_after(SECONDS):
        async with websocket_server(handler) as url:
            assert await chat.main(url, "alice") == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert output.splitlines()[1:] == [
        "(not a chat message: '1')",
        "(not a chat message: '{}')",
        "(not a chat message: 'no JSON')",
        r"(not a chat message: b'\xff')",
        "{}: 5",
        "eve: bye",
        "The server has closed the chat.",
    ]


async def test_what_is_typed_while_disconnected_waits(keyboard: TextIO) -> None:
    heard: list[Any] = []

    async def handler(ws: ServerConnection) -> None:
        if not heard:
            heard.append(None)
            keyboard.write("hello\n")
            await dying(ws)
        heard.append(json.loads(await ws.recv()))

    async with websocket_server(handler) as url:
        assert await chat.main(url, "alice") == 0
    assert heard == [None, {"from": "alice", "text": "hello"}]


async def taken(ws: ServerConnection) -> None:
    await ws.aclose(4009, "the name alice is taken")


async def stopping(ws: ServerConnection) -> None:
    await ws.aclose(1012)


async def dying(ws: ServerConnection) -> None:
    assert isinstance(ws.stream, trio.SocketStream)
    ws.stream.socket.close()


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (taken, "the peer closed the session: 4009: the name alice is taken"),
        (stopping, r"the peer closed the session: 1012 \(service restart\)"),
        (dying, "the connection was lost without a close frame.*"),
    ],
)
async def test_chat_tells_why_it_ends(
    handler: Callable[[ServerConnection], Awaitable[None]],
    told: str,
    keyboard: TextIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with websocket_server(handler) as url:
        assert await chat.main(url, "alice") == 1
    assert re.fullmatch(f"chat: {told}\n", capsys.readouterr().err)


async def test_chat_that_does_not_begin(capsys: pytest.CaptureFixture[str]) -> None:
    with own_server() as base:
        assert await chat.main(f"{base}/nowhere", "alice") == 1
    assert await chat.main(base, "alice") == 1  # the server is gone
    assert await chat.main("example.com/chat", "alice") == 1
    refused, gone, wrong = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        'chat: the server refused the WebSocket with 404 Not Found: it says "nothing is here; try /echo, .*"', refused
    )
    assert gone.startswith("chat: all attempts to connect to 127.0.0.1:")
    assert wrong.startswith("chat: a WebSocket URL begins with ws:// or wss://")


# The leader of a new session gets the first terminal that it opens for its own: so Ctrl-C reaches it.
IN_TERMINAL = """\
import os, runpy, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(("key", "status", "code"), [(b"\x04", 0, 1000), (b"\x03", 130, 1001)])
async def test_chat_in_a_terminal(key: bytes, status: int, code: int) -> None:
    room, screen = Room(), b""
    person, program = os.openpty()
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", IN_TERMINAL, str(EXAMPLES / "chat.py")]

    async def see(text: bytes) -> None:
        nonlocal screen
        while text not in screen:
            await trio.lowlevel.wait_readable(person)
            screen += os.read(person, 65536)

    try:
        async with websocket_server(room) as url, trio.open_nursery() as nursery:
            run = partial(
                trio.run_process,
                [*command, url, "alice"],
                stdin=program,
                stdout=program,
                stderr=program,
                check=False,
                start_new_session=True,
            )
            process: trio.Process = await nursery.start(run)
            await see(b"leaves.")
            await room.wait("alice")
            os.write(person, b"hello\n")
            await see(b"alice: hello")
            os.write(person, key)
            assert await process.wait() == status
            await room.wait()
    finally:
        os.close(person)
        os.close(program)
    assert room.closed_with == {"alice": code}
    assert b"Traceback" not in screen
