"""Messages and notices on a terminal, and elsewhere."""

from __future__ import annotations

import os
import sys
import termios
from typing import TYPE_CHECKING, Any

import pytest

from httpx2_trio_ws._cli import screen as module
from httpx2_trio_ws._cli.screen import Screen
from httpx2_trio_ws._cli.streams import readable_now

if TYPE_CHECKING:
    from .support import Pair, Pipe


PROMPT = b"\x1b7\r\x1b[2@> \x1b8\x1b[2C"


def make(**options: Any) -> Screen:
    return Screen(**{"output": "text", "plain": False, "color": True, **options})


def size(terminal: int, columns: int) -> None:
    termios.tcsetwinsize(terminal, (24, columns))


async def test_messages_on_a_terminal(terminal: Pair) -> None:
    screen = make()
    await screen.show("a\x1b[2J\nb")
    await screen.show(b"A")
    assert terminal.seen().startswith(b"< a\\x1b[2J\n  b\n< binary, 1 byte\n  00000000  41 ")
    await screen.show("[1]")
    assert terminal.seen() == b"< [\n    \x1b[36m1\x1b[0m\n  ]\n"


@pytest.mark.parametrize("off", ["option", "NO_COLOR", "TERM"])
async def test_no_color(off: str, terminal: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    if off != "option":
        monkeypatch.setenv(off, "dumb")
    await make(color=off != "option").show("[1]")
    assert terminal.seen() == b"< [\n    1\n  ]\n"


async def test_an_empty_no_color_says_nothing(terminal: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    await make().show("[1]")
    assert b"\x1b[36m" in terminal.seen()


@pytest.mark.parametrize(
    ("options", "shown"),
    [({"plain": True}, b"< [1]\n"), ({"output": "raw"}, b"[1]\n"), ({"output": "ndjson"}, b'"data": "[1]"}\n')],
)
async def test_forms_on_a_terminal(options: dict[str, Any], shown: bytes, terminal: Pair) -> None:
    screen = make(**options)
    await screen.show("[1]")
    assert terminal.seen().endswith(shown)


async def test_a_message_goes_above_what_is_typed(terminal: Pair) -> None:
    size(terminal.program, 10)
    screen = make()
    screen.prompt()
    assert terminal.seen() == PROMPT
    await screen.show("abc")
    assert terminal.seen() == b"\x1b7\n\x1b[1A\x1b[1L< abc\x1b8\x1b[1B"
    screen.note("one\n\ntwo\x1b")
    assert terminal.seen() == b"\x1b7\n\n\n\x1b[3A\x1b[3Lone\n\ntwo\\x1b\x1b8\x1b[3B"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("12345678", 1),
        ("123456789", 2),
        ("1234567890123456789", 3),
        ("\u4e2d" * 4, 1),
        ("\u4e2d" * 5, 2),
        ("a\u0308" * 8, 1),
        ("\t", 1),
        ("\t123", 2),
        ("[10,2]", 4),
    ],
)
async def test_rows_of_a_message(text: str, rows: int, terminal: Pair) -> None:
    size(terminal.program, 10)
    screen = make()
    screen.prompt()
    terminal.seen()
    await screen.show(text)
    assert terminal.seen().startswith(b"\x1b7" + b"\n" * rows + b"\x1b[%dA\x1b[%dL<" % (rows, rows))


async def test_a_notice_that_goes_elsewhere_is_plain(
    terminal: Pair, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STDERR", pipe.writer)
    screen = make()
    screen.prompt()
    screen.note("a\udcff")  # as an argument that is not UTF-8
    assert os.read(pipe.reader, 100) == b"a\\udcff\n"


async def test_a_prompt_waits_until_all_typed_lines_are_read(terminal: Pair) -> None:
    screen = make()
    terminal.type(b"hello\n")
    screen.prompt()
    assert terminal.seen() == b""
    assert os.read(terminal.program, 100) == b"hello\n"
    screen.prompt()
    assert terminal.seen() == PROMPT


@pytest.mark.parametrize("where", ["dumb", "ndjson", "output is a pipe", "input is a pipe"])
async def test_no_prompt(where: str, terminal: Pair, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    elif where.endswith("pipe"):
        reads = where.startswith("input")
        monkeypatch.setattr(module, "STDIN" if reads else "STDOUT", pipe.reader if reads else pipe.writer)
    screen = make(output="ndjson" if where == "ndjson" else "text")
    screen.prompt()
    assert screen.typing == (where != "input is a pipe")
    screen.finish(discard=False)
    assert terminal.seen() == b""


@pytest.mark.parametrize("discard", [True, False])
async def test_finish(discard: bool, terminal: Pair) -> None:
    screen = make()
    screen.prompt()
    terminal.type(b"rm x\n")
    terminal.seen()
    screen.finish(discard=discard)
    assert terminal.seen() == b"\r\x1b[K"
    assert readable_now(terminal.program) is not discard
    screen.finish(discard=discard)
    assert terminal.seen() == b""


async def test_finish_without_termios(terminal: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    screen = make()
    terminal.type(b"a\n")
    monkeypatch.setitem(sys.modules, "termios", None)
    screen.finish(discard=True)
    assert readable_now(terminal.program)
