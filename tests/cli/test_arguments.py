"""What the command line may say."""

from __future__ import annotations

import ast
import getpass
import math
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import httpx2_trio_ws
from httpx2_trio_ws import __version__
from httpx2_trio_ws._cli import client
from httpx2_trio_ws._cli.arguments import EXIT_CODES, parse, parser

URL = "ws://127.0.0.1"


def test_defaults() -> None:
    options = parse([])
    assert vars(options) == {
        "url": None, "serve": None, "header": [], "auth": None, "cookie": [], "origin": None, "subprotocol": [],
        "location": False, "proxy": None, "unix_socket": None, "insecure": False, "ca": None, "cert": None, "key": None,
        "http_version": "1.1", "compression": "deflate", "timeout": None, "execute": [], "input": "lines",
        "count": None, "wait": None, "max_size": 2**20, "ping": None, "interval": 1.0, "output": "text",
        "plain": False, "no_color": False, "no_history": False, "verbose": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["-H", "A: b:c ", "--header=D:", URL], "header", [("A", "b:c"), ("D", "")]),
        (["--auth", "u:p:q"], "auth", ("u", "p:q")),
        (["--auth", "u:"], "auth", ("u", "")),
        (["--cookie", "a=b=c", "--cookie", "d="], "cookie", [("a", "b=c"), ("d", "")]),
        (["--subprotocol", "a", "--subprotocol", "b"], "subprotocol", ["a", "b"]),
        (["--max-size", "0"], "max_size", None),
        (["--max-size", "7"], "max_size", 7),
        (["--wait", "inf"], "wait", math.inf),
        (["--wait", "0"], "wait", 0),
        (["-x", "a", "--execute", "b"], "execute", ["a", "b"]),
        (["--origin", " http://a "], "origin", "http://a"),
        (["--ping", URL], "ping", 0),
        ([URL, "--ping"], "ping", 0),
        (["--ping", "3", URL], "ping", 3),
        (["--ping=3", URL], "ping", 3),
        (["--serve"], "serve", 8765),
        (["--serve", "0"], "serve", 0),
    ],
)
def test_values(arguments: list[str], name: str, value: object) -> None:
    if name != "serve" and URL not in arguments:
        arguments = [*arguments, URL]
    options = parse(arguments)
    assert getattr(options, name) == value
    assert options.url == (URL if name != "serve" else None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-H", "a"], "a header is NAME:VALUE, not 'a'"),
        (["-H", "a b: c"], "a header is NAME:VALUE"),
        (["-H", "a: b\r\nc: d"], "a header is NAME:VALUE"),
        (["--cookie", "a"], "a cookie is NAME=VALUE, not 'a'"),
        (["--cookie", "=a"], "a cookie is NAME=VALUE"),
        (["--cookie", "a=b;c"], "a cookie is NAME=VALUE"),
        (["--count", "0"], "a whole number, 1 or more, is wanted, not '0'"),
        (["--max-size", "-1"], "a whole number, 0 or more, is wanted, not '-1'"),
        (["--ping=-1"], "a whole number, 0 or more, is wanted, not '-1'"),
        (["--timeout", "0"], "seconds, more than 0, are wanted, not '0'"),
        (["--interval", "inf"], "seconds, more than 0, are wanted, not 'inf'"),
        (["--wait", "nan"], "seconds, 0 or more, or inf, are wanted, not 'nan'"),
        (["--serve", "65536"], "a port is a number from 0 to 65535, not '65536'"),
        (["--serve", "0", URL], "--serve runs a server and takes no URL"),
        (["--http-version", "3", URL], "argument --http-version: invalid choice: '3'"),
        (["--ping", "--count", "3", URL], "for N pings write --ping N"),
        (["--ping", "--output", "raw", URL], "--output raw"),
        (["--count", "three", URL], "argument --count: a whole number, 1 or more, is wanted, not 'three'"),
        (["--wait", "soon", URL], "argument --wait: seconds, 0 or more, or inf, are wanted, not 'soon'"),
        (["--origin", "a\nb", URL], "argument --origin: a header is NAME:VALUE"),
        (["--key", "file", URL], "--key is of no use without --cert"),
        (["--proxy", "http://a", "--unix-socket", "b", URL], "not through both"),
        (["--ping", "-x", "a", URL], "-x"),
        (["--count", "3"], "the URL is missing"),
        (["-v"], "the URL is missing"),
        (["--no-such-option"], "unrecognized arguments"),
        (["--verb"], "unrecognized arguments"),
    ],
)
def test_wrong_ones(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.startswith("usage: httpx2-trio-ws [options] [URL")


def test_a_missing_password_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda prompt: f"({prompt})")
    assert parse(["--auth", "alice", URL]).auth == ("alice", "(password for alice: )")


def warn(_: str) -> str:
    warnings.warn("Can not control echo on the terminal.", getpass.GetPassWarning, stacklevel=2)
    return "the first line of the input"


def end(_: str) -> str:
    raise EOFError


@pytest.mark.parametrize("ask", [warn, end])
def test_no_terminal_to_ask_at(
    ask: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(getpass, "getpass", ask)
    with pytest.raises(SystemExit):
        parse(["--auth", "alice"])
    assert "it has no password, and there is no terminal to ask at" in capsys.readouterr().err


@pytest.mark.parametrize(("argument", "text"), [("--help", "exit codes:\n  0  "), ("--version", __version__)])
def test_what_is_printed_alone(argument: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([argument])
    assert not caught.value.code
    assert text in capsys.readouterr().out


def test_the_installed_command() -> None:
    command = Path(sys.executable).parent / "httpx2-trio-ws"
    done = subprocess.run([command, "--version"], capture_output=True, check=True, text=True)
    assert done.stdout == f"httpx2-trio-ws {__version__}\n"


def test_the_library_does_not_load_the_client() -> None:
    code = "import sys, httpx2_trio_ws; print([name for name in sys.modules if name.startswith('httpx2_trio_ws._cli')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n"


def test_the_page_tells_of_every_option_and_exit_code() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/command-line.md").read_text(encoding="utf-8")
    options = {option for action in parser()._actions for option in action.option_strings if option.startswith("--")}
    assert {option for option in options - {"--version", "--header", "--verbose"} if option not in page} == set()
    codes = re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE)
    assert ", ".join(codes).split(", ") == re.findall(r"(?:^  |; )(\d+)", EXIT_CODES, re.MULTILINE)


def test_the_client_uses_the_public_library_only() -> None:
    folder = Path(client.__file__).parent
    sources = [ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")]
    imports = [node for source in sources for node in ast.walk(source) if isinstance(node, ast.ImportFrom)]
    own = {path.stem for path in folder.glob("*.py")} | {None}
    assert {node.module for node in imports if node.level} <= own
    assert max(node.level for node in imports) == 1
    names = {alias.name for node in imports if node.module == "httpx2_trio_ws" for alias in node.names}
    assert "open_websocket" in names <= {*httpx2_trio_ws.__all__, "__version__"}
    faces = {node.module for node in imports if (node.module or "").startswith("httpx2_trio_ws.")}
    faces.discard("httpx2_trio_ws._handshake._versions")  # what is shown of a handshake is in its words
    assert faces == {"httpx2_trio_ws.http2", "httpx2_trio_ws.proxies"}
