"""These tests need programs that not every machine has: ``nox -s real`` installs what it can, and runs them."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("REAL_SERVERS") else ["test_*.py"]
