"""The line editor, at the keyboard of a pseudo-terminal. What it looks like is in ``test_tmux``."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import termios
import threading
from typing import TYPE_CHECKING

import pytest
import trio
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory

from httpx2_trio_ws._cli import history
from httpx2_trio_ws._cli.completing import Completions
from httpx2_trio_ws._cli.editor import Editor, Shown
from httpx2_trio_ws._cli.history import history_path, open_history

from .support import SECONDS, no_thread_left

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from .support import Pair

ENTER = b"\r"
UP = b"\x1b[A"


class Keyboard:
    """A person before the terminal, who also sees what it shows."""

    def __init__(self, pair: Pair) -> None:
        self._person = pair.person
        self.shown = b""

    def type(self, keys: bytes) -> None:
        os.write(self._person, keys)

    async def watch(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._person)
            self.shown += os.read(self._person, 65536)

    async def expect(self, pattern: bytes) -> None:
        with trio.fail_after(SECONDS):
            while not re.search(pattern, self.shown, re.DOTALL):  # noqa: ASYNC110 (what is shown tells of no event)
                await trio.sleep(0.01)


@contextlib.asynccontextmanager
async def editing(terminal: Pair, *, keep_history: bool = False) -> AsyncGenerator[tuple[Editor, Keyboard]]:
    """An editor that shows its prompt, and a person before it; afterwards the terminal is as it was."""
    settings = termios.tcgetattr(terminal.program)
    keyboard = Keyboard(terminal)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keyboard.watch)
        editor = Editor(keep_history=keep_history)
        with trio.fail_after(SECONDS):
            async with editor.running():
                await keyboard.expect(rb">")
                yield editor, keyboard
        assert termios.tcgetattr(terminal.program) == settings
        nursery.cancel_scope.cancel()
    keyboard.shown += terminal.seen()


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (b"hello" + ENTER, "hello"),
        (b"helo\x1b[Dl" + ENTER, "hello"),  # cursor left
        ("Ä😀".encode() + ENTER, "Ä😀"),
        (b"a\x1b\rb" + ENTER, "a\nb"),  # Alt-Enter
        (b"\x1b[200~one\r\ntwo\rthree\n\x1b[201~" + ENTER, "one\ntwo\nthree"),
        (b"x" * 5000 + ENTER, "x" * 5000),
    ],
)
async def test_a_line(keys: bytes, line: str, terminal: Pair) -> None:
    async with editing(terminal) as (editor, keyboard):
        keyboard.type(keys)
        assert await editor.read() == line
        assert editor.taken == 1


@pytest.mark.parametrize("block", ["x" * 500_000, "x\n" * 5000 + "x"])
async def test_a_long_block_is_one_message_and_shown_as_a_token(block: str, terminal: Pair) -> None:
    async with editing(terminal) as (editor, keyboard):
        keyboard.type(b"(")
        send = trio.to_thread.run_sync
        await send(write_all, terminal.person, b"\x1b[200~" + block.encode() + b"\x1b[201~")
        await keyboard.expect(rb"pasted")
        keyboard.type(b")" + ENTER)
        assert await editor.read() == f"({block})"
    assert len(keyboard.shown) < 5000


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


async def test_ctrl_d_ends_the_input(terminal: Pair) -> None:
    async with editing(terminal) as (editor, keyboard):
        keyboard.type(b"one" + ENTER + b"\x04")
        assert await editor.read() == "one"
        assert await editor.read() is None
        assert not editor.left


async def test_ctrl_c_is_the_signal(terminal: Pair) -> None:
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with editing(terminal) as (editor, keyboard):
            keyboard.type(b"half a line\x03")
            assert await anext(aiter(signals)) == signal.SIGINT
            assert await editor.read() is None


async def test_what_arrives_is_printed_above(terminal: Pair) -> None:
    async with editing(terminal) as (editor, keyboard):
        keyboard.type(b"half")
        await keyboard.expect(rb"half")
        keyboard.shown = b""
        editor.print(b"< news\n")
        await keyboard.expect(rb"< news\r?\n.*>.*half")
        keyboard.type(b" a line" + ENTER)
        assert await editor.read() == "half a line"


async def test_what_waits_to_be_printed_is_bounded_and_is_printed_before_the_end(terminal: Pair) -> None:
    printed = 0
    async with editing(terminal) as (editor, keyboard):
        for number in range(3000):
            editor.print(b"%4d %s\n" % (number, b"x" * 95))
            await editor.wait_room()
            printed += 101
            assert printed - len(keyboard.shown) < 200_000
        editor.print(b"the last\n")
    assert re.findall(rb"(\d{4}|[ \d]{4}) x{95}", keyboard.shown) == [b"%4d" % number for number in range(3000)]
    assert b"the last" in keyboard.shown


async def test_it_is_left_at_once(terminal: Pair) -> None:
    with no_thread_left():
        async with editing(terminal) as (_, keyboard):
            keyboard.type(b"rm -r half a li")
            await keyboard.expect(rb"li")


async def test_it_is_left_before_it_has_begun(terminal: Pair) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Keyboard(terminal).watch)
        editor = Editor(keep_history=False)
        with trio.fail_after(SECONDS):
            async with editor.running():
                pass
        editor.print(b"straight\n")
        nursery.cancel_scope.cancel()


def test_a_terminal_that_takes_nothing_is_left(terminal: Pair) -> None:
    trio.run(leave_what_takes_nothing, terminal)


async def leave_what_takes_nothing(terminal: Pair) -> None:
    watcher = trio.CancelScope()

    async def watch() -> None:
        with watcher:
            await keyboard.watch()

    keyboard = Keyboard(terminal)
    ended = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        editor = Editor(keep_history=False)
        in_thread = editor._in_thread

        def in_thread_until_the_end() -> None:
            try:
                in_thread()
            finally:
                ended.set()

        editor._in_thread = in_thread_until_the_end  # type: ignore[method-assign]
        with trio.fail_after(SECONDS):
            async with editor.running():
                await keyboard.expect(rb">")
                watcher.cancel()
                editor.print(b"x" * 100_000)
                await trio.sleep(0.2)
        assert not ended.is_set()
        nursery.start_soon(keyboard.watch)
        assert await trio.to_thread.run_sync(ended.wait, SECONDS)
        nursery.cancel_scope.cancel()


async def test_a_prompt_that_comes_too_late_ends_at_once(terminal: Pair) -> None:
    async with editing(terminal) as (editor, keyboard):
        editor._stopping = True
        keyboard.type(b"\r")
        assert await editor.read() == ""
        assert await editor.read() is None


# -- history ---------------------------------------------------------------------------------------


async def test_history(terminal: Pair) -> None:
    async with editing(terminal, keep_history=True) as (editor, keyboard):
        keyboard.type(b"one" + ENTER + b" secret" + ENTER + b"x" * 2001 + ENTER)
        assert [await editor.read() for _ in range(3)] == ["one", " secret", "x" * 2001]
    async with editing(terminal, keep_history=True) as (editor, keyboard):
        keyboard.type(UP)
        await keyboard.expect(rb"one")
        keyboard.type(ENTER)
        assert await editor.read() == "one"
    assert stat.S_IMODE(history_path().stat().st_mode) == 0o600


async def test_no_history(terminal: Pair) -> None:
    async with editing(terminal) as (editor, keyboard):
        keyboard.type(b"one" + ENTER)
        assert await editor.read() == "one"
    assert not history_path().exists()


def test_a_long_history_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_MAX_FILE", 100)
    kept = open_history()
    for number in range(20):
        kept.append_string(f"message {number}")
    strings = list(open_history().load_history_strings())
    assert 0 < len(strings) < 15
    assert strings == [f"message {number}" for number in range(19, 19 - len(strings), -1)]


def test_a_history_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").write_bytes(b"a file in its place")
    assert isinstance(open_history(), InMemoryHistory)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(history_path()) == "/home/me/.local/state/httpx2-trio-ws/history"


def test_a_history_whose_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = open_history()
    monkeypatch.setattr(kept, "filename", "/dev/full")
    kept.append_string("message")
    assert kept.get_strings() == ["message"]


# -- completion ------------------------------------------------------------------------------------


def complete(text: str) -> list[str]:
    return [completion.text for completion in Completions().get_completions(Document(text), CompleteEvent())]


def test_completions(tmp_path: Path) -> None:
    (tmp_path / "image.png").touch()
    assert complete("/") == ["/help", "/text", "/json", "/binary", "/ping", "/pong", "/stats", "/close"]
    assert complete("/b") == ["/binary"]
    assert complete(f"/binary @{tmp_path}/im") == ["age.png"]
    assert complete("/close 100") == ["1000", "1001", "1003", "1007", "1008", "1009"]
    for text in ("", "he", "/close 1000 ", "/binary 00", "/stats ", "/json\n"):
        assert complete(text) == []


async def test_completion_at_the_keyboard(terminal: Pair) -> None:
    async with editing(terminal) as (editor, keyboard):
        keyboard.type(b"/st")
        await keyboard.expect(rb"what the session")
        keyboard.shown = b""
        keyboard.type(b"\t")
        await keyboard.expect(rb"ats")
        keyboard.type(ENTER)
        assert await editor.read() == "/stats"


async def test_printed_where_no_line_is_edited(terminal: Pair) -> None:
    editor = Editor(keep_history=False)
    editor.print(b"between two lines\n")
    with contextlib.closing(editor._loop), Shown(terminal.program) as editor._shown:
        editor._print_above()
    assert b"between two lines" in terminal.seen()
