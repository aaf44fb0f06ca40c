"""A server that echoes each message; run as a program: ``echo.py aiohttp|uvicorn|hypercorn PORT``. No limit on sizes."""

from __future__ import annotations

import sys

import trio
import uvicorn
from aiohttp import WSMsgType, web
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

LIMIT = 2**26


def on_aiohttp(port: int) -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(max_msg_size=LIMIT)
        await ws.prepare(request)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await ws.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await ws.send_bytes(message.data)
        return ws

    app = web.Application()
    app.router.add_get("/", echo)
    web.run_app(app, host="127.0.0.1", port=port, print=lambda _: None)


def starlette() -> Starlette:
    async def echo(ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                message = await ws.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("text") is not None:
                    await ws.send_text(message["text"])
                else:
                    await ws.send_bytes(message["bytes"])
        except WebSocketDisconnect:
            pass

    return Starlette(routes=[WebSocketRoute("/", echo)])


def on_uvicorn(port: int) -> None:
    uvicorn.run(starlette(), host="127.0.0.1", port=port, ws_max_size=LIMIT, log_level="error")


def on_hypercorn(port: int) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.websocket_max_message_size = LIMIT
    config.loglevel = "ERROR"
    trio.run(serve, starlette(), config)  # type: ignore[arg-type]


if __name__ == "__main__":
    {"aiohttp": on_aiohttp, "uvicorn": on_uvicorn, "hypercorn": on_hypercorn}[sys.argv[1]](int(sys.argv[2]))
