"""Where messages and notices go."""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from typing import Protocol

from .printing import as_ndjson, as_raw, as_text, escape, pretty_json
from .progress import Progress
from .streams import STDERR, STDIN, STDOUT, readable_now, write_all, write_now

# Before what has been typed already, which the cursor stays behind.
_PROMPT = b"\x1b7\r\x1b[2@> \x1b8\x1b[2C"
_MARK = "< "
_CLEAR_LINE = b"\r\x1b[K"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


class Editor(Protocol):
    """Where a person types; see :class:`~.editor.Editor`."""

    def print(self, data: bytes) -> None:
        """Print above the line that is being typed, soon."""

    async def wait_room(self) -> None:
        """Wait until not too much waits to be printed."""


class Screen:
    """Prints messages to standard output and notices to standard error, above the line that a person types.

    Args:
        output: ``"text"``, ``"ndjson"`` or ``"raw"``.
        plain: leave JSON as it came, also on a terminal, and the editing to the terminal.
        color: use colours, where there is a terminal.

    Attributes:
        typing: a person types; lines come from a terminal.
        editable: and the terminal is one that an editor can draw on.
        editor: prints above what is typed, while there is one. Without one, the terminal has what is typed.
    """

    def __init__(self, *, output: str, plain: bool, color: bool) -> None:
        self._output = output
        self._terminal = os.isatty(STDOUT)
        dumb = os.environ.get("TERM") == "dumb"
        # Windows' consoles take escape sequences where a program has asked for it, and not all of them.
        limited = dumb or os.name == "nt"
        self._pretty = self._terminal and not plain
        self._color = color and not limited and not os.environ.get("NO_COLOR")
        self.typing = os.isatty(STDIN)
        shared = self.typing and self._terminal
        self._prompts = shared and output == "text" and not limited
        self.editable = shared and output != "raw" and not dumb and not plain
        self._prompted = False
        self.editor: Editor | None = None

    async def show(self, *messages: str | bytes) -> None:
        """Print messages.

        Raises:
            OSError: standard output cannot be written; ``BrokenPipeError`` if its reader is gone.
        """
        if self._output == "raw":
            await write_all(STDOUT, b"".join(map(as_raw, messages)))
        else:
            form = as_ndjson if self._output == "ndjson" else self._text
            await self.show_line("\n".join(map(form, messages)))

    async def show_line(self, text: str) -> None:
        """Print text that is escaped already, and a newline. Raises as :meth:`show`."""
        data = self._line(text, STDOUT)
        if self.editor is None:
            await write_all(STDOUT, data)
        else:
            self.editor.print(data)
            await self.editor.wait_room()

    def note(self, text: str) -> None:
        """Print a notice, escaped here."""
        data = self._line(escape(text), STDERR)
        if self.editor is None or not os.isatty(STDERR):
            write_now(STDERR, data)
        else:
            self.editor.print(data)

    async def show_part(self, part: str | bytes) -> None:
        """Print a part of a message as it is, for ``raw``. Raises as :meth:`show`."""
        await write_all(STDOUT, part.encode() if isinstance(part, str) else part)

    def progress(self, what: str, total: int | None) -> Progress:
        """Show how far something has come, if there is a terminal and nothing else on it."""
        free = self.editor is None and not (self._terminal and what == "received")
        return Progress(what, total, shown=free and os.isatty(STDERR))

    def toggle_json(self) -> bool:
        """Lay out JSON from now on, or no longer; which of both."""
        self._pretty = not self._pretty
        return self._pretty

    # -- the line that is typed, where the terminal has it -----------------------------------------

    def prompt(self) -> None:
        """Say that a line may be typed, if none is there yet."""
        if self._prompts and not readable_now(STDIN):
            write_now(STDOUT, _PROMPT)
            self._prompted = True

    def finish(self, *, discard: bool) -> None:
        """No more lines are read: take the prompt away.

        Args:
            discard: also what has been typed and not been read. The shell would take it for a command.
        """
        if self._prompted:
            write_now(STDOUT, _CLEAR_LINE)
            self._prompted = False
        if self.typing and discard:
            _discard_typed()

    def _text(self, message: str | bytes) -> str:
        text = None
        if self._pretty and isinstance(message, str):
            text = pretty_json(message, color=self._color)
        if text is None:
            text = as_text(message)
        return _MARK + text.replace("\n", "\n  ") if self._terminal else text

    def _line(self, text: str, descriptor: int) -> bytes:
        if self._prompted and os.isatty(descriptor):
            text = _above(text)
        else:
            text += "\n"
        return text.encode(errors="backslashreplace")


def _above(text: str) -> str:
    """Print text above the line that the cursor is on, which is pushed down, and leave the cursor where it was.

    The terminal has what is typed; we do not, so it could not be printed again. Save the cursor; make room below, which
    may scroll; insert as many lines as it takes; print; back to the cursor, and down with its line, which the bottom of
    the screen limits as it limited the line. Where the rows are more than the screen has, the line is lost to sight.
    """
    text = text.expandtabs(8)
    width = os.get_terminal_size(STDOUT).columns or 80
    rows = sum(max(1, -(-_width(line) // width)) for line in text.split("\n"))
    return "\x1b7" + "\n" * rows + f"\x1b[{rows}A\x1b[{rows}L{text}\x1b8\x1b[{rows}B"


def _width(line: str) -> int:
    """How many columns a line takes."""
    visible = _COLOR.sub("", line)
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in visible
    )


def _discard_typed() -> None:
    try:
        import termios  # noqa: PLC0415 (Windows has none)
    except ImportError:
        return
    with contextlib.suppress(termios.error):
        termios.tcflush(STDIN, termios.TCIFLUSH)
