"""The figures of the documentation are what their script draws, and each is shown on a page."""

from __future__ import annotations

import runpy
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

DOCS = Path(__file__).parent.parent / "docs"
MAKE = runpy.run_path(str(DOCS / "figures" / "make.py"))
FIGURES = MAKE["FIGURES"]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_up_to_date(name: str) -> None:
    committed = (DOCS / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    assert committed == FIGURES[name]().svg(), "run docs/figures/make.py"


@pytest.mark.parametrize("name", FIGURES)
def test_texts_stay_within(name: str) -> None:
    """Roughly: 7 pixels for each character, 8 of code."""
    root = ET.fromstring(FIGURES[name]().svg())
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        width = len(text.text or "") * (8 if text.get("class") else 7)
        share = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.attrib["text-anchor"]]
        left = float(text.attrib["x"]) - share * width
        assert left >= 0, text.text
        assert left + width <= MAKE["WIDTH"] + 8, text.text


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_shown(name: str) -> None:
    assert any(f"figures/{name}.svg)" in page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
