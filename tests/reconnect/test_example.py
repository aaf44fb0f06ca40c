"""The example runs against a real server, and says what it is there to show."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from httpx2_trio_ws._cli.demonstration import own_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "reconnecting_feed.py"
CONNECTED = "connected to 127.0.0.1; what was sent in the meantime is lost\n"


def load() -> Callable[..., Awaitable[None]]:
    spec = importlib.util.spec_from_file_location("examples.reconnecting_feed", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[..., Awaitable[None]] = module.main
    return main


main = load()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


async def test_a_server_that_drops_each_connection(capsys: pytest.CaptureFixture[str]) -> None:
    with own_server() as base:
        await main(f"{base}/crash", seconds=0.001)
    received = "received '1'\nreceived '2'\n"
    assert capsys.readouterr().out == (CONNECTED + received) * 5 + "that is enough\n"


async def test_a_server_that_closes_for_good(capsys: pytest.CaptureFixture[str]) -> None:
    with own_server() as base:
        await main(f"{base}/count/2")
    assert capsys.readouterr().out == CONNECTED + "received '1'\nreceived '2'\nthe server has closed for good\n"


async def test_what_is_not_worth_another_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    with own_server() as base:
        await main(f"{base}/nowhere")
    assert re.fullmatch(r"given up: \(WebSocketUpgradeError\(.*404.*\),\)\n", capsys.readouterr().out)


def test_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE)])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    (url,) = re.findall(rf"python examples/{EXAMPLE.name} (ws://\S+)", EXAMPLE.read_text(encoding="utf-8"))
    assert caught.value.code == f"usage: python {EXAMPLE} URL, such as {url} (see docs/examples.md)"
    assert f"| `{url}` |" in (ROOT / "docs/examples.md").read_text(encoding="utf-8")
    assert f"| `{EXAMPLE.name}` |" in (ROOT / "docs/examples.md").read_text(encoding="utf-8")
