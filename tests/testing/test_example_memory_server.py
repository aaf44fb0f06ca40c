"""The tests in ``examples/test_memory_server.py`` are tests of this module, too."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

EXAMPLE = Path(__file__).parents[2] / "examples" / "test_memory_server.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples.test_memory_server", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TESTS = {name: value for name, value in vars(load()).items() if name.startswith("test_")}
globals().update(TESTS)


def test_all_of_them_are_here() -> None:
    assert len(TESTS) == EXAMPLE.read_text(encoding="utf-8").count("async def test_") == 4
