"""nginx in front: refusals, idle timeouts, and a reload and restarts under reconnect."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from .services import EXAMPLES, example, folder, free_port, needs, run, service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from subprocess import Popen

CONFIG = """
daemon off;
worker_processes 1;
worker_shutdown_timeout 1s;
pid {here}/pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location /feed {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 1s;
        }}
        location /forgotten {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; }}
        location /forbidden {{ return 403 "members only\\n"; }}
        location /nobody {{ proxy_pass http://127.0.0.1:{nobody}; }}
    }}
}}
"""
Nginx = tuple[str, "Callable[[], AbstractContextManager[Popen[bytes]]]"]


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    """The address, and what starts it."""
    path, port, upstream = needs("nginx", "apt-get install nginx-light"), free_port(), free_port()
    with folder() as here, service(sys.executable, EXAMPLES / "feed_server.py", str(upstream), port=upstream):
        config = here / "nginx.conf"
        config.write_text(CONFIG.format(here=here, port=port, upstream=upstream, nobody=free_port()))

        @contextmanager
        def start() -> Iterator[Popen[bytes]]:
            with service(path, "-p", here, "-c", config, port=port) as process:
                yield process

        yield f"ws://127.0.0.1:{port}", start


def test_refusals(nginx: Nginx) -> None:
    url, start = nginx
    with start():
        [line] = run("behind_nginx.py", f"{url}/forbidden", "1")
        assert line.startswith("refused: the server refused the WebSocket with 403 Forbidden")
        [line] = run("behind_nginx.py", f"{url}/forgotten", "1")  # nginx leaves out what is for one hop only
        assert line.startswith("refused: the server refused the WebSocket with 426 Upgrade Required")
        assert "a proxy on the way may have removed it" in line


def test_idle_timeouts(nginx: Nginx) -> None:
    """A message in 2.5 s, and nginx closes after 1: unless it is pinged, over and over."""
    url, start = nginx
    with start():
        pinged = run("behind_nginx.py", f"{url}/feed/quiet?every=2.5", "8", "0.4")
        assert [line for line in pinged if line.startswith("session")] == ["session 1, after 0"]
        with example("behind_nginx.py", f"{url}/feed/quiet2?every=2.5", "1000") as program:
            for number in range(1, 5):
                program.line(f"session {number}, after ")


def test_reload_and_restart(nginx: Nginx) -> None:
    url, start = nginx
    with example("behind_nginx.py", f"{url}/feed/x?every=0.02", "1000") as program:
        time.sleep(1)  # at first there is nobody
        with start() as process:
            program.line("session 1, after 0")
            program.line("number 50")
            process.send_signal(signal.SIGHUP)  # a new worker; the old one closes its connections after a second
            program.line("session 2, after ")
        with start():
            program.line("session 3, after ")
            said = program.end()
    assert said[-1] == "done: 1000 messages in order"


def test_a_bad_gateway_is_tried_again(nginx: Nginx) -> None:
    url, start = nginx
    with start(), example("behind_nginx.py", f"{url}/nobody", "1") as program:
        assert "502" in program.line("")
