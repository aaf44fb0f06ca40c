"""Many tasks on one connection: Chromium's DevTools, Jupyter, GraphQL, Socket.IO."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from .services import EXAMPLES, example, folder, free_port, needs, run, service


def test_devtools() -> None:
    chromium, port = needs("chromium", "apt-get install chromium"), free_port()
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    with (
        folder() as here,
        service(
            chromium, *flags, f"--remote-debugging-port={port}", f"--user-data-dir={here}/profile", "about:blank",
            url=f"http://127.0.0.1:{port}/json/version", environ={"HOME": str(here)},
        ),
    ):  # fmt: skip
        lines = run("chromium.py", f"http://127.0.0.1:{port}", here / "shot.png")
        image = (here / "shot.png").read_bytes()
    assert {f"tab {number} logs hello" for number in range(3)} < set(lines)
    assert {f"its title is tab {number}" for number in range(3)} < set(lines)
    assert lines[-1] == "refused: Page.fly: 'Page.fly' wasn't found"
    assert image.startswith(b"\x89PNG")
    assert len(image) > 2 * 2**20  # more than the default limit of a message


def test_jupyter() -> None:
    for module in ("jupyter_server", "ipykernel"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"there is no {module} here: pip install {module}")
    port = free_port()
    with folder() as here:
        options = {"token": "secret", "ip": "127.0.0.1", "port": port, "root_dir": here, "open_browser": False}
        with service(
            sys.executable, "-m", "jupyter_server", "--allow-root",
            *(f"--ServerApp.{name}={value}" for name, value in options.items()),
            url=f"http://127.0.0.1:{port}/api/status?token=secret",
            environ={"JUPYTER_RUNTIME_DIR": str(here), "IPYTHONDIR": str(here), "JUPYTER_CONFIG_DIR": str(here)},
        ):  # fmt: skip
            lines = run("jupyter.py", f"http://127.0.0.1:{port}", "secret")
    cells = [f"print({number} ** 2) -> {number**2}" for number in range(10)]
    assert sorted(lines[:-1]) == sorted([*cells, "1 / 0 -> ZeroDivisionError: division by zero"])
    assert lines[-1] == "deleted: 204"


def test_graphql() -> None:
    """The server is killed on the way, and comes back."""
    if importlib.util.find_spec("strawberry") is None:
        pytest.skip("there is no strawberry here: pip install strawberry-graphql uvicorn")
    port = free_port()
    server = (sys.executable, EXAMPLES / "graphql_server.py", str(port))
    with (
        service(*server, port=port) as process,
        example("graphql_client.py", f"ws://127.0.0.1:{port}/", "60") as program,
    ):
        while sum(line.endswith(": from 0, after 0 ticks") for line in program.said) < 2:
            program.line("")
        process.send_signal(signal.SIGKILL)
        process.wait()
        with service(*server, port=port):
            said = program.end()
    assert said[:2] == ["{'hello': 'hello, trio'}", "refused: Cannot query field 'goodbye' on type 'Query'."]
    for name in ("quick", "slow"):
        again = [line for line in said if re.match(rf"{name}: from \d+, after", line)]
        assert len(again) == 2, said
        assert f"{name}: 60 ticks" in said


def test_socketio() -> None:
    """The server drops whoever leaves its pings unanswered for 300 ms; it is killed on the way, and comes back."""
    node, port = needs("node", "apt-get install nodejs"), free_port()
    if not any((Path(path) / "socket.io").is_dir() for path in os.environ.get("NODE_PATH", "").split(os.pathsep)):
        pytest.skip("there is no socket.io in NODE_PATH: npm install socket.io")
    server = (node, EXAMPLES / "socketio_server.js", str(port))
    with (
        service(*server, port=port) as process,
        example("socketio_client.py", f"ws://127.0.0.1:{port}", "60") as program,
    ):
        program.line("from tick 0, after 0")
        process.send_signal(signal.SIGKILL)
        process.wait()
        with service(*server, port=port):
            said = program.end()
    assert said[:3] == ["100 numbers doubled at once", "reversed: b'tekcos'", "from tick 0, after 0"]
    assert len([line for line in said if line.startswith("from tick ")]) == 2
    assert said[-1] == "60 ticks"
