"""Look at the built pages as their readers do, in a browser without a window: ``python docs/check_pages.py FOLDER``.

Every page is opened on a telephone (390 pixels) and on a laptop (1280), light and dark. A fault is

* a page that is wider than the window; on the laptop, also a table or an image that does not fit into the text;
* an error on the browser's console, or a file that is not there;
* a link to a page or a heading that does not exist (links to other sites are not followed);
* a search that does not have the right page among its first three.

With ``--shots FOLDER`` it keeps pictures of what it has seen. It needs Chromium, Debian's for example.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import re
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urldefrag, urljoin

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = {390: 844, 1280: 800}
SCHEMES = ("light", "dark")
SEARCHES = {
    "custom headers": ["how-to/headers"],
    "proxy": ["how-to/proxies"],
    "TimeoutError": ["how-to/troubleshooting", "reference/exceptions"],
    "pytest": ["how-to/testing-without-a-server", "how-to/testing-asgi"],
    "reconnect": ["how-to/reconnecting"],
    "asyncio": ["how-to/asyncio"],
    "certificate": ["how-to/tls"],
    "message size": ["reference/limits"],
    "nginx": ["how-to/deployment"],
    "cancel": ["how-to/cancellation"],
    "close code": ["how-to/closing"],
    "json": ["how-to/json"],
    "notebook": ["how-to/client-class"],
}
TOO_WIDE = """() => {
    const faults = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) {
        const out = [...document.querySelectorAll("article *")].filter(
            (one) => one.getBoundingClientRect().right > root.clientWidth + 1 && !one.closest(".table-wrapper, pre"));
        faults.push(`is ${root.scrollWidth} pixels wide: ${out.slice(0, 3).map((one) => one.outerHTML.slice(0, 80))}`);
    }
    const boxes = innerWidth > 1000 ? ".table-wrapper" : "no-such-element";
    for (const box of document.querySelectorAll(boxes)) {
        if (box.clientWidth && box.scrollWidth > box.clientWidth + 1) {
            faults.push(`has a table of ${box.scrollWidth} pixels in ${box.clientWidth}: ${box.innerText.slice(0, 50)}`);
        }
    }
    for (const image of document.querySelectorAll("article img")) {
        if (image.complete && !image.naturalWidth) faults.push(`has an image that does not load: ${image.src}`);
    }
    return faults;
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that prints nothing."""

    def log_message(self, *_args: Any) -> None:
        """Print nothing."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve the pages on loopback; searching does not work from files."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def look(page: Any, base: str, name: str, shots: Path | None) -> list[str]:
    """Open one page in each way."""
    faults: list[str] = []
    errors: list[str] = []
    handlers = {
        "console": lambda message: errors.append(message.text) if message.type == "error" else None,
        "pageerror": lambda error: errors.append(str(error)),
        "requestfailed": lambda request: errors.append(f"{request.url} failed"),
        "response": lambda answer: errors.append(f"{answer.url}: {answer.status}") if answer.status >= 400 else None,
    }
    for event, handler in handlers.items():
        page.on(event, handler)
    page.goto(base + name)
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            faults += [f"{name} at {width} pixels, {scheme}, {fault}" for fault in page.evaluate(TOO_WIDE)]
            if shots is not None:
                path = shots / f"{name.removesuffix('.html').replace('/', '-')}-{width}-{scheme}.png"
                page.screenshot(path=path, full_page=width < 1000)
    for event, handler in handlers.items():
        page.remove_listener(event, handler)
    return faults + [f"{name}: {error}" for error in errors]


def dead_links(folder: Path, names: list[str]) -> list[str]:
    """Links between the pages that lead nowhere."""
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    ids = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in texts.items()}
    faults = []
    for name, text in texts.items():
        for link in sorted(set(re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text))):
            if re.match(r"[a-z]+:", link):
                continue
            target, fragment = urldefrag(urljoin(name, link))
            target = unquote(target)
            if not (folder / target).exists():
                faults.append(f"{name} links to {link}, which is not there")
            elif fragment and target in ids and unquote(fragment) not in ids[target]:
                faults.append(f"{name} links to {link}, where no such heading is")
    return faults


def search(page: Any, base: str, words: str, wanted: list[str]) -> list[str]:
    """Search as a user would."""
    page.goto(f"{base}search.html?q={quote(words)}")
    page.wait_for_function(
        "() => /found|matching|did not match/i.test(document.querySelector('#search-results').innerText)"
    )
    found = page.eval_on_selector_all("#search-results ul.search > li > a", "all => all.map((one) => one.href)")
    first = [re.sub(r"\.html.*", "", link.removeprefix(base)) for link in dict.fromkeys(found)]
    first = list(dict.fromkeys(first))[:3]
    return [] if set(wanted) & set(first) else [f"the search for {words!r} finds {first}, without {wanted[0]}"]


def main() -> int:
    """Look at all of it."""
    parser = argparse.ArgumentParser(prog="python docs/check_pages.py", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where sphinx-build has written its HTML")
    parser.add_argument("--shots", type=Path, help="keep pictures in this folder")
    parser.add_argument("--only", default="", help="open only pages whose names contain this")
    options = parser.parse_args()
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        print("there is no Chromium here")
        return 2
    if options.shots is not None:
        options.shots.mkdir(parents=True, exist_ok=True)
    names = sorted(path.relative_to(options.folder).as_posix() for path in options.folder.rglob("*.html"))
    faults = dead_links(options.folder, names)
    opened = [name for name in names if options.only in name and "_static" not in name]
    with serve(options.folder) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page()
        for name in opened:
            faults += look(page, base, name, options.shots)
        for words, wanted in SEARCHES.items() if not options.only else ():
            faults += search(page, base, words, wanted)
        browser.close()
    print(*faults, sep="\n")
    print(
        f"{len(opened)} pages at {len(WIDTHS)} widths, light and dark, {len(SEARCHES)} searches: {len(faults)} faults"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
