"""What the command line may say."""

from __future__ import annotations

import argparse
import getpass
import math
import re
import warnings
from typing import TYPE_CHECKING, Any

from httpx2_trio_ws import __version__

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
  1    the server closed it with an error code, or before all lines were sent, or broke the protocol;
       or --count or --ping got less than it asked for
  2    the command line is wrong
  3    no connection: name, network, TLS, proxy, or no answer in time
  4    the server refused the handshake
  5    the connection was lost
  6    the input is not UTF-8, or the output cannot be written
  130  Ctrl-C; 143: SIGTERM
"""


class Options(argparse.Namespace):
    """The command line, parsed. Each is described where it is declared below."""

    url: str | None
    serve: int | None
    header: list[tuple[str, str]]
    auth: tuple[str, str] | None
    cookie: list[tuple[str, str]]
    subprotocol: list[str]
    proxy: str | None
    insecure: bool
    http_version: str
    compression: str
    max_size: int | None
    timeout: float | None
    count: int | None
    wait: float | None
    ping: int | None
    interval: float
    output: str
    plain: bool
    no_color: bool
    verbose: bool


def parse(arguments: Sequence[str]) -> Options:
    """Parse the command line. Exits with status 2 if it is wrong, with 0 after ``--help``."""
    command = parser()
    options = command.parse_args(_ping_alone(arguments), namespace=Options())
    if options.serve is not None and options.url is not None:
        command.error("--serve runs a server and takes no URL")
    if options.url is None and not _for_demonstration(command, options):
        command.error("the URL is missing; without one, only --serve or --timeout may be given")
    if options.http_version == "2":
        command.error(
            "WebSocket over HTTP/2 (RFC 8441) is not supported; over HTTP/1.1 it works with any server that has both"
        )
    if options.ping is not None and (options.count is not None or options.output == "raw"):
        command.error("with --ping, --count and --output raw have no meaning; for the number of pings write --ping N")
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
    command.add_argument("url", metavar="URL", nargs="?", help="ws:// or wss://")
    command.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_handshake(command.add_argument_group("handshake"))
    _add_session(command.add_argument_group("session"))
    _add_printing(command.add_argument_group("output"))
    command.add_argument_group("server").add_argument(
        "--serve",
        metavar="PORT",
        nargs="?",
        type=port,
        const=8765,
        help="only run the demonstration's server, until Ctrl-C; default port 8765; 0: any that is free",
    )
    return command


def _add_handshake(group: Any) -> None:
    add: Callable[..., Any] = group.add_argument
    add("-H", "--header", metavar="NAME:VALUE", action="append", default=[], type=_header, help="send it; repeatable")
    add("--auth", metavar="USER[:PASSWORD]", type=_auth, help="basic authentication; asks for a missing password")
    add("--cookie", metavar="NAME=VALUE", action="append", default=[], type=_cookie, help="send it; repeatable")
    add("--subprotocol", metavar="NAME", action="append", default=[], help="offer it; repeatable, preferred first")
    add("--proxy", metavar="URL", help="http:// or socks5://, which needs the extra [cli]; default: the environment's")
    add("--insecure", action="store_true", help="do not check the server's certificate")
    add("--http-version", choices=["1.1", "2"], default="1.1", help="2 is not supported, and says so")
    add("--compression", choices=["deflate", "none"], default="deflate", help="to offer; default deflate")
    add("--timeout", metavar="SECONDS", type=seconds, help="for the handshake, default 30; the demonstration: 10")
    add("-v", "--verbose", action="store_true", help="show requests and responses; secrets are left out")


def _add_session(group: Any) -> None:
    add: Callable[..., Any] = group.add_argument
    add("--count", metavar="N", type=number, help="leave after N messages have arrived")
    wait = "after the end of input that is no terminal, how long to go on receiving; default 1, with --count inf"
    add("--wait", metavar="SECONDS", type=seconds_or_inf, help=f"{wait}; --ping: for the last pong, default 5")
    limit = "of the largest message to receive; default 1048576; 0: no limit"
    add("--max-size", metavar="BYTES", type=size, default=2**20, help=limit)
    pings = "send pings, N or until Ctrl-C, and print round trips; messages are neither sent nor printed"
    add("--ping", metavar="N", type=number_or_zero, help=pings)
    add("--interval", metavar="SECONDS", type=seconds, default=1.0, help="between pings; default 1")


def _add_printing(group: Any) -> None:
    add: Callable[..., Any] = group.add_argument
    forms = "text: for people, the default; ndjson: a line of JSON for each message; raw: the messages, unaltered"
    add("--output", choices=["text", "ndjson", "raw"], default="text", help=forms)
    add("--plain", action="store_true", help="on a terminal, print JSON as it came")
    add("--no-color", action="store_true", help="so does a NO_COLOR that is set, or TERM=dumb")


# -- the values ------------------------------------------------------------------------------------


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if (
        not colon
        or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
        or re.search(r"[\x00-\x08\n-\x1f\x7f]", value)
    ):
        raise argparse.ArgumentTypeError(f"a header is NAME:VALUE, not {text!r}")
    return name, value


def _auth(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    return user, password if colon else _ask_password(user)


def _ask_password(user: str) -> str:
    """Ask at the terminal, whatever standard input is, without an echo."""
    with warnings.catch_warnings():
        # Where there is no terminal, getpass would take the first line of the input, after this warning.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"password for {user}: ")
        except (getpass.GetPassWarning, EOFError):
            raise argparse.ArgumentTypeError("it has no password, and there is no terminal to ask at") from None


def _cookie(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or re.search(r"[\x00-\x20;,\x7f]", name.strip() + value):
        raise argparse.ArgumentTypeError(f"a cookie is NAME=VALUE, not {text!r}")
    return name.strip(), value


def port(text: str) -> int:
    """These have no underscore, as argparse has their names in its messages: ``invalid port value``."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError
    return value


def number(text: str) -> int:
    """At least one."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def number_or_zero(text: str) -> int:
    """At least zero."""
    return 0 if text == "0" else number(text)


def size(text: str) -> int | None:
    """Zero is no limit."""
    return number_or_zero(text) or None


def seconds(text: str) -> float:
    """A time that ends."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def seconds_or_inf(text: str) -> float:
    """A time that may be none, or without end."""
    value = float(text)
    if not value >= 0:
        raise ValueError
    return value
