"""docs/feature-matrix.md, and the versions that it is about. What it says of a library is held against that one only."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

PAGE = (Path(__file__).parent.parent.parent / "docs" / "feature-matrix.md").read_text(encoding="utf-8")
VERSIONS = dict(re.findall(r"^\| `([\w-]+)` \| (\d[\d.]+) \|", PAGE, re.MULTILINE))


def as_on_the_page(library: str) -> bool:
    """By its name; *httpx2, asyncio* is httpx2."""
    package = library.split(",", maxsplit=1)[0]
    return package == "httpx2-trio-ws" or version(package) == VERSIONS[package]
