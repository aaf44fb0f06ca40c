"""What Sphinx makes of names: links from code in the text, short signatures, and links into other projects' docs.

* Code that is the name of something documented, such as ``WebSocketDisconnect`` or ``trio.fail_after()``, becomes a link
  to it. So the pages need no roles, and can be read as they lie in the repository.
* Functions that open a session show ``**options`` in place of all of them.
* Where an attribute or a property is documented, napoleon takes the text before a colon for a type. It is set right.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.ext import intersphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

import httpx2_trio_ws

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

FACES = (
    "httpx2_trio_ws",
    *(f"httpx2_trio_ws.{name}" for name in ("reconnect", "proxies", "multiplex", "http2", "sync", "testing")),
)
OTHERS = ("anyio", "httpx2", "trio")
# Where annotations have names that are imported for type checkers alone, and so are shown as they are written.
MODULES = ("collections.abc", "contextlib", "typing", "random", "trio", "anyio", "anyio.abc", "json")
NAME = re.compile(r"([A-Za-z_][\w.]*?)(\(\))?")
LONG_DEFAULT = re.compile(r"=\s*\w+\(\{[^{}]{60,}\}\)")
OPTIONS = set(httpx2_trio_ws.OpenOptions.__annotations__)


def resolve(env: BuildEnvironment, builder: Any, name: str, page: str, shown: Any) -> Any:
    """Find a name of this library, written in full, short, or by the module that defines it."""
    domain = env.get_domain("py")
    inside = name.startswith("httpx2_trio_ws.")
    for full in (name, *(f"{face}.{name.rpartition('.')[2] if inside else name}" for face in FACES)):
        if full in domain.objects and full.startswith("httpx2_trio_ws"):
            node = addnodes.pending_xref(refdomain="py", reftype="obj", reftarget=full)
            return domain.resolve_xref(env, page, builder, "obj", full, node, shown)
    return None


class LinkCode(SphinxPostTransform):
    """Make links of code that is a documented name."""

    default_priority = 5  # before references are resolved

    def run(self, **_kwargs: Any) -> None:
        """Go through the code in one page's text."""
        for code in list(self.document.findall(nodes.literal)):
            if isinstance(code.parent, (nodes.reference, nodes.title, addnodes.pending_xref)):
                continue
            if not (match := NAME.fullmatch(code.astext())):
                continue
            link = self.link(match[1], code)
            if link is not None:
                code.replace_self(link)

    def link(self, name: str, code: nodes.literal) -> Any:
        """Resolve one name."""
        shown = code.deepcopy()
        if name.partition(".")[0] in OTHERS:
            return elsewhere(self.env, name, self.env.docname, shown)
        if name.startswith("httpx2_trio_ws.") or name[0].isupper() or "_websocket" in name or name == "reconnect":
            return resolve(self.env, self.app.builder, name, self.env.docname, shown)
        return None


def missing(app: Sphinx, env: BuildEnvironment, node: Any, shown: Any) -> Any:
    """Names in docstrings and signatures."""
    if node.get("refdomain") != "py":
        return None
    name = node.get("reftarget", "")
    own = resolve(env, app.builder, name, node["refdoc"], shown)
    if own is not None or "." in name:
        return own
    found = (elsewhere(env, f"{module}.{name}", node["refdoc"], shown) for module in MODULES)
    return next((link for link in found if link is not None), None)


def elsewhere(env: BuildEnvironment, name: str, page: str, shown: Any) -> Any:
    """Find a name of another project, written in full."""
    node = addnodes.pending_xref(refdomain="py", reftype="obj", reftarget=name, refdoc=page, refexplicit=True)
    return intersphinx.resolve_reference_any_inventory(env, honor_disabled_refs=False, node=node, contnode=shown)


def shorten(
    _app: Sphinx, _what: str, _name: str, thing: Any, _options: Any, signature: str, returned: str
) -> tuple[str, str]:
    """Put ``**options`` in place of all options, and dots in place of a default that fills a line."""
    if signature and len(OPTIONS & set(getattr(getattr(thing, "__signature__", None), "parameters", ()))) > 1:
        own = [part for part in split(signature[1:-1]) if part.partition(":")[0].strip() not in OPTIONS]
        if own[-1:] == ["*"]:
            own.pop()
        signature = f"({', '.join([*own, '**options'])})"
    if signature:
        signature = LONG_DEFAULT.sub("=...", signature)
    return signature, returned


def split(arguments: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it."""
    kept: dict[str, list[str]] = {}

    def before(_app: Sphinx, what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
        if what in {"attribute", "property"}:
            kept[name] = lines.copy()

    def after(_app: Sphinx, _what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
        lines[:] = kept.pop(name, lines)

    app.add_post_transform(LinkCode)
    app.connect("missing-reference", missing)
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-docstring", before, priority=400)  # napoleon's is 500
    app.connect("autodoc-process-docstring", after, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
