"""What has been typed, kept for the next time."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

_MAX_FILE = 1_000_000
_MAX_ENTRY = 2000


def history_path() -> Path:
    """``$XDG_STATE_HOME/httpx2-trio-ws/history``, by default below ``~/.local/state``."""
    state = os.environ.get("XDG_STATE_HOME")
    folder = Path(state) if state else Path.home() / ".local" / "state"
    return folder / "httpx2-trio-ws" / "history"


def open_history() -> History:
    """The history in its file, which only its owner may read; in memory where it cannot be written."""
    try:
        path = history_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        _shorten(path)
    except (OSError, RuntimeError):  # there may be no home
        return InMemoryHistory()
    return _Kept(path)


def _shorten(path: Path) -> None:
    """Keep the later half of a long file, from the beginning of an entry."""
    data = path.read_bytes()
    if len(data) > _MAX_FILE:
        path.write_bytes(data[data.index(b"\n# ", len(data) // 2) :])


class _Kept(FileHistory):
    """Without what begins with a space, as shells have it, and without what is long."""

    def store_string(self, string: str) -> None:
        if not string.startswith(" ") and len(string) <= _MAX_ENTRY:
            with contextlib.suppress(OSError):  # the disk is full; it is only a convenience
                super().store_string(string)
