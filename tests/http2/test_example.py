"""The example with a thousand sessions, of which there are fewer here."""

from __future__ import annotations

import importlib.util
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trustme

from httpx2_trio_ws import WebSocketException
from httpx2_trio_ws._cli.demonstration import own_server

from .server import serving

if TYPE_CHECKING:
    import pytest

    from .server import ServerStream

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "thousand_sessions.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("examples.thousand_sessions", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


async def echo(stream: ServerStream) -> None:
    peer = await stream.accept()
    try:
        while True:
            await peer.send(await peer.receive())
    except WebSocketException:
        pass


async def test_on_one_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with serving(echo, context) as server:
        await load()(f"{server.url}/", 120)
    assert len(server.connections) == 1
    first, second, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"120 sessions in .* s: \{'HTTP/2': 120\}", first)
    assert re.fullmatch(r"  120 on connection \d+ to https://127.0.0.1:\d+", second)
    assert last.startswith("120 echoes, all closed after ")


async def test_without_http2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with own_server() as base:
        await load()(f"{base}/echo", 20)
    first, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"20 sessions in .* s: \{'HTTP/1.1': 20\}", first)
    assert last.startswith("20 echoes")
