"""docs/feature-matrix.md: what can be run is run, for every library, and held against the page's cells."""

from __future__ import annotations

import contextlib
import gc
import inspect
import re
import sys
import threading
import warnings
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import aiohttp.web
import httpx
import httpx2
import httpx2.websockets
import httpx_ws
import httpx_ws.transport
import picows
import pytest
import trio_websocket
import websockets.asyncio
import websockets.sync
import websockets.trio.client
import websockets.trio.server

import httpx2_trio_ws.anyio
import httpx2_trio_ws.http2
import httpx2_trio_ws.testing
from httpx2_trio_ws._cli.demonstration import own_server

from .peers import ending, working
from .peers.libraries import (
    AIOHTTP,
    HTTPX_WS,
    HTTPX_WS_ASYNCIO,
    NATIVE,
    NATIVE_ASYNCIO,
    ON_ASYNCIO,
    OURS,
    PICOWS,
    TRIO_WEBSOCKET,
    WEBSOCKETS,
    WEBSOCKETS_ASYNCIO,
    Library,
)
from .peers.page import PAGE, VERSIONS, as_on_the_page
from .peers.server import server
from .test_migrating import names_in, parameters_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .peers.probes import Probe
    from .peers.server import Wire

PROBES = [*working.PROBES, *ending.PROBES]
COLUMNS = (
    (OURS, ON_ASYNCIO),
    (NATIVE, NATIVE_ASYNCIO),
    (HTTPX_WS, HTTPX_WS_ASYNCIO),
    (TRIO_WEBSOCKET,),
    (WEBSOCKETS, WEBSOCKETS_ASYNCIO),
    (AIOHTTP,),
    (PICOWS,),
)
PACKAGES = [column[0].name for column in COLUMNS]
ROWS = {
    cells[0]: cells[1:]
    for line in re.findall(r"^\| (.*) \|$", PAGE, re.MULTILINE)
    if len(cells := line.split(" | ")) == len(COLUMNS) + 1
}


@pytest.fixture(autouse=True, scope="module")
def _quick_collections() -> Iterator[None]:
    """What is there already need not be looked at each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


# -- what is tried ---------------------------------------------------------------------------------


def try_out(probe: Probe, library: Library, outcomes: dict[str, bool | BaseException]) -> None:
    notes: list[Any] = []
    try:
        with server(partial(probe.script, notes=notes), receive_buffer=65536) as url:
            outcomes[library.name] = library.run(probe.body, library, url, notes)
    except BaseException as exc:
        outcomes[library.name] = exc


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the others; test_no_socket_is_left is about them
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.title)
def test_row(probe: Probe) -> None:
    """All libraries at the same time, each with an event loop and a server of its own."""
    tried = [library for library in (*probe.yes, *probe.no) if as_on_the_page(library.name)]
    outcomes: dict[str, bool | BaseException] = {}
    threads = [threading.Thread(target=try_out, args=[probe, library, outcomes]) for library in tried]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _generation in range(3):
        gc.collect()
    assert outcomes == {library.name: library in probe.yes for library in tried}


def end_somehow(wire: Wire) -> None:
    """The peer's part in the ways that a session may end: by path."""
    path = wire.request.split()[1]
    if path == "/refuse":
        wire.sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        return
    wire.accept()
    if path == "/close":
        wire.send(8, (4001).to_bytes(2))
    if path in ("/close", "/left"):
        opcode, payload = wire.frame()
        wire.send(opcode, payload)


async def come_to_an_end(library: Library, url: str) -> None:
    for path in ("refuse", "close", "lose", "left"):
        with contextlib.suppress(Exception):
            async with library.open(f"{url}/{path}") as ws:
                if path != "left":
                    await library.receive(ws)


LEFT_OPEN = {OURS: 0, ON_ASYNCIO: 0, NATIVE: 0, HTTPX_WS: 0, TRIO_WEBSOCKET: 3, WEBSOCKETS: 0, AIOHTTP: 0, PICOWS: 0}


@pytest.mark.parametrize("library", LEFT_OPEN, ids=lambda library: library.name)
def test_no_socket_is_left(library: Library) -> None:
    """By the warnings of those that the garbage collector closes."""
    if not as_on_the_page(library.name):
        pytest.skip("the page is about another version")
    with warnings.catch_warnings(record=True) as warned, server(end_somehow) as url:
        warnings.simplefilter("always", ResourceWarning)
        library.run(come_to_an_end, library, url)
        for _generation in range(3):
            gc.collect()
    assert len([warning for warning in warned if "unclosed" in str(warning.message)]) == LEFT_OPEN[library]


# -- the page --------------------------------------------------------------------------------------


def first_word(yes: bool | None) -> str:
    return "—" if yes is None else "yes" if yes else "no"


