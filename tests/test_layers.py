"""The layers of the package, and what it shows to the outside."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import httpx2_trio_ws

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(httpx2_trio_ws.__file__).parent
NAME = PACKAGE.name
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
PROTOCOL = [module for module in MODULES if module.startswith("_protocol/")]
HTTP2 = [module for module in MODULES if module.startswith("_http2/")]

# The rooms of the package, from the ground up, and from which of those beneath each imports; for type checkers, too.
# A module that lies in no folder is a room of its own; the faces are what users import.
GROUND = {"_exceptions", "_instruments", "_options", "_protocol", "_texts"}
ROOMS: dict[str, set[str]] = {
    "_relied_on": set(),
    "_texts": set(),
    "_exceptions": {"_texts"},
    "_protocol": set(),
    "_instruments": {"_exceptions", "_protocol"},
    "_options": {"_instruments"},
    "_http2": set(),
    "_carriers": set(),
    "_runtime": {"_carriers"},
    "_core": GROUND,
    "_handshake": {"_carriers", "_exceptions", "_options", "_runtime", "_texts"},
    "_http2_transport": {"_carriers", "_handshake", "_http2", "_protocol", "_runtime"},
    "_tunnel": {"_handshake"},
    "_session": {*GROUND, "_carriers", "_core", "_handshake", "_runtime"},
    "_sync": {*GROUND, "_carriers", "_core", "_handshake"},
    "_reconnecting": {*GROUND, "_handshake", "_session", "_sync"},
    "_multiplexing": {"_exceptions", "_options", "_reconnecting", "_runtime", "_session"},
    "_trio": {*GROUND, "_core", "_handshake", "_runtime", "_session"},
    "reconnect": {"_options", "_reconnecting", "_trio"},
    "proxies": {"_tunnel"},
    "multiplex": {"_multiplexing", "_runtime", "_trio"},
    "__init__": {*GROUND, "_relied_on", "_core", "_session", "_trio", "multiplex", "reconnect"},
    "_anyio_channels": {"_multiplexing", "_session"},
    "anyio": {
        *GROUND,
        "__init__",
        "_anyio_channels",
        "_handshake",
        "_multiplexing",
        "_reconnecting",
        "_runtime",
        "_session",
    },
    "sync": {"__init__", "_options", "_reconnecting", "_sync"},
    "testing": {"_exceptions", "_handshake", "_protocol"},
    "http2": {"_http2_transport", "_runtime"},
    "_cli": {"__init__", "_handshake", "http2", "proxies"},
    "__main__": {"_cli", "_exceptions"},
}
FOLDERS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))

# The exceptions double as anyio's; what is for tests runs on any loop.
MAY_IMPORT_ANYIO = {
    "_exceptions.py", "_runtime/_asyncio.py", "_anyio_channels.py", "_tunnel.py", "anyio.py", *(name for name in MODULES if name.startswith("testing/"))
}  # fmt: skip
# Written once for all event loops, or for threads as well: they name none.
KNOW_NO_LOOP = [
    module
    for module in MODULES
    if module.startswith(
        (
            "_core/",
            "_handshake/",
            "_http2/",
            "_http2_transport/",
            "_protocol/",
            "_session/",
            "_sync/",
            "_reconnecting/",
            "_multiplexing/",
        )
    )
    or module in {"_instruments.py", "_options.py", "_carriers/_base.py", "_carriers/_stream.py", "_runtime/_base.py"}
]

PUBLIC = [
    "Backoff",
    "CloseCode",
    "FrameInfo",
    "Instrument",
    "Merged",
    "MessageReader",
    "MessageWriter",
    "Multiplexer",
    "OpenOptions",
    "PongWaiter",
    "RetryPolicy",
    "SourceEnded",
    "Statistics",
    "Subscription",
    "SubscriptionOverflow",
    "WebSocketClosedError",
    "WebSocketDisconnect",
    "WebSocketException",
    "WebSocketHandshakeTimeout",
    "WebSocketInvalidTypeReceived",
    "WebSocketKeepaliveTimeout",
    "WebSocketNetworkError",
    "WebSocketProtocolError",
    "WebSocketSession",
    "WebSocketStream",
    "WebSocketUpgradeError",
    "connect_websocket",
    "merge",
    "multiplex",
    "open_websocket",
    "open_websocket_url",
    "reconnect",
]

MULTIPLEX = ["Merged", "Multiplexer", "SourceEnded", "Subscription", "SubscriptionOverflow", "merge", "multiplex"]
SYNC = sorted(
    {*PUBLIC, "SyncMessageReader", "SyncMessageWriter", "SyncPongWaiter", "SyncWebSocketSession"}
    - {"MessageReader", "MessageWriter", "PongWaiter", "WebSocketSession", "WebSocketStream", "connect_websocket"}
    - set(MULTIPLEX)
)
TESTING = [
    "ASGIWebSocketTransport",
    "Check",
    "Frame",
    "Opcode",
    "ScriptedPeer",
    "SessionMaker",
    "check_session",
    "encode_frame",
    "memory_server",
    "session_checks",
]
RECONNECT = ["Backoff", "Connecting", "Reconnect", "RetryPolicy", "reconnect"]
FACES = {
    NAME: PUBLIC,
    f"{NAME}.anyio": PUBLIC,
    f"{NAME}.http2": ["ConnectionStatistics", "HTTP2Transport", "TransportStatistics"],
    f"{NAME}.multiplex": MULTIPLEX,
    f"{NAME}.proxies": ["AsyncTunnelTransport", "TunnelTransport"],
    f"{NAME}.reconnect": RECONNECT,
    f"{NAME}.sync": SYNC,
    f"{NAME}.testing": TESTING,
}
# They are there once they have been imported.
SUBMODULES = {"anyio", "http2", "proxies", "sync", "testing"}

# Loads the modules of a room under a parent that has run nothing, and prints all that came with them.
LOAD_ROOM = """
import importlib, json, pkgutil, sys, types
parent = types.ModuleType(sys.argv[1])
parent.__path__ = [sys.argv[2]]
sys.modules[parent.__name__] = parent
room = importlib.import_module(parent.__name__ + "." + sys.argv[3])
for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


