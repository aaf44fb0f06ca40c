"""The pages in docs/migrating: their programs, their names, and what they say behaves differently.

Programs come in pairs. The one before, a ```py block that begins with ``# before``, is another library's. The one after is
a ```python block that begins with ``# after``; tests/test_docs.py runs these, too. Both must print the same.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import httpx2.websockets
import httpx_ws
import httpx_ws.transport
import pytest
import trio
import trio_websocket
import websockets.asyncio.client
import websockets.exceptions
import websockets.sync.client
import websockets.trio.client

import httpx2_trio_ws.anyio
import httpx2_trio_ws.sync
import httpx2_trio_ws.testing
from httpx2_trio_ws._cli.demonstration import own_server

from .peers.libraries import HTTPX_WS, NATIVE, OURS, TRIO_WEBSOCKET, WEBSOCKETS, Library
from .peers.page import VERSIONS, as_on_the_page
from .peers.probes import note_code, noted
from .peers.server import Wire, server

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted((DOCS / "migrating").glob("*.md"))
PROGRAM = re.compile(r"^```(?:py|python)\n(# (?:before|after)\n.*?)^```$", re.MULTILINE | re.DOTALL)


def programs_of(page: Path) -> list[str]:
    return PROGRAM.findall(page.read_text(encoding="utf-8"))


PAIRS = [
    pytest.param(before, after, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, (before, after) in enumerate(zip(*[iter(programs_of(page))] * 2, strict=True))
]


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, own_server() as url:
        for name in ("no_proxy", "NO_PROXY"):  # the machine's proxy, if it has one, cannot reach its loopback
            patch.setenv(name, "127.0.0.1")
        yield url


def run(program: str, base: str) -> None:
    placed = re.sub(r"wss://([\w:]+@)?example\.com", lambda match: base.replace("//", f"//{match[1] or ''}"), program)
    exec(compile(placed, "program", "exec", dont_inherit=True), {"__name__": "__main__"})


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_both_programs_print_the_same(before: str, after: str, base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert before.startswith("# before\n")
    assert after.startswith("# after\n")
    with warnings.catch_warnings():
        if "trio_websocket" in before:
            warnings.simplefilter("ignore", ResourceWarning)  # the page says so
        run(before, base)
        gc.collect()
    expected = capsys.readouterr().out
    run(after, base)
    assert capsys.readouterr().out == expected != ""


def test_every_page_has_programs() -> None:
    assert len(PAIRS) == 7
    assert len(PAGES) == 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_are_about_the_same_versions(page: Path) -> None:
    package = page.stem.removeprefix("from-")
    assert f"{package} {VERSIONS[package]}" in " ".join(page.read_text(encoding="utf-8").split())


# -- names -----------------------------------------------------------------------------------------


def names_in(thing: Any) -> set[str]:
    """Public names of a module, the members of its classes, and the parameters of all these."""
    names = set()
    members = vars(thing) if inspect.ismodule(thing) else dict(inspect.getmembers(thing))
    for name, value in members.items():
        if not name.startswith("_"):
            names.add(name)
            if inspect.isclass(value) and inspect.ismodule(thing):
                names |= names_in(value) | parameters_of(value)
            elif callable(value):
                names |= parameters_of(value)
    return names


def parameters_of(function: Any) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return set()


THEIRS = {
    "from-httpx2": [httpx2, httpx2.websockets],
    "from-httpx-ws": [httpx, httpx_ws, httpx_ws.transport],
    "from-trio-websocket": [trio_websocket],
    "from-websockets": [
        websockets.trio.client,
        websockets.asyncio.client,
        websockets.sync.client,
        websockets.exceptions,
    ],
}
OUR_MODULES = [
    httpx2_trio_ws,
    httpx2_trio_ws.anyio,
    httpx2_trio_ws.sync,
    httpx2_trio_ws.testing,
    importlib.import_module("httpx2_trio_ws.reconnect"),
    httpx2,
    trio,
]
# Instance attributes, which no class knows, and words of the language.
ATTRIBUTES = {
    "from-httpx2": {"response", "subprotocol", "timeout", "event"},
    "from-httpx-ws": {"response", "subprotocol", "timeout", "event"},
    "from-trio-websocket": {"status_code", "headers", "body", "reason", "code"},
    "from-websockets": {"latency", "response", "headers", "rcvd", "sent", "user", "password"},
}
WORDS = set(
    re.findall(
        r"\w+",
        """
        async await as for in with wait while True None str bytes bool int isinstance b name value url uri path message event
        text user password app queue Empty TimeoutError OSError asyncio functools partial deflate Origin User Agent
        ws pong connection client task_group str_or_bytes latency sni_hostname sync testing transport exceptions reconnect
        anyio trio httpx httpx2 httpx2_trio_ws httpx_ws trio_websocket websockets wsproto binary
        """,
    )
)


def rows_of(page: Path) -> list[tuple[str, str]]:
    """The two columns of the table of names."""
    section = page.read_text(encoding="utf-8").split("\n## Names\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| (.*?) \|$", section, re.MULTILINE)
    assert len(rows) > 20
    return rows[2:]


def named_in(cell: str) -> set[str]:
    return {name for code in re.findall(r"`([^`]+)`", cell) for name in re.findall(r"[A-Za-z_]\w*", code)} - WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_exist(page: Path) -> None:
    package = page.stem.removeprefix("from-")
    if not as_on_the_page(package):
        pytest.skip("the page is about another version")
    theirs = set[str]().union(*map(names_in, THEIRS[page.stem])) | ATTRIBUTES[page.stem]
    options = set(inspect.signature(httpx2_trio_ws.open_websocket).parameters)
    ours = set[str]().union(*map(names_in, OUR_MODULES)) | options | {"message"}
    rows = rows_of(page)
    assert set[str]().union(*(named_in(left) for left, _ in rows)) - theirs == set()
    assert set[str]().union(*(named_in(right) for _, right in rows)) - ours == set()


# -- what behaves differently, and is no row of the feature matrix ---------------------------------


async def test_a_close_that_is_not_answered() -> None:
    """It is an error with trio-websocket, and none here."""

    def script(wire: Wire) -> None:
        wire.accept()
        while True:
            wire.frame()

    with server(script) as url:
        with pytest.raises(trio_websocket.DisconnectionTimeout):
            async with TRIO_WEBSOCKET.open(url, disconnect_timeout=0.1):
                pass
        async with OURS.open(url, close_timeout_seconds=0.1):
            pass


@pytest.mark.parametrize(
    ("library", "code"),
    [(OURS, 1001), (NATIVE, 1000), (HTTPX_WS, 1000), (TRIO_WEBSOCKET, None), (WEBSOCKETS, None)],
    ids=lambda value: getattr(value, "name", value),
)
async def test_what_a_cancelled_block_says(library: Library, code: int | None) -> None:
    if not as_on_the_page(library.name):
        pytest.skip("the page is about another version")
    codes: list[int | None] = []

    def script(wire: Wire) -> None:
        wire.accept()
        note_code(wire, codes)

    with server(script) as url:
        with trio.CancelScope() as scope:
            async with library.open(url):
                scope.cancel()
                await trio.sleep_forever()
        assert await noted(codes) == code
