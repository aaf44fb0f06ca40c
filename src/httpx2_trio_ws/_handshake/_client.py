"""The client that a session is opened with."""

from __future__ import annotations

from typing import TypeAlias

import httpx2

AnyClient: TypeAlias = httpx2.AsyncClient | httpx2.Client


def check_client(client: object, wanted: type[httpx2.AsyncClient | httpx2.Client]) -> None:
    """Refuse what is no open client of the kind that is wanted.

    Raises:
        TypeError, RuntimeError: saying what to do instead.
    """
    name = f"httpx2.{wanted.__name__}"
    if isinstance(client, wanted):
        if client.is_closed:
            block = "with" if wanted is httpx2.Client else "async with"
            raise RuntimeError(f"the client is closed; open the WebSocket inside its `{block}` block")
        return
    if isinstance(client, httpx2.Client):
        raise TypeError(f"an httpx2.Client is for blocking code; pass an {name}")
    if isinstance(client, httpx2.AsyncClient):
        raise TypeError(
            f"an httpx2.AsyncClient is for async code, such as httpx2_trio_ws.open_websocket; here, pass an {name}"
        )
    if isinstance(client, type):
        raise TypeError(f"pass an instance, {client.__name__}(), not the class")
    kind = f"{type(client).__module__}.{type(client).__qualname__}"
    if kind.startswith("httpx."):
        raise TypeError(f"this library works with httpx2, not with httpx: pass an {name}, not {kind}")
    raise TypeError(f"the client must be an {name}, not {kind}")