def imports(module: str) -> set[str]:
    """The absolute names of all that a module imports, wherever in it, also for type checkers only."""
    # The package that relative names start from: that of __init__.py is its own directory.
    package = [NAME, *Path(module).parent.parts]
    names: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            names.update(f"{source}.{alias.name}" for alias in node.names)
    return names


def top_level(module: str) -> set[str]:
    """The packages that a module imports from."""
    return {name.split(".")[0] for name in imports(module)}


def test_imports_are_seen() -> None:
    assert imports("_protocol/__init__.py") >= {f"{NAME}._protocol._pings.PingBook"}
    assert f"{NAME}._protocol._masking.masked_frame" in imports("_protocol/_connection.py")
    assert f"{NAME}._protocol.Connection" in imports("_session/_engine.py"), "for type checkers only, and still seen"
    assert "anyio" in top_level("_exceptions.py")
    assert "trio" in top_level("_trio.py")


@pytest.mark.parametrize("room", ["_protocol", "_http2"])
def test_sans_io_loads_no_event_loop_and_no_http(room: str) -> None:
    loaded = set(
        json.loads(
            subprocess.run(
                [sys.executable, "-c", LOAD_ROOM, NAME, str(PACKAGE), room], check=True, capture_output=True, text=True
            ).stdout
        )
    )
    assert f"{NAME}.{room}._connection" in loaded
    assert not loaded & {"trio", "anyio", "asyncio", "httpx2", "httpcore2", "h11", "h2"}
    ours = {name for name in loaded if name.startswith(f"{NAME}.")}
    assert {name for name in ours if not name.startswith(f"{NAME}.{room}")} == set()


@pytest.mark.parametrize("module", HTTP2)
def test_http2_imports_the_standard_library_hpack_and_itself(module: str) -> None:
    allowed = {*sys.stdlib_module_names, "hpack", NAME} - {"asyncio", "socket", "ssl", "time", "threading"}
    assert top_level(module) <= allowed
    assert all(name.startswith(f"{NAME}._http2.") for name in imports(module) if name.startswith(NAME))


@pytest.mark.parametrize("module", PROTOCOL)
def test_protocol_imports_the_standard_library_websockets_and_itself(module: str) -> None:
    allowed = {*sys.stdlib_module_names, "websockets", NAME} - {"asyncio", "socket", "ssl", "time", "threading"}
    assert top_level(module) <= allowed
    ours = {name for name in imports(module) if name.startswith(NAME)}
    assert all(name.startswith(f"{NAME}._protocol.") for name in ours)


@pytest.mark.parametrize("module", [module for module in MODULES if module not in MAY_IMPORT_ANYIO])
def test_anyio_is_imported_by_its_runtime_only(module: str) -> None:
    assert "anyio" not in top_level(module)


@pytest.mark.parametrize("module", KNOW_NO_LOOP)
def test_what_is_written_once_knows_no_event_loop(module: str) -> None:
    assert not top_level(module) & {"trio", "anyio", "asyncio", "sniffio"}
    of_one_loop = ("_runtime._trio", "_runtime._asyncio", "_carriers._trio", "_carriers._asyncio", "_trio", "anyio")
    assert not any(name.startswith(tuple(f"{NAME}.{loop}" for loop in of_one_loop)) for name in imports(module))


