"""``python -m httpx2_trio_ws [URL]``: a demonstration."""

from __future__ import annotations

import argparse
import sys
from typing import cast

import httpx2
import trio

from ._demo import own_server, show_all, show_with
from ._exceptions import WebSocketException


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m httpx2_trio_ws",
        description="Show what httpx2-trio-ws does: a session, several sessions in one nursery, and a failure.",
    )
    parser.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        help="of an echo server: one that sends back what it receives; default: a server that this command starts",
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=10, help="how long it may take; default 10")
    options = parser.parse_args(arguments)
    status = 0
    try:
        if options.url is None:
            with own_server() as base:
                trio.run(show_all, base, options.timeout)
        else:
            trio.run(show_with, options.url, options.timeout)
    except* (WebSocketException, httpx2.TransportError, trio.TooSlowError, ValueError) as group:
        exc = first(group)
        reason = " ".join(str(exc).split()) or f"no answer within {options.timeout:g} s; is it an echo server?"
        sys.stderr.write(f"{parser.prog}: {type(exc).__name__}: {reason}\n")
        status = 1
    except* KeyboardInterrupt:
        status = 130  # as a shell has it
    return status


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception in a group that may hold groups."""
    exc = group.exceptions[0]
    return first(cast("BaseExceptionGroup[BaseException]", exc)) if isinstance(exc, BaseExceptionGroup) else exc


if __name__ == "__main__":
    sys.exit(main())
