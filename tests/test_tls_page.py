"""What docs/how-to/tls.md has for certificates in files does what it says, with a server that wants one."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from httpx2_trio_ws import open_websocket

from .handshake_support import authority, server_context, site
from .test_docs import ROOT, blocks_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def page() -> dict[str, Any]:
    """The functions that the page defines."""
    names: dict[str, Any] = {"httpx2": httpx2}
    for block in blocks_of(ROOT / "docs" / "how-to" / "tls.md")[:2]:
        exec(compile(block.code, block.page, "exec"), names)
    return names


async def test_the_files_of_the_page(page: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = authority().issue_cert("client@example.org")
    authority().cert_pem.write_to_path(str(tmp_path / "company-ca.pem"))
    ours.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    wanting = server_context()
    wanting.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(wanting)
    monkeypatch.chdir(tmp_path)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    async with (
        site(ssl_context=wanting) as server,
        page["company_client"]() as client,
        open_websocket(client, server.url) as ws,
    ):
        await ws.send("x")
        assert await ws.receive() == "x"


async def test_why_a_certificate_is_refused(page: dict[str, Any]) -> None:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    other_name = server_context("elsewhere.example")
    async with site(ssl_context=server_context()) as untrusted, site(ssl_context=other_name) as misnamed:
        for url, verify, said in (
            (untrusted.url, ssl.create_default_context(), "(self-signed|unable to get local issuer) certificate"),
            (misnamed.url, context, "IP address mismatch"),
        ):
            async with httpx2.AsyncClient(verify=verify, trust_env=False) as client:
                with pytest.raises(httpx2.ConnectError) as caught:
                    async with open_websocket(client, url):
                        raise AssertionError
            why = page["why"](caught.value)
            assert re.match(said, why)
            assert re.search(f"certificate verify failed: {re.escape(why)}", str(caught.value))
