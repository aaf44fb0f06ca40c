"""What is used of others without being documented: that it is there, what is said if not, and what is done then."""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
from importlib.metadata import version

import anyio
import anyio.lowlevel
import httpx2
import pytest
import trio

from httpx2_trio_ws import _relied_on
from httpx2_trio_ws._handshake._failures import failure
from httpx2_trio_ws._handshake._steps import Steps
from httpx2_trio_ws._relied_on import BETTER, NEEDED, Name, check, find
from httpx2_trio_ws._runtime import _trio as on_trio
from httpx2_trio_ws._runtime._asyncio import AsyncioRuntime

from .test_layers import MODULES, PACKAGE


@pytest.mark.parametrize("name", [*NEEDED, *BETTER], ids=lambda name: f"{name.module}.{name.name}")
def test_it_is_there(name: Name) -> None:
    assert find(name) is not None


def test_attributes_that_instances_do_not_have() -> None:
    assert find(Name("trio", "trio", "SSLStream._gone", "nothing")) is None


def test_what_is_read_from_streams_is_listed() -> None:
    strings = {
        node.value
        for node in ast.walk(ast.parse((PACKAGE / "_carriers/_beneath.py").read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("_")
    }
    assert strings == {name.name.rpartition(".")[2] for name in BETTER if name.name.split(".")[0].endswith("Stream")}


@pytest.mark.parametrize(("module", "attribute"), [("websockets.frames", "gone"), ("websockets.gone", "x")])
def test_what_is_said_of_one_that_is_not(module: str, attribute: str) -> None:
    with pytest.raises(ImportError) as caught:
        check((Name("websockets", module, attribute, "something"),))
    for part in (f"{module}.{attribute}", "something", f"websockets {version('websockets')}"):
        assert part in str(caught.value)


def test_importing_the_package_checks() -> None:
    program = "import websockets.client, websockets.utils; del websockets.utils.generate_key; import httpx2_trio_ws"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ)
    assert "needs websockets.utils.generate_key for the handshake's key" in done.stderr


def test_every_import_from_websockets_is_documented_or_listed() -> None:
    """Its documentation has these; a name more is added to the list."""
    documented = {
        *(
            "CloseCode",
            "ClientProtocol",
            "ServerProtocol",
            "ProtocolError",
            "PayloadTooBig",
            "InvalidHandshake",
            "Headers",
        ),
        *(
            "Request",
            "Response",
            "Frame",
            "Opcode",
            "Close",
            "Subprotocol",
            "Extension",
            "ConnectionClosed",
            "WebSocketURI",
        ),
        *("ClientPerMessageDeflateFactory", "PerMessageDeflate", "serve", "ServerConnection", "basic_auth"),
        *("CLIENT", "OPEN", "Protocol", "SERVER"),
    }
    listed = {name.name.partition(".")[0] for name in NEEDED}
    imported = {
        alias.name
        for module in MODULES
        for node in ast.walk(ast.parse((PACKAGE / module).read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("websockets")
        for alias in node.names
    }
    assert imported <= documented | listed


async def test_without_trio_s_cancel_status() -> None:
    """The fallback asks by the checkpoint itself, which always may raise."""
    assert on_trio._may_be_cancelled()
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(trio.Cancelled):
            await on_trio.TRIO.checkpoint_if_cancelled()


def test_without_anyio_s_backend_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own function looks for the event loop each time, and does the same."""
    monkeypatch.setattr(anyio.lowlevel, "current_token", object)

    async def main() -> None:
        runtime = AsyncioRuntime()
        with anyio.CancelScope() as scope:
            await runtime.checkpoint_if_cancelled()
            scope.cancel()
            await runtime.checkpoint_if_cancelled()
            raise AssertionError("it was cancelled")

    anyio.run(main)


@pytest.mark.parametrize("hidden", [False, True])
def test_without_anyio_s_states_of_tasks(hidden: bool) -> None:
    """Whether a scope is cancelled is then asked for as a deadline, which takes longer."""

    async def main() -> None:
        runtime = AsyncioRuntime()
        assert runtime._states is not None
        if hidden:
            runtime._states = None
        told: list[bool] = []
        with anyio.CancelScope() as outer:  # noqa: ASYNC100 (it is asked, not waited, in it)
            told.append(runtime.will_raise())
            outer.cancel()
            told.append(runtime.will_raise())
            with anyio.CancelScope(shield=True):  # noqa: ASYNC100 (it is asked, not waited, in it)
                told.append(runtime.will_raise())
            with anyio.CancelScope():  # noqa: ASYNC100 (it is asked, not waited, in it)
                told.append(runtime.will_raise())
        told.append(runtime.will_raise())
        assert told == [False, True, False, True, False]

    anyio.run(main)
    asyncio.run(main())  # a task that anyio has not started


async def test_without_httpx2_s_way_to_follow(client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it raises comes out as it is."""
    monkeypatch.setattr("httpx2_trio_ws._handshake._failures._FOLLOWING", None)
    transport = httpx2.MockTransport(lambda _: httpx2.Response(302, headers={"Location": "ws://$xn--0"}))
    async with httpx2.AsyncClient(transport=transport) as other:
        with pytest.raises(ValueError) as caught:
            await other.get("http://h")
    request = client.build_request("GET", "http://h")
    assert failure(client, request, Steps(), caught.value) is caught.value


def test_the_module_is_the_first_that_is_imported() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    first = next(node for node in tree.body if isinstance(node, ast.ImportFrom))
    assert [alias.name for alias in first.names] == [_relied_on.__name__.rpartition(".")[2]]
