"""The tests in ``examples/test_starlette_app.py`` are tests of the transport, too: on trio here, on both loops in a run of pytest."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "test_starlette_app.py"
SOURCE = EXAMPLE.read_text(encoding="utf-8")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples.test_starlette_app", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = load()
TESTS = {name: value for name, value in vars(MODULE).items() if name.startswith("test_")}
globals().update(TESTS, client=MODULE.client)


def test_all_of_them_are_here() -> None:
    assert len(TESTS) == SOURCE.count("async def test_") == 7


def test_on_both_loops_with_the_plugin_of_anyio() -> None:
    (command,) = re.findall(r"^    python -m pytest (.*anyio_mode=auto.*)$", SOURCE, re.MULTILINE)
    # Only the plugins that it is about: to load all of them takes longer than the tests.
    plugins = ["-p", "anyio.pytest_plugin", "-p", "pytest_trio.plugin", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *shlex.split(command)],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    assert f"{2 * len(TESTS)} passed" in run.stdout


@pytest.mark.parametrize("page", ["examples", "how-to/testing-asgi"])
def test_the_docs_name_it(page: str) -> None:
    assert f"`{EXAMPLE.name}`" in (ROOT / f"docs/{page}.md").read_text(encoding="utf-8").replace("`examples/", "`")
