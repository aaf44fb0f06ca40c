"""These tests need programs that not every machine has: ``nox -s real`` installs what it can, and runs them."""

from __future__ import annotations

import os
import time

import pytest

collect_ignore_glob = [] if os.environ.get("REAL_SERVERS") else ["test_*.py"]

BEGAN, SECONDS = time.monotonic(), 240


@pytest.fixture(autouse=True)
def _while_there_is_time() -> None:
    """The whole is bounded, on however slow a machine; a test itself is, by services.LONG."""
    if time.monotonic() - BEGAN > SECONDS:
        pytest.skip(f"the {SECONDS} seconds for all of these tests are over")
