"""After each test of blocking sessions, none of their threads may be left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .support import new_client, readers

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2


@pytest.fixture(autouse=True)
def _no_threads() -> Iterator[None]:
    yield
    assert readers() == []


@pytest.fixture
def blocking() -> Iterator[httpx2.Client]:
    """A client with nothing set."""
    with new_client() as client:
        yield client
