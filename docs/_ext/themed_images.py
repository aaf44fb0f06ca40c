"""Show the dark variant of an image on dark pages, where there is one.

The text has ``![…](figures/echo.svg)``. If ``figures/echo-dark.svg`` exists, it takes the place of the first on dark pages.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class BothThemes(SphinxTransform):
    """Put the dark image beside the light one; the theme shows one of them."""

    default_priority = 100  # before Sphinx collects the images

    def apply(self, **_kwargs: Any) -> None:
        """Go through the images of one page."""
        here = Path(self.env.doc2path(self.env.docname)).parent
        for light in list(self.document.findall(nodes.image)):
            path = Path(light["uri"])
            dark_path = path.with_name(f"{path.stem}-dark{path.suffix}")
            if (here / dark_path).exists():
                dark = light.deepcopy()
                dark["uri"] = dark_path.as_posix()
                light["classes"].append("only-light")
                dark["classes"].append("only-dark")
                light.parent.insert(light.parent.index(light) + 1, dark)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(BothThemes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
