"""`from httpx2_trio_ws import reconnect, multiplex` gives the functions, whatever else has been imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import httpx2_trio_ws

CHECK = """
import types, importlib
import httpx2_trio_ws
from httpx2_trio_ws import {name}
assert isinstance({name}, types.FunctionType), {name}
assert httpx2_trio_ws.{name} is {name}
module = importlib.import_module("httpx2_trio_ws.{name}")
assert isinstance(module, types.ModuleType)
assert module.{name} is {name}
from httpx2_trio_ws.{name} import {others}
for other in "{others}".split(", "):
    assert getattr(module, other) is getattr(httpx2_trio_ws, other) is globals()[other]
"""
FIRST = ("", "import httpx2_trio_ws.{name}", "from httpx2_trio_ws.{name} import {name}", "import httpx2_trio_ws.anyio")


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize(
    ("name", "others"),
    [("reconnect", "Backoff, RetryPolicy"), ("multiplex", "Merged, Multiplexer, SourceEnded, Subscription, merge")],
)
def test_the_natural_import(first: str, name: str, others: str) -> None:
    code = first.format(name=name) + CHECK.format(name=name, others=others)
    subprocess.run([sys.executable, "-c", code], check=True)


def shown(thing: type) -> list[str]:
    return [name for name in dir(thing) if not name.startswith("_")]


def test_no_inner_name_is_shown() -> None:
    assert shown(httpx2_trio_ws.Multiplexer) == [
        *("aclose", "gap", "receive", "request", "send", "session", "sessions", "subscribe", "unmatched"),
        "wait_connected",
    ]
    assert shown(httpx2_trio_ws.Subscription) == ["aclose", "dropped", "gap", "key", "receive"]
    assert shown(httpx2_trio_ws.Merged) == ["aclose", "add", "gap", "receive", "remove"]
