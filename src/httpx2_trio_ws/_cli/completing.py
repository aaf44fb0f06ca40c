"""What can follow what has been typed of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from .commands import CLOSE_CODES, COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator


class Completions(Completer):
    """Commands, close codes and files. Nothing for a message."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Called by the editor."""
        text = document.text_before_cursor
        name, space, rest = text.partition(" ")
        if not text.startswith("/") or "\n" in text:
            return
        if not space:
            for command, about in COMMANDS.items():
                if command.startswith(name):
                    shown = f"{command} {about.arguments}"
                    yield Completion(command, -len(name), display=shown, display_meta=about.what)
        elif name in ("/text", "/json", "/binary") and rest.startswith("@"):
            yield from self._paths.get_completions(Document(rest[1:]), complete_event)
        elif name == "/close" and " " not in rest:
            for code in CLOSE_CODES:
                if str(int(code)).startswith(rest):
                    meaning = code.name.replace("_", " ").lower()
                    yield Completion(str(int(code)), -len(rest), display_meta=meaning)
