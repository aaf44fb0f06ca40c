"""Chromium's DevTools protocol: commands by id, and the events of many tabs, on one connection.

    python examples/real/chromium.py http://127.0.0.1:9222 SCREENSHOT.png

Opens three tabs at once, navigates, evaluates, listens to what they log, and takes a screenshot of several megabytes.
docs/real/devtools.md says how to start Chromium.
"""

from __future__ import annotations

import base64
import itertools
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import trio

from httpx2_trio_ws import open_websocket
from httpx2_trio_ws.multiplex import Multiplexer, multiplex

TABS = 3
# A page that no image format makes smaller.
NOISE = """<canvas id=c width=1200 height=1000></canvas><script>
const context = c.getContext('2d'), image = context.createImageData(1200, 1000)
for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 == 3 ? 255 : Math.random() * 256
context.putImageData(image, 0, 0)
</script>"""


class DevToolsError(Exception):
    """Chromium has refused a command."""


def key(message: dict[str, Any]) -> int | tuple[str, str | None]:
    """An answer belongs to its id, an event to the tab that it comes from."""
    return message["id"] if "id" in message else ("events", message.get("sessionId"))


class DevTools:
    """Commands on a connection that many tasks share."""

    def __init__(self, mux: Multiplexer[Any]) -> None:
        self.mux, self._ids = mux, itertools.count(1)

    async def __call__(self, method: str, tab: str | None = None, **params: Any) -> Any:
        """Send a command, and wait for its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": tab} if tab else {})
        answer = await self.mux.request(number, message)
        if "error" in answer:
            raise DevToolsError(f"{method}: {answer['error']['message']}")
        return answer["result"]


async def visit(devtools: DevTools, number: int, screenshot: Path | None) -> None:
    """One tab: navigate, listen until it is loaded and has logged, evaluate, and take a screenshot."""
    target = await devtools("Target.createTarget", url="about:blank")
    attached = await devtools("Target.attachToTarget", targetId=target["targetId"], flatten=True)
    tab = attached["sessionId"]
    async with devtools.mux.subscribe(("events", tab)) as events:
        await devtools("Page.enable", tab)
        await devtools("Runtime.enable", tab)
        page = f"<title>tab {number}</title><body>{NOISE}<script>onload = () => console.log('hello')</script>"
        await devtools("Page.navigate", tab, url="data:text/html," + quote(page))
        async for event in events:
            if event["method"] == "Runtime.consoleAPICalled":
                print(f"tab {number} logs {event['params']['args'][0]['value']}")
                break
    title = await devtools("Runtime.evaluate", tab, expression="document.title")
    print(f"its title is {title['result']['value']}")
    if screenshot is not None:
        image = await devtools("Page.captureScreenshot", tab, format="png", captureBeyondViewport=True)
        screenshot.write_bytes(base64.b64decode(image["data"]))  # noqa: ASYNC240 (a few megabytes)
        print(f"screenshot: {screenshot.stat().st_size / 1e6:.1f} MB")  # noqa: ASYNC240
    await devtools("Target.closeTarget", targetId=target["targetId"])


async def main(url: str, screenshot: Path) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        ws_url = (await client.get(f"{url}/json/version")).json()["webSocketDebuggerUrl"]
        # The default limit of 1 MiB is less than a screenshot.
        session = open_websocket(client, ws_url, compression=None, max_message_size_bytes=64 * 2**20)
        async with session as ws, multiplex(ws, key=key) as mux:
            devtools = DevTools(mux)
            async with trio.open_nursery() as nursery:
                for number in range(TABS):
                    nursery.start_soon(visit, devtools, number, screenshot if number == 0 else None)
            try:
                await devtools("Page.fly")
            except DevToolsError as error:
                print(f"refused: {error}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: python {sys.argv[0]} URL SCREENSHOT (see docs/real/devtools.md)")
    trio.run(main, sys.argv[1], Path(sys.argv[2]))
