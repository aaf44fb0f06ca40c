"""What the command line may say."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from httpx2_trio_ws import __version__

from . import values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAM = "httpx2-trio-ws"

DESCRIPTION = """\
A WebSocket client: lines of input become text messages, and what arrives is printed. Without a URL, a demonstration of
the library, against a server that this command starts.
"""

EXIT_CODES = """\
exit codes:
  0    the session ended as asked, or the server closed it in good order (1000, 1001, or no code)
  1    the server closed it with an error code, or broke the protocol or --max-size;
       or --count, -x or --ping got less than it asked for
  2    the command line is wrong
  3    no connection: name, network, TLS, proxy, or no answer in time
  4    the server refused the handshake
  5    the connection was lost
  6    the input cannot be read as --input says, or the output cannot be written
  7    something was cut off: input that was not sent, or messages that came too late to be printed
  130  Ctrl-C; 143: SIGTERM
"""


class Options(argparse.Namespace):
    """The command line, parsed. Each is described where it is declared below."""

    url: str | None
    serve: int | None
    header: list[tuple[str, str]]
    auth: tuple[str, str] | None
    cookie: list[tuple[str, str]]
    origin: str | None
    subprotocol: list[str]
    location: bool
    proxy: str | None
    unix_socket: str | None
    insecure: bool
    ca: str | None
    cert: str | None
    key: str | None
    http_version: str
    compression: str
    timeout: float | None
    execute: list[str]
    input: str
    count: int | None
    wait: float | None
    max_size: int | None
    ping: int | None
    interval: float
    output: str
    plain: bool
    no_color: bool
    no_history: bool
    verbose: bool


def parse(arguments: Sequence[str]) -> Options:
    """Parse the command line. Exits with status 2 if it is wrong, with 0 after ``--help``."""
    command = parser()
    options = command.parse_args(_ping_alone(arguments), namespace=Options())
    if options.serve is not None and options.url is not None:
        command.error("--serve runs a server and takes no URL")
    if options.url is None and not _for_demonstration(command, options):
        command.error("the URL is missing; without one, only --serve or --timeout may be given")
    if options.ping is not None and (options.count is not None or options.execute or options.output == "raw"):
        command.error("with --ping, --count, -x and --output raw have no meaning; for N pings write --ping N")
    if options.key is not None and options.cert is None:
        command.error("--key is of no use without --cert")
    if options.unix_socket is not None and options.proxy is not None:
        command.error("a connection goes through --proxy or through --unix-socket, not through both")
    return options


def _for_demonstration(command: argparse.ArgumentParser, options: Options) -> bool:
    given = {name for name, value in vars(options).items() if value != command.get_default(name)}
    return given <= {"serve", "timeout"}


def _ping_alone(arguments: Sequence[str]) -> list[str]:
    """``--ping`` without a number, made plain: argparse would take the URL after it for one."""
    following = [*arguments, ""][1:]
    return [
        "--ping=0" if argument == "--ping" and not after.isdecimal() else argument
        for argument, after in zip(arguments, following, strict=True)
    ]


def parser() -> argparse.ArgumentParser:
    """All options."""
    command = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [options] [URL | --serve [PORT]]",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("url", metavar="URL", nargs="?", help="ws:// or wss://; without either, ws://")
    command.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_handshake(command.add_argument_group("handshake"))
    _add_connection(command.add_argument_group("connection"))
    _add_session(command.add_argument_group("session"))
    _add_printing(command.add_argument_group("terminal and output"))
    command.add_argument_group("server").add_argument(
        "--serve",
        metavar="PORT",
        nargs="?",
        type=values.port,
        const=8765,
        help="only run the demonstration's server, until Ctrl-C; default port 8765; 0: any that is free",
    )
    return command


def _add_handshake(group: Any) -> None:
    add: Callable[..., Any] = group.add_argument
    repeat: dict[str, Any] = {"action": "append", "default": []}
    add("-H", "--header", metavar="NAME:VALUE", **repeat, type=values.header, help="send it; repeatable")
    add("--auth", metavar="USER[:PASSWORD]", type=values.auth, help="basic authentication; asks for a missing password")
    add("--cookie", metavar="NAME=VALUE", **repeat, type=values.cookie, help="send it; repeatable")
    add("--origin", metavar="ORIGIN", type=values.header_value, help="as a page from there: -H 'Origin: ORIGIN'")
    add("--subprotocol", metavar="NAME", **repeat, help="offer it; repeatable, preferred first")
    add("-L", "--location", action="store_true", help="follow redirects; never from wss:// to ws://")
    add("--compression", choices=["deflate", "none"], default="deflate", help="to offer; default deflate")
    add("--timeout", metavar="SECONDS", type=values.seconds, help="for the handshake, default 30; demonstration: 10")
    add("-v", "--verbose", action="store_true", help="show requests, responses, pings and pongs; secrets are left out")


def _add_connection(group: Any) -> None:
    add: Callable[..., Any] = group.add_argument
    add(
        "--proxy", metavar="URL", help="http:// or socks5://, which needs the extra [socks]; default: the environment's"
    )
    add("--unix-socket", metavar="PATH", help="connect to it; the URL is only for the request")
    add("--insecure", action="store_true", help="do not check the server's certificate")
    add("--ca", metavar="PATH", help="a file or a folder of certificates to trust, in place of the usual ones")
    add("--cert", metavar="FILE", help="the client's certificate, in PEM; its key as well, unless there is --key")
    add("--key", metavar="FILE", help="the key of --cert; asks for a password that it needs")
    add("--http-version", choices=["1.1", "2"], default="1.1", help="2: over HTTP/2 (RFC 8441), with the extra [http2]")


def _add_session(group: Any) -> None:
    add: Callable[..., Any] = group.add_argument
    execute = "send it in place of the input, print the answer, and leave; repeatable, for as many answers"
    add("-x", "--execute", metavar="MESSAGE", action="append", default=[], help=execute)
    forms = "lines: each a text message, the default; text or binary: all of it is one message; "
    forms += "chunks: binary messages as it comes; ndjson: as --output has it"
    add("--input", choices=["lines", "text", "binary", "chunks", "ndjson"], default="lines", help=forms)
    add("--count", metavar="N", type=values.number, help="leave after N messages have arrived")
    wait = "after the end of input that is no terminal, leave once it has been silent for so long; default 1, with "
    add("--wait", metavar="SECONDS", type=values.seconds_or_inf, help=f"{wait}--count or -x inf; --ping: default 5")
    limit = "of the largest message to receive; default 1048576; 0: no limit"
    add("--max-size", metavar="BYTES", type=values.size, default=2**20, help=limit)
    pings = "send pings, N or until Ctrl-C, and print round trips; messages are neither sent nor printed"
    add("--ping", metavar="N", type=values.number_or_zero, help=pings)
    add("--interval", metavar="SECONDS", type=values.seconds, default=1.0, help="between pings; default 1")


def _add_printing(group: Any) -> None:
    add: Callable[..., Any] = group.add_argument
    forms = "text: for people, the default; ndjson: a line of JSON for each message; raw: the messages, unaltered"
    add("--output", choices=["text", "ndjson", "raw"], default="text", help=forms)
    add("--plain", action="store_true", help="on a terminal, print JSON as it came, and leave editing to the terminal")
    add("--no-color", action="store_true", help="so does a NO_COLOR that is set, or TERM=dumb")
    add("--no-history", action="store_true", help="neither read nor keep what is typed")
