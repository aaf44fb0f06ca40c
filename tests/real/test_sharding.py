"""Feeds sharded over processes, into Redis: a worker is killed on the way, and each message is there once."""

from __future__ import annotations

import os
import signal
import sys
import time

from .services import EXAMPLES, example, folder, free_port, needs, run, service


def test_a_worker_is_killed() -> None:
    redis, upstream, broker = needs("redis-server", "apt-get install redis-server"), free_port(), free_port()
    with (
        folder() as here,
        service(sys.executable, EXAMPLES / "feed_server.py", str(upstream), port=upstream),
        service(redis, "--bind", "127.0.0.1", "--port", str(broker), "--save", "", "--dir", here, port=broker),
        example(
            "sharded_feeds.py", f"ws://127.0.0.1:{upstream}", f"redis://127.0.0.1:{broker}", "12", "3", "300"
        ) as program,
    ):
        workers = [program.line("worker ") for _ in range(3)]
        victims = [int(line.rpartition(" ")[2]) for line in sorted(workers)[1:]]
        for number, victim in zip((1, 2), victims, strict=True):
            time.sleep(0.7)
            os.kill(victim, signal.SIGKILL)
            program.line(f"worker {number} died with -9")
            program.line(f"worker {number}: process ")
        said = program.end()
    assert said[-1] == "12 feeds, 3600 messages: each once, in order"


def test_what_one_process_takes() -> None:
    head, few, some = run("one_process.py", "5", "20")
    assert head.split()[:2] == ["sessions", "messages/s"]
    for line, sessions in ((few, 5), (some, 20)):
        assert int(line.split()[0]) == sessions
        assert int(line.split()[1]) > 0
