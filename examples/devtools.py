"""A browser through the DevTools protocol: commands with their answers, and each page's events for who follows it.

One session carries all pages; a command names one by ``sessionId``, and so does an event. The browser is told to listen at a
port by ``chromium --headless --remote-debugging-port=9222``, and says its URL when it starts::

    python examples/devtools.py ws://127.0.0.1:9222/devtools/browser/… https://example.com https://example.org
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

import httpx2
import trio

from httpx2_trio_ws import Multiplexer, multiplex, open_websocket

ids = itertools.count(1)


class CommandError(Exception):
    """The browser refused."""


def key(message: dict[str, Any]) -> Any:
    """An answer belongs to its command, an event to those who follow this kind of the page's."""
    return message.get("id") or (message.get("sessionId"), message["method"])


async def command(browser: Multiplexer[Any], method: str, page: str | None = None, **params: Any) -> Any:
    number = next(ids)
    target = {} if page is None else {"sessionId": page}
    answer = await browser.request(number, {"id": number, "method": method, "params": params, **target})
    if "error" in answer:
        raise CommandError(answer["error"]["message"])
    return answer["result"]


async def load(browser: Multiplexer[Any], url: str) -> str:
    """Open a page, wait until it has loaded, and return its title."""
    target = await command(browser, "Target.createTarget", url="about:blank")
    page = (await command(browser, "Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]
    await command(browser, "Page.enable", page)
    async with browser.subscribe((page, "Page.loadEventFired")) as loaded:  # before anything can fire
        await command(browser, "Page.navigate", page, url=url)
        await loaded.receive()
    title = await command(browser, "Runtime.evaluate", page, expression="document.title")
    await command(browser, "Target.closeTarget", targetId=target["targetId"])
    return str(title["result"]["value"])


async def show(browser: Multiplexer[Any], url: str) -> None:
    print(f"{url}: {await load(browser, url)}")


async def main(browser_url: str, *urls: str) -> None:
    # A browser that ends takes its pages along: there is nothing to reconnect to.
    async with (
        httpx2.AsyncClient() as client,
        multiplex(open_websocket(client, browser_url, max_message_size_bytes=None), key=key) as browser,
        trio.open_nursery() as pages,
    ):
        for url in urls:
            pages.start_soon(show, browser, url)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"usage: python {sys.argv[0]} BROWSER_URL URL…")
    trio.run(main, sys.argv[1], *sys.argv[2:])
