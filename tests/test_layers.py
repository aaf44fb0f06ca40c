"""The layers of the package, and what it shows to the outside."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
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

# The exceptions double as anyio's; what is for tests runs on any loop.
MAY_IMPORT_ANYIO = {
    "_exceptions.py", "_runtime/_asyncio.py", "anyio.py", *(name for name in MODULES if name.startswith("testing/"))
}  # fmt: skip
KNOW_NO_LOOP = ["_session.py", "_state.py", "_engine.py", "_inbox.py", "_outbox.py", "_watermarks.py", "_stream.py"]

PUBLIC = [
    "CloseCode",
    "FrameInfo",
    "Instrument",
    "OpenOptions",
    "PongWaiter",
    "Statistics",
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
    "open_websocket",
    "open_websocket_url",
]

SYNC = sorted(
    {*PUBLIC, "SyncPongWaiter", "SyncWebSocketSession"}
    - {"PongWaiter", "WebSocketSession", "WebSocketStream", "connect_websocket"}
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
    f"{NAME}.anyio": [*PUBLIC, "reconnect"],
    f"{NAME}.reconnect": RECONNECT,
    f"{NAME}.sync": SYNC,
    f"{NAME}.testing": TESTING,
}
# They are there once they have been imported.
SUBMODULES = {"anyio", "reconnect", "sync", "testing"}

# What the blocking session shares with the others: the protocol, the handshake as far as it is pure, and results.
SHARED_WITH_SYNC = (
    "_exceptions",
    "_handshake",
    "_instruments",
    "_options",
    "_protocol",
    "_proxy_failures",
    "_refusal",
    "_request",
    "_results",
    "_state",
    "_sync",
    "_watermarks",
)

# Loads the modules of _protocol under a parent that has run nothing, and prints all that came with them.
LOAD_PROTOCOL = """
import importlib, json, pkgutil, sys, types
parent = types.ModuleType(sys.argv[1])
parent.__path__ = [sys.argv[2]]
sys.modules[parent.__name__] = parent
protocol = importlib.import_module(parent.__name__ + "._protocol")
for module in pkgutil.walk_packages(protocol.__path__, protocol.__name__ + "."):
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
    assert f"{NAME}._protocol.Connection" in imports("_engine.py"), "for type checkers only, and still seen"
    assert "anyio" in top_level("_exceptions.py")
    assert "trio" in top_level("_trio.py")


def test_protocol_loads_no_event_loop_and_no_http() -> None:
    loaded = set(
        json.loads(
            subprocess.run(
                [sys.executable, "-c", LOAD_PROTOCOL, NAME, str(PACKAGE)], check=True, capture_output=True, text=True
            ).stdout
        )
    )
    assert f"{NAME}._protocol._connection" in loaded
    assert not loaded & {"trio", "anyio", "asyncio", "httpx2", "httpcore2", "h11"}
    ours = {name for name in loaded if name.startswith(f"{NAME}.")}
    assert {name for name in ours if not name.startswith(f"{NAME}._protocol")} == set()


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
def test_session_knows_no_event_loop(module: str) -> None:
    assert not top_level(module) & {"trio", "anyio", "asyncio", "sniffio"}
    runtimes = (f"{NAME}._runtime._trio", f"{NAME}._runtime._asyncio", f"{NAME}._trio", f"{NAME}.anyio")
    assert not any(name.startswith(runtimes) for name in imports(module))


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("_sync/")])
def test_blocking_session_knows_no_event_loop_and_shares_little(module: str) -> None:
    assert not top_level(module) & {"trio", "anyio", "asyncio", "sniffio"}
    ours = {name.split(".")[1] for name in imports(module) if name.startswith(f"{NAME}.")}
    assert ours <= set(SHARED_WITH_SYNC)


@pytest.mark.parametrize(
    "module", ["_handshake.py", "_instruments.py", "_options.py", "_refusal.py", "_request.py", "_results.py"]
)
def test_what_is_shared_with_it_knows_no_event_loop(module: str) -> None:
    assert not top_level(module) & {"trio", "anyio", "asyncio", "sniffio"}


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
