"""Each message that the package raises is read by a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import httpx2_trio_ws
from httpx2_trio_ws import WebSocketClosedError, WebSocketStream, connect_websocket

from .memory import memory_client, memory_session

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(httpx2_trio_ws.__file__).parent
TESTS = Path(__file__).parent
# What these say never reaches users: a carrier's error is told as its cause, the other as a timeout of the handshake.
INTERNAL = {"CarrierError", "TimeoutException"}
WORDS = 3


def literals(node: ast.AST) -> Iterator[str]:
    """The strings in it, each without what is filled in at run time."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def runs(text: str) -> set[str]:
    """All runs of so many words."""
    words = re.findall(r"[\w()'/.:-]+", text.replace("\\", ""))
    return {" ".join(words[at : at + WORDS]) for at in range(max(1, len(words) - WORDS + 1))}


def messages() -> Iterator[tuple[str, set[str]]]:
    """Where an exception is made, and the runs of words of its message."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in INTERNAL or not name.endswith(("Error", "Exception", "Timeout")):
                continue
            said = set[str]().union(*(runs(text) for arg in node.args for text in literals(arg) if len(text) > 2))
            said.discard("")
            if said:
                yield f"{path.relative_to(PACKAGE).as_posix()}, {name}: {' … '.join(sorted(said))[:60]}", said


@pytest.fixture(scope="module")
def read() -> set[str]:
    """The runs of words in all strings of the tests."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py"))
    return set[str]().union(*(runs(text) for tree in trees for text in literals(tree)))


MESSAGES = dict(messages())


def test_messages_are_found() -> None:
    assert len(MESSAGES) > 80
    assert {"may not be"} <= set().union(*MESSAGES.values())


@pytest.mark.parametrize("where", MESSAGES)
def test_message_is_read_by_a_test(where: str, read: set[str]) -> None:
    assert not MESSAGES[where].isdisjoint(read)


async def test_a_session_that_was_cancelled() -> None:
    async with memory_client() as (client, _):
        async with trio.open_nursery() as nursery:
            ws = await connect_websocket(nursery, client, "ws://memory/")
            nursery.cancel_scope.cancel()
        with pytest.raises(WebSocketClosedError, match="the session was cancelled"):
            await ws.receive()


async def test_a_stream_that_was_closed() -> None:
    async with memory_session(close_timeout_seconds=0) as (ws, _):
        stream = WebSocketStream(ws)
        await stream.aclose()
        with pytest.raises(WebSocketClosedError, match="the stream was closed on our side"):
            await stream.receive_some()
