"""The session contract, kept by this library's sessions on every event loop and carrier."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import pytest

from .runtimes import RUNTIMES

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from httpx2_trio_ws.testing import Check


# The kinds of sessions to run, separated by semicolons; all if it is not set.
CHOSEN = [name for name in os.environ.get("CONTRACT_RUNTIMES", "").split(";") if name] or list(RUNTIMES)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, id=f"{name.replace(', ', '-')}-{check.name}")
        for name in CHOSEN
        for check in RUNTIMES[name].checks()
    ],
)
def test_contract(
    name: str,
    check: Check,
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    record_property: Callable[[str, object], None],
) -> None:
    record_property("runtime", name)
    runtime = RUNTIMES[name]
    runtime.on_loop(partial(check, runtime.maker(tls)))
