"""Commands that are typed in a session, where the terminal edits the lines."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from httpx2_trio_ws import __main__

from .support import raw_server, websocket_server

if TYPE_CHECKING:
    from pathlib import Path

    from websockets.sync.server import ServerConnection

    from .support import Pair

Messages = list[str | bytes]


def type_lines(terminal: Pair, *lines: str) -> tuple[int, Messages, str, tuple[int | None, str | None]]:
    """Exit status, what the server received, what was shown, and how the session was closed."""
    received: Messages = []
    closed: list[tuple[int | None, str | None]] = []

    def handle(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            received.extend(connection)
        closed.append((connection.close_code, connection.close_reason))

    with websocket_server(handle) as url:
        terminal.type("".join(f"{line}\n" for line in lines).encode() + b"\x04")
        status = __main__.main([url, "--plain"])
    return status, received, terminal.seen().decode(), closed[0]


def test_messages_that_are_sent(terminal: Pair, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\xc3\xa4\n")
    lines = ["a /b", "//close", "/text /x", f"/text @{file}", "/json [1, 2]", "/binary 00 0xff:0a", f"/binary @{file}"]
    status, received, _, closed = type_lines(terminal, *lines)
    assert received == ["a /b", "/close", "/x", "\u00e4\n", "[1, 2]", b"\x00\xff\x0a", b"\xc3\xa4\n"]
    assert (status, closed) == (0, (1000, ""))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/nothing x", "there is no /nothing; /help lists what there is. To send it as it is: //nothing"),
        ("/json {", "not sent: it is no JSON: Expecting property name"),
        ("/json @/dev/null", "not sent: it is no JSON"),
        ("/binary 0", "not sent: /binary wants pairs of hexadecimal digits, or @FILE"),
        ("/binary xy", "not sent: /binary wants pairs"),
        ("/binary @/no/such", "not sent: /no/such: No such file or directory"),
        ("/text @/", "not sent: /: Is a directory"),
        (f"/ping {'x' * 126}", "not sent: "),
        (f"/pong {'x' * 126}", "not sent: "),
        ("/close now", "/close wants a code, such as 1000 or 4000, before a reason"),
        ("/close 1006", "1006"),
        (f"/close 1000 {'x' * 124}", "123"),
    ],
)
def test_what_cannot_be_done_is_not_sent(line: str, told: str, terminal: Pair) -> None:
    status, received, shown, closed = type_lines(terminal, line, "still here")
    assert told in shown
    assert received == ["still here"]
    assert (status, closed[0]) == (0, 1000)


def test_the_connection_is_lost_while_a_file_is_sent(terminal: Pair, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(20_000_000))
    with raw_server(lambda connection: connection.recv(65536)) as url:
        terminal.type(f"/binary @{tmp_path}/file\n".encode())
        assert __main__.main([url, "--plain"]) == 5
    assert "not sent" not in terminal.seen().decode()


def test_text_that_is_not_utf_8(terminal: Pair, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\xff")
    _, received, shown, _ = type_lines(terminal, f"/text @{tmp_path}/image")
    assert received == []
    assert "is not UTF-8; /binary sends it as it is" in shown


def test_help_lists_all(terminal: Pair) -> None:
    _, received, shown, _ = type_lines(terminal, "/help")
    assert received == []
    for name in ("/help", "/text", "/json", "/binary", "/ping", "/pong", "/stats", "/close", "//TEXT"):
        assert f"\n{name}" in shown


@pytest.mark.parametrize(
    ("line", "closed"),
    [("/close", (1000, "")), ("/close 4001", (4001, "")), ("/close 4001 for lunch", (4001, "for lunch"))],
)
def test_close(line: str, closed: tuple[int, str], terminal: Pair) -> None:
    status, received, shown, how = type_lines(terminal, line, "not sent any more")
    assert (status, received, how) == (0, [], closed)
    assert shown.endswith("closed\n")


def test_pings_and_figures(terminal: Pair) -> None:
    """What takes a round trip is told before the answer to a later message."""
    shown: list[str] = []

    def handle(connection: ServerConnection) -> None:
        connection.send(str(connection.recv()))
        with contextlib.suppress(OSError):
            connection.recv()

    with websocket_server(handle) as url:
        terminal.type(b"/pong x\n/ping x\nhello\n")
        assert __main__.main([url, "--plain", "--count", "1"]) == 0
        shown.append(terminal.seen().decode())
        terminal.type(b"/stats\nhello\n")
        assert __main__.main([url, "--plain", "--count", "1"]) == 0
        shown.append(terminal.seen().decode())
    assert "pong: time=" in shown[0]
    assert "sent:     0 messages, 0 pings, 0 bytes" in shown[1]
    assert "last round trip of a ping: unknown" in shown[1]


def test_json_is_laid_out_or_not(terminal: Pair) -> None:
    def handle(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with websocket_server(handle) as url:
        terminal.type(b'/json\n{"a": 1}\n')
        assert __main__.main([url, "--plain", "--no-color", "--count", "1"]) == 0
    shown = terminal.seen().decode()
    assert "JSON is laid out" in shown
    assert '"a": 1\n  }' in shown
