"""``python -m httpx2_trio_ws``, which is also installed as ``httpx2-trio-ws``: a client, or the demonstration."""

from __future__ import annotations

import sys

import httpx2
import trio

from ._cli.arguments import PROGRAM, Options, parse
from ._cli.reasons import first, one_line
from ._exceptions import WebSocketException


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        return demonstrate(options) if options.url is None else talk(options, options.url)
    except* KeyboardInterrupt:
        pass
    return 130  # as a shell has it


def talk(options: Options, url: str) -> int:
    """Run the client."""
    from ._cli import client  # noqa: PLC0415 (the demonstration does without it)

    return client.main(options, url)


def demonstrate(options: Options) -> int:
    """Run the demonstration, or its server alone."""
    from ._cli.demonstration import own_server, serve_alone, show_all  # noqa: PLC0415 (the client does without it)

    status, seconds = 0, options.timeout or 10
    try:
        if options.serve is not None:
            serve_alone(options.serve)
        else:
            with own_server() as base:
                trio.run(show_all, base, seconds)
    except* (WebSocketException, httpx2.TransportError, trio.TooSlowError, OSError) as group:
        exc = first(group)
        reason = one_line(str(exc)) or f"it took longer than {seconds:g} s (--timeout)"
        hint = "; --serve PORT takes another port" if options.serve is not None else ""
        sys.stderr.write(f"{PROGRAM}: {type(exc).__name__}: {reason}{hint}\n")
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