def test_cells_are_what_was_tried() -> None:
    tried = {probe.title: {library: library in probe.yes for library in (*probe.yes, *probe.no)} for probe in PROBES}
    tried["no socket is left to the garbage collector"] = {library: not left for library, left in LEFT_OPEN.items()}
    expected = {}
    for title, outcomes in tried.items():
        first = [next((outcomes[library] for library in column if library in outcomes), None) for column in COLUMNS]
        expected[title] = [first_word(outcome) for outcome in first]
    bold = {title.strip("*"): cells for title, cells in ROWS.items() if title.startswith("**")}
    assert {title: [re.split(r"\W ?", cell)[0] or "—" for cell in cells] for title, cells in bold.items()} == expected


MODULES: dict[str, list[Any]] = {
    OURS.name: [httpx2_trio_ws, httpx2_trio_ws.anyio, httpx2_trio_ws.http2, httpx2_trio_ws.testing, httpx2],
    NATIVE.name: [httpx2, httpx2.websockets],
    HTTPX_WS.name: [httpx_ws, httpx_ws.transport, httpx],
    TRIO_WEBSOCKET.name: [trio_websocket],
    WEBSOCKETS.name: [websockets.trio.client, websockets.trio.server],
    AIOHTTP.name: [aiohttp, aiohttp.web],
    PICOWS.name: [picows],
}
# Attributes of instances, and what is no name of the package's.
OTHERS = {
    OURS.name: {"python", "m", "httpx2_trio_ws", "trio", "anyio", "abc", "Channel", "ObjectStream", "receive", "str", "bytes"},
    TRIO_WEBSOCKET.name: {"trio", "abc", "AsyncResource", "reason", "code", "str", "bytes"},
    WEBSOCKETS.name: {"python", "m", "websockets", "asyncio", "sync", "trio", "server", "latency", "rcvd", "abc",
                      "AsyncResource", "async", "for", "str", "bytes"},
    AIOHTTP.name: {"web", "close_code"},
    PICOWS.name: {"close_handshake"},
}  # fmt: skip


@pytest.mark.parametrize(("package", "column"), [(name, number) for number, name in enumerate(PACKAGES)])
def test_names_exist(package: str, column: int) -> None:
    if not as_on_the_page(package):
        pytest.skip("the page is about another version")
    known = set[str]().union(*map(names_in, MODULES[package])) | OTHERS.get(package, set())
    known |= parameters_of(httpx2_trio_ws.open_websocket) if package == OURS.name else set()
    known |= parameters_of(aiohttp.ClientSession.ws_connect) if package == AIOHTTP.name else set()
    cells = [cells[column] for title, cells in ROWS.items() if title and not title.startswith("**")]
    code = [span for cell in cells for span in re.findall(r"(?<!\})`([^`]+)`", cell) if "/" not in span]
    named = {name for span in code for name in re.findall(r"[A-Za-z_]\w*", span)} - {"websockets"}
    assert named - known - {"httpx2", "str", "bytes"} == set()


OPEN_WEBSOCKET = httpx2_trio_ws.open_websocket
DEFAULTS: list[tuple[str, Callable[..., Any], str, Any, str]] = [
    (OURS.name, OPEN_WEBSOCKET, "max_message_size_bytes", 2**20, "1 MiB"),
    (OURS.name, OPEN_WEBSOCKET, "queue_size", 512, "512"),
    (OURS.name, OPEN_WEBSOCKET, "handshake_timeout_seconds", 30, "30 s"),
    (OURS.name, OPEN_WEBSOCKET, "keepalive_ping_interval_seconds", 20, "20 s"),
    (OURS.name, OPEN_WEBSOCKET, "close_timeout_seconds", 5, "5 s"),
    (NATIVE.name, httpx2.AsyncClient.websocket, "max_message_size_bytes", 2**16, "64 KiB"),
    (NATIVE.name, httpx2.AsyncClient.websocket, "keepalive_ping_interval_seconds", 20, "20 s"),
    (HTTPX_WS.name, httpx_ws.aconnect_ws, "keepalive_ping_interval_seconds", 20, "20 s"),
    (TRIO_WEBSOCKET.name, trio_websocket.open_websocket_url, "message_queue_size", 1, "1"),
    (TRIO_WEBSOCKET.name, trio_websocket.open_websocket_url, "max_message_size", 2**20, "1 MiB"),
    (TRIO_WEBSOCKET.name, trio_websocket.open_websocket_url, "connect_timeout", 60, "60 s"),
    (TRIO_WEBSOCKET.name, trio_websocket.open_websocket_url, "disconnect_timeout", 60, "60 s"),
    (WEBSOCKETS.name, websockets.trio.client.connect, "open_timeout", 10, "10 s"),
    (WEBSOCKETS.name, websockets.trio.client.connect, "ping_interval", 20, "20 s"),
    (WEBSOCKETS.name, websockets.trio.client.connect, "close_timeout", 10, "10 s"),
    (WEBSOCKETS.name, websockets.trio.client.connect, "max_size", 2**20, "1 MiB"),
    (WEBSOCKETS.name, websockets.trio.client.connect, "max_queue", 16, "16 frames"),
    (AIOHTTP.name, aiohttp.ClientSession.ws_connect, "max_msg_size", 2**22, "4 MiB"),
    (AIOHTTP.name, aiohttp.ClientSession.ws_connect, "heartbeat", None, "off"),
    (PICOWS.name, picows.ws_connect, "max_frame_size", 10 * 2**20, "10 MiB"),
    (PICOWS.name, picows.ws_connect, "enable_auto_ping", False, "off"),
    (PICOWS.name, picows.ws_connect, "websocket_handshake_timeout", 5, "5 s"),
]


