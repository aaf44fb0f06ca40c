"""Basic authentication, cookies and a subprotocol: the handshake is a request of the httpx2 client.

Run it with the URL of a server that asks for a password. ``python -m httpx2_trio_ws --serve`` runs one::

    python examples/auth_and_subprotocol.py ws://127.0.0.1:8765/login
"""

from __future__ import annotations

import sys

import httpx2
import trio

from httpx2_trio_ws import WebSocketUpgradeError, open_websocket


async def main(url: str) -> None:
    # What is set on the client holds for its sessions as for its other requests.
    async with httpx2.AsyncClient(auth=("alice", "secret"), cookies={"theme": "dark"}) as client:
        async with open_websocket(client, url, subprotocols=["chat.v2", "chat.v1"]) as ws:
            # The response to the handshake: status, headers, cookies.
            print("status:", ws.response.status_code)
            print("server:", ws.response.headers.get("server"))
            # What the server chose of our offer; None if it chose nothing.
            print("subprotocol:", ws.subprotocol)
            await ws.send_text("who am I?")
            print("answer:", await ws.receive_text())

        # Cookies that the server set are kept in the client, and sent the next time.
        print("cookies:", dict(client.cookies))

        # For one session it can be different: here without authentication.
        try:
            async with open_websocket(client, url, auth=None):
                print("it opens without a password, too")
        except* WebSocketUpgradeError as group:
            for exc in group.exceptions:
                print("without a password:", exc)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} URL, such as ws://127.0.0.1:8765/login (see docs/examples.md)")
    trio.run(main, sys.argv[1])