def room(module: str) -> str:
    return Path(module).parts[0].removesuffix(".py")


def imported_modules(module: str) -> set[str]:
    """The modules of the package that a module imports from, by their paths."""
    found = set()
    for name in imports(module):
        parts = name.split(".")[1:] if name.split(".")[0] == NAME else []
        for path in ("/".join(parts), "/".join(parts[:-1])):
            candidates = [f"{path}.py", f"{path}/__init__.py".removeprefix("/")]
            if parts and (hits := [candidate for candidate in candidates if candidate in MODULES]):
                found.add(hits[0])
                break
    return found


@pytest.mark.parametrize("module", MODULES)
def test_rooms_import_those_beneath_them(module: str) -> None:
    rooms = {room(name) for name in imported_modules(module)} - {room(module)}
    assert rooms <= ROOMS[room(module)]
    assert all(list(ROOMS).index(name) < list(ROOMS).index(room(module)) for name in rooms), "imports point one way"


def test_the_handshake_alone_knows_how_a_session_is_asked_for_and_accepted() -> None:
    """But the contract looks at what sessions tell, HTTP/2 itself forbids a status, and a pool's stand-in upgrades to HTTP/2."""
    aside = ("_handshake/", "_http2/", "_http2_transport/_dial", "testing/_contract/")
    others = [module for module in MODULES if not module.startswith(aside)]
    assert [module for module in others if ASKING & set(map(str, constants(module)))] == []


ASKING = {"GET", "101", "sec-websocket-accept", "Sec-WebSocket-Accept", "b'sec-websocket-accept'"}


def constants(module: str) -> list[object]:
    nodes = ast.walk(ast.parse((PACKAGE / module).read_text()))
    return [node.value for node in nodes if isinstance(node, ast.Constant)]


def test_the_page_that_says_how_it_is_built_names_what_is_there() -> None:
    page = Path(__file__).parent.parent / "docs/explanation/how-it-is-built.md"
    if not page.exists():
        pytest.skip("the documentation is not here")  # pragma: no cover
    names = re.findall(r"`(_[a-z]\w*(?:/\w+)?(?:\.py)?)`", page.read_text(encoding="utf-8"))
    sources = "".join((PACKAGE / module).read_text(encoding="utf-8") for module in MODULES)
    there = {*MODULES, *(Path(module).name for module in MODULES), *(room(module) for module in MODULES)}
    assert len(names) > 20
    assert [name for name in names if name not in there and f"def {name}(" not in sources] == []


def test_no_modules_import_each_other() -> None:
    left = {module: imported_modules(module) - {module} for module in MODULES}
    while ground := [module for module, wanted in left.items() if not wanted & left.keys()]:
        for module in ground:
            del left[module]
    assert not left, "these import each other in a circle"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_room_says_what_lives_there_and_who_may_import_what(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    if folder.name.startswith("_"):
        assert "May import:" in text
        assert re.search(r"(Is|are)\s+imported\s+by", text)


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_stay_small(module: str) -> None:
    text = (PACKAGE / module).read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


@pytest.mark.parametrize("face", FACES)
def test_public_names(face: str) -> None:
    module = importlib.import_module(face)
    assert module.__all__ == FACES[face]
    assert [name for name in FACES[face] if not hasattr(module, name)] == []


def test_no_other_name_is_public() -> None:
    shown = {name for name in dir(httpx2_trio_ws) if not name.startswith("_")}
    assert sorted(shown - SUBMODULES) == PUBLIC


@pytest.mark.parametrize("face", FACES)
def test_star_import(face: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"from {face} import *", namespace)
    assert sorted(namespace.keys() - {"__builtins__"}) == FACES[face]


def documented_parts() -> Iterator[tuple[str, object]]:
    """All public classes and functions, and the methods and properties of our own that the classes have."""
    for face, names in FACES.items():
        module = importlib.import_module(face)
        for name in names:
            thing = getattr(module, name)
            yield f"{face}.{name}", thing
            for owner in inspect.getmro(thing) if inspect.isclass(thing) else ():
                if not owner.__module__.startswith(NAME):
                    continue
                for part, value in vars(owner).items():
                    if not part.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
                        yield f"{face}.{name}.{part}", value


DOCUMENTED = dict(documented_parts())


def test_parts_of_classes_are_seen() -> None:
    assert {f"{NAME}.WebSocketSession.{name}" for name in ("receive", "latency", "send")} <= DOCUMENTED.keys()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstring(name: str) -> None:
    assert (getattr(DOCUMENTED[name], "__doc__", None) or "").strip()