@pytest.mark.parametrize(("package", "function", "name", "value", "said"), DEFAULTS)
def test_defaults(package: str, function: Callable[..., Any], name: str, value: Any, said: str) -> None:
    column = PACKAGES.index(package)
    assert any(cells[column].startswith(f"`{name}`, {said}") for cells in ROWS.values())
    if as_on_the_page(package):
        assert inspect.signature(function).parameters[name].default == value


#: What *no* means in the page: no parameter has any of this in its name.
ABSENT: list[tuple[str, Callable[..., Any], str]] = [
    (OURS.name, OPEN_WEBSOCKET, "window|context|fragment|extensions_|dumps|loads|priority"),
    (NATIVE.name, httpx2.AsyncClient.websocket, "compress|close_timeout|handshake|open_timeout|reconnect|dumps|loads"),
    (HTTPX_WS.name, httpx_ws.aconnect_ws, "compress|close_timeout|handshake|open_timeout|reconnect|dumps|loads"),
    (TRIO_WEBSOCKET.name, trio_websocket.open_websocket_url, "proxy|auth|cookie|redirect|compress|ping|hook|mount"),
    (WEBSOCKETS.name, websockets.trio.client.connect, "cookie|auth|hook|mount|dumps|loads"),
    (AIOHTTP.name, aiohttp.ClientSession.ws_connect, "socks|mount|reconnect"),
    (PICOWS.name, picows.ws_connect, "auth|cookie|compress|subprotocol|trust|mount|close_timeout|reconnect"),
]


@pytest.mark.parametrize(("package", "function", "names"), ABSENT, ids=PACKAGES)
def test_what_is_absent(package: str, function: Callable[..., Any], names: str) -> None:
    if not as_on_the_page(package):
        pytest.skip("the page is about another version")
    assert [name for name in parameters_of(function) if re.search(names, name)] == []


def test_the_page_is_about_this_version() -> None:
    assert VERSIONS[OURS.name] == httpx2_trio_ws.__version__


def test_what_packages_say_of_themselves() -> None:
    for column, package in enumerate(PACKAGES):
        if not as_on_the_page(package):
            continue
        about = distribution(package).metadata
        classifiers = " ".join(about.get_all("Classifier") or ())
        assert about["Requires-Python"] == ROWS["Python"][column]
        assert ROWS["claims PyPy"][column] == first_word("PyPy" in classifiers)
        assert "Free Threading" not in classifiers
        module = sys.modules[package.replace("-", "_")]
        assert (Path(str(module.__file__)).parent / "py.typed").exists()


# -- what is said of event loops, and of redirects -------------------------------------------------


async def echo(library: Library, url: str) -> str | bytes:
    async with library.open(url) as ws:
        await library.send(ws, "hello")
        return await library.receive(ws)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop")
@pytest.mark.parametrize(
    "library", [ON_ASYNCIO, NATIVE, HTTPX_WS, WEBSOCKETS_ASYNCIO, AIOHTTP, PICOWS], ids=lambda library: library.name
)
def test_uvloop(library: Library) -> None:
    uvloop = pytest.importorskip("uvloop")
    with own_server() as url:
        assert uvloop.run(echo(library, f"{url}/echo")) == "hello"


@pytest.mark.parametrize("module", [httpx2, httpx], ids=["httpx2", "httpx-ws"])
async def test_redirects_to_plain_text_are_followed_by_others(module: Any) -> None:
    seen = []

    def answer(request: Any) -> Any:
        seen.append(str(request.url))
        return (
            module.Response(302, headers={"Location": "http://plain.example/"})
            if len(seen) == 1
            else module.Response(404)
        )

    async with module.AsyncClient(transport=module.MockTransport(answer), follow_redirects=True) as client:
        connect = (
            client.websocket("https://tls.example/")
            if module is httpx2
            else httpx_ws.aconnect_ws("https://tls.example/", client)
        )
        with pytest.raises(Exception, match="404"):
            async with connect:
                pass
    assert seen == ["https://tls.example/", "http://plain.example/"]
