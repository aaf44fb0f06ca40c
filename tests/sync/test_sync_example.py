"""The example of blocking code runs against a real server, and says what it is there to show."""

from __future__ import annotations

import os
import re
import runpy
import sys
from pathlib import Path

import pytest

from httpx2_trio_ws._cli.demonstration import own_server

EXAMPLE = Path(__file__).parent.parent.parent / "examples/blocking.py"
SHOWN = r"""nothing yet
(received '(one|two|three)'
|a round trip takes 0\.\d+ s
){4}the listener ends: closed on our side
closed: 1000
"""


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_with_the_demonstrations_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with own_server() as base:
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), f"{base}/echo"])
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert re.fullmatch(SHOWN, capsys.readouterr().out)


def test_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    (url,) = re.findall(r"python examples/blocking\.py (ws://\S+)", EXAMPLE.read_text(encoding="utf-8"))
    assert caught.value.code == f"usage: python {EXAMPLE} URL, such as {url} (see docs/examples.md)"
