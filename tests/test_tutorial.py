"""The tutorial's program against real servers; its tests, in ``examples/test_resilient_feeds.py``, are run here, too."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws._cli.demonstration import own_server

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "examples" / "resilient_feeds.py"
TESTS_OF_IT = ROOT / "examples" / "test_resilient_feeds.py"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


resilient_feeds = load(PROGRAM)


def load_tests() -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, PROGRAM.stem, resilient_feeds)
        module = load(TESTS_OF_IT)
    return {name: value for name, value in vars(module).items() if name.startswith("test_")}


TESTS = load_tests()
globals().update(TESTS)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_all_of_them_are_here() -> None:
    assert len(TESTS) == TESTS_OF_IT.read_text(encoding="utf-8").count("async def test_") == 3


async def test_feeds_that_end(capsys: pytest.CaptureFixture[str]) -> None:
    with own_server() as base:
        await resilient_feeds.main(f"{base}/count/30")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "90 messages from 3 feeds"
    assert [line for line in lines if line.startswith("green")] == [f"green: '{n}'" for n in range(1, 31)]


async def test_feeds_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with own_server() as base:
        await resilient_feeds.main(f"{base}/nowhere")
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.partition(":")[0] for line in lines[:-1]) == [
        f"{feed} is given up" for feed in ("blue", "green", "red")
    ]
    assert lines[-1] == "0 messages from 0 feeds"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to a process here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_on_a_signal(number: signal.Signals) -> None:
    with own_server() as base:
        program = subprocess.Popen([sys.executable, PROGRAM, f"{base}/crash"], stdout=subprocess.PIPE, text=True)
        with program:
            assert program.stdout is not None
            try:
                seen: list[str] = []
                while seen.count("red: '1'") < 2:  # it has connected again
                    seen.append(program.stdout.readline().rstrip())
                    assert seen[-1], seen
                program.send_signal(number)
                last = program.stdout.read().splitlines()
            finally:
                program.kill()
    assert f"{number.name}: stopping" in last
    assert re.fullmatch(r"\d+ messages from 3 feeds", last[-1])


def test_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(PROGRAM)])
    with pytest.raises(SystemExit, match=r"usage: python .+ URL, such as ws://127\.0\.0\.1:8765/count/30 ") as caught:
        runpy.run_path(str(PROGRAM), run_name="__main__")
    assert "docs/examples.md" in str(caught.value)
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert re.search(r"^\| `resilient_feeds\.py` \|.*\| `ws://127\.0\.0\.1:8765/count/30` \|$", page, re.MULTILINE)


def test_the_tutorial_shows_them() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "tutorial").glob("*.md"))
    for path in (PROGRAM, TESTS_OF_IT):
        assert f"literalinclude}} ../../examples/{path.name}" in pages
