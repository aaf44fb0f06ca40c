"""A program before and after it has moved over: ``examples/before_moving.py`` and ``examples/moved_from_httpx2.py``.

The newcomers' other test example, ``examples/test_starlette_app.py``, is run in ``tests/asgi/test_example.py``.
"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws._cli.demonstration import own_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PAIR = ["before_moving", "moved_from_httpx2"]
PRINTED = """\
/count/3 3 messages, closed with 1000
/count/5 5 messages, closed with 1000
/crash 2 messages, lost
[0, 1, 4, 9, 16]
nothing came
not text: b'binary'
too long: 1009
refused: 404
tested
"""


@pytest.mark.parametrize("name", PAIR)
async def test_both_print_the_same(
    name: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("no_proxy", "NO_PROXY"):  # the machine's proxy, if it has one, cannot reach its loopback
        monkeypatch.setenv(variable, "127.0.0.1")
    main: Callable[[str], Awaitable[None]] = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    with own_server() as url:
        await main(url)
    assert capsys.readouterr().out == PRINTED
    assert [record for record in caplog.records if record.name.startswith("httpx2_trio_ws")] == []


def test_each_uses_one_library() -> None:
    before, after = ((EXAMPLES / f"{name}.py").read_text(encoding="utf-8") for name in PAIR)
    modules = re.compile(r"^ *from (httpx2\.websockets|httpx2_trio_ws)\b", re.MULTILINE)
    assert set(modules.findall(before)) == {"httpx2.websockets"}
    assert set(modules.findall(after)) == {"httpx2_trio_ws"}
    assert "client.websocket(" not in after


@pytest.mark.parametrize("name", PAIR)
def test_usage(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = EXAMPLES / f"{name}.py"
    source, page = program.read_text(encoding="utf-8"), (ROOT / "docs/examples.md").read_text(encoding="utf-8")
    (url,) = re.findall(rf"^    python examples/{name}\.py (.+)$", source, re.MULTILINE)
    assert re.search(rf"^\| `{name}\.py` \|.*\| `{url}` \|$", page, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", [str(program)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(program), run_name="__main__")
    assert caught.value.code == f"usage: python {program} URL, such as {url} (see docs/examples.md)"
