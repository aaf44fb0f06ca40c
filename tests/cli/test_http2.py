"""``--http-version 2``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import trio

from httpx2_trio_ws import __main__
from tests.http2.scripted import echo, scripted
from tests.servers import websocket_server

from .support import COMMAND

if TYPE_CHECKING:
    import subprocess

    from tests.http2.scripted import Contexts


async def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [*COMMAND, "-m", "httpx2_trio_ws", *arguments, "--http-version", "2"]
    return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)


async def test_over_http2(tls: Contexts) -> None:
    async with scripted(echo, tls[0]) as server:
        done = await run(server.url, "--insecure", "-x", "hello", "-v")
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    errors = done.stderr.decode()
    assert errors.startswith("> CONNECT / HTTP/2\n")
    assert "\n< HTTP/2 " in errors
    assert "Upgrade:" not in errors


async def test_a_server_without_it() -> None:
    async with websocket_server() as url:
        done = await run(url, "-x", "hello")
    assert done.returncode == 3
    assert b"http1" not in done.stderr


@pytest.mark.usefixtures("stdin")
def test_where_nobody_listens(capfd: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["wss://127.0.0.1:1", "--http-version", "2"]) == 3
    assert "127.0.0.1" in capfd.readouterr().err


@pytest.mark.usefixtures("stdin")
def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "httpx2_trio_ws.http2", None)
    assert __main__.main(["wss://127.0.0.1:1", "--http-version", "2"]) == 2
    assert "pip install 'httpx2-trio-ws[http2]'" in capfd.readouterr().err
