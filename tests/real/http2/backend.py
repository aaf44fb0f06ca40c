"""What the proxies hand WebSockets on to: ``backend.py PORT``. HTTP/1.1, no TLS."""

from __future__ import annotations

import asyncio
import http
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response


async def handler(ws: ServerConnection) -> None:
    """Echo; ``/close`` closes."""
    assert ws.request is not None
    if ws.request.path == "/close":
        await ws.close(4001, "bye")
    async for message in ws:
        await ws.send(message)


def process(_: ServerConnection, request: Request) -> Response | None:
    """Refusals and a redirect."""

    def answer(status: int, body: bytes, **headers: str) -> Response:
        fields = Headers(
            {"Content-Length": str(len(body)), **{name.replace("_", "-"): headers[name] for name in headers}}
        )
        return Response(status, http.HTTPStatus(status).phrase, fields, body)

    if request.path == "/auth" and request.headers.get("authorization") != "Basic dTpw":
        return answer(401, b"who are you?", WWW_Authenticate='Basic realm="x"')
    if request.path == "/deny":
        return answer(403, b"denied")
    if request.path == "/redirect":
        return answer(307, b"", Location="/")
    return None


async def main() -> None:
    """Run until it is killed."""
    options = {"compression": None, "max_size": None, "backlog": 1024}
    async with serve(handler, "127.0.0.1", int(sys.argv[1]), process_request=process, **options) as server:  # type: ignore[arg-type]
        await server.serve_forever()


asyncio.run(main())
