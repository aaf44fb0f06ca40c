"""A line editor: history, completion, pasted blocks; what arrives is printed above what is being typed.

It is prompt_toolkit's, which needs asyncio. So it has an event loop of its own, in a thread: lines come out of that,
and what is to be printed goes in.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import threading
from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, Any, TextIO, cast

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.shortcuts import CompleteStyle

from .completing import Completions
from .history import open_history
from .streams import STDIN, STDOUT, write_now

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from prompt_toolkit.application import Application
    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.output.vt100 import Vt100_Output

# So much may wait to be printed before what arrives is no longer received.
_WAITING = 65536
# The line that is typed is drawn anew this often at most, however much arrives.
_SECONDS_BETWEEN = 0.02
# A terminal that takes no output any more holds the thread, and not the command.
_LEAVING_SECONDS = 2
# A longer block is pasted as a token that stands for it: drawing it at each key would take too long.
_MAX_SHOWN = 2000
_MAX_LINES_SHOWN = 20
# So many characters at once were not typed one by one.
_BURST = 8


class Editor:
    """A source of messages that a person types; see :class:`~.sources.Source`.

    Attributes:
        taken: as there.
    """

    def __init__(self, *, keep_history: bool, prompt: str = "> ") -> None:
        self._prompt = prompt
        self._keep_history = keep_history
        self._send, self._lines = trio.open_memory_channel[str](1_000_000)
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._room = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._loop = asyncio.new_event_loop()
        self._something = asyncio.Event()
        self._stopping = False
        self._life = trio.CancelScope(shield=True)
        self._ended = threading.Event()
        self._pasted: dict[str, str] = {}
        self._app: Application[str] | None = None
        self._shown: Shown
        self.taken = 0

    # -- for trio ----------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Edit for a block. What has been given to :meth:`print` is printed when it has been left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run)
            try:
                yield
            finally:
                self._stopping = True
                self._call(self._stop)
                self._life.deadline = trio.current_time() + _LEAVING_SECONDS

    async def read(self) -> str | None:
        """As :class:`~.sources.Source`."""
        try:
            line = await self._lines.receive()
        except trio.EndOfChannel:
            return None
        self.taken += 1
        return line

    @property
    def left(self) -> bool:
        """As :class:`~.sources.Source`. What a person has typed is not called lost."""
        return False

    def print(self, data: bytes) -> None:
        """Print above the line that is being typed, soon."""
        if self._ended.is_set():
            write_now(STDOUT, data)
            return
        self._size += len(data)
        self._waiting.append(data)
        self._call(self._something.set)

    async def wait_room(self) -> None:
        """Wait until not too much waits to be printed."""
        while self._size > _WAITING:
            await self._room.wait()

    async def _run(self) -> None:
        try:
            with self._life:
                await trio.to_thread.run_sync(self._in_thread, abandon_on_cancel=True)
        finally:
            self._ended.set()
            self._send.close()
            if not self._life.cancelled_caught:
                write_now(STDOUT, self._take_waiting())

    def _printed(self, size: int) -> None:
        self._size -= size
        self._room.set()
        self._room = trio.Event()

    def _call(self, function: Any) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended, and its loop is closed
            self._loop.call_soon_threadsafe(function)

    # -- in the thread -----------------------------------------------------------------------------

    def _in_thread(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._edit())

    async def _edit(self) -> None:
        with os.fdopen(STDIN, closefd=False) as keys, Shown(STDOUT) as self._shown:
            session = self._session(_input(keys), _output(self._shown))
            self._app = session.app
            self._app.after_render += self._drawn
            printer = asyncio.ensure_future(self._print_all())
            try:
                while True:
                    text = await session.prompt_async(self._prompt, handle_sigint=False, pre_run=self._started)
                    trio.from_thread.run_sync(self._send.send_nowait, self._unfold(text), trio_token=self._token)
            except EOFError:
                pass
            except KeyboardInterrupt:
                os.kill(os.getpid(), signal.SIGINT)  # the terminal would have sent it, but for the editor
            finally:
                printer.cancel()
                self._shown.release()
                self._print_now()

    def _session(self, keys: Any, shown: Output) -> PromptSession[str]:
        return PromptSession(
            input=keys,
            output=shown,
            history=open_history() if self._keep_history else None,
            auto_suggest=AutoSuggestFromHistory(),
            completer=Completions(),
            complete_style=CompleteStyle.COLUMN,
            complete_while_typing=True,
            key_bindings=self._keys(),
            enable_suspend=True,
            reserve_space_for_menu=4,
        )

    def _started(self) -> None:
        if self._stopping:
            self._stop()

    def _drawn(self, _: Application[str]) -> None:
        self._shown.release()

    def _stop(self) -> None:
        self._stopping = True
        app = self._app
        if app is not None and app.is_running and not app.is_done:
            app.erase_when_done = True
            app.exit(exception=EOFError)

    async def _print_all(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            self._print_above()
            await asyncio.sleep(_SECONDS_BETWEEN)

    def _print_above(self) -> None:
        """Take the line that is typed away, print, and have it drawn again; the terminal gets it all at once.

        prompt_toolkit's own way gives the terminal back for the time being, and then that echoes, or even acts on,
        what is typed meanwhile.
        """
        app = self._app
        if app is None or not app.is_running or app.is_done:
            self._print_now()
        else:
            self._shown.hold()
            app.renderer.erase()
            self._print_now()
            app.renderer.reset()
            app.invalidate()

    def _print_now(self) -> None:
        self._shown.buffer.write(self._take_waiting())
        self._shown.flush()

    def _take_waiting(self) -> bytes:
        data = b""
        while self._waiting:
            data += self._waiting.popleft()
        self._token.run_sync_soon(self._printed, len(data))
        return data

    # -- keys --------------------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add(Keys.BracketedPaste)
        def _(event: KeyPressEvent) -> None:
            self._paste(event.current_buffer, event.data)

        return keys

    def _paste(self, buffer: Buffer, text: str) -> None:
        """A block as one message; its last newline is how a terminal copies a line, and no part of it."""
        text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
        if len(text) > _MAX_SHOWN or text.count("\n") >= _MAX_LINES_SHOWN:
            token = f"[pasted {len(self._pasted) + 1}: {len(text)} characters]"
            self._pasted[token] = text
            text = token
        buffer.insert_text(text)

    def _unfold(self, text: str) -> str:
        for token, pasted in self._pasted.items():
            text = text.replace(token, pasted)
        return text


class Shown(io.TextIOWrapper):
    """Standard output, which can hold back what is written, to write it at once."""

    def __init__(self, descriptor: int) -> None:
        # Large enough for all that may wait to be printed, and the line.
        super().__init__(os.fdopen(descriptor, "wb", 4 * _WAITING, closefd=False), encoding="utf-8")
        self._held = False

    def hold(self) -> None:
        """Write nothing until :meth:`release`, unless it becomes too much."""
        self._held = True

    def release(self) -> None:
        """Write what has been held back."""
        self._held = False
        self.flush()

    def flush(self) -> None:
        """Called by the editor after each change, and when the file is closed."""
        if not self._held:
            super().flush()


def _input(keys: TextIO) -> Input:
    """Many characters that come at once are one insertion: one by one, each would be drawn."""
    reading = create_input(keys)
    read_keys = reading.read_keys
    reading.read_keys = lambda: _joined(read_keys())  # type: ignore[method-assign]
    return reading


def _joined(keys: list[KeyPress]) -> list[KeyPress]:
    joined: list[KeyPress] = []
    for typed, run in groupby(keys, lambda press: len(press.key) == 1 and press.key.isprintable()):
        presses = list(run)
        if typed and len(presses) >= _BURST:
            presses = [KeyPress(Keys.BracketedPaste, "".join(press.data for press in presses))]
        joined += presses
    return joined


def _output(shown: TextIO) -> Output:
    output = create_output(shown)
    # A terminal is not asked where its cursor is: an answer that comes too late would be taken for what is typed.
    cast("Vt100_Output", output).enable_cpr = False
    return output
