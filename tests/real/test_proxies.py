"""Through squid, tinyproxy, a SOCKS proxy and mitmproxy, to servers with and without TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.handshake_support import authority, server_context
from tests.sync.support import websocket_server

from .services import folder, free_port, needs, run, service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SQUID = """
http_port 127.0.0.1:{port}
auth_param basic program {here}/login.sh
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
cache deny all
access_log none
cache_log {here}/cache.log
pid_filename none
coredump_dir {here}
shutdown_lifetime 0 seconds
"""
LOGIN = """#!/bin/sh
while read -r user password; do [ "$user:$password" = me:secret ] && echo OK || echo ERR; done
"""
TINYPROXY = """
Listen 127.0.0.1
Port {port}
BasicAuth me secret
"""


@pytest.fixture(scope="module")
def here() -> Iterator[Path]:
    with folder() as path:
        authority().cert_pem.write_to_path(path / "authority.pem")
        yield path


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """Echo servers, without and with TLS."""
    with websocket_server() as plain, websocket_server(ssl=server_context()) as secure:
        yield {"ws": plain, "wss": secure}


def check(kind: str, address: str, servers: dict[str, str], authority: Path, *schemes: str) -> None:
    for scheme in schemes:
        [line] = run("through_proxy.py", f"{kind}://me:secret@{address}", servers[scheme], authority)
        assert line == f"{servers[scheme]} answers, through {address}"


def test_squid(here: Path, servers: dict[str, str]) -> None:
    squid, port = needs("squid", "apt-get install squid"), free_port()
    (here / "login.sh").write_text(LOGIN)
    (here / "login.sh").chmod(0o755)
    (here / "squid.conf").write_text(SQUID.format(port=port, here=here))
    with service(squid, "-N", "-f", here / "squid.conf", port=port):
        check("http", f"127.0.0.1:{port}", servers, here / "authority.pem", "ws", "wss")
        for scheme in ("ws", "wss"):
            [line] = run("through_proxy.py", f"http://me:wrong@127.0.0.1:{port}", servers[scheme])
            assert line == (
                f"the proxy: the proxy 127.0.0.1:{port} has not opened a tunnel: 407 Proxy Authentication Required"
            )


def test_tinyproxy(here: Path, servers: dict[str, str]) -> None:
    tinyproxy, port = needs("tinyproxy", "apt-get install tinyproxy"), free_port()
    (here / "tinyproxy.conf").write_text(TINYPROXY.format(port=port))
    with service(tinyproxy, "-d", "-c", here / "tinyproxy.conf", port=port):
        check("http", f"127.0.0.1:{port}", servers, here / "authority.pem", "ws", "wss")
        [line] = run("through_proxy.py", f"http://127.0.0.1:{port}", servers["ws"])
        assert line.startswith(f"the proxy: the proxy 127.0.0.1:{port} has not opened a tunnel: 407 ")


def test_a_socks_proxy(here: Path, servers: dict[str, str]) -> None:
    microsocks, port = needs("microsocks", "apt-get install microsocks"), free_port()
    with service(microsocks, "-i", "127.0.0.1", "-p", str(port), "-u", "me", "-P", "secret", port=port):
        check("socks5", f"127.0.0.1:{port}", servers, here / "authority.pem", "ws", "wss")
        nobody = f"ws://127.0.0.1:{free_port()}"
        [line] = run("through_proxy.py", f"socks5://me:secret@127.0.0.1:{port}", nobody)
        assert line.startswith(f"the proxy: the proxy 127.0.0.1:{port} has not opened a tunnel: ")
        [line] = run("through_proxy.py", f"socks5://me:wrong@127.0.0.1:{port}", servers["ws"])
        assert line.endswith("has not opened a tunnel: Invalid username/password")


def test_a_proxy_with_its_own_authority(here: Path, servers: dict[str, str]) -> None:
    mitmdump = needs("mitmdump", "pip install mitmproxy, in an environment of its own")
    port = free_port()
    options = [f"confdir={here}", f"ssl_verify_upstream_trusted_ca={here / 'authority.pem'}", "proxyauth=me:secret"]
    with service(
        mitmdump, "--listen-host", "127.0.0.1", "--listen-port", str(port), "-q",
        *(part for option in options for part in ("--set", option)), port=port,
    ):  # fmt: skip
        check("http", f"127.0.0.1:{port}", servers, here / "mitmproxy-ca-cert.pem", "ws", "wss")
        # Who trusts the server only does not trust what the proxy shows.
        [line] = run("through_proxy.py", f"http://me:secret@127.0.0.1:{port}", servers["wss"], here / "authority.pem")
        assert line.startswith("no connection: ")
