"""``python -m httpx2_trio_ws [URL | --serve [PORT]]``: a demonstration, or its server alone."""

from __future__ import annotations

import argparse
import sys
from typing import cast

import httpx2
import trio

from ._demo import own_server, serve_alone, show_all, show_with
from ._exceptions import WebSocketException


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m httpx2_trio_ws",
        description="Show what httpx2-trio-ws does: a session, several sessions in one nursery, and a failure.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        help="of an echo server: one that sends back what it receives; default: a server that this command starts",
    )
    where.add_argument(
        "--serve",
        metavar="PORT",
        nargs="?",
        type=port,
        const=8765,
        help="only run that server, for the examples, until Ctrl-C; default port 8765; 0: any that is free",
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=10, help="how long it may take; default 10")
    options = parser.parse_args(arguments)
    status = 0
    try:
        if options.serve is not None:
            serve_alone(options.serve)
        elif options.url is None:
            with own_server() as base:
                trio.run(show_all, base, options.timeout)
        else:
            trio.run(show_with, options.url, options.timeout)
    except* (WebSocketException, httpx2.TransportError, trio.TooSlowError, OSError, ValueError) as group:
        exc = first(group)
        reason = " ".join(str(exc).split()) or f"no answer within {options.timeout:g} s; is it an echo server?"
        sys.stderr.write(f"{parser.prog}: {type(exc).__name__}: {reason}\n")
        status = 1
    except* KeyboardInterrupt:
        status = 130  # as a shell has it
    return status


def port(text: str) -> int:
    """A port's number; ``argparse`` says so if it is none."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError
    return number


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception in a group that may hold groups."""
    exc = group.exceptions[0]
    return first(cast("BaseExceptionGroup[BaseException]", exc)) if isinstance(exc, BaseExceptionGroup) else exc


if __name__ == "__main__":
    sys.exit(main())
