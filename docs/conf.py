"""Sphinx configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from httpx2_trio_ws import __version__

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.hostile import render

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "httpx2-trio-ws"
author = "The httpx2-trio-ws developers"
copyright = author  # noqa: A001 (Sphinx's name for it)
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"httpx2-trio-ws {release}"

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_use_rtype = False

# The build is offline, so names of other projects have nowhere to link to.
_OTHERS = r"(anyio|collections|httpx2|json|math|random|trio|typing|websockets)\."
nitpick_ignore_regex = [
    ("py:.*", _OTHERS + ".*"),
    # Python's own, and the short forms that autodoc shows for names of other projects.
    ("py:(class|exc)", r"(str|bytes|bytearray|memoryview|int|float|bool|None|Any|Self|Literal|Mapping|Sequence)"),
    ("py:class", r"(App|Handler|Respond|Abstract\w+ContextManager|.*\._session\.Session|.*\._reconnect\.S)"),
    ("py:class", r"(\w+Types|UseClientDefault)"),
    ("py:(class|exc)", r"(\w+Error|\w+Exception|ExceptionGroup|KeyboardInterrupt|EndOfChannel|EndOfStream)"),
]


def setup(app: Sphinx) -> None:
    """Put the scenarios that are tested into their page, and set napoleon right.

    Where an attribute or property is documented, napoleon takes the text before a colon for a type.
    """
    kept: dict[str, list[str]] = {}

    def before(_app: Sphinx, what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
        if what in {"attribute", "property"}:
            kept[name] = lines.copy()

    def after(_app: Sphinx, _what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
        lines[:] = kept.pop(name, lines)

    def tables(_app: Sphinx, name: str, source: list[str]) -> None:
        if name == render.PAGE.stem:
            source[0] = render.page(source[0])

    def resolve(_app: Sphinx, env: Any, node: Any, contnode: Any) -> Any:
        """Public names that are written short, or by where they are defined."""
        name = node.get("reftarget", "").rpartition(".")[2]
        domain = env.get_domain("py")
        for module in ("httpx2_trio_ws", "httpx2_trio_ws.sync", "httpx2_trio_ws.testing"):
            if f"{module}.{name}" in domain.objects and node.get("refdomain") == "py":
                role, full = node["reftype"], f"{module}.{name}"
                return domain.resolve_xref(env, node["refdoc"], _app.builder, role, full, node, contnode)
        return None

    app.connect("missing-reference", resolve)
    app.connect("source-read", tables)
    app.connect("autodoc-process-docstring", before, priority=400)  # napoleon's is 500
    app.connect("autodoc-process-docstring", after, priority=600)
