"""Ctrl-C at every place of the library's code where Python may raise it."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import httpx2_trio_ws

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import CodeType

PACKAGE = str(Path(httpx2_trio_ws.__file__).parent)
TOOL = 4  # any number that no tool has: 0, 1, 2 and 5 are for debuggers, coverage, profilers and optimisers


class _Interrupt:
    """Raises at the ``place``-th place, in the modules named.

    The interpreter looks for signals at the beginning of a function, after a call of what is written in C, and when a
    loop begins anew.
    """

    def __init__(self, place: int, modules: tuple[str, ...]) -> None:
        self._left = place
        self._modules = modules
        self._thread = threading.get_ident()
        self.struck = ""

    def started(self, code: CodeType, offset: int) -> None:
        # Of __exit__: no context manager that is written in Python can do anything about it.
        if code.co_name != "__exit__":
            self._place(code, offset)

    def returned(self, code: CodeType, offset: int, _function: object, _argument: object) -> None:
        self._place(code, offset)

    def jumped(self, code: CodeType, offset: int, destination: int) -> None:
        if destination < offset:
            self._place(code, offset)

    def _place(self, code: CodeType, offset: int) -> None:
        name = code.co_filename
        if (
            self.struck
            or threading.get_ident() != self._thread
            or not name.startswith(PACKAGE)
            or not name.endswith(self._modules)
        ):
            return
        self._left -= 1
        if self._left < 0:
            self.struck = f"{code.co_qualname}, {offset}"
            raise KeyboardInterrupt(self.struck)


@contextlib.contextmanager
def _interrupted(interrupt: _Interrupt) -> Generator[None]:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    events = monitoring.events
    monitoring.use_tool_id(TOOL, "interrupts")
    monitoring.register_callback(TOOL, events.PY_START, interrupt.started)
    monitoring.register_callback(TOOL, events.C_RETURN, interrupt.returned)
    monitoring.register_callback(TOOL, events.JUMP, interrupt.jumped)
    monitoring.set_events(TOOL, events.PY_START | events.CALL | events.JUMP)
    try:
        yield
    except KeyboardInterrupt:
        assert interrupt.struck
    finally:
        monitoring.set_events(TOOL, 0)
        monitoring.free_tool_id(TOOL)


def interrupts(*modules: str, step: int = 1) -> Iterator[Any]:
    """Blocks to be entered one after another, each interrupted at a later place, until none is left.

    Args:
        modules: the ends of the file names in which; all of the library's, if none are given.
        step: try only every so many places.
    """
    if not hasattr(sys, "monitoring"):
        pytest.skip("needs sys.monitoring")
    for place in itertools.count(0, step):
        interrupt = _Interrupt(place, modules or ("",))
        yield _interrupted(interrupt)
        if not interrupt.struck:
            assert place > step, "it was interrupted nowhere"
            return
