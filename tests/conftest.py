"""Fixtures. (No test may hang: pytest's own `faulthandler_timeout` is set in pyproject.toml.)"""

from __future__ import annotations

import signal
import ssl
from typing import TYPE_CHECKING

import httpx2
import pytest
import trustme

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

# A shell starts what it puts in the background with Ctrl-C ignored, and programs that are started from there
# inherit that; the tests that press Ctrl-C on one would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    """A client with nothing set; loading certificates is left out, as it takes longer than most tests."""
    async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS context for 127.0.0.1, and a client's that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


OTHER_VERSION = "the page is about another version"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which pages tell of other versions of libraries than are installed: they want to be written anew."""
    skipped = terminalreporter.stats.get("skipped", [])
    behind = sorted({report.nodeid for report in skipped if OTHER_VERSION in str(report.longrepr)})
    if behind:
        terminalreporter.section("PAGES ARE BEHIND", sep="!", red=True, bold=True)
        for name in behind:
            terminalreporter.line(f"{OTHER_VERSION} of a library than is installed: {name}", red=True)
