"""An ASGI application that does what ``backend.py`` does; run as a program, on Hypercorn: ``asgi.py PORT CERT KEY``."""

from __future__ import annotations

import sys
from typing import Any

REFUSALS: dict[str, tuple[int, list[tuple[bytes, bytes]], bytes]] = {
    "/deny": (403, [], b"denied"),
    "/redirect": (307, [(b"location", b"/")], b""),
    "/auth": (401, [(b"www-authenticate", b'Basic realm="x"')], b"who are you?"),
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Echo, close, refuse or redirect."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"not here"})
        return
    await receive()
    path, headers = scope["path"], dict(scope["headers"])
    if path in REFUSALS and headers.get(b"authorization") != b"Basic dTpw":
        status, fields, body = REFUSALS[path]
        await send({"type": "websocket.http.response.start", "status": status, "headers": fields})
        await send({"type": "websocket.http.response.body", "body": body})
        return
    await send({"type": "websocket.accept"})
    if path == "/close":
        await send({"type": "websocket.close", "code": 4001, "reason": "bye"})
        return
    while (message := await receive())["type"] != "websocket.disconnect":
        echo = {name: message[name] for name in ("text", "bytes") if message.get(name) is not None}
        await send({"type": "websocket.send", **echo})


if __name__ == "__main__":
    import trio
    from hypercorn.config import Config
    from hypercorn.trio import serve

    config = Config()
    port, config.certfile, config.keyfile = sys.argv[1:]
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "ERROR"
    trio.run(serve, app, config)
