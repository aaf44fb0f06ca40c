"""Round trips."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from httpx2_trio_ws import __main__
from httpx2_trio_ws._cli import screen
from httpx2_trio_ws._cli.ping import figures

from .support import raw_server, until_closed, websocket_server

if TYPE_CHECKING:
    import socket

    from websockets.sync.server import ServerConnection

Capture = pytest.CaptureFixture[str]
SUMMARY = r"--- URL ping statistics ---\nCOUNTS% loss, time \d+ ms\n"


def main(*arguments: str) -> int:
    return __main__.main(list(arguments))


def summary(url: str, counts: str) -> str:
    return SUMMARY.replace("URL", re.escape(url)).replace("COUNTS", counts)


def test_figures() -> None:
    assert figures([]) == {}
    assert figures([0.001]) == {"min": 1, "avg": 1, "max": 1, "mdev": 0}
    found = figures([0.001, 0.002, 0.006])
    assert list(found) == ["min", "avg", "max", "mdev"]
    expected = {"min": 1, "avg": 3, "max": 6, "mdev": math.sqrt((4 + 1 + 9) / 3)}
    assert found == pytest.approx(expected)


def test_pings(base: str, capfd: Capture) -> None:
    url = f"{base}/feed/1"  # whose messages are in the way of the pongs
    assert main("--ping", "3", url, "--interval", "0.05") == 0
    output, errors = capfd.readouterr()
    assert errors == ""
    figure = r"\d+\.\d{3}"
    pongs = "".join(rf"pong {number}: time={figure} ms\n" for number in (1, 2, 3))
    trips = rf"round trip min/avg/max/mdev = {figure}/{figure}/{figure}/{figure} ms\n"
    assert re.fullmatch(pongs + summary(url, "3 sent, 3 received, 0") + trips, output)


def test_pings_for_programs(base: str, capfd: Capture) -> None:
    assert main("--ping", "1", f"{base}/echo", "--output", "ndjson") == 0
    pong, statistics = map(json.loads, capfd.readouterr().out.splitlines())
    assert (pong["type"], pong["number"]) == ("pong", 1)
    assert pong["milliseconds"] == statistics["avg_milliseconds"] > 0
    assert (statistics["sent"], statistics["received"], statistics["loss_percent"]) == (1, 1, 0)


def test_no_pongs(capfd: Capture) -> None:
    with raw_server(until_closed) as url:
        assert main("--ping", "2", url, "--interval", "0.01", "--wait", "0.1") == 1
    output, errors = capfd.readouterr()
    assert re.fullmatch(summary(url, "2 sent, 0 received, 100"), output)
    assert errors == "httpx2-trio-ws: 0 of 2 pings were answered\n"


def test_pings_until_ctrl_c(capfd: Capture) -> None:
    def handle(connection: ServerConnection) -> None:
        connection.ping().wait()  # so the client has seen the end of the handshake
        os.kill(os.getpid(), signal.SIGINT)
        with contextlib.suppress(ConnectionClosed):
            connection.recv()

    with websocket_server(handle) as url:
        assert main("--ping", url) == 130
    assert "ping statistics" in capfd.readouterr().out


def test_the_server_closes(capfd: Capture) -> None:
    def play(connection: socket.socket) -> None:
        connection.recv(100)  # the ping
        connection.sendall(b"\x88\x02\x03\xe8")
        until_closed(connection)

    with raw_server(play) as url:
        assert main("--ping", url) == 1
    output, errors = capfd.readouterr()
    assert "1 sent, 0 received, 100% loss" in output
    assert errors == "httpx2-trio-ws: 0 of 1 pings were answered\n"


def test_lost(base: str, capfd: Capture) -> None:
    assert main("--ping", f"{base}/crash") == 5
    assert "the connection was lost" in capfd.readouterr().err


def test_output_that_cannot_be_written(base: str, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(screen, "STDOUT", full)
    assert main("--ping", f"{base}/echo") == 6
    os.close(full)
    assert capfd.readouterr().err.count("\n") == 1
