"""What error messages and logs may show: no secrets, and nothing of the peer's that a terminal would act on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2

_USERINFO = re.compile(r"//[^/?#]*@")
_QUERY = re.compile(r"\?[^#]*")


def printable(text: str) -> str:
    """``text`` with escapes in the place of what is not printable: control characters, marks that turn text around."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def shown(url: httpx2.URL) -> str:
    """A URL without what may be secret: user, password, query and fragment."""
    return shown_text(str(url.copy_with(userinfo=b"", fragment=None)))


def shown_text(text: str) -> str:
    """The same of what need not be a URL, such as where a redirect leads."""
    return printable(_QUERY.sub("?…", _USERINFO.sub("//", text)).partition("#")[0])
