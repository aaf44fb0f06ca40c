"""The examples against real servers: each is short, and has a page that says how to start its server.

They are run by ``nox -s real``, from tests/real.
"""

from __future__ import annotations

from .running_examples import EXAMPLES, ROOT

PROGRAMS = sorted(path.name for path in (EXAMPLES / "real").glob("*.py"))
PAGES = sorted((ROOT / "docs/real").glob("*.md"))


def test_each_is_short() -> None:
    files = [*(EXAMPLES / "real").glob("*.py"), *PAGES]
    assert {path.name for path in files if len(path.read_text(encoding="utf-8").splitlines()) > 100} == set()


def test_each_program_has_a_page_and_a_test() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests/real").glob("test_*.py"))
    assert [name for name in PROGRAMS if f"python examples/real/{name}" not in pages] == []
    assert [name for name in PROGRAMS if f'"{name}"' not in tests] == []


def test_each_page_is_in_the_table() -> None:
    index = (ROOT / "docs/real/index.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if page.name != "index.md" and f"]({page.name}) |" not in index] == []
