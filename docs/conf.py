"""Sphinx configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from httpx2_trio_ws import __version__

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from tests.hostile import render

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "httpx2-trio-ws"
author = "The httpx2-trio-ws developers"
copyright = author  # noqa: A001 (Sphinx's name for it)
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "references",
    "themed_images",
]
exclude_patterns = ["_build", "_ext", "inventories"]
html_theme = "furo"
html_title = project
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_js_files = ["pages.js"]
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 100
napoleon_use_rtype = False

# The build is offline: docs/inventories/make.py tells where these come from.
_OTHERS = {
    "anyio": "https://anyio.readthedocs.io/en/stable/",
    "httpx2": "https://pydantic.dev/docs/httpx2/",
    "python": "https://docs.python.org/3/",
    "trio": "https://trio.readthedocs.io/en/stable/",
}
intersphinx_mapping = {name: (url, f"inventories/{name}.inv") for name, url in _OTHERS.items()}

suppress_warnings = ["ref.python"]  # a name that two modules have is linked to the one of the module at hand
nitpick_ignore_regex = [
    ("py:.*", r"(websockets|httpx2\._\w+)\..*"),
    # The short forms that autodoc shows for names of other projects, and type variables.
    ("py:(class|exc|obj)", r"(App|Handler|Respond|_?Source|WhenFull|.*\._session\.Session|(.*\.)?[A-Z]|.*\.Unpack)"),
    ("py:(class|exc|obj)", r"httpx2_trio_ws\._\w+\..*"),  # what public classes are made of
    ("py:class", r"(\w+Types|UseClientDefault)"),
    ("py:(class|exc)", r"(\w+Error|\w+Exception|EndOfChannel|EndOfStream)"),
]


def setup(app: Sphinx) -> None:
    """Put the scenarios that are tested into their page."""

    def tables(_app: Sphinx, name: str, source: list[str]) -> None:
        if name == render.PAGE.stem:
            source[0] = render.page(source[0])

    app.connect("source-read", tables)
