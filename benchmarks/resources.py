"""Limits of the process."""

from __future__ import annotations

import sys


def allow_open_files() -> int:
    """Raise the soft limit of open files to the hard one; children have it too. Returns it."""
    if sys.platform == "win32":
        return 512
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
