"""One session through a proxy, whatever kind it is: HTTP, SOCKS, or one that opens TLS connections and signs them anew.

    python examples/real/through_proxy.py http://user:password@127.0.0.1:3128 ws://127.0.0.1:8765/echo [AUTHORITY.pem]

docs/real/proxies.md says how to start squid, tinyproxy, a SOCKS proxy and mitmproxy.
"""

from __future__ import annotations

import ssl
import sys

import httpx2
import trio

from httpx2_trio_ws import WebSocketUpgradeError, open_websocket
from httpx2_trio_ws.proxies import AsyncTunnelTransport


def client_through(proxy: str, authority: str | None) -> httpx2.AsyncClient:
    """A client that does everything through this proxy."""
    verify = ssl.create_default_context(cafile=authority) if authority else ssl.create_default_context()
    if proxy.startswith("socks5"):
        return httpx2.AsyncClient(proxy=proxy, verify=verify, trust_env=False)
    # For ws:// a tunnel, as for wss://. Without the mount, an HTTP proxy would have to forward the upgrade.
    mounts = {"http://": AsyncTunnelTransport(proxy, verify=verify)}
    return httpx2.AsyncClient(proxy=proxy, mounts=mounts, verify=verify, trust_env=False)


async def main(proxy: str, url: str, authority: str | None = None) -> None:
    try:
        async with client_through(proxy, authority) as client, open_websocket(client, url) as ws:
            for message in ("hello", b"x" * 300_000):
                await ws.send(message)
                assert await ws.receive() == message
            peer = ws.response.extensions["network_stream"].get_extra_info("server_addr")
            print(f"{url} answers, through {peer[0]}:{peer[1]}")
    except httpx2.ProxyError as error:
        print(f"the proxy: {error}")
    except httpx2.ConnectError as error:
        print(f"no connection: {error}")
    except WebSocketUpgradeError as error:
        print(f"refused: {error}")


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4}:
        sys.exit(f"usage: python {sys.argv[0]} PROXY URL [AUTHORITY] (see docs/real/proxies.md)")
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3] if sys.argv[3:] else None)
