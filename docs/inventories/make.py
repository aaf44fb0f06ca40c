"""The inventories that links into other projects' documentation are made from, so that the build is offline.

* ``trio.inv`` and ``anyio.inv`` are what Sphinx makes of the documentation of trio 0.35.0 and anyio 4.16.0. With a
  network, take the newer ones: ``https://trio.readthedocs.io/en/stable/objects.inv``, and likewise for anyio.
* httpx2's documentation is not made with Sphinx, and has no inventory: ``httpx2.inv`` has its public names, which all
  lead to the page of its API.
* ``python.inv`` has only the names that these pages use.

The last two are written by this program: ``python docs/inventories/make.py``.
"""

from __future__ import annotations

import inspect
import zlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent
EXCEPTIONS = """
    BaseException BaseExceptionGroup Exception ExceptionGroup ImportError KeyboardInterrupt OSError RuntimeError
    StopIteration TimeoutError TypeError ValueError
"""
OTHERS = {
    "library/exceptions": {"exception": EXCEPTIONS},
    "library/stdtypes": {"class": "str bytes bytearray memoryview int float list dict tuple set frozenset"},
    "library/functions": {"class": "bool object property"},
    "library/constants": {"data": "None True False"},
    "library/typing": {"data": "typing.Any typing.Literal typing.Self typing.NoReturn", "class": "typing.TypedDict"},
    "library/collections.abc": {
        "class": """
            collections.abc.AsyncGenerator collections.abc.AsyncIterator collections.abc.Awaitable
            collections.abc.Callable collections.abc.Collection collections.abc.Iterable collections.abc.Iterator
            collections.abc.Mapping collections.abc.Sequence collections.abc.Set
        """
    },
    "library/contextlib": {"class": "contextlib.AbstractAsyncContextManager contextlib.AbstractContextManager"},
    "library/enum": {"class": "enum.IntEnum"},
    "library/json": {"exception": "json.JSONDecodeError", "function": "json.loads json.dumps"},
    "library/random": {"class": "random.Random"},
    "library/sys": {"function": "sys.get_int_max_str_digits"},
    "library/ssl": {"class": "ssl.SSLContext"},
    "library/math": {"data": "math.inf"},
}


def names_of_python() -> Iterator[str]:
    """The lines for Python's names."""
    for page, kinds in OTHERS.items():
        for kind, names in kinds.items():
            yield from (f"{name} py:{kind} 1 {page}.html#$ -" for name in names.split())


def names_of_httpx2() -> Iterator[str]:
    """The lines for httpx2's names, and for the methods of its clients."""
    for name in httpx2.__all__:
        thing = getattr(httpx2, name)
        error = inspect.isclass(thing) and issubclass(thing, BaseException)
        kind = "exception" if error else "class" if inspect.isclass(thing) else "function"
        yield f"httpx2.{name} py:{kind} 1 api/api/ -"
        if name in {"AsyncClient", "Client"}:
            methods = [part for part, value in vars(thing).items() if inspect.isfunction(value) and part[0] != "_"]
            yield from (f"httpx2.{name}.{part} py:method 1 api/api/ -" for part in methods)


def write(project: str, version: str, lines: Iterator[str]) -> None:
    """Write one inventory, in version 2 of Sphinx's format."""
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: {version}\n"
    body = zlib.compress("".join(f"{line}\n" for line in sorted(lines)).encode(), 9)
    note = "# The remainder of this file is compressed using zlib.\n"
    (FOLDER / f"{project}.inv").write_bytes((head + note).encode() + body)


if __name__ == "__main__":
    write("python", "3", names_of_python())
    write("httpx2", metadata.version("httpx2"), names_of_httpx2())
