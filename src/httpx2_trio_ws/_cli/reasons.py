"""What to say of an exception."""

from __future__ import annotations

from typing import cast


def first(exc: BaseException) -> BaseException:
    """The first exception in a group that may hold groups; any other is itself."""
    while isinstance(exc, BaseExceptionGroup):
        exc = cast("BaseExceptionGroup[BaseException]", exc).exceptions[0]
    return exc


def reason_of(exc: BaseException) -> str:
    """What an exception says, and what the first one behind it says: httpx2's own often say little or nothing."""
    root = first(exc)
    while (behind := root.__cause__ or root.__context__) is not None:
        root = first(behind)
    below = (root.strerror if isinstance(root, OSError) else None) or str(root) or type(root).__name__
    text = str(exc)
    return ": ".join(one_line(part) for part in ([text] if below in text else [text, below]) if part)


def one_line(text: str) -> str:
    """Without line breaks."""
    return " ".join(text.split())
