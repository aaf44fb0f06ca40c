"""The Python code in README.md and docs is run, against a real server.

Each ```python block runs on its own:

* a block with ``trio.run(``, or another one of :data:`PROGRAM`, in it is a program, and runs as it stands;
* any other is a fragment, which may ``await``. It finds imported what the library exports, ``httpx2``, ``trio``
  and ``math``, and has ``client``, an open client, and ``ws``, a session with ``/echo``.

``wss://example.com`` and ``ws://example.com`` stand for the demonstration's server, ``python -m httpx2_trio_ws --serve``.
"""

from __future__ import annotations

import ast
import inspect
import logging
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import pytest
import trio

import httpx2_trio_ws
from httpx2_trio_ws._cli.demonstration import own_server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = re.compile(r"\b(trio|asyncio|anyio|uvloop)\.run\(|\bhttpx2\.Client\(")
PLACEHOLDER = re.compile(r"wss?://example\.com")


class Block(NamedTuple):
    page: Path
    line: int
    code: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(page, text.count("\n", 0, match.start(1)), match[1]) for match in found]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def name_of(block: Block) -> str:
    return f"{block.page.relative_to(ROOT)}:{block.line + 1}"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """It runs in a thread, as the programs have an event loop of their own."""
    with pytest.MonkeyPatch.context() as patch, own_server() as base:
        for name in ("no_proxy", "NO_PROXY"):  # the machine's proxy, if it has one, cannot reach its loopback
            patch.setenv(name, "127.0.0.1")
        yield base


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What a page configures is for its reader's process."""
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


async def run_fragment(code: Any, names: dict[str, Any], url: str) -> None:
    async with httpx2.AsyncClient() as client, httpx2_trio_ws.open_websocket(client, f"{url}/echo") as ws:
        names |= {"client": client, "ws": ws}
        result = eval(code, names)
        if inspect.iscoroutine(result):
            await result


@pytest.mark.parametrize("block", BLOCKS, ids=name_of)
def test_block_runs(block: Block, server: str) -> None:
    source = "\n" * block.line + PLACEHOLDER.sub(server, block.code)  # so that tracebacks have the page's lines
    names: dict[str, Any] = {"__name__": "__main__"}
    if PROGRAM.search(block.code):
        exec(compile(source, block.page, "exec", dont_inherit=True), names)
        return
    names |= {name: getattr(httpx2_trio_ws, name) for name in httpx2_trio_ws.__all__}
    names |= {"httpx2": httpx2, "trio": trio, "math": math}
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, block.page, "exec", flags=flags, dont_inherit=True)
    trio.run(run_fragment, code, names, server)


def test_every_python_block_is_found() -> None:
    fences = sum(page.read_text(encoding="utf-8").count("```python") for page in PAGES)
    assert len(BLOCKS) == fences > 20


def links_of(page: Path) -> list[str]:
    """Relative links, without their fragments."""
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    return [link for link in links if "://" not in link]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_relative_links_lead_somewhere(name: str) -> None:
    """In the pages that Sphinx does not check."""
    assert [link for link in links_of(ROOT / name) if not (ROOT / link).exists()] == []


def test_readme_lists_the_defaults() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    shown = {name: {"1 MiB": 2**20}.get(value) or ast.literal_eval(value.strip("`")) for name, value in rows}
    own = {"params", "headers", "cookies", "auth", "follow_redirects", "timeout", "extensions"}  # httpx2's
    signature = inspect.signature(httpx2_trio_ws.open_websocket_url)
    assert shown == {p.name: p.default for p in signature.parameters.values() if p.name not in own | {"url"}}
