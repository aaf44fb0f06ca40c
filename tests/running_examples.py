"""What the tests of single examples share."""

from __future__ import annotations

import importlib.util
import re
import runpy
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from types import ModuleType

    from websockets.trio.server import ServerConnection

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def load(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, module)  # dataclasses look there
        spec.loader.exec_module(module)
    return module


def load_on_anyio(name: str) -> ModuleType:
    """The same program for any event loop: its names come from ``httpx2_trio_ws.anyio``, and anyio's stand for trio's."""
    path = EXAMPLES / f"{name}.py"
    source = path.read_text(encoding="utf-8").replace("from httpx2_trio_ws import", "from httpx2_trio_ws.anyio import")
    source = source.replace("trio.open_nursery", "anyio.create_task_group")
    source = re.sub(r"\btrio\b(?=\.|$)", "anyio", source, flags=re.MULTILINE)
    module = types.ModuleType(f"{name}_on_anyio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def check_usage(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments, it says how it is run, and so do its docstring and the page of the examples."""
    program = EXAMPLES / f"{name}.py"
    source, page = program.read_text(encoding="utf-8"), (ROOT / "docs/examples.md").read_text(encoding="utf-8")
    (arguments,) = re.findall(rf"^    python examples/{name}\.py (.+)$", source, re.MULTILINE)
    assert re.search(rf"^\| `{name}\.py` \|.*\| `{arguments}` \|$", page, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", [str(program)])
    with pytest.raises(SystemExit, match=rf"^usage: python .+, such as {arguments} \(see docs/examples\.md\)$"):
        runpy.run_path(str(program), run_name="__main__")


def query(ws: ServerConnection, name: str) -> str:
    """A parameter of the URL that a server's connection was opened with."""
    assert ws.request is not None
    return parse_qs(urlsplit(ws.request.path).query)[name][0]
